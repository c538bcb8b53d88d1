"""rtstat.snapshot against real pools: what it shows, what it notices, and that it only reads."""

from __future__ import annotations

import mmap
import os
import signal
import time
from pathlib import Path

import pytest

import shmring
from rtstat.snapshot import Watch
from rtworkers import paths

LOOPBACK = ("127.0.0.1", 0)


def send_all(here, there, count, size=100):
    """Timed packets, and their arrival."""
    start = time.monotonic_ns() + 2_000_000
    for i in range(count):
        here.send(bytes(size), at=start + i * 100_000)
    for _ in range(count):
        there.recv(timeout=20)


def settled(watch, eventually, name, counter, value):
    """The first snapshot in which a counter, which may be a moment behind, has come so far."""

    def reached():
        channel = watch.read().channel(name)
        return channel if channel is not None and channel[counter] >= value else None

    return eventually(reached)


def test_first_look_has_no_rates_and_the_next_one_has(shmring_namespace, shmring_open, eventually):
    here, there = shmring_open("ctl")
    send_all(here, there, 10)
    with Watch(shmring_namespace) as watch:
        settled(watch, eventually, "ctl", "tx_sent", 10)
        watch.close()
        first = watch.read().channel("ctl")
        assert (first.tx_pps, first.lateness_interval, first.delta("tx_sent")) == (None,) * 3
        send_all(here, there, 30)
        second = eventually(lambda: (view := watch.read().channel("ctl")).delta("tx_sent") and view)
        assert second.seconds > 0
        assert second.tx_pps == pytest.approx(second.delta("tx_sent") / second.seconds)
        assert second.tx_bps == pytest.approx(second.tx_pps * 800)
        assert 0 < second.lateness_interval.count <= 30
        interval = second.lateness_interval
        assert interval.p50_ns <= interval.p99_ns <= interval.max_ns <= second.lateness.max_ns
        assert first["tx_sent"] == 10  # a view stays as it was


def test_interval_holds_what_came_between_two_looks(shmring_namespace, shmring_open, eventually):
    here, there = shmring_open("ctl")
    send_all(here, there, 20)
    with Watch(shmring_namespace) as watch:
        settled(watch, eventually, "ctl", "tx_sent", 20)
        watch.read()
        send_all(here, there, 7)
        counts = 0

        def all_seen():
            nonlocal counts
            view = watch.read().channel("ctl")
            counts += view.lateness_interval.count
            assert sum(n for _, n in view.buckets("lateness", interval=True)) == (
                view.lateness_interval.count
            )
            return view["tx_sent"] == 27 and counts >= 7

        eventually(all_seen)
        assert counts == 7
        quiet = watch.read().channel("ctl")
        assert quiet.lateness_interval.count == 0
        assert quiet.buckets("lateness", interval=True) == []


def test_rebase_counts_from_now_on_and_leaves_the_channel_alone(
    shmring_namespace, shmring_open, eventually
):
    here, there = shmring_open("ctl")
    send_all(here, there, 20)
    with Watch(shmring_namespace) as watch:
        settled(watch, eventually, "ctl", "tx_sent", 20)
        watch.rebase()
        view = watch.read().channel("ctl")
        assert (view["tx_sent"], view.lateness.count, view.tx_pps) == (0, 0, None)
        send_all(here, there, 5)
        view = settled(watch, eventually, "ctl", "tx_sent", 5)
        assert (view["tx_sent"], view.lateness.count) == (5, 5)
        assert sum(n for _, n in view.buckets("lateness")) == 5
    assert here.stats().tx_sent == 25


