"""Code that `pool` and `registry` share: segments as files, and errors of `rtworkers` as ours."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import posix_ipc

from rtworkers import liveness, paths
from rtworkers.control import (
    ControlError,
    WorkerDown,
    WorkerGone,
    WorkerSilent,
    WorkerStartError,
)
from shmring import errors, room
from shmring._check import check, error, last_text
from shmring._ring import ffi, lib

if TYPE_CHECKING:
    from rtworkers import Holding

# Descriptors that a restart of a worker needs, and one more channel that is opened during it.
FILES_SPARE = 16
# Descriptors of an end that sends and receives: connection, two bells, epoll, locks of two slots.
END_FILES = 6
# Why this user cannot open a file with one of our names that another user owns: it does not exist,
# it is not this user's, it is a link, socket, folder or pipe, or a process holds a lease on it.
NOT_OURS = frozenset(
    (
        *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.EISDIR),
        *(errno.EPROTO, errno.EBUSY),
    )
)
# For fewer bytes, reading the machine's free memory is not worth its cost.
LARGE_SEGMENT_BYTES = 64 << 20


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise the errors of `rtworkers` as errors of this package, with `what` in front."""
    try:
        yield
    except errors.ShmringError:
        raise
    except ControlError as caught:
        raise error(caught.errno or errno.EIO, f"{what}: {caught.strerror}") from None
    except WorkerStartError as caught:
        text = f"{what} did not start: {caught}"
        if caught.errno in (errno.EPERM, errno.EACCES, errno.EINVAL):
            raise error(caught.errno, text) from None
        raise errors.WorkerFailed(caught.errno or errno.ECHILD, text) from None
    except WorkerSilent as caught:
        raise errors.WorkerFailed(errno.ETIMEDOUT, f"{what}: {caught.strerror}") from None
    except (WorkerDown, WorkerGone) as caught:
        raise errors.WorkerFailed(errno.ECHILD, f"{what}: {caught}") from None
    except OSError as caught:
        raise from_os(what, caught) from None
    except ValueError as caught:
        raise errors.BadConfig(str(caught)) from None
    except posix_ipc.PermissionsError as caught:  # pyright: ignore
        raise error(errno.EACCES, f"{what}: {caught}") from None
    except posix_ipc.Error as caught:  # pyright: ignore
        raise error(errno.EIO, f"{what}: {caught}") from None


def from_os(what: str, caught: OSError) -> errors.ShmringError:
    """Return the error of this package for an error of the system, with `what` in front."""
    if caught.errno in (errno.EMFILE, errno.ENFILE):
        return out_of_files(what)
    if caught.errno == errno.EAGAIN:
        return error(errno.EAGAIN, out_of_threads(what))
    if caught.errno == errno.ENOMEM:
        return error(errno.ENOMEM, f"{what}: the machine has not enough memory: end other programs")
    text = caught.strerror or str(caught)
    if caught.errno == errno.ENOSPC:
        text += f": {_how_to_get_room(caught.filename)}"
    if caught.filename:
        text = f"{caught.filename}: {text}"
    if isinstance(caught, PermissionError):
        return error(errno.EACCES, f"{what}: {text}")
    return error(caught.errno or errno.EIO, f"{what}: {text}")


def _how_to_get_room(file: object) -> str:
    """Return the fix for a full file system. `file` is on that file system. None: unknown."""
    if file is None or Path(str(file)).is_relative_to(paths.SHM_DIRECTORY):
        return "close channels, or enlarge /dev/shm (mount -o remount,size=...)"
    return "remove files there, or set SHMRING_RUNTIME_DIR to a folder with room"


def out_of_files(what: str) -> errors.ShmringError:
    """Return the error for a process that may open no more files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return error(
        errno.EMFILE,
        f"{what}: this process is at its limit of {soft} open files, and a channel needs some: "
        "close channels, or raise the limit (ulimit -n, LimitNOFILE= of the service, nofile in "
        "/etc/security/limits.conf)",
    )


def out_of_threads(what: str) -> str:
    """Return the error text for a process that may start no more threads or processes."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limit = "its limit" if soft == resource.RLIM_INFINITY else f"the limit of {soft}"
    return (
        f"{what}: user {os.geteuid()} is at {limit} of processes and threads: end some, or raise "
        "the limit (ulimit -u, LimitNPROC= and TasksMax= of the service)"
    )


