"""A sender that is stopped amid a send holds up nobody else."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

import shmring
from shmring import Verdict, observe

MS = 1_000_000
LONG = 60_000  # bytes: most of the time of sending such a packet is spent in copying it
TIMED = 20
TRIES = 300

SENDS = f"""
import signal, shmring
end = []
signal.signal(signal.SIGUSR1, lambda *_: end.append(1))
ch = shmring.attach("ctl")
data = bytes({LONG})
print("sending", flush=True)
count = 0
while not end:
    ch.send(data, timeout=None)
    count += 1
print(count, flush=True)
"""


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


def halt_amid_a_send(here: shmring.Channel, pid: int) -> int:
    """Stop a sender between its claim and the end of its send. Return how many packets that took.

    A packet is sent behind what waits. What still waits when that has left is an open claim.
    """
    behind = 0
    for number in range(TRIES):
        time.sleep(0.001 + number % 7 * 0.0003)
        stop(pid)
        if here.tx_waiting:
            behind += 1
            here.verdict(here.send(b"behind"), timeout=20)
            here.release()  # answered after the pass in which that packet left
            if here.tx_waiting:
                return behind
        os.kill(pid, signal.SIGCONT)
    pytest.skip("not stopped amid a send")


@pytest.mark.shm_mb(16)
def test_packets_of_others_leave_in_time(
    shmring_pool: shmring.Pool, python: Any, eventually: Any
) -> None:
    there = shmring_pool.open("there", shmring.Udp(direction="rx"), local=("127.0.0.1", 0))
    sink = shmring_pool.open(
        "sink",
        shmring.Udp(tx=shmring.Queue(1024, 64), direction="rx"),
        local=("127.0.0.1", 0),
    )
    here = shmring_pool.open(
        "ctl",
        shmring.Udp(tx=shmring.Queue(64, LONG), direction="tx"),
        remote=sink.local,
    )
    other = python(SENDS)
    assert other.line() == "sending"
    behind = halt_amid_a_send(here, other.pid)

    first = here.stats().tx_next_sequence
    due = time.monotonic_ns() + 100 * MS
    for number in range(TIMED):
        here.send(b"%d" % number, to=there.local, at=due + number * 5 * MS)
    got = [there.recv(timeout=20).data for _ in range(TIMED)]
    assert got == [b"%d" % number for number in range(TIMED)]
    assert here.tx_waiting >= 1  # the packet amid which the other was stopped

    reports: list[shmring.SendReport] = []

    def all_told() -> bool:
        reports.extend(r for r in here.reports(timeout=0) if r.sequence >= first)
        return len(reports) == TIMED

    eventually(all_told)
    assert Verdict.PRODUCER_HALTED not in {r.verdict for r in reports}
    assert min(r.handed_ns - r.scheduled_ns for r in reports) < 100 * MS
    halted = [e for e in observe.events(channel="ctl") if e.kind == "producer_halted"]
    assert other.pid in {event.numbers["pid"] for event in halted}

    os.kill(other.pid, signal.SIGUSR1)
    os.kill(other.pid, signal.SIGCONT)
    of_other = int(other.line())
    eventually(lambda: here.tx_waiting == 0)
    stats = here.stats()  # each packet once
    assert stats.tx_sent == of_other + behind + TIMED
    assert (stats.tx_orphans, stats.tx_failed) == (0, 0)
