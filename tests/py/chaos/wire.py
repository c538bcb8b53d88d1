"""What the packets of this harness hold, and the records that processes leave in files.

Nothing here, and nothing in `plain.py`, imports shmring: a second opinion must be its own.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"shmchaos"
BODY = struct.Struct("<IIqqq")  # life, 0, number, enqueued_ns, due_ns
HEAD_BYTES = len(MAGIC) + BODY.size
MARK_LIFE = 0xFFFFFFFF  # a datagram that says: all that came before it is in the file

# One line of the receiver's file.
ARRIVAL = np.dtype(
    [
        ("life", "<u4"),
        ("socket", "<u2"),
        ("extra", "<u2"),  # bytes before the body: the header of a protocol
        ("number", "<i8"),
        ("enqueued_ns", "<i8"),
        ("due_ns", "<i8"),
        ("arrived_ns", "<i8"),
        ("drops", "<u4"),  # of the kernel, at this socket, so far
        ("head", "V12"),
    ]
)
# One line of a sender's file: written when the call that queued it has returned.
ACCEPTED = np.dtype(
    [("sequence", "<i8"), ("enqueued_ns", "<i8"), ("due_ns", "<i8"), ("returned_ns", "<i8")]
)
# One line of a reader's file.
DELIVERED = np.dtype([("life", "<u4"), ("lost", "<u4"), ("number", "<i8")])
# A standstill of the whole machine, as a process that only sleeps has seen it.
STILL = np.dtype([("begin_ns", "<i8"), ("end_ns", "<i8")])
# shm_report_t, csrc/shm/LAYOUT.md
REPORT = np.dtype(
    [
        ("sequence", "<i8"),
        ("scheduled_ns", "<i8"),
        ("enqueued_ns", "<i8"),
        ("woken_ns", "<i8"),
        ("sent_ns", "<i8"),
        ("handed_ns", "<i8"),
        ("stamped_ns", "<i8"),
        ("errno", "<i4"),
        ("verdict", "u1"),
        ("stamp", "u1"),
        ("batch", "<u2"),
    ]
)
DROPPED_LATE, CANCELLED, FAILED = 5, 6, 7
NOT_SENT = (DROPPED_LATE, CANCELLED)


def pack(life: int, number: int, enqueued_ns: int, due_ns: int = 0, size: int = 0) -> bytes:
    body = MAGIC + BODY.pack(life, 0, number, enqueued_ns, due_ns)
    return body.ljust(size, b"\xa5")


def unpack(datagram: bytes) -> tuple[int, int, int, int, int] | None:
    """(bytes before it, life, number, enqueued, due); None if it is none of ours."""
    at = datagram.find(MAGIC)
    if at < 0 or len(datagram) < at + HEAD_BYTES:
        return None
    life, _, number, enqueued, due = BODY.unpack_from(datagram, at + len(MAGIC))
    return at, life, number, enqueued, due


def read(path: Path, kind: np.dtype) -> NDArray:  # type: ignore[type-arg]
    """All whole lines of a file; a line that its writer did not finish is none."""
    data = path.read_bytes() if path.exists() else b""
    return np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)
