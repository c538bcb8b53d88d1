"""The worker's page: a small file in shared memory in which a worker says how it is.

The pool makes the file; the worker writes it; anybody may read it. The layout is
``shm_worker_segment_t`` of ``csrc/shm/shm_layout.h``; read here is ``shm_worker_page_t`` at its
begin, up to the histogram. What else lies in it is `shmring.observe`'s to read, and
`error_log`'s to write.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from rtworkers import liveness

MAGIC = 0x676E69726D687300
VERSION = 4
PAGE_BYTES = 184320
NOT_PINNED = 0xFFFFFFFF

HEAD = struct.Struct("<QI")  # magic, version
_FACTS = struct.Struct("<QII65s65s2x8I4x10Q")
_FILTER = struct.Struct("<I4xQ")
_FILTER_AT = 8744  # behind the histogram
_FACTS_END = _FILTER_AT + _FILTER.size
_POLICIES = {os.SCHED_OTHER: "other", os.SCHED_FIFO: "fifo", os.SCHED_RR: "rr"}
_PROFILES = ("balanced", "latency", "power")


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What a worker's page said at one moment. Times are CLOCK_MONOTONIC, ns."""

    pid: int
    pool: str
    namespace: str
    cpu_wanted: int | None
    cpu: int | None  # in force; None: not pinned
    policy: str  # in force: "fifo" or "other"
    priority: int
    memory_locked: bool
    profile: str
    channels: int
    restarts: int
    heartbeat_ns: int
    started_ns: int
    loops: int
    sleeps: int
    slept_ns: int
    spun_ns: int
    cpu_ns: int
    longest_loop_ns: int
    forced_rests: int
    missed_wakes: int
    calls_filtered: bool
    calls_refused: int


def create(posix_name: str) -> int:
    """Make an empty page without a name and own it. Returns its descriptor, open for reading and
    writing. Its worker gives it `posix_name` when it serves.

    A page of that name that nobody owns any more is removed; one in use raises `FileExistsError`.
    """
    if liveness.remove_deserted(posix_name) is False:
        raise FileExistsError(f"worker page {posix_name} is in use by a living pool")
    fd = liveness.nameless_file()
    try:
        os.posix_fallocate(fd, 0, PAGE_BYTES)
    except BaseException:
        os.close(fd)
        raise
    return fd


def copy(fd: int) -> bytes:
    """The whole page, as it is now. Raises ValueError for one of another version of this package.

    Read, not mapped: a file that is cut short meanwhile is an error, and no signal.
    """
    found = os.pread(fd, PAGE_BYTES + 1, 0)
    if len(found) != PAGE_BYTES:
        raise ValueError(
            f"a worker's page of {os.fstat(fd).st_size} bytes, {PAGE_BYTES} are expected: the "
            "worker is of another version of shmring; end it, and start it with this one"
        )
    return found


def facts(fd: int) -> PageFacts | None:
    """What the page behind a descriptor says, as `read`. None if it cannot be read."""
    try:
        found = os.pread(fd, _FACTS_END, 0)
    except OSError:
        return None
    return read(found) if len(found) == _FACTS_END else None


def read(page: bytes) -> PageFacts | None:
    """What the page says; None while its worker has not finished writing it, or for a page of
    another version of this package."""
    magic, version, pid, pool, namespace, *numbers = _FACTS.unpack_from(page)
    if magic != MAGIC or version != VERSION:
        return None
    cpu_wanted, cpu, policy, priority, locked, profile, channels, restarts, *counts = numbers
    filtered, refused = _FILTER.unpack_from(page, _FILTER_AT)
    return PageFacts(
        pid,
        _text(pool),
        _text(namespace),
        None if cpu_wanted == NOT_PINNED else cpu_wanted,
        None if cpu == NOT_PINNED else cpu,
        _POLICIES.get(policy, f"policy {policy}"),
        priority,
        bool(locked),
        _PROFILES[profile] if profile < len(_PROFILES) else f"profile {profile}",
        channels,
        restarts,
        *(*counts, bool(filtered), refused),
    )


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii", "replace")