def check_files(fd: int, ends: Callable[[], list[int]]) -> None:
    """Raise `NoSpace` if a process that just got descriptor `fd` has too few left to start a worker
    again, or to use the channels that it has already opened.

    ends: returns how many descriptors each end of the process has open.

    First raises the soft limit if that helps. The soft limit is low because of select(), and
    channels never pass their descriptors to select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if fd + FILES_SPARE < soft // 2:
        return
    missing = sum(max(END_FILES - opened, 0) for opened in ends())
    needed = fd + FILES_SPARE + END_FILES + missing
    if needed < soft:
        return
    if soft < hard:
        from rtworkers.launch import raise_file_limit

        raise_file_limit()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed >= soft:
        raise out_of_files("opening a channel")


def check_memory(needed: int, what_fits: Callable[[int], str]) -> None:
    """Raise `NoSpace` if a segment of `needed` bytes does not fit into the free memory.

    Reserving the memory would show this too, but only after the machine had reached its limit.

    what_fits: returns the largest size that fits into so many bytes, see `room.what_fits`.
    """
    free = room.free_bytes()
    limit, fix = f"/dev/shm has {free} free", "mount -o remount,size=... /dev/shm"
    if needed <= free and needed >= LARGE_SEGMENT_BYTES:
        import psutil

        free = psutil.virtual_memory().available
        limit, fix = f"the machine has {free} bytes of memory free", "end other programs"
    if needed <= free:
        return
    fits = what_fits(free)
    smaller = f"open it with {fits}, the most that fits, or smaller packets" if fits else ""
    raise error(
        errno.ENOSPC,
        f"the channel takes {needed} bytes of shared memory and {limit}: "
        f"{smaller}{', ' if smaller else ''}close channels, or {fix}",
    )


def name_is_free(posix_name: str) -> bool:
    """Return whether a new channel may have the name. Removes the segment of a dead channel."""
    return not paths.shm_file(posix_name).exists() or remove_deserted_segment(posix_name)


def open_segment_file(posix_name: str, *, writable: bool) -> int | None:
    """Return a descriptor of an existing segment, or None if there is none that this user
    may open."""
    try:
        return paths.open_shm(posix_name, writable=writable)
    except OSError as caught:
        if caught.errno in NOT_OURS:
            return None
        raise


def remove_deserted_segment(posix_name: str, *, dry_run: bool = False) -> bool:
    """Remove a segment or a page that no pool and no worker holds. Return whether it was removed.

    Raises `OSError` with EBUSY if a lease on the file hides whether it is held.
    """
    try:
        if dry_run:
            return _is_deserted(paths.open_shm(posix_name))
        return bool(liveness.remove_deserted(posix_name, lambda: mark_closed(posix_name)))
    except OSError as caught:
        if caught.errno in NOT_OURS and caught.errno != errno.EBUSY:
            return False
        raise


def _is_deserted(fd: int) -> bool:
    try:
        return liveness.file_deserted(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def mapped(fd: int, *, writable: bool) -> Iterator[Any | None]:
    """Map a segment for the duration of the block. Gives None if that fails (see `last_text`)."""
    segment = ffi.new("shm_segment_t *")
    if lib.shm_segment_map(segment, fd, int(writable)) < 0:
        yield None
        return
    try:
        yield segment
    finally:
        lib.shm_segment_unmap(segment)


def format_segment(fd: int, config: Any) -> Any:
    """Initialise a new segment file and map it. It is unmapped when its last reference ends.

    Raises `NoSpace`, `BadConfig`.
    """
    segment = ffi.new("shm_segment_t *")
    segment_id = int.from_bytes(os.urandom(8), "little")
    check(lib.shm_segment_format(segment, fd, config, segment_id))
    return ffi.gc(segment, lib.shm_segment_unmap)


def mark_failed(holding: Holding, number: int, text: str) -> None:
    """Tell all attached processes that no worker will serve this channel any more.

    Only the worker may write here, and it is dead. Sleeping processes check the state themselves.
    """
    why = text.encode().replace(b"\0", b" ")
    error = number or errno.EOWNERDEAD
    lib.shm_segment_write_state(holding.segment_fd, lib.SHM_STATE_FAILED, error, why)


def mark_closed(posix_name: str) -> None:
    """Tell all attached processes that an abandoned channel is about to be removed, if this user
    may.

    Otherwise they would wait without a limit for a new worker, because no other segment replaces
    this one.
    """
    fd = open_segment_file(posix_name, writable=True)
    if fd is None:
        return
    try:
        with mapped(fd, writable=False) as segment:
            if segment is not None:
                lib.shm_segment_write_state(fd, lib.SHM_STATE_CLOSED, 0, b"")
    finally:
        os.close(fd)


def why_not_mapped() -> str:
    """Return why `mapped` gave None."""
    return last_text()
