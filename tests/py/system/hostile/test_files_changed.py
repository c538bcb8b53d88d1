"""The named file of a channel is replaced, unlinked, cut short, punched and toggled at any moment:
its pool's other channel loses nothing, the worker goes on, and no file is left."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtworkers import paths

pytestmark = pytest.mark.check

HERE = ("127.0.0.1", 0)
SPOILT_S = 5.0
LIFE_S = 0.2  # of one segment
PAUSE_S = 0.003
PUNCH_HOLE, KEEP_SIZE = 2, 1


class Spoiler:
    """Changes the file of one channel, by its name and by a descriptor of what is served."""

    def __init__(self, file: Path, chance: random.Random) -> None:
        self.file = file
        self.chance = chance
        self.fd = os.open(file, os.O_RDWR)
        self.whole = os.fstat(self.fd).st_size
        self.changes: list[Callable[[], object]] = [
            self.replace,
            self.unlink,
            self.cut,
            self.punch,
            self.toggle,
        ]

    def replace(self) -> None:
        other = self.file.with_name(self.file.name + ":other")
        other.write_bytes(self.chance.randbytes(self.chance.randrange(1 << 16)))
        other.rename(self.file)

    def unlink(self) -> None:
        self.file.unlink(missing_ok=True)

    def cut(self) -> None:
        os.truncate(self.fd, self.chance.randrange(self.whole))

    def punch(self) -> None:
        at, size = (self.chance.randrange(self.whole) for _ in range(2))
        libc = ctypes.CDLL(None)
        offset = ctypes.c_int64
        libc.fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, offset(at), offset(size + 1))

    def toggle(self) -> None:
        for _ in range(8):
            os.truncate(self.fd, self.chance.choice((0, 4096, self.whole // 2)))
            os.truncate(self.fd, self.whole)

    def spoil(self) -> None:
        until = time.monotonic() + LIFE_S
        while time.monotonic() < until:
            self.chance.choice(self.changes)()
            time.sleep(self.chance.random() * PAUSE_S)

    def close(self) -> None:
        self.file.unlink(missing_ok=True)
        os.close(self.fd)


def spoil_one_life(pool: shmring.Pool, chance: random.Random) -> None:
    channel = pool.open("spoilt", local=HERE, remote=("127.0.0.1", 9))
    file = paths.shm_file(paths.channel_segment(pool.namespace, "spoilt"))
    spoiler = Spoiler(file, chance)
    thread = threading.Thread(target=spoiler.spoil)
    thread.start()
    while thread.is_alive():
        with contextlib.suppress(shmring.ShmringError):
            channel.send(b"x" * 500, timeout=0.01)
            channel.recv(timeout=0.001)
        time.sleep(0.001)
    thread.join()
    with contextlib.suppress(shmring.ShmringError):
        channel.close()
    spoiler.close()


class Neighbour:
    """Sends numbered packets to itself, and gets each of them once, in order."""

    def __init__(self, pool: shmring.Pool) -> None:
        self.end = pool.open("oracle", local=HERE)
        self.sent = self.got = 0
        self.wrong: list[Any] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                due = self.end.now_ns() + 1_000_000 if self.sent % 2 else None
                self.end.send(b"%d" % self.sent, to=self.end.local, at=due)
                self.sent += 1
                packet = self.end.recv(timeout=20)
                if packet.data != b"%d" % self.got:
                    self.wrong.append((packet.data, self.got))
                self.got += 1
        except Exception as error:
            self.wrong.append(error)

    def check(self) -> None:
        self.stop.set()
        self.thread.join(30)
        stats = self.end.stats()
        assert self.wrong == []
        assert self.got == self.sent > 0
        assert stats.tx_sent == stats.tx_requested == stats.rx_received == self.sent
        assert stats.tx_on_time + stats.tx_late == self.sent
        assert stats.tx_failed == stats.tx_corrupt == stats.tx_dropped_late == 0


def left(namespace: str) -> list[str]:
    return [name for name in os.listdir("/dev/shm") if f":{namespace}:" in name]


def test_the_neighbour_of_a_channel_whose_file_is_changed(
    shmring_pool: shmring.Pool, eventually: Any
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    neighbour = Neighbour(shmring_pool)
    neighbour.thread.start()
    lives, until = 0, time.monotonic() + SPOILT_S
    try:
        while time.monotonic() < until:
            spoil_one_life(shmring_pool, chance)
            lives += 1
    finally:
        neighbour.stop.set()
        neighbour.thread.join(30)
    neighbour.check()
    print(f"{lives} lives, {neighbour.sent} packets")
    assert [worker.restarts for worker in shmring_pool.workers()] == [0]
    neighbour.end.close()
    shmring_pool.close()
    eventually(lambda: left(shmring_pool.namespace) == [])
