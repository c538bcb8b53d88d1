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
LONG = 60_000  # bytes
TIMED = 20

# It claims room for a packet, as every send does first, and waits for a line before it goes on.
SENDS = f"""
import ctypes, sys
from shmring_cli import cflags
lib = ctypes.CDLL(cflags.folders()[1] / "libshmring.so")
lib.shmring_attach.restype = ctypes.c_void_p
ch = ctypes.c_void_p(lib.shmring_attach(b"ctl", None))
claim = (ctypes.c_uint64 * 9)()  # its data, bytes, sequence, and six words that the library uses
assert lib.shmring_claim(ch, ctypes.c_size_t({LONG}), None, claim) == 0
print("sending", flush=True)
sys.stdin.readline()
lib.shmring_commit(ch, claim)
print(claim[2], flush=True)
"""


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


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
    assert here.tx_waiting == 1
    stop(other.pid)

    first = here.stats().tx_next_sequence
    due = time.monotonic_ns() + 100 * MS
    for number in range(TIMED):
        here.send(b"%d" % number, to=there.local, at=due + number * 5 * MS)
    got = [there.recv(timeout=20).data for _ in range(TIMED)]
    assert got == [b"%d" % number for number in range(TIMED)]
    assert here.tx_waiting == 1  # the packet amid which the other was stopped

    reports: list[shmring.SendReport] = []

    def all_told() -> bool:
        reports.extend(r for r in here.reports(timeout=0) if r.sequence >= first)
        return len(reports) == TIMED

    eventually(all_told)
    assert Verdict.PRODUCER_HALTED not in {r.verdict for r in reports}
    assert min(r.handed_ns - r.scheduled_ns for r in reports) < 100 * MS
    halted = [e for e in observe.events(channel="ctl") if e.kind == "producer_halted"]
    assert other.pid in {event.numbers["pid"] for event in halted}

    os.kill(other.pid, signal.SIGCONT)
    other.tell("go on")
    assert int(other.line()) < first
    eventually(lambda: here.tx_waiting == 0)
    stats = here.stats()  # each packet once
    assert stats.tx_sent == 1 + TIMED
    assert (stats.tx_orphans, stats.tx_failed) == (0, 0)
