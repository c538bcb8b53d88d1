"""Writers and workers are killed one after the other, at random instants; a partner looks on."""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
import time
from typing import Any

import pytest

import shmring

pytestmark = pytest.mark.check

SIZE = 400
WRITERS = 3
KILLS = 12
WORKER_EVERY = 4

WRITER = f"""
import itertools, os, struct, time, shmring
link = shmring.attach("plc")
print("here", flush=True)
for n in itertools.count():
    link.update(struct.pack("<II", os.getpid(), n) * ({SIZE} // 8))
    if n % 4096 == 0:
        time.sleep(0.005)  # about as long as the updates took: somebody else has work to do, too
"""


class Wire(threading.Thread):
    """Takes all that the link sends, answers each, and notes what must not be."""

    def __init__(self, partner: Any) -> None:
        super().__init__(daemon=True)
        self.partner = partner
        self.over = threading.Event()
        self.wrong: list[str] = []
        self.taken = 0
        self.last = -1
        self.of: dict[int, int] = {}

    def run(self) -> None:
        self.partner.socket.settimeout(0.2)
        while not self.over.is_set():
            try:
                self.take(*self.partner.recv())
            except TimeoutError:
                continue

    def take(self, number: int, feedback: int, values: bytes) -> None:
        self.taken += 1
        if self.last >= 0 and not 1 <= (number - self.last) % 256 <= 127:
            self.wrong.append(f"number {number} behind {self.last}")
        self.last = number
        pid, n = struct.unpack_from("<II", values)
        if values != struct.pack("<II", pid, n) * (SIZE // 8):
            self.wrong.append(f"torn values of {pid}, {n}")
        if n < self.of.get(pid, 0):
            self.wrong.append(f"values {n} of {pid} behind {self.of[pid]}")
        self.of[pid] = n
        self.partner.send(self.taken % 256, values, number)


def test_a_storm(
    link: Any, partner: Any, python: Any, shmring_pool: shmring.Pool, eventually: Any
) -> None:
    chance = random.Random(seed := time.time_ns())
    print(f"seed {seed}")
    here = link(send=SIZE, receive=SIZE, cycle_ns=500_000, producers=WRITERS + 1)
    wire = Wire(partner)
    wire.start()
    writers = [python(WRITER) for _ in range(WRITERS)]
    published = 0
    for kill in range(1, KILLS + 1):
        time.sleep(chance.random() * 0.03)
        if kill % WORKER_EVERY == 0:
            epoch = here.stats().epoch
            (worker,) = shmring_pool.workers()
            os.kill(worker.pid, signal.SIGKILL)
            eventually(lambda before=epoch: here.stats().epoch > before and here.state == "open")
        at = chance.randrange(WRITERS)
        assert writers[at].line() == "here"
        writers[at].kill()
        writers[at].close()
        eventually(lambda: here.stats().producers <= WRITERS)
        writers[at] = python(WRITER)
        snapshot = here.snapshot()
        if snapshot is not None:
            pair = snapshot.values[:8]
            assert snapshot.values == pair * (SIZE // 8)
            assert snapshot.published >= published
            published = snapshot.published
    for writer in writers:
        writer.kill()
    final = struct.pack("<II", os.getpid(), 7) * (SIZE // 8)
    here.update(final)
    eventually(lambda: wire.of.get(os.getpid()) == 7)
    eventually(lambda: here.snapshot().values == final)
    wire.over.set()
    wire.join(20)
    assert wire.wrong == []
    assert here.stats().epoch == 1 + KILLS // WORKER_EVERY
    assert here.link().accepted > 0
