"""The files of a transfer: the files to send, and a folder that receives files.

Nothing leads out of the folder: the parts of a path are opened one by one and links are not
followed. So neither a path from the peer nor a link inside the folder can escape.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from shmring_copy.protocol import (
    CHECKPOINT_BYTES,
    DIGEST_BYTES,
    TOKEN_BYTES,
    Checkpoint,
    Entry,
    TransferError,
    checkpoint_offsets,
    new_hash,
    show,
)

STAGING = ".shmring-udt"
"""Folder inside the receiving one. Each transfer has a folder there, named by its token, with its
incomplete files, and a list of its complete ones."""

_DONE = "done"
_DONE_ROW = struct.Struct(f"16s{DIGEST_BYTES}s")

Alive = Callable[[], object]
"""Called from time to time while a long file is read."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO in a file's place must not block the open.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


# --- sending --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """A file or folder to send, and its path."""

    entry: Entry
    path: bytes


def scan(paths: Iterable[str | os.PathLike[str]]) -> tuple[list[Source], list[str]]:
    """Return everything under `paths`, each under its own name, folders before their contents.

    Also returns the paths that are left out: in folders, everything that is neither a file nor a
    folder, including links. Files that vanish meanwhile are skipped. Raises `OSError`, and
    `TransferError` for two entries of the same name.
    """
    found: dict[bytes, Source] = {}
    left_out: list[str] = []
    for path in paths:
        real = os.fsencode(Path(path).resolve() if Path(path).name in ("", "..") else path)
        name = os.path.basename(real.rstrip(b"/"))
        state = os.stat(path)
        if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
            raise TransferError(f"{show(real)} is neither a file nor a folder")
        for source in _scan_one(real, name, state, left_out):
            if source.entry.path in found:
                raise TransferError(
                    f"{show(found[source.entry.path].path)} and {show(source.path)} have the same "
                    "name: send them one after the other, into different folders"
                )
            found[source.entry.path] = source
    return list(found.values()), left_out


def _scan_one(
    path: bytes, name: bytes, state: os.stat_result, left_out: list[str]
) -> Iterator[Source]:
    waiting: list[tuple[bytes, bytes, os.stat_result]] = [(path, name, state)]
    while waiting:
        path, name, state = waiting.pop()
        is_folder = stat.S_ISDIR(state.st_mode)
        size = 0 if is_folder else state.st_size
        mode = stat.S_IMODE(state.st_mode)
        yield Source(Entry(name, size, state.st_mtime_ns, mode, is_folder), path)
        if is_folder:
            waiting += reversed(list(_inside(path, name, left_out)))


def _inside(
    path: bytes, name: bytes, left_out: list[str]
) -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    """Return the entries of a folder that can be sent, by name."""
    with contextlib.suppress(FileNotFoundError), os.scandir(path) as listing:
        for item in sorted(listing, key=lambda item: item.name):
            if item.is_symlink() or not (item.is_file() or item.is_dir()):
                left_out.append(show(item.path))
                continue
            with contextlib.suppress(FileNotFoundError):
                yield item.path, name + b"/" + item.name, item.stat(follow_symlinks=False)


def open_source(source: Source) -> int:
    """Open what `scan` found for reading. A link in its place is followed only if the user named
    it: a link that replaced a file in a folder may lead anywhere. Raises `OSError`."""
    named = b"/" not in source.entry.path
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(source.path, flags if named else flags | os.O_NOFOLLOW)


def match(file: int, checkpoints: Sequence[Checkpoint], alive: Alive) -> tuple[int, Any]:
    """Return how much of a file, from its beginning, matches the checkpoints, and its hash up to
    there."""
    good, state = 0, new_hash()
    now = state.copy()
    for mark in checkpoints:
        if not _hash_on(file, now, good, mark.offset, alive) or now.digest() != mark.digest:
            break
        good, state = mark.offset, now.copy()
    return good, state


def _hash_on(file: int, state: Any, start: int, end: int, alive: Alive) -> bool:
    """Continue the hash from `start` to `end`. Return False if the file ends before."""
    buffer = bytearray(CHECKPOINT_BYTES)
    view = memoryview(buffer)
    while start < end:
        got = os.preadv(file, [view[: min(len(view), end - start)]], start)
        if got == 0:
            return False
        state.update(view[:got])
        start += got
        alive()
    return True


# --- receiving ------------------------------------------------------------------------------------


class _Held:
    """What exists of a wanted file: its checkpoints and the hashes at each of them."""

    def __init__(self, complete: bool) -> None:
        self.complete = complete  # in its place, not in the staging folder
        self.checkpoints: list[Checkpoint] = []
        self.states: dict[int, Any] = {0: new_hash()}

    def add(self, offset: int, state: Any) -> None:
        self.checkpoints.append(Checkpoint(offset, state.digest()))
        self.states[offset] = state.copy()