def test_worker_is_shown(shmring_namespace, shmring_pool, shmring_open):
    here, _ = shmring_open("ctl")
    (info,) = shmring_pool.workers()
    with Watch(shmring_namespace) as watch:
        watch.read()
        shot = watch.read()
    (worker,) = shot.workers
    (pool,) = shot.pools
    assert worker.pid == info.pid
    assert worker.alive
    assert (worker.policy, worker["channels"], worker["restarts"]) == ("other", 2, 0)
    views = (worker, info, here.stats())
    assert {(view.policy, view.priority, view.cpu) for view in views} == {("other", 0, None)}
    rows = (shot.channel("ctl"), *shmring.channels(shmring_namespace))
    assert {row.cpu for row in rows} == {None}
    assert 0 <= worker.cpu_share <= 1.5
    assert (pool.workers, len(pool.channels)) == ((worker,), 2)


def test_shares_of_a_restarted_worker_are_of_its_own_life(shmring_namespace, eventually):
    with shmring.Pool(policy="other", namespace=shmring_namespace, profile="latency") as pool:
        pool.open("ctl", shmring.Udp(direction="rx"), local=LOOPBACK)
        eventually(lambda: Watch(shmring_namespace).read().workers[0]["spun_ns"] > 200_000_000)
        (before,) = Watch(shmring_namespace).read().workers
        os.kill(before.pid, signal.SIGKILL)

        def another():
            workers = Watch(shmring_namespace).read().workers
            return workers and workers[0].pid != before.pid and workers[0]

        worker = eventually(another)
    assert worker["restarts"] == 1
    assert worker["spun_ns"] <= worker["read_mono_ns"] - worker["started_mono_ns"]
    assert worker.spin_share <= 1
    assert worker.cpu_share <= 1.5


def test_channels_that_come_and_go_are_noticed(shmring_namespace, shmring_pool):
    with Watch(shmring_namespace) as watch:
        assert watch.read().events == ()
        channel = shmring_pool.open("one", local=LOOPBACK)
        shot = watch.read()
        assert {(e.kind, e.what) for e in shot.events} == {("new", "worker"), ("new", "channel")}
        channel.close()
        assert [(e.kind, e.name) for e in watch.read().events] == [("gone", "one")]


def test_another_segment_under_a_name_is_reborn(shmring_namespace, shmring_pool):
    channel = shmring_pool.open("one", local=LOOPBACK)
    with Watch(shmring_namespace) as watch:
        before = watch.read().channel("one")
        channel.close()
        shmring_pool.open("one", local=LOOPBACK)
        shot = watch.read()
        after = shot.channel("one")
    assert [(e.kind, e.name) for e in shot.events] == [("reborn", "one")]
    assert after.facts.segment_id != before.facts.segment_id
    assert after.tx_pps is None
    assert before.state == "open"  # the old view is whole


def test_reset_and_epoch_are_noticed(shmring_namespace, shmring_pool, shmring_open, eventually):
    here, there = shmring_open("ctl")
    send_all(here, there, 20)
    with Watch(shmring_namespace) as watch:
        settled(watch, eventually, "ctl", "tx_sent", 20)
        here.reset_stats()
        seen = []
        eventually(lambda: seen.extend(watch.read().events) or seen)
        assert ("reset", "ctl") in {(e.kind, e.name) for e in seen}
        view = watch.read().channel("ctl")
        assert (view["tx_sent"], view.lateness.count) == (0, 0)

        (worker,) = shmring_pool.workers()
        seen.clear()
        os.kill(worker.pid, signal.SIGKILL)

        def taken_over():
            shot = watch.read()
            seen.extend(shot.events)
            view = shot.channel("ctl")
            return view.epoch == 2 and view.served and view

        view = eventually(taken_over)
        assert ("epoch", "channel", "ctl") in {(e.kind, e.what, e.name) for e in seen}
        assert view.worker_pid != worker.pid
        (row,) = watch.read().workers
        assert row["restarts"] == 1


