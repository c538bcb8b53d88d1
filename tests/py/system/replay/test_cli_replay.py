"""`shmring replay` as a process."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from kit import commands
from kit.commands import SHMRING
from kit.waiting import until

import shmring
from rtworkers import paths
from shmring.testing import captures as c

T = 1_795_288_288_555_810_862
COMMAND = [*SHMRING, "replay"]
PATIENCE_S = 60
MS = 1_000_000

pytestmark = pytest.mark.usefixtures("shmring_namespace")


run = functools.partial(commands.run, COMMAND)


@pytest.fixture
def line(tmp_path: Path) -> str:
    """100 packets to a group, one a millisecond, and a fragment."""
    frames = [(T + i * MS, c.udp(bytes(50), to=("239.1.1.1", 5004))) for i in range(100)]
    frames.append((T, c.udp(b"", fragment=0x2000)))
    path = tmp_path / "line.pcap"
    path.write_bytes(c.pcap(frames))
    return str(path)


@pytest.mark.check
def test_the_table_of_flows(line: str) -> None:
    shown = run(line, "--dry-run", "--to", "239.1.1.1=127.0.0.1").stdout.splitlines()
    assert shown[0].split() == [
        *("source", "captured", "to", "sent", "to", "packets", "payload", "rate", "first", "last")
    ]
    assert "239.1.1.1:5004" in shown[1]
    assert "127.0.0.1:5004" in shown[1]
    assert "1.00 kpps" in shown[1]
    assert "100 packets to send, 0.099 s" in shown
    assert "1 fragments of UDP datagrams: they are not sent" in shown


@pytest.mark.check
def test_the_table_as_json(line: str) -> None:
    facts = json.loads(run(line, "--dry-run", "--json", "--only", "*:1").stdout)
    assert facts["packets"] == 0
    assert facts["flows"][0]["to"] is None
    assert facts["flows"][0]["packets"] == 100
    assert facts["fates"]["fragment"] == 1


def test_a_report(line: str) -> None:
    done = run(line, "--to", "127.0.0.1", "--limit", "late=100%")
    assert done.stdout.startswith("packets: 100 sent in ")
    assert "lateness: p50" in done.stdout
    assert "gap error: p50" in done.stdout
    facts = json.loads(run(line, "--to", "127.0.0.1", "--limit", "late=100%", "--json").stdout)
    assert (facts["packets"], facts["sent"], facts["failed"]) == (100, 100, 0)
    assert facts["lateness"]["count"] == 100


@pytest.mark.check
def test_late_packets_have_an_exit_code(line: str) -> None:
    """All packets at one instant: some must wait for the others."""
    done = run(line, "--to", "127.0.0.1", "--pps", "1G", "--limit", "late=0", "--json", code=None)
    assert done.returncode == (3 if json.loads(done.stdout)["late"] else 0)


@pytest.mark.check
def test_a_pipe(line: str) -> None:
    with open(line, "rb") as file:
        pipe = subprocess.run(
            [*COMMAND, "-", "--dry-run", "--json"],
            input=file.read(),
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        )
    assert json.loads(pipe.stdout)["packets"] == 100


@pytest.mark.check
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["/nothing/there"], 2, "No such file or directory"),
        (["FILE", "--to", "nonsense"], 1, "'nonsense' is not a numeric address"),
        (["FILE", "--only", "x:y:z"], 1, "is no address or network"),
        (["FILE", "--pps", "fast"], 1, "'fast' is no rate above 0"),
        (["FILE", "--loop", "0"], 1, "'0' is no number of rounds"),
        (["FILE", "--start", "soon"], 1, "'soon' is no time"),
        (["FILE", "--to", "=a"], 1, "'=a' is no destination"),
        (["FILE", "--dry-run", "--only", "x"], 1, "is no address or network"),
        (["FILE", "--scale", "0", "--start", "tai:5"], 1, "packets leave at once"),
        (["FILE", "--to", "::1", "--to", "::2"], 1, "everything goes to one"),
        (["FILE", "--limit", "late=-1"], 1, "'-1' is no share"),
        (["FILE", "--start", "2020-01-01T00:00:00Z", "--to", "127.0.0.1"], 2, "in the future"),
    ],
)
def test_errors(line: str, words: list[str], code: int, message: str) -> None:
    done = run(*(line if word == "FILE" else word for word in words), code=code)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_send_is_a_failure(line: str) -> None:
    assert "no packets to send" in run(line, "--only", "*:1", code=2).stdout


@pytest.mark.check
def test_a_loop_without_end_ends_with_a_signal(line: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, line, "--to", "127.0.0.1", "--loop", "forever", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until_sent(f"replay.{process.pid}.")
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    facts = json.loads(out)
    assert facts["stopped"], error
    assert facts["sent"] + facts["not_sent"] == facts["queued"]
    assert facts["packets"] == facts["sent"]
    assert facts["sent"] > 0


@pytest.mark.check
def test_a_signal_ends_waiting_for_a_pipe(line: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, "-", "--to", "127.0.0.1", "--limit", "late=100%"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        process.stdin.buffer.write(Path(line).read_bytes()[:-40])  # the rest never comes
        process.stdin.buffer.flush()
        wait_for_channel(f"replay.{process.pid}.")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) in (0, 2)
        assert process.stdout is not None
        assert process.stdout.read().startswith("packets: ")
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def wait_for_channel(begin: str) -> None:
    """A replay has opened its channel, so it has read what its pipe had."""
    until(lambda: any((name.channel or "").startswith(begin) for name in paths.shm_names()))


def wait_until_sent(begin: str) -> None:
    """A replay has sent its first packet."""
    wait_for_channel(begin)
    name = next(
        name for name in paths.shm_names() if name.channel and name.channel.startswith(begin)
    )
    with shmring.attach(name.channel, namespace=name.namespace, readonly=True) as ch:
        until(lambda: ch.stats().tx_sent)


@pytest.mark.check
def test_it_starts_at_a_time_of_tai(line: str) -> None:
    """If the kernel does not know how far TAI is ahead of UTC, it says so."""
    knows = time.clock_gettime_ns(time.CLOCK_TAI) - time.time_ns() > 10**9
    start_ns = time.clock_gettime_ns(time.CLOCK_TAI) + 3 * 10**9
    word = f"tai:{start_ns // 10**9}.{start_ns % 10**9:09d}"
    words = (line, "--to", "127.0.0.1", "--start", word, "--limit", "late=100%", "--json")
    done = run(*words, code=0 if knows else 2)
    if not knows:
        assert "the kernel's TAI offset is 0" in done.stderr
        return
    assert json.loads(done.stdout)["sent"] == 100
    assert time.clock_gettime_ns(time.CLOCK_TAI) >= start_ns + 99 * MS


@pytest.mark.check
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    frames = [(T + i, c.udp(bytes(1400), to=("127.0.0.1", 9))) for i in range(700)]
    megabyte = c.pcap(frames)
    few, many = peak_bytes(megabyte, 4), peak_bytes(megabyte, 200)
    assert many < few + (16 << 20)


def peak_bytes(megabyte: bytes, times: int) -> int:
    """The most memory that a replay of so much used, without its worker."""
    with subprocess.Popen(
        [*COMMAND, "-", "--scale", "0", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(megabyte)
        for _ in range(times - 1):
            process.stdin.write(megabyte[24:])
        process.stdin.close()
        facts = json.loads(process.stdout.read())
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert (process.returncode, facts["sent"]) == (0, 700 * times)
    return used.ru_maxrss * 1024
