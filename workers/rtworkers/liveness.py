"""Who is alive: advisory locks that end with the process that holds them, and process identities.

A lock belongs to an open file description, so it ends when its last holder dies, in any way. A pool
and each of its workers hold `lock` of their runtime directory as a shared lock. A process that gets
it exclusively knows that none of them is left. A channel's segment and a worker's page are locked
in the same way through the descriptor that pool and worker share.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import posix_ipc

from rtworkers import paths
from rtworkers.opener import is_dead

CHILD_STARTS_S = 5.0
LOOK_S = 0.002


def lock_shared(fd: int) -> None:
    """Lock the file `fd` as owned, for as long as any copy of this descriptor is open."""
    fcntl.flock(fd, fcntl.LOCK_SH)


def lock_exclusive(fd: int) -> bool:
    """Return whether no other process holds the file. If so, `fd` then holds it exclusively."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_same_file(fd: int, path: Path) -> bool:
    """Return whether `path` still names the file open as `fd`."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(fd)
    return (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)


def hold_directory(directory: Path, group: int | None = None) -> int:
    """Create `directory` if necessary and hold its lock shared. Return the lock's descriptor.

    Waits for a collector that is just removing the directory, then creates it again.
    """
    path = directory / "lock"
    while True:
        try:
            paths.make_directory(directory, group)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # the collector removed it between the two calls
        try:
            lock_shared(fd)
            if is_same_file(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def own_directory(directory: Path, group: int | None = None) -> tuple[int, int]:
    """Hold `directory` and become its only pool process. Return the descriptors of both locks.

    Raises `BlockingIOError` with the process that is its pool now. If that is dead, a child of it
    holds the lock: a worker that it was just starting does so until it runs its own program. That
    is waited for, `CHILD_STARTS_S` at most.
    """
    give_up = time.monotonic() + CHILD_STARTS_S
    while True:
        lock_fd = hold_directory(directory, group)
        try:
            owner_fd = os.open(directory / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            os.close(lock_fd)
            continue  # the previous pool was just leaving
        except OSError:
            os.close(lock_fd)
            raise
        if lock_exclusive(owner_fd) and is_same_file(lock_fd, directory / "lock"):
            break
        owner = os.pread(owner_fd, 32, 0).decode("ascii", "replace").strip()
        os.close(owner_fd)
        os.close(lock_fd)
        left_a_child = owner.isdecimal() and is_dead(int(owner))
        if left_a_child and time.monotonic() < give_up:
            time.sleep(LOOK_S)
        elif left_a_child:
            raise BlockingIOError(
                errno.EAGAIN,
                f"process {owner} was this pool and is dead, but a child of it has held "
                f"{directory / 'owner'} for {CHILD_STARTS_S:g} s more: end that process",
            )
        elif (directory / "lock").exists():
            raise BlockingIOError(
                errno.EAGAIN,
                f"process {owner or '(starting)'} is this pool already; open channels through it "
                f"with shmring.open(..., pool={directory.name!r})",
            )
    try:
        os.ftruncate(owner_fd, 0)
        os.pwrite(owner_fd, f"{os.getpid()}\n".encode("ascii"), 0)
    except OSError as caught:
        os.close(owner_fd)
        os.close(lock_fd)
        raise OSError(caught.errno, caught.strerror, str(directory / "owner")) from None
    return lock_fd, owner_fd


def owner(directory: Path) -> int | None:
    """Return the process that is or was the pool of `directory`. None: unknown."""
    try:
        with open(directory / "owner", encoding="ascii") as file:
            return int(file.read(32))
    except (OSError, ValueError):
        return None


@contextmanager
def deserted(directory: Path) -> Iterator[bool]:
    """Tell whether `directory` is deserted. During the block no process can take it.

    A directory without a lock file counts as in use, because it may be being created.
    """
    path = directory / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        yield False
        return
    try:
        yield lock_exclusive(fd) and is_same_file(fd, path)
    finally:
        os.close(fd)


def remove_directory(directory: Path) -> None:
    """Remove a pool's runtime directory, its lock last. Only call it inside `deserted`."""
    for path in directory.iterdir():
        if path.suffix in (".sock", ".channel", ".new") or path.name == "owner":
            path.unlink(missing_ok=True)
    (directory / "lock").unlink(missing_ok=True)
    for folder in (directory, directory.parent):
        with contextlib.suppress(OSError):
            folder.rmdir()  # a namespace stays while it has other pools


def nameless_file() -> int:
    """Create a file in POSIX shared memory, owned by this process. Return its descriptor.

    It has no name yet, so it vanishes when no process holds it. Raises `OSError`.
    """
    fd = os.open(paths.SHM_DIRECTORY, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    lock_shared(fd)
    return fd


def remove_deserted(posix_name: str, prepare: Callable[[], None] = lambda: None) -> bool | None:
    """Call `prepare`, then remove a segment or a page that no pool and no worker holds.

    Returns whether it was removed. None: there is no such file. Raises `OSError`.
    """
    try:
        fd = paths.open_shm(posix_name)
    except FileNotFoundError:
        return None
    try:
        if not lock_exclusive(fd):
            return False
        prepare()
        return remove_own(posix_name, fd) or None
    finally:
        os.close(fd)


def remove_own(posix_name: str, fd: int) -> bool:
    """Unlink a segment or a page if it is still the file `fd`. Return whether it was."""
    if not is_same_file(fd, paths.shm_file(posix_name)):
        return False
    with contextlib.suppress(posix_ipc.ExistentialError):  # pyright: ignore
        posix_ipc.unlink_shared_memory(posix_name)  # pyright: ignore
    return True


def file_deserted(fd: int) -> bool:
    """Return whether no pool and no worker holds the segment or page open as `fd`."""
    if not lock_exclusive(fd):
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def peer(sock: socket.socket) -> tuple[int, int, int]:
    """Return process, user and group id of the peer of a connected Unix socket."""
    pid, uid, gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid, gid
