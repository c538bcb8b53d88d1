"""Late packets of channels that nobody serves, with any content."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring
from rtworkers import paths
from shmring import _host, _options, observe

SPACE = f"observe-late-{os.getpid()}"

_LATE = struct.Struct("=QqqqqqqiBBHqII")
CURSORS_BYTES = 128
SLOTS_AT, LINE_BYTES, STATS_BYTES, REPORT_BYTES = 5504, 128, 51936, 64  # csrc/shm/LAYOUT.md


@pytest.fixture
def segment() -> Iterator[Callable[..., None]]:
    """Makes the segment of channel ctl."""
    posix_name = paths.channel_segment(SPACE, "ctl")

    def make(**options: Any) -> None:
        options.setdefault("capacity", 16)
        prepared = _options.prepare("ctl", SPACE, "pool", "balanced", options)
        fd = os.open(paths.shm_file(posix_name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _host.format_segment(fd, prepared.config)
        finally:
            os.close(fd)

    yield make
    paths.shm_file(posix_name).unlink(missing_ok=True)


def late_at() -> int:
    config = _options.prepare("ctl", SPACE, "pool", "balanced", {"capacity": 16}).config
    stats_at = SLOTS_AT + LINE_BYTES * (config.producers + config.readers)
    reports_at = -(-(stats_at + STATS_BYTES) // LINE_BYTES) * LINE_BYTES
    return reports_at + REPORT_BYTES * config.report_slots


def write(tail: int, writing: int, packets: bytes) -> None:
    """Cursors and slots of its late packets."""
    with paths.shm_file(paths.channel_segment(SPACE, "ctl")).open("r+b") as file:
        file.seek(late_at())
        file.write(struct.pack("=QQ", tail, writing).ljust(CURSORS_BYTES, b"\0") + packets)


def test_no_such_channel() -> None:
    with pytest.raises(shmring.ChannelNotFound):
        observe.late_packets("ctl", SPACE)
    with pytest.raises(ValueError, match="channel"):
        observe.late_packets("c t l", SPACE)


def test_no_segment_at_all() -> None:
    path = paths.shm_file(paths.channel_segment(SPACE, "ctl"))
    path.write_bytes(b"x" * 8192)
    try:
        with pytest.raises(shmring.errors.LayoutMismatch):
            observe.late_channel("ctl", SPACE)
    finally:
        path.unlink()


def test_none_was_late(segment: Callable[..., None]) -> None:
    segment()
    channel = observe.late_channel("ctl", SPACE)
    assert channel.packets == ()
    assert (channel.kept, channel.overwritten, channel.alive) == (128, 0, False)
    assert (channel.pool, channel.engine, channel.clock) == ("pool", "udp", "monotonic")
    assert (channel.worker_slot, channel.heartbeat_age_ns) == (-1, 0)


def test_a_channel_that_only_receives_keeps_none(segment: Callable[..., None]) -> None:
    segment(direction="rx", local=("127.0.0.1", 0))
    assert observe.late_channel("ctl", SPACE).kept == 0


def test_a_packet(segment: Callable[..., None]) -> None:
    segment()
    write(1, 1, _LATE.pack(70, 1000, 900, 1400, 1500, 1600, 1700, 0, 2, 2, 3, 5600, 1, 4242))
    (packet,) = observe.late_packets("ctl", SPACE)
    assert (packet.sequence, packet.verdict, packet.batch) == (70, "woke_late", 3)
    assert (packet.scheduled_ns, packet.enqueued_ns, packet.woken_ns) == (1000, 900, 1400)
    assert (packet.sent_ns, packet.handed_ns, packet.stamped_ns) == (1500, 1600, 1700)
    assert (packet.stamp, packet.producer_slot, packet.producer_pid) == ("kernel", 1, 4242)
    assert (packet.due_ns, packet.late_ns, packet.to_mono_ns) == (1000, 500, 4000)
    assert packet.to_dict()["late_ns"] == 500


def test_any_content_is_read_to_an_end(segment: Callable[..., None]) -> None:
    segment()
    dice = random.Random(6)
    for _ in range(50):
        tail = dice.choice((1, 127, 128, 129, 2**63, 2**64 - 1))
        write(tail, dice.choice((0, tail, 2**64 - 1)), dice.randbytes(128 * _LATE.size))
        for packet in observe.late_packets("ctl", SPACE):
            assert packet.to_dict()["verdict"] in shmring.Verdict.__members__.values()
