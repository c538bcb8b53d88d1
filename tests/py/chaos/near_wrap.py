"""Starts the rings of a channel just below sequence 2^32.

What a worker goes on with lies in the segment (csrc/shm/LAYOUT.md), so an idle channel that nobody
has used is given other cursors, and its worker is killed: the successor goes on from there.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

TX_CURSORS_AT, RX_CURSORS_AT = 4480, 4992  # the same in each segment
TAIL, HEAD_PLACE, FINISHED, READ, SEQUENCE_HIGH = 0, 128, 136, 144, 160  # shm_tx_cursors_t
RX_TAIL, RX_FLOOR, RX_SEQUENCE_HIGH, RX_PURGED, RX_SHARED_HEAD = 0, 8, 16, 24, 128


def set_sequences(namespace: str, channel: str, sequence: int) -> None:
    with Path("/dev/shm", f"shmring:{namespace}:c:{channel}").open("r+b") as file:
        segment = mmap.mmap(file.fileno(), 0)

    def put(at: int, value: int) -> None:
        segment[at : at + 8] = struct.pack("<Q", value)

    def number(at: int) -> int:
        return int(struct.unpack_from("<I", segment, at)[0])

    tx, rx = TX_CURSORS_AT, RX_CURSORS_AT
    assert number(tx + TAIL) == number(tx + HEAD_PLACE), "the ring is in use"
    cursor = (sequence & 0xFFFFFFFF) << 32 | number(tx + TAIL)
    put(tx + SEQUENCE_HIGH, sequence)
    put(tx + FINISHED, sequence)
    put(tx + READ, cursor)
    put(tx + TAIL, cursor)
    cursor = (sequence & 0xFFFFFFFF) << 32 | number(rx + RX_TAIL)
    put(rx + RX_SEQUENCE_HIGH, sequence)
    put(rx + RX_PURGED, sequence)
    put(rx + RX_SHARED_HEAD, cursor)
    put(rx + RX_FLOOR, cursor)
    put(rx + RX_TAIL, cursor)
    segment.close()
