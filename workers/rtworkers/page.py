"""The worker's page: a small file in shared memory in which a worker publishes its state.

The pool creates the file, the worker writes it, and any process may read it. The layout is
``shm_worker_segment_t`` of ``csrc/shm/shm_layout.h``. This module reads the ``shm_worker_page_t``
at its start. `history` reads the rest, and `error_log` writes the pool's part of it.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Any

from rtworkers import layout, liveness, paths
from rtworkers.layout import SHM_WORKER_SEGMENT_BYTES

HEAD = struct.Struct("<QI")  # magic, version
_PAGE = struct.Struct(layout.WORKER_PAGE)
NOT_PINNED = 0xFFFFFFFF
_HEARD_NS = 1_000_000_000
_POLICIES = {
    os.SCHED_OTHER: "other",
    os.SCHED_FIFO: "fifo",
    os.SCHED_RR: "rr",
    os.SCHED_BATCH: "batch",
    os.SCHED_IDLE: "idle",
}
_PROFILES: tuple[str, ...] = tuple(layout.PROFILE)
_PLAIN = (
    *("pid", "channels", "restarts", "loops", "sleeps", "slept_ns", "spun_ns", "cpu_ns"),
    *("longest_loop_ns", "forced_rests", "missed_wakes", "calls_refused"),
)


@dataclass(frozen=True, slots=True)
class PageFacts:
    """The contents of a worker's page at one moment. Times are CLOCK_MONOTONIC, ns."""

    pid: int
    pool: str
    namespace: str
    cpu_wanted: int | None
    cpu: int | None  # in effect; None: not pinned
    policy: str  # in effect: "fifo" or "other"
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


def cores_left(spinning: Iterable[PageFacts], cores: Set[int]) -> int:
    """Return how many of the cores workers that spin leave to others, at most. One that is not
    pinned takes any."""
    taken = [worker.cpu for worker in spinning]
    return len(cores - {cpu for cpu in taken if cpu is not None}) - taken.count(None)


def create(posix_name: str) -> int:
    """Make an empty page without a name and own it. Return its descriptor, open for reading and
    writing. Its worker gives it `posix_name` when it serves.

    A page of that name without an owner is removed. If it is in use, raises `FileExistsError`.
    """
    if liveness.remove_deserted(posix_name) is False:
        raise FileExistsError(f"worker page {posix_name} is in use by a living pool")
    fd = liveness.nameless_file()
    try:
        os.posix_fallocate(fd, 0, SHM_WORKER_SEGMENT_BYTES)
    except BaseException:
        os.close(fd)
        raise
    return fd


def copy(fd: int) -> bytes:
    """Return the whole page. Raises ValueError for a file of another size.

    It is read, not mapped, so that a file that is truncated meanwhile causes an error and no
    signal.
    """
    found = os.pread(fd, SHM_WORKER_SEGMENT_BYTES + 1, 0)
    if len(found) != SHM_WORKER_SEGMENT_BYTES:
        raise ValueError(
            f"not a worker's page of this version of shmring: it has {os.fstat(fd).st_size} bytes "
            f"instead of {SHM_WORKER_SEGMENT_BYTES}. End the worker and start it with this version"
        )
    return found


def numbers(page: bytes) -> dict[str, Any]:
    """Return all fields as they are in shared memory. Raises ValueError for a page that its worker
    has not finished, and for one of another version of this package."""
    now: dict[str, Any] = dict(zip(layout.WORKER_PAGE_FIELDS, _PAGE.unpack_from(page), strict=True))
    if now["version"] == 0:
        raise ValueError("its worker has not finished it yet, or has died")
    if now["magic"] != layout.SHM_MAGIC:
        raise ValueError(f"not a worker's page (magic number {now['magic']:#018x})")
    if now["version"] != layout.SHM_LAYOUT_VERSION:
        raise ValueError(
            f"the page has layout version {now['version']}, this build understands "
            f"{layout.SHM_LAYOUT_VERSION}: use the same shmring version in all processes"
        )
    return now


def listed(namespace: str | None) -> list[PageFacts]:
    """Return the pages of all workers on this host, or in one namespace, that this user may read.

    Any user can make a page: the facts of another user's may be false.
    """

    def look(name: paths.ShmName) -> PageFacts | None:
        with paths.opened_shm(name.posix_name) as fd:
            return facts(fd)

    pages = (name for name in paths.shm_names(namespace) if name.pool is not None)
    return [one for one in paths.read_each(pages, look) if isinstance(one, PageFacts)]


def spinning() -> list[PageFacts]:
    """Return the pages of workers that never sleep, so that ordinary processes get only what their
    rests leave."""
    since_ns = time.monotonic_ns() - _HEARD_NS
    return [
        one
        for one in listed(None)
        if one.profile == "latency"
        and one.policy != "other"
        and one.channels > 0
        and one.heartbeat_ns > since_ns
    ]


def facts(fd: int) -> PageFacts | None:
    """Return the contents of the page of a descriptor, like `read`. None if it cannot be read."""
    try:
        found = os.pread(fd, _PAGE.size, 0)
    except OSError:
        return None
    return read(found) if len(found) == _PAGE.size else None


def read(page: bytes) -> PageFacts | None:
    """Return the contents of the page. None while its worker has not finished writing it, or for a
    page of another version of this package."""
    try:
        now = numbers(page)
    except ValueError:
        return None
    profile: int = now["profile"]
    return PageFacts(
        **{name: now[name] for name in _PLAIN},
        pool=_text(now["pool"]),
        namespace=_text(now["name_space"]),
        cpu_wanted=core(now["cpu_wanted"]),
        cpu=core(now["cpu"]),
        policy=policy_name(now["sched_policy"]),
        priority=now["sched_priority"],
        memory_locked=bool(now["memory_locked"]),
        profile=_PROFILES[profile] if profile < len(_PROFILES) else f"profile {profile}",
        heartbeat_ns=now["heartbeat_mono_ns"],
        started_ns=now["started_mono_ns"],
        calls_filtered=bool(now["calls_filtered"]),
    )


def policy_name(number: int) -> str:
    """Return the scheduling class of this number in shared memory: ``"fifo"``, ``"other"``, ..."""
    return _POLICIES.get(number, f"policy {number}")


def core(number: int) -> int | None:
    """Return the core of this number in shared memory. None: not pinned."""
    return None if number == NOT_PINNED else number


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii", "replace")