def test_readers_and_their_lag(shmring_namespace, shmring_open, eventually):
    here, there = shmring_open("ctl")
    tap = shmring.attach("ctl-peer", namespace=shmring_namespace)
    with tap, Watch(shmring_namespace) as watch:
        for reader in (tap, there):  # who receives first attaches then
            here.send(b"x")
            reader.recv(timeout=20)
        eventually(lambda: len(watch.read().channel("ctl-peer").readers) == 2)
        tap.recv(timeout=0)
        for _ in range(12):
            here.send(b"x")
        for _ in range(12):
            tap.recv(timeout=20)
        view = settled(watch, eventually, "ctl-peer", "rx_received", 14)
        behind = {reader.waiting for reader in view.readers}
        assert max(behind) == view["rx_unread"] == 13
        assert {reader.pid for reader in view.readers} == {os.getpid()}
        assert 0 < view.rx_fill < 1
        for _ in range(13):
            there.recv(timeout=20)
        view = eventually(
            lambda: (v := watch.read().channel("ctl-peer")) and v["rx_unread"] == 0 and v
        )
        assert view.rx_fill == 0
        assert sum(reader.taken for reader in view.readers) == view["readers_taken"]


@pytest.mark.parametrize("name", ["line", None], ids=["named", "private"])
def test_a_stopped_pool_is_a_trouble(name, shmring_namespace, python, eventually):
    """Its worker continues."""
    program = python(
        "import shmring, sys\n"
        f"pool = shmring.Pool({name!r}, policy='other')\n"
        "ch = pool.open('ctl', remote=('127.0.0.1', 9))\n"
        "print(flush=True)\nsys.stdin.readline()\npool.close()\n"
        "print('ended')\n"
    )
    assert program.line() == ""
    with Watch(shmring_namespace) as watch:
        assert watch.read().pools[0].owner_state == "running"
        os.kill(program.pid, signal.SIGSTOP)
        try:
            shot = eventually(lambda: (s := watch.read()).troubles and s)
        finally:
            os.kill(program.pid, signal.SIGCONT)
        assert [trouble.name for trouble in shot.troubles] == ["pool_stopped"]
        assert f"kill -CONT {program.pid}" in shot.troubles[0].fix
        assert shot.channel("ctl").health == "ok"
    program.tell()
    assert program.line() == "ended"


def test_everything_is_mapped_for_reading_only(shmring_namespace, shmring_open):
    """Of this process's mappings of the segments, the watch's are those that appear with it."""
    shmring_open("ctl")
    prefix = str(paths.SHM_DIRECTORY / f"shmring:{shmring_namespace}")

    def mappings():
        lines = Path("/proc/self/maps").read_text().splitlines()
        return [line for line in lines if prefix in line]

    before = mappings()
    with Watch(shmring_namespace) as watch:
        watch.read()
        added = [line for line in mappings() if line not in before]
        assert len(added) == 2  # the channels: pages are read, not mapped
        assert all(" r--s " in line for line in added)


@pytest.mark.needs("unprivileged")
def test_what_belongs_to_others_is_hidden_and_no_fault(shmring_namespace):
    name = f"/dev/shm/shmring:{shmring_namespace}:c:foreign"
    fd = os.open(name, os.O_CREAT | os.O_RDWR, 0o600)
    os.ftruncate(fd, mmap.PAGESIZE)
    os.close(fd)
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            with Watch(shmring_namespace) as watch:
                shot = watch.read()
            (item,) = shot.unreadable
            fine = item.health == "hidden" and shot.verdict == "ok" and not shot.channels
            os._exit(0 if fine else 1)
        finally:
            os._exit(2)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.unlink(name)


def test_a_pool_that_closes_while_it_is_read_is_not_unreadable(shmring_namespace, monkeypatch):
    def closed(*_):
        raise FileNotFoundError

    with shmring.Pool(namespace=shmring_namespace) as pool, Watch(shmring_namespace) as watch:
        pool.open("ctl", local=LOOPBACK)
        assert watch.read().workers
        monkeypatch.setattr("rtstat.snapshot._read_worker", closed)
        shot = watch.read()
    assert not shot.workers
    assert not shot.unreadable
