"""`shmring up`, `ls` and `gc` as processes, with pools and workers that really live and die."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from kit import commands
from kit.commands import SHMRING
from kit.waiting import until

import shmring
from rtworkers import affinity

PATIENCE_S = 30


run = functools.partial(commands.run, SHMRING)


def rows_of(text):
    return json.loads(text)


@contextmanager
def up(name, *words):
    """A `shmring up` that has said that it is ready; killed at the end if it still runs."""
    process = subprocess.Popen(
        [*SHMRING, "up", name, "--policy", "other", "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def no_leftovers(shmring_namespace):
    """The namespace; what a test left to `gc` is removed after it, workers ended first."""
    yield shmring_namespace
    for info in shmring.channels(shmring_namespace):
        if info.worker_pid:
            kill(info.worker_pid)
    until(lambda: shmring.gc(namespace=shmring_namespace).segments == ())


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    until(lambda: not os.path.exists(f"/proc/{pid}/exe") or is_zombie(pid))


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_up_says_when_it_is_ready_and_serves_until_sigterm(shmring_namespace):
    with up("plant") as (process, ready):
        assert ready == {
            "ready": True,
            "pool": "plant",
            "namespace": shmring_namespace,
            "pid": process.pid,
            "adopted": [],
            "lacking": [],
        }
        channel = shmring.open("ctl", pool="plant", local=("127.0.0.1", 0))
        assert channel.local is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert shmring.channels(shmring_namespace) == []


@pytest.mark.check
def test_up_says_at_once_which_cores_there_are_not(shmring_namespace):
    core = min(os.sched_getaffinity(0))
    with up("plant", "--cpus", f"{core},4000") as (process, _):
        words = process.stderr.readline()
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    for part in ("--cpus 4000: the host has no such core", affinity.describe_cores(), "unpinned"):
        assert part in words
    text = run("up", "plant", "--cpus", "4000", "--strict", code=2).stderr
    assert "--cpus 4000: the host has no such core" in text
    assert "core 5000 is not in 0 .. 4095" in run("up", "plant", "--cpus", "5000", code=2).stderr


@pytest.mark.check
def test_the_command_is_also_a_module(shmring_namespace):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "shmring_cli", "ls"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert shmring_namespace in done.stdout


@pytest.mark.check
def test_up_ends_on_ctrl_c_without_a_traceback(shmring_namespace):
    with up("plant") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == ""


@pytest.mark.check
def test_a_second_up_of_the_same_pool_is_refused_by_name(shmring_namespace):
    with up("plant") as (process, _):
        done = run("up", "plant", code=2)
        assert "plant" in done.stderr
        assert str(process.pid) in done.stderr
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


@pytest.mark.check
def test_sighup_leaves_the_workers_to_the_next_up(no_leftovers):
    with up("plant") as (process, _):
        shmring.open("ctl", pool="plant", local=("127.0.0.1", 0)).close()
        channel = shmring.open(
            "kept",
            shmring.Udp(direction="rx"),
            pool="plant",
            local=("127.0.0.1", 0),
        )
        address, worker = channel.local, shmring.channels(no_leftovers)[-1].worker_pid
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE_S) == 0
    with up("plant") as (process, ready):
        assert "kept" in ready["adopted"]
        (info,) = [info for info in shmring.channels(no_leftovers) if info.name == "kept"]
        assert (info.local, info.worker_pid) == (address, worker)
        sender = shmring.open("sender", shmring.Udp(direction="tx"), pool="plant", remote=address)
        sender.send(b"still there")
        assert bytes(channel.recv(timeout=PATIENCE_S).data) == b"still there"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_ls_shows_channels_and_workers_with_their_counters(shmring_namespace):
    with shmring.Pool("lab", policy="other") as pool:
        receiver = pool.open("in", shmring.Udp(direction="rx"), local=("127.0.0.1", 0))
        sender = pool.open("out", shmring.Udp(direction="tx"), remote=receiver.local)
        for _ in range(10):
            sender.send(b"x" * 100)
        for _ in range(10):
            receiver.recv(timeout=PATIENCE_S)
        until(lambda: sender.stats().tx_sent == 10)

        rows = rows_of(run("ls", "--json").stdout)
        facts = {row["name"]: row for row in rows if row["kind"] == "channel"}
        assert set(facts) == {"in", "out"}
        assert facts["out"]["tx_sent"] == 10
        assert facts["out"]["tx_bytes"] == 1000
        assert facts["in"]["rx_received"] == 10
        assert facts["in"]["local"] == list(receiver.local)
        assert {row["health"] for row in rows} == {"ok"}
        assert all(row["served"] for row in rows if row["kind"] == "channel")
        (worker,) = [row for row in rows if row["kind"] == "worker"]
        assert worker["pid"] == pool.workers()[0].pid
        assert worker["channels"] == 2

        text = run("ls").stdout
        assert "CHANNEL" in text
        assert f"127.0.0.1:{receiver.local[1]}" in text
        assert f"{shmring_namespace}/in" in run("ls", "--namespace", "*", code=None).stdout


@pytest.mark.check
def test_ls_shows_rtp_channels_with_their_streams(shmring_namespace):
    with shmring.Pool(policy="other") as pool:
        mic = pool.open(
            "mic",
            shmring.Rtp(ptime_ns=1_000_000, ssrc=0xFACE, direction="tx"),
            remote=("127.0.0.1", 9),
        )
        pool.open("plain", local=("127.0.0.1", 0))
        mic.send_many([bytes(8)] * 5)
        mic.end_spurt()
        mic.flush(timeout=PATIENCE_S)
        until(lambda: mic.stats().engine.ssrc == 0xFACE)
        rows = rows_of(run("ls", "--json").stdout)
        by_name = {row["name"]: row for row in rows if row["kind"] == "channel"}
        assert by_name["mic"]["engine"] == "rtp"
        assert by_name["mic"]["rtp"]["sent"] == 5
        assert "rtp" not in by_name["plain"]
        text = run("ls").stdout
        assert "0000face" in text
        assert text.count("mic") == 2


@pytest.mark.check
def test_ls_names_a_process_that_attached_and_never_read(shmring_namespace):
    with shmring.Pool(policy="other") as pool:
        receiver = pool.open("in", shmring.Udp(direction="rx"), local=("127.0.0.1", 0))
        assert receiver.try_recv() is None  # attached
        sender = pool.open("out", shmring.Udp(direction="tx"), remote=receiver.local)
        assert "never read" not in run("ls").stdout
        sender.send(b"x")
        until(lambda: receiver.stats().readers[0].waiting == 1)
        assert f", {os.getpid()} never read" in run("ls").stdout
        (row,) = [row for row in rows_of(run("ls", "--json").stdout) if row.get("name") == "in"]
        assert row["never_read"] == [os.getpid()]
        receiver.recv(timeout=PATIENCE_S)
        assert "never read" not in run("ls").stdout


@pytest.mark.check
def test_ls_of_an_empty_namespace_says_so(shmring_namespace):
    assert shmring_namespace in run("ls").stdout
    assert rows_of(run("ls", "--json").stdout) == []


@pytest.mark.check
def test_a_pool_that_died_with_its_workers_starts_empty_and_says_so(no_leftovers):
    address = ("127.0.0.1", 0)
    with up("plant") as (process, _):
        channels = [shmring.open(name, pool="plant", local=address) for name in ("ctl", "log")]
        for _ in range(3):
            channels[0].send(b"late", at=time.monotonic_ns() + 60 * 10**9, to=channels[0].local)
        worker = shmring.channels(no_leftovers)[0].worker_pid
        os.kill(process.pid, signal.SIGSTOP)  # else it would replace its worker
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        os.kill(worker, signal.SIGKILL)
        process.kill()
        with up("plant") as (again, ready):
            assert ready["adopted"] == []
            fresh = shmring.open("ctl", pool="plant", local=address)
            fresh.send(b"new", to=fresh.local)
            assert fresh.recv(timeout=PATIENCE_S).data == b"new"
            for channel in channels:
                with pytest.raises(shmring.ChannelClosed):
                    channel.recv(timeout=PATIENCE_S)
            again.send_signal(signal.SIGTERM)
            said = again.stderr.read()
    assert "'plant' died together with its workers, so it starts empty" in said
    assert "ctl, log (2 in all)" in said


def test_ls_calls_a_dead_pool_stale_and_gc_removes_it(no_leftovers):
    with up("plant") as (process, _):
        shmring.open("ctl", pool="plant", local=("127.0.0.1", 0))
        worker = shmring.channels(no_leftovers)[0].worker_pid
        assert run("gc", "--namespace", no_leftovers).stdout.startswith("nothing to remove")
        kill(process.pid)
        kill(worker)
        time.sleep(1.1)  # a heartbeat counts as stale after a second

        listed = rows_of(run("ls", "--json", code=5).stdout)
        assert {row["health"] for row in listed} == {"stale"}
        assert [row["served"] for row in listed if row["kind"] == "channel"] == [False]
        assert "stale (!)" in run("ls", code=5).stdout

        wanted = json.loads(run("gc", "--namespace", no_leftovers, "--dry-run", "--json").stdout)
        assert wanted["dry_run"] is True
        assert f"/shmring:{no_leftovers}:c:ctl" in wanted["segments"]
        assert shmring.channels(no_leftovers) != []
        removed = json.loads(run("gc", "--namespace", no_leftovers, "--json").stdout)
        assert removed["segments"] == wanted["segments"]
        assert removed["directories"] == wanted["directories"]
        assert run("ls").stdout.startswith("no channels")
