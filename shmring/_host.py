"""What `pool` and `registry` share: segments as files, errors of the workers' side as ours."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import posix_ipc
import psutil

from rtworkers import Holding, WorkerDown, WorkerStartError, liveness, paths
from rtworkers.control import ControlError, WorkerGone, WorkerSilent
from rtworkers.launch import raise_file_limit
from shmring import errors
from shmring._check import check, error, last_text
from shmring._ring import ffi, lib

# Descriptors that starting a worker again needs, and opening one more channel while it lasts.
FILES_SPARE = 16
# Descriptors that an end of this process opens at its first use: connection, two bells, epoll.
END_FILES = 5
# Why a file under one of our names cannot be opened where it is none of this user's: there is none,
# it is somebody else's, it is a link, a socket, a folder or a pipe, somebody holds a lease on it.
NOT_OURS = frozenset(
    (
        *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.EISDIR),
        *(errno.EPROTO, errno.EBUSY),
    )
)
# Below this a look at the machine's free memory costs more than it tells.
LARGE_SEGMENT_BYTES = 64 << 20


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise what the workers' side raises as errors of this package, `what` in front."""
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
    except posix_ipc.PermissionsError as caught:
        raise error(errno.EACCES, f"{what}: {caught}") from None
    except posix_ipc.Error as caught:
        raise error(errno.EIO, f"{what}: {caught}") from None


def from_os(what: str, caught: OSError) -> errors.ShmringError:
    """The error of this package for one of the system, `what` in front."""
    if caught.errno in (errno.EMFILE, errno.ENFILE):
        return out_of_files(what)
    if caught.errno == errno.EAGAIN:
        return error(errno.EAGAIN, out_of_threads(what))
    if caught.errno == errno.ENOMEM:
        return error(errno.ENOMEM, f"{what}: the machine has no memory for it: end other programs")
    text = caught.strerror or str(caught)
    if caught.errno == errno.ENOSPC:
        text += f": {_how_to_get_room(caught.filename)}"
    if caught.filename:
        text = f"{caught.filename}: {text}"
    if isinstance(caught, PermissionError):
        return error(errno.EACCES, f"{what}: {text}")
    return error(caught.errno or errno.EIO, f"{what}: {text}")


def _how_to_get_room(file: object) -> str:
    """What helps against a full file system; `file` is the one that has no room, None: unknown."""
    if file is None or Path(str(file)).is_relative_to(paths.SHM_DIRECTORY):
        return "close channels, or enlarge /dev/shm (mount -o remount,size=...)"
    return "remove files there, or set SHMRING_RUNTIME_DIR to a folder with room"


def out_of_files(what: str) -> errors.ShmringError:
    """The error of a process that may open no more files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return error(
        errno.EMFILE,
        f"{what}: this process is at its limit of {soft} open files, and a channel takes a few: "
        "close channels, or raise the limit (ulimit -n, LimitNOFILE= of the service, nofile in "
        "/etc/security/limits.conf)",
    )


def out_of_threads(what: str) -> str:
    """The error text for a process that may start no more threads or processes."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limit = "its limit" if soft == resource.RLIM_INFINITY else f"the limit of {soft}"
    return (
        f"{what}: user {os.geteuid()} is at {limit} of processes and threads: end some, or raise "
        "the limit (ulimit -u, LimitNPROC= and TasksMax= of the service)"
    )


def check_files(fd: int, unattached: Callable[[], int]) -> None:
    """Raise `NoSpace` if a process that was just given descriptor `fd` is short of more: a worker
    could not be started again, or `unattached` ends that were opened before could not be used.

    Raises the soft limit first where that helps: it is low for the sake of select(), which the
    descriptors of channels never meet.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if fd + FILES_SPARE < soft // 2:
        return
    needed = fd + FILES_SPARE + END_FILES * (unattached() + 1)
    if needed < soft:
        return
    if soft < hard:
        raise_file_limit()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed >= soft:
        raise out_of_files("opening a channel")


def check_memory(needed: int) -> None:
    """Raise `NoSpace` if a segment of so many bytes would not fit what is free now.

    Reserving it would tell as well, but only after the machine was brought to its limit.
    """
    if needed < LARGE_SEGMENT_BYTES:
        return
    shm = os.statvfs(paths.SHM_DIRECTORY)
    free_shm = shm.f_bavail * shm.f_frsize
    free = psutil.virtual_memory().available
    if needed > free_shm:
        limit, fix = f"/dev/shm has {free_shm} free", "mount -o remount,size=... /dev/shm"
    elif needed > free:
        limit, fix = f"the machine has {free} bytes of memory free", "end other programs"
    else:
        return
    raise error(
        errno.ENOSPC,
        f"the channel takes {needed} bytes of shared memory and {limit}: lower capacity or "
        f"packet_bytes, close channels, or {fix}",
    )


def free_name(posix_name: str, name: str, namespace: str) -> None:
    """Make sure that a new channel can have its name: a dead one's segment is removed.

    Raises `ChannelExists`.
    """
    if not paths.shm_file(posix_name).exists() or remove_deserted_segment(posix_name):
        return
    raise error(
        errno.EEXIST,
        f"channel {name!r} is open already in namespace {namespace!r}: choose another name, attach "
        "to it with shmring.attach(), or close it",
    )


def open_segment_file(posix_name: str, *, writable: bool) -> int | None:
    """Descriptor of an existing segment; None if there is none, or it is not for this user."""
    try:
        return paths.open_shm(posix_name, writable=writable)
    except OSError as caught:
        if caught.errno in NOT_OURS:
            return None
        raise


def remove_deserted_segment(posix_name: str, *, dry_run: bool = False) -> bool:
    """Remove a segment or a page that no pool and no worker holds. Returns whether it was one.

    Raises `OSError` with EBUSY if somebody's lease on the file keeps this from being known.
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
    """A segment, mapped for the duration of the block; None if it cannot be (see `last_text`)."""
    segment = ffi.new("shm_segment_t *")
    if lib.shm_segment_map(segment, fd, int(writable)) < 0:
        yield None
        return
    try:
        yield segment
    finally:
        lib.shm_segment_unmap(segment)


def format_segment(fd: int, config: Any) -> Any:
    """Lay out a new segment file and map it, until nobody refers to the mapping any more.

    Raises `NoSpace`, `BadConfig`.
    """
    segment = ffi.new("shm_segment_t *")
    segment_id = int.from_bytes(os.urandom(8), "little")
    check(lib.shm_segment_format(segment, fd, config, segment_id))
    return ffi.gc(segment, lib.shm_segment_unmap)


def mark_failed(holding: Holding, number: int, text: str) -> None:
    """Tell everybody attached that no worker will serve this channel any more.

    The worker, whose line this is, is dead. Sleepers look at the state by themselves.
    """
    why = text.encode().replace(b"\0", b" ")
    lib.shm_segment_say(holding.segment_fd, lib.SHM_STATE_FAILED, number or errno.EOWNERDEAD, why)


def mark_closed(posix_name: str) -> None:
    """Tell everybody attached that a deserted channel is about to be removed, where this user may.

    They would wait for ever for a worker that cannot come: no other segment takes its place.
    """
    fd = open_segment_file(posix_name, writable=True)
    if fd is None:
        return
    try:
        with mapped(fd, writable=False) as segment:
            if segment is not None:
                lib.shm_segment_say(fd, lib.SHM_STATE_CLOSED, 0, b"")
    finally:
        os.close(fd)


def why_not_mapped() -> str:
    """Why `mapped` gave None."""
    return last_text()