class Folder:
    """A folder that receives files. Parts of files wait in `STAGING` and are moved once checked.

    What exists already is shown only to the sender that it came from, because its hash tells those
    who guess whether they are right. `begin_transfer` recognizes the sender.

    One process at a time may use it. Errors of the file system are `OSError`.
    """

    def __init__(self, path: str | os.PathLike[str], *, update: bool = False) -> None:
        """Create it if necessary. update: show complete files to every sender.

        Raises `BlockingIOError` if another process receives there.
        """
        os.makedirs(path, exist_ok=True)
        self._update = update
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._token = ""
        self._parts = -1
        self._done_file = -1
        self._done: dict[bytes, bytes] = {}
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._held: dict[int, _Held] = {}
        self._begun = -1
        self._file = -1
        self._staging = -1
        try:
            self._staging = self._open_folder([os.fsencode(STAGING)], make=True, mode=0o700)
            os.fchmod(self._staging, 0o700)  # an older version left its tokens to the umask
            self._lock(path)
        except BaseException:
            self.close()
            raise

    def _lock(self, path: str | os.PathLike[str]) -> None:
        try:
            fcntl.flock(self._staging, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                errno.EWOULDBLOCK, f"another process receives into {os.fspath(path)}"
            ) from None

    def close(self) -> None:
        """Forget the current file. Its parts stay for the next time. May be called more
        than once."""
        self._end_file()
        self._leave_transfer()
        root, self._root = self._root, -1
        staging, self._staging = self._staging, -1
        if staging >= 0:
            with contextlib.suppress(OSError):
                os.rmdir(STAGING, dir_fd=root)  # stays while it is not empty
            os.close(staging)
        if root >= 0:
            os.close(root)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- a transfer -------------------------------------------------------------------------------

    def begin_transfer(self, knows: Callable[[bytes], bool] = lambda _: False) -> bytes:
        """Continue the transfer whose token the sender knows, or begin one. Return its token."""
        self._leave_transfer()
        tokens = (bytes.fromhex(name) for name in os.listdir(self._staging) if _is_token(name))
        token = next(filter(knows, tokens), None) or secrets.token_bytes(TOKEN_BYTES)
        self._token = token.hex()
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._token, 0o700, dir_fd=self._staging)
        self._parts = os.open(self._token, _FOLDER, dir_fd=self._staging)
        self._done_file = os.open(_DONE, _WRITE, 0o600, dir_fd=self._parts)
        rows = os.pread(self._done_file, self._done_bytes(), 0)
        self._done = dict(_DONE_ROW.iter_unpack(rows))
        return token

    def _done_bytes(self) -> int:
        """Return the size of the list of complete files, without a row that was cut off."""
        return os.fstat(self._done_file).st_size // _DONE_ROW.size * _DONE_ROW.size

    def end_transfer(self) -> None:
        """The transfer is complete: nobody will continue it."""
        for name in os.listdir(self._parts):
            os.unlink(name, dir_fd=self._parts)
        self._leave_transfer()

    def _leave_transfer(self) -> None:
        """What is there waits for its sender."""
        parts, self._parts = self._parts, -1
        done, self._done_file = self._done_file, -1
        if done >= 0:
            os.close(done)
        if parts < 0:
            return
        with contextlib.suppress(OSError):
            if not self._done and os.listdir(parts) == [_DONE]:
                os.unlink(_DONE, dir_fd=parts)
            os.rmdir(self._token, dir_fd=self._staging)  # stays while it is not empty
        os.close(parts)

    # --- before a file ----------------------------------------------------------------------------

    def make_folder(self, entry: Entry) -> None:
        """Create a folder unless it exists."""
        _refuse_staging(entry)
        with self._opened(entry.path.split(b"/"), make=True):
            pass

    def look(self, index: int, entry: Entry, alive: Alive) -> list[Checkpoint]:
        """Find what this sender may know of a file that already exists, and hash it."""
        _refuse_staging(entry)
        self._held[index] = held = _Held(complete=False)
        with contextlib.suppress(FileNotFoundError):
            self._look_at(held, entry, _part_name(entry), self._parts, alive)
            return held.checkpoints
        parent, name = _split(entry)
        with contextlib.suppress(FileNotFoundError), self._opened(parent, make=False) as folder:
            held.complete = True
            self._look_at(held, entry, name, folder, alive)
        came = self._done.get(_path_hash(entry))
        if not self._update and [mark.digest for mark in held.checkpoints] != [came]:
            self.anew(index)  # it has changed since: that is nobody's business
        return self._held[index].checkpoints

    def _look_at(self, held: _Held, entry: Entry, name: bytes, folder: int, alive: Alive) -> None:
        file = os.open(name, _READ, dir_fd=folder)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EEXIST, "something else has this name")
            if held.complete and (found.st_size != entry.size or not self._may_show(entry)):
                return
            size = min(found.st_size, entry.size)
            offsets = [size] if held.complete and size else checkpoint_offsets(size)
            state, at = new_hash(), 0
            for offset in offsets:
                if not _hash_on(file, state, at, offset, alive):
                    return
                held.add(offset, state)
                at = offset
        finally:
            os.close(file)

    def _may_show(self, entry: Entry) -> bool:
        return self._update or _path_hash(entry) in self._done

    def anew(self, index: int) -> None:
        """Call this instead of `look` if existing parts of a file must not be used."""
        self._held[index] = _Held(complete=False)

    # --- a file -----------------------------------------------------------------------------------

    def begin(self, index: int, entry: Entry, offset: int) -> None:
        """Begin to receive a file that `look` has checked, from `offset` on."""
        held = self._held.pop(index)
        self._entry = entry
        self._state = held.states[offset]
        self._in_place = held.complete and offset == entry.size and bool(entry.size)
        self._begun = index
        if self._in_place:
            return
        self._file = os.open(_part_name(entry), _WRITE, 0o600, dir_fd=self._parts)
        os.ftruncate(self._file, offset)
        os.lseek(self._file, offset, os.SEEK_SET)

    def write(self, view: memoryview) -> None:
        """Append bytes to the file."""
        self._state.update(view)
        done = 0
        while done < len(view):
            done += os.write(self._file, view[done:])

    @property
    def digest(self) -> bytes:
        """Return the hash of the file so far."""
        return bytes(self._state.digest())

    def end(self, digest: bytes) -> bool:
        """End the file. If its hash is the sender's, move it to its place and return True."""
        entry = self._entry
        good = self.digest == digest
        try:
            if not good:
                if not self._in_place:
                    os.unlink(_part_name(entry), dir_fd=self._parts)
                return False
            parent, name = _split(entry)
            with self._opened(parent, make=True) as folder:
                if not self._in_place:
                    _refuse_folder(name, folder)
                    os.fchmod(self._file, entry.mode & ~self._umask)
                    os.rename(_part_name(entry), name, src_dir_fd=self._parts, dst_dir_fd=folder)
                _set_time(name, entry, folder)
            if self._done.get(_path_hash(entry)) != digest:
                row = _DONE_ROW.pack(_path_hash(entry), digest)
                os.pwrite(self._done_file, row, self._done_bytes())
                self._done[_path_hash(entry)] = digest
        finally:
            self._end_file()
        return True

    def give_up(self, index: int) -> None:
        """Give up a file. Its parts stay."""
        self._held.pop(index, None)
        if index == self._begun:
            self._end_file()

    def finish_folder(self, entry: Entry) -> None:
        """Give a folder its permissions and time, once everything in it is there."""
        with self._opened(entry.path.split(b"/"), make=True) as folder:
            os.fchmod(folder, entry.mode & ~self._umask | stat.S_IRWXU)
            os.utime(folder, ns=(entry.mtime_ns, entry.mtime_ns))

    def _end_file(self) -> None:
        self._begun = -1
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    # --- folders ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _opened(self, names: list[bytes], *, make: bool) -> Iterator[int]:
        folder = self._open_folder(names, make=make)
        try:
            yield folder
        finally:
            os.close(folder)

    def _open_folder(self, names: list[bytes], *, make: bool, mode: int = 0o777) -> int:
        folder = os.dup(self._root)
        try:
            for name in names:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, mode, dir_fd=folder)
                below = os.open(name, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = below
        except BaseException:
            os.close(folder)
            raise
        return folder


def _split(entry: Entry) -> tuple[list[bytes], bytes]:
    *parent, name = entry.path.split(b"/")
    return parent, name


def _path_hash(entry: Entry) -> bytes:
    return hashlib.blake2b(entry.path, digest_size=16).digest()


def _part_name(entry: Entry) -> bytes:
    return _path_hash(entry).hex().encode() + b".part"


def _is_token(name: str) -> bool:
    return len(name) == 2 * TOKEN_BYTES and not set(name) - set("0123456789abcdef")


def _refuse_staging(entry: Entry) -> None:
    if entry.path.split(b"/")[0] == os.fsencode(STAGING):
        raise OSError(errno.EPERM, f"{STAGING} is reserved for incomplete files: use another name")


def _refuse_folder(name: bytes, folder: int) -> None:
    """Renaming would fail too, but with an errno that differs among file systems."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise IsADirectoryError(errno.EISDIR, "a folder has this name")


def _set_time(name: bytes, entry: Entry, folder: int) -> None:
    times = (entry.mtime_ns, entry.mtime_ns)
    os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False)
