"""The paths of the runtime directory and the names in POSIX shared memory, and the reader of all
listings of them.

    <base>/<namespace>/<pool>/lock              held shared by the pool and by each of its workers
                              owner             held exclusively by the process that is the pool
                              pool.sock         requests to a named pool
                              worker-<slot>.sock  control socket of one worker
                              door.sock         requests of other users, if the pool has a group
    /dev/shm/shmring:<namespace>:c:<channel>    a channel's segment
    /dev/shm/shmring:<namespace>:w:<pool>:<slot>  a worker's page

``<base>`` is ``$SHMRING_RUNTIME_DIR``, else ``$XDG_RUNTIME_DIR/shmring``, else ``/run/shmring`` for
root, else ``/tmp/shmring-<uid>``.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

SHM_DIRECTORY = Path("/dev/shm")
NAME_MAX = 64
SOCKET_PATH_MAX = 107  # sun_path without the terminating zero

_NAME = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,64}")
_PREFIX = "shmring:"


def check_name(what: str, name: object) -> str:
    """Return `name` if it is valid for a channel, a pool or a namespace, else raise.

    Allowed are 1 to 64 of ``A-Z a-z 0-9 . _ -``, except ``.`` and ``..``, because some names are
    folders.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, not {type(name).__name__}: {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{what} {name!r}: use 1 to {NAME_MAX} of A-Z a-z 0-9 . _ -, but not '.' or '..'"
        )
    return name


def default_namespace() -> str:
    """Return ``$SHMRING_NAMESPACE``, or ``default``."""
    return check_name("SHMRING_NAMESPACE", os.environ.get("SHMRING_NAMESPACE") or "default")


def namespace_of(given: str | None) -> str:
    """Return the given namespace, or the default one for None. Raises `ValueError`."""
    return default_namespace() if given is None else check_name("namespace", given)


def runtime_base() -> Path:
    """Return the folder that contains the folders of this user's namespaces."""
    if explicit := os.environ.get("SHMRING_RUNTIME_DIR"):
        return Path(explicit).absolute()
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(session).absolute() / "shmring"
    if os.geteuid() == 0:
        return Path("/run/shmring")
    return Path(f"/tmp/shmring-{os.geteuid()}")


def pool_directory(namespace: str, pool: str, base: Path | None = None) -> Path:
    """Return the runtime directory of one pool, which need not exist."""
    return (base or runtime_base()) / namespace / pool


def worker_socket(directory: Path, slot: int) -> Path:
    """Return the control socket of the worker in `slot`."""
    return directory / f"worker-{slot}.sock"


def door_socket(directory: Path) -> Path:
    """Return the socket by which other users reach the pool and the workers in `directory`."""
    return directory / "door.sock"


def check_socket_paths(directory: Path, most_slot: int) -> None:
    """Raise `ValueError` if a socket in `directory` could have a longer path than Linux accepts."""
    longest = worker_socket(directory, most_slot)
    length = len(os.fsencode(longest))
    if length > SOCKET_PATH_MAX:
        raise ValueError(
            f"socket path {longest} has {length} bytes, Linux accepts {SOCKET_PATH_MAX}: use "
            "shorter names, or set SHMRING_RUNTIME_DIR to a shorter folder"
        )


_UNUSABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


def make_directory(directory: Path, group: int | None) -> None:
    """Create the runtime directory `directory` (base, namespace and pool) for this user alone.

    With `group`, its members may enter the pool's directory. Raises `PermissionError` if another
    user owns a folder of that name, and `OSError` for one that cannot be made.
    """
    for folder in (directory.parent.parent, directory.parent, directory):
        try:
            if folder == directory.parent.parent:
                folder.parent.mkdir(parents=True, exist_ok=True)
            _make_private(folder)
        except OSError as caught:
            if caught.errno not in _UNUSABLE:
                raise
            text = f"{caught.strerror}: set SHMRING_RUNTIME_DIR to a folder of your own"
            raise OSError(caught.errno, text, str(folder)) from None
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid not in (os.geteuid(), 0):
            raise PermissionError(
                f"{folder} belongs to user {facts.st_uid}, not to {os.geteuid()}: remove it, or "
                "set SHMRING_RUNTIME_DIR to a folder of your own"
            )
        if group is not None and facts.st_uid == os.geteuid():
            if folder == directory:
                os.chown(folder, -1, group)
                folder.chmod(0o750)
            else:
                folder.chmod(stat.S_IMODE(facts.st_mode) | 0o011)


