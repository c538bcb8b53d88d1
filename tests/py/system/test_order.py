"""In which order packets leave that wait to be sent."""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import pytest

import shmring

MS = 1_000_000


def test_a_packet_that_is_overdue_leaves_before_one_that_was_queued_later(
    shmring_open: Any,
) -> None:
    here, there = shmring_open(here={"held": True})
    here.send(b"1", at=here.now_ns() - 1 * MS)
    here.send(b"2")
    here.send(b"3")
    here.release()
    assert [there.recv(timeout=20).data for _ in range(3)] == [b"1", b"2", b"3"]


def test_a_packet_without_a_deadline_is_due_when_it_was_queued(shmring_open: Any) -> None:
    here, there = shmring_open(here={"held": True})
    here.send(b"3", at=here.now_ns() + 500 * MS)
    here.send(b"1")
    here.send(b"2")
    time.sleep(0.5)
    here.send(b"4")
    here.release()
    assert [there.recv(timeout=20).data for _ in range(4)] == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("gso", [True, False])
def test_what_is_overdue_leaves_by_age(shmring_open: Any, gso: bool) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    here, there = shmring_open(
        engine=shmring.Udp(socket=shmring.Socket(gso=gso)), here={"held": True}
    )
    for number in range(60):
        past = here.now_ns() - rng.randrange(1, 100_000)
        here.send(b"%d" % number, at=rng.choice([past, None]))
    here.release()
    left = [int(there.recv(timeout=20).data) for _ in range(60)]
    here.flush(timeout=20)
    due = {r.sequence: r.scheduled_ns or r.enqueued_ns for r in here.reports(timeout=0)}
    assert sorted(left) == list(range(60))
    assert [due[number] for number in left] == sorted(due.values())  # two may be due at once


NO_ROOM_YET = """
import fcntl, struct, subprocess, time, os
import shmring

def ip(command):
    subprocess.run(["ip", *command.split()], check=True)

tap = os.open("/dev/net/tun", os.O_RDWR)
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"slow0", IFF_TAP | IFF_NO_PI))
ip("link set lo up")
ip("address add 10.9.8.1/24 dev slow0")
ip("link set slow0 up")
with shmring.Pool(policy="other") as pool:
    ch = pool.open(
        "slow",
        shmring.Udp(socket=shmring.Socket(gso=False, sndbuf_bytes=4096, tx_stamp="off")),
        remote=("10.9.8.2", 9),
        local=("10.9.8.1", 0),
        held=True,
    )
    soon = ch.now_ns() + 1_000_000_000
    for number in range(20, 40):
        ch.send(b"%02d" % number, at=soon + number)
    for number in range(20):
        ch.send(b"%02d" % number)
    ch.release()
    while not ch.stats().tx_retries:  # those that left wait for the neighbour's address, on the
        time.sleep(0.01)              # socket's account
    print(ch.tx_waiting > 20, flush=True)
    ip("neigh replace 10.9.8.2 lladdr 02:00:00:00:00:02 dev slow0 nud permanent")
    seen = []
    while len(seen) < 40:
        frame = os.read(tap, 2048)
        if frame[12:14] == b"\\x08\\x00" and frame[23] == 17:
            seen.append(int(frame[42:44]))
    print(seen, flush=True)
    ch.flush(timeout=10)
"""


@pytest.mark.needs("netns", "tun")
@pytest.mark.timeout(120)
def test_all_leave_in_order_when_the_kernel_has_room_again(python: Any) -> None:
    command = ["unshare", "--net", sys.executable, "-c", NO_ROOM_YET]
    other = python(f"import os; os.execvp('unshare', {command!r})")
    assert other.line() == "True"
    assert other.line() == str(list(range(40)))
    assert other.wait() == 0
