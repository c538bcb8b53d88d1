"""What real workers leave behind, read while they live, hang, and when all were killed."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from typing import Any

import pytest

import shmring
from shmring import observe

MS = 1_000_000
LOOPBACK = ("127.0.0.1", 0)

OWNER = """
import os, sys, time, shmring
name = sys.argv[1] or None
pool = shmring.Pool(name, policy='other')
here = pool.open(
    'ctl',
    shmring.Udp(reports='off'),
    local=('127.0.0.1', 0),
    remote=('127.0.0.1', 9),
)
for _ in range(3):
    here.send(b'late', at=time.monotonic_ns() - 5_000_000)
while here.tx_waiting:
    time.sleep(0.001)
print(pool.name, *[worker.pid for worker in pool.workers()], flush=True)
sys.stdin.read()
"""


def kinds(**which: Any) -> list[str]:
    return [event.kind for event in observe.events(**which)]


def test_the_life_of_a_channel(
    shmring_pool: shmring.Pool, shmring_namespace: str, eventually: Any
) -> None:
    with shmring_pool.open("ctl", local=LOOPBACK, held=True) as channel:
        channel.release()
        with shmring.attach("ctl") as other:
            other.send(b"x", to=("127.0.0.1", 9))
    eventually(lambda: "channel_closed" in kinds(channel="ctl"))
    found = observe.events(shmring_pool.name, channel="ctl")
    names = [event.kind for event in found if event.channel == "ctl"]
    assert names[0] == "channel_opened"
    assert names[-1] == "channel_closed"
    assert {"channel_released", "client_attached", "client_hung_up"} <= set(names)
    started = next(event for event in found if event.kind == "worker_started")
    (worker,) = shmring_pool.workers()
    assert (started.pid, started.numbers["restarts"]) == (worker.pid, 0)
    assert [event.mono_ns for event in found] == sorted(event.mono_ns for event in found)


def test_late_packets_are_kept_though_no_report_was_asked_for(
    shmring_open: Any, shmring_namespace: str, eventually: Any
) -> None:
    here, _ = shmring_open(
        "ctl",
        shmring.Udp(reports="off", socket=shmring.Socket(tx_stamp="off")),
    )
    now = time.monotonic_ns()
    for index in range(200):
        here.send(b"late", at=now - 50 * MS - index)
    eventually(lambda: here.tx_waiting == 0)
    channel = observe.late_channel("ctl")
    assert channel.kept == 128
    assert 32 <= len(channel.packets) <= 128  # of one call 32
    assert len(channel.packets) + channel.overwritten <= 200
    assert channel.counters["tx_enqueued_late"] == 200
    assert channel.alive
    for packet in channel.packets:
        assert packet.verdict is shmring.Verdict.ENQUEUED_LATE
        assert packet.producer_pid == os.getpid()
        assert packet.late_ns >= 50 * MS
        assert packet.scheduled_ns < packet.enqueued_ns <= packet.sent_ns <= packet.handed_ns
        assert packet.to_mono_ns == 0
    late = [e for e in observe.events(channel="ctl") if e.kind == "late_packets"]
    assert sum(event.count for event in late) == 200
    assert len(late) <= 5  # a flood is a count
    assert {event.verdict for event in late} == {"enqueued_late"}


def test_dropped_packets_are_late_ones_too(shmring_open: Any, eventually: Any) -> None:
    here, _ = shmring_open("ctl", shmring.Udp(late="drop", reports="off"))
    here.send(b"late", at=time.monotonic_ns() - 50 * MS)
    here.send(b"taken back", at=time.monotonic_ns() + 10**12)
    here.cancel(1)
    eventually(lambda: here.tx_waiting == 0)
    (packet,) = observe.late_packets("ctl")
    assert packet.verdict is shmring.Verdict.DROPPED_LATE
    assert packet.sent_ns == 0
    assert packet.late_ns >= 50 * MS


def test_a_worker_that_was_stopped_woke_up_late(
    shmring_pool: shmring.Pool, shmring_open: Any, eventually: Any
) -> None:
    here, there = shmring_open("ctl", shmring.Udp(reports="off"))
    (worker,) = shmring_pool.workers()
    here.send(b"x", at=time.monotonic_ns() + 300 * MS)
    time.sleep(0.05)
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        assert observe.late_channel("ctl").alive  # reading asks nobody
        time.sleep(0.6)
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    assert there.recv(timeout=20).data == b"x"
    eventually(lambda: observe.late_packets("ctl"))
    (packet,) = observe.late_packets("ctl")
    assert packet.verdict is not shmring.Verdict.ON_TIME
    assert packet.late_ns > 100 * MS
    found = observe.events(shmring_pool.name)
    longest = max(e.numbers["late_ns"] for e in found if e.kind == "missed_wake")
    assert longest > 100 * MS


def test_a_refused_packet_is_an_error_once(shmring_pool: shmring.Pool, eventually: Any) -> None:
    with shmring_pool.open(
        "ctl",
        shmring.Udp(reports="off", socket=shmring.Socket(gso=False)),
        local=("127.0.0.1", 0),
    ) as channel:
        for _ in range(50):
            channel.send(b"x", to=("255.255.255.255", 9))  # no broadcast asked for
        eventually(lambda: channel.stats().tx_failed == 50)
        (problem,) = [e for e in observe.errors(channel="ctl") if e.kind == "send_failed"]
    assert problem.count == 50
    assert problem.number in (errno.EACCES, errno.EINVAL, errno.ENETUNREACH)
    assert problem.errno_text == os.strerror(problem.number)
    assert problem.source == "worker"
    assert problem.channel == "ctl"


def test_a_full_socket_buffer(shmring_pool: shmring.Pool, eventually: Any) -> None:
    with (
        shmring_pool.open(
            "in",
            shmring.Udp(direction="rx", socket=shmring.Socket(rcvbuf_bytes=4096)),
            local=LOOPBACK,
        ) as channel,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        address = channel.stats().local
        (worker,) = shmring_pool.workers()
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            for _ in range(200):
                sender.sendto(bytes(1000), address)
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        eventually(lambda: channel.stats().rx_kernel_drops > 0)
        eventually(lambda: "kernel_drops" in kinds(channel="in"))
        dropped = channel.stats().rx_kernel_drops
        noted = [e for e in observe.events(channel="in") if e.kind == "kernel_drops"]
        assert sum(event.count for event in noted) <= dropped
        (problem,) = [e for e in observe.errors(channel="in") if e.kind == "kernel_drops"]
        assert 0 < problem.count <= dropped


def test_a_killed_worker_is_noted_by_its_pool_and_its_successor(
    shmring_pool: shmring.Pool, shmring_open: Any, eventually: Any
) -> None:
    here, there = shmring_open("ctl")
    (before,) = shmring_pool.workers()
    os.kill(before.pid, signal.SIGKILL)
    here.send(b"x")
    assert there.recv(timeout=20).data == b"x"
    eventually(lambda: kinds(channel="ctl").count("worker_started") == 2)
    found = observe.events(shmring_pool.name, channel="ctl")
    names = [event.kind for event in found]
    assert names.index("channel_opened") < names.index("channel_taken_over")
    assert {event.pid for event in found} == {before.pid, shmring_pool.workers()[0].pid}
    (problem,) = [e for e in observe.errors(shmring_pool.name) if e.kind == "worker_died"]
    assert (problem.source, problem.detail) == ("pool", "was ended by SIGKILL")
    (record,) = observe.workers(shmring_pool.name)
    assert record.facts is not None
    assert record.facts.restarts == 1


def check_all_was_kept(worker_pid: int, pool: str) -> None:
    channel = observe.late_channel("ctl")
    assert not channel.alive
    assert channel.pool == pool
    assert [packet.verdict for packet in channel.packets] == ["enqueued_late"] * 3
    found = observe.events(pool, channel="ctl")
    assert {event.pid for event in found} == {worker_pid}
    assert "worker_ended" not in [event.kind for event in found]
    assert sum(e.count for e in found if e.kind == "late_packets") == 3
    (record,) = observe.workers(pool)
    assert record.facts is not None
    assert record.facts.pid == worker_pid


def kill_everything(owner: Any) -> tuple[int, str]:
    """A pool and its worker. Returns both."""
    pool, worker = owner.line().split()
    owner.kill_with(int(worker))
    return int(worker), pool


@pytest.mark.check
def test_all_killed_and_still_there_until_gc(
    shmring_namespace: str, python: Any, eventually: Any
) -> None:
    for name in ("", "line-1"):
        owner = python(f"import sys; sys.argv[1:] = [{name!r}]\n{OWNER}")
        worker, pool = kill_everything(owner)
        eventually(lambda pid=worker: not observe.worker_lives(pid, 0))
        eventually(lambda: not observe.late_channel("ctl").alive)
        check_all_was_kept(worker, pool)
        eventually(lambda: shmring.gc(namespace=shmring_namespace).segments)
        assert observe.workers(pool) == []
