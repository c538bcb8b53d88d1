"""A client announces a claim that it never finishes in all the slots of its channel: the channel
beside it, on the same worker, sends as punctually as before."""

from __future__ import annotations

import mmap
import os
import statistics
import struct
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtworkers import paths
from shmring._ring import ffi

pytestmark = pytest.mark.check

MS = 1_000_000
HERE = ("127.0.0.1", 0)
SLOTS = 1022  # of senders
PACKETS = 250
STEP_NS = 2 * MS
ROUNDS = 4  # the machine may do other things besides
NOISE_NS = 1 * MS

# See csrc/shm/LAYOUT.md.
CURSORS = 4096 + 384
LINE = 128
UNIT = 8
RECORD_UNITS = 4
RELOCATED, COMMITTED = 4, 2


class Forger:
    """Writes what any client can write."""

    def __init__(self, file: Path, segment: Any) -> None:
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), 0)
        self._cursors = CURSORS
        self._producers = ffi.cast("uint8_t *", segment.producers) - segment.base
        self._ring = segment.tx_data - segment.base
        self._units = segment.config.tx_bytes // UNIT

    def close(self) -> None:
        self._memory.close()

    def read_cursor(self) -> int:
        (cursor,) = struct.unpack_from("Q", self._memory, self._cursors + LINE + 16)
        return int(cursor)

    def forge(self) -> int:
        """A claim without a word, records behind it that were moved there, and the announcements.
        Return what the claim is announced as."""
        claim = self.read_cursor()
        sequence, place = claim >> 32, claim & 0xFFFFFFFF
        moved = 7 << 32 | RECORD_UNITS << 16 | RELOCATED << 8 | COMMITTED
        count = (self._units // 2 - place) // RECORD_UNITS - 1
        at = self._ring + (place + RECORD_UNITS) * UNIT
        record = struct.pack("4Q", moved, 0, 0, 0)
        self._memory[at : at + count * len(record)] = record * count
        for slot in range(1, SLOTS + 1):
            struct.pack_into(
                "QII", self._memory, self._producers + slot * LINE, claim, 6 + slot, os.getpid()
            )
        tail = (sequence + 1) << 32 | (place + (count + 1) * RECORD_UNITS)
        struct.pack_into("Q", self._memory, self._cursors, tail)
        return claim


def median_late_ns(channel: shmring.Channel, eventually: Any) -> float:
    begin = channel.now_ns() + 20 * MS
    sent = {channel.send(b"tick", at=begin + i * STEP_NS) for i in range(PACKETS)}
    reports: dict[int, shmring.SendReport] = {}

    def all_told() -> bool:
        reports.update((r.sequence, r) for r in channel.reports(timeout=0))
        return sent <= reports.keys()

    eventually(all_told)
    late = [reports[sequence].late_ns for sequence in sent]
    assert None not in late, "a packet was not sent"
    return statistics.median(ns for ns in late if ns is not None)


def attack(pool: shmring.Pool, channel: shmring.Channel, eventually: Any) -> float:
    """The median beside a channel whose client forges."""
    with pool.open(
        "forged",
        local=HERE,
        remote=("127.0.0.1", 9),
        share=shmring.Share(producers=SLOTS),
    ) as hostile:
        hostile.send(b"takes a slot")
        hostile.flush(timeout=20)
        file = paths.shm_file(paths.channel_segment(pool.namespace, "forged"))
        forger = Forger(file, hostile._endpoint.mapped())
        claim = forger.forge()
        hostile.send(b"look at it")  # rings
        late = median_late_ns(channel, eventually)
        assert forger.read_cursor() == claim, "the worker passed what nobody can pass"
        assert hostile.state in (shmring.State.OPEN, shmring.State.FAILED)
        forger.close()
        hostile.close(linger=0)  # what is behind the claim waits for ever
    return late


def test_forged_announcements_do_not_delay_a_neighbour(
    shmring_pool: shmring.Pool, eventually: Any
) -> None:
    told = []
    with shmring_pool.open("beside", local=HERE, remote=("127.0.0.1", 9)) as beside:
        for _ in range(ROUNDS):
            before = median_late_ns(beside, eventually)
            during = attack(shmring_pool, beside, eventually)
            told.append((before, during))
            if during < 2 * before + NOISE_NS:
                break
        else:
            raise AssertionError(f"median lateness before and during, ns: {told}")
        stats = beside.stats()
        assert stats.tx_sent == 2 * PACKETS * len(told)
        (worker,) = shmring_pool.workers()
        assert (worker.restarts, worker.state) == (0, "running")
    print(told)