def _make_private(folder: Path) -> None:
    """Make a folder that its owner may use, whatever the umask is, if it does not exist."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        folder.chmod(0o700)


def channel_segment(namespace: str, channel: str) -> str:
    """Return the POSIX name of a channel's segment."""
    return f"/{_PREFIX}{namespace}:c:{channel}"


def worker_page(namespace: str, pool: str, slot: int) -> str:
    """Return the POSIX name of a worker's page."""
    return f"/{_PREFIX}{namespace}:w:{pool}:{slot}"


def shm_file(posix_name: str) -> Path:
    """Return the file of a POSIX shared memory name on Linux."""
    return SHM_DIRECTORY / posix_name.lstrip("/")


def open_shm(posix_name: str, *, writable: bool = False) -> int:
    """Return a descriptor of an existing file in POSIX shared memory.

    Any user may create files of any kind there. Links are not followed. Everything except regular
    files is refused, because opening a named pipe would wait for its other end without limit. A
    file on which a process holds a lease (fcntl(2)) is refused with EBUSY, because opening would
    wait for it. Raises `OSError`.
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = shm_file(posix_name)
    try:
        fd = os.open(file, flags | (os.O_RDWR if writable else os.O_RDONLY))
    except BlockingIOError:
        raise OSError(errno.EBUSY, "a process holds a lease on this file", str(file)) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EPROTO, "not a regular file", str(file))
    return fd


@contextmanager
def opened_shm(posix_name: str) -> Iterator[int]:
    """Open a file in POSIX shared memory for reading, like `open_shm`, during the block."""
    fd = open_shm(posix_name)
    try:
        yield fd
    finally:
        os.close(fd)


class ShmName(NamedTuple):
    """The parts of one of our names in POSIX shared memory."""

    posix_name: str
    namespace: str
    channel: str | None = None
    pool: str | None = None
    slot: int | None = None


def parse_shm_name(file_name: str) -> ShmName | None:
    """Return the parts of a file name in /dev/shm, or None if it is not one of ours."""
    if not file_name.startswith(_PREFIX):
        return None
    posix_name = f"/{file_name}"
    match file_name.removeprefix(_PREFIX).split(":"):
        case [namespace, "c", channel] if _NAME.fullmatch(namespace) and _NAME.fullmatch(channel):
            return ShmName(posix_name, namespace, channel=channel)
        case [namespace, "w", pool, slot] if (
            _NAME.fullmatch(namespace) and _NAME.fullmatch(pool) and slot.isdecimal()
        ):
            return ShmName(posix_name, namespace, pool=pool, slot=int(slot))
    return None


def shm_names(namespace: str | None = None) -> list[ShmName]:
    """Return every name of ours in shared memory, or those of one namespace, sorted."""
    try:
        found = sorted(os.listdir(SHM_DIRECTORY))
    except FileNotFoundError:
        return []
    names = [name for name in map(parse_shm_name, found) if name is not None]
    return [name for name in names if namespace is None or name.namespace == namespace]


# --- listings ------------------------------------------------------------------------------------

T = TypeVar("T")


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """Return what `folder` contains, sorted. Nothing if it is gone, or another user's: whoever
    removes the last pool of a namespace removes its folder, also during a look, and then
    `Path.glob` raises."""
    try:
        return sorted(folder.glob(pattern))
    except (FileNotFoundError, PermissionError):
        return []


_OWN_LIMITS = (errno.EMFILE, errno.ENFILE)


class Unread(NamedTuple):
    """A file that could not be read."""

    name: ShmName
    reason: str
    hidden: bool
    """Whether this user may not open it."""


def read_each(
    names: Iterable[ShmName], read: Callable[[ShmName], T | None]
) -> Iterator[T | Unread]:
    """Yield what `read` returns of each file, or why it raised. Any user can make a file of any
    name, with any contents, and what is wrong with one must not end the listing.

    Leaves out files that are gone meanwhile, and those of which `read` returns None. Raises the
    `OSError` of a process that may open no more files, for that is no fault of the file.
    """
    for name in names:
        try:
            found = read(name)
        except FileNotFoundError:
            continue
        except Exception as caught:
            if isinstance(caught, OSError) and caught.errno in _OWN_LIMITS:
                raise
            yield Unread(name, why_unread(caught), isinstance(caught, PermissionError))
            continue
        if found is not None:
            yield found


def why_unread(caught: Exception) -> str:
    """Return the error of a file in words."""
    if isinstance(caught, OSError):
        return caught.strerror or str(caught)
    if isinstance(caught, ValueError):
        return str(caught)
    return f"{type(caught).__name__}: {caught}"  # no reader foresaw such contents
