"""Files in which a named pool records each of its channels, in case both pool and worker die.

A channel's own segment has the same facts, but its clients can write there. These files are in the
pool's runtime directory, where only the pool's user can write.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rtworkers import paths
from rtworkers.opener import Opener

SUFFIX = ".channel"


class FileIdentity(NamedTuple):
    """The identity and permissions of a file."""

    dev: int
    ino: int
    uid: int
    gid: int
    mode: int


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one channel."""

    slot: int
    config: bytes
    """The configuration that its opener gave."""
    bound: tuple[str, int] | None
    """Address of its socket. None: it has none."""
    file: FileIdentity
    """Identity of its segment. Its name may belong to another file by now."""
    openers: dict[Opener, int]
    uid: int

    def is_of(self, named: os.stat_result) -> bool:
        """Return whether a file is the recorded segment, with permissions not wider than then."""
        return named.st_uid == os.geteuid() and _identity(named) == self.file


def write(
    directory: Path,
    name: str,
    slot: int,
    config: bytes,
    segment_fd: int,
    socket_fd: int,
    openers: dict[Opener, int],
    uid: int,
) -> None:
    """Record a channel that was opened, or that another worker serves now. Raises `OSError`."""
    path = _path(directory, name)
    fresh = path.with_suffix(".new")
    content = {
        "slot": slot,
        "config": config.hex(),
        "bound": _bound(socket_fd),
        "file": _identity(os.fstat(segment_fd)),
        "openers": [(*opener, ends) for opener, ends in openers.items()],
        "uid": uid,
    }
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="ascii") as file:
            json.dump(content, file)
        os.replace(fresh, path)
    except OSError as caught:
        with contextlib.suppress(OSError):
            fresh.unlink()
        text = f"{caught.strerror}: the pool records its channels there"
        raise OSError(caught.errno, text, str(fresh)) from None


def read(directory: Path, name: str) -> Record | None:
    """Return the record of a channel. None: there is no usable one."""
    try:
        content = json.loads(_path(directory, name).read_text("ascii"))
        bound = content["bound"]
        return Record(
            int(content["slot"]),
            bytes.fromhex(content["config"]),
            None if bound is None else (str(bound[0]), int(bound[1])),
            FileIdentity(*map(int, content["file"])),
            dict(map(_opener, content["openers"])),
            int(content["uid"]),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def names(directory: Path) -> list[str]:
    """Return the channels that have a record, sorted."""
    return [path.name.removesuffix(SUFFIX) for path in paths.listed(directory, f"*{SUFFIX}")]


def find(namespace_directory: Path, name: str) -> Iterator[Path]:
    """Return the directories of the pools that recorded a channel of this name."""
    for directory in paths.listed(namespace_directory):
        if os.path.exists(_path(directory, name)):
            yield directory


def remove(directory: Path, name: str) -> None:
    """Remove the record of a closed channel."""
    _path(directory, name).unlink(missing_ok=True)


def _path(directory: Path, name: str) -> Path:
    return directory / f"{name}{SUFFIX}"


def _opener(raw: list[int | str]) -> tuple[Opener, int]:
    pid, started, uid = map(int, raw[:3])
    return Opener(pid, started, uid, str(raw[3])), int(raw[4])


def _bound(socket_fd: int) -> tuple[str, int] | None:
    if socket_fd < 0:
        return None
    with socket.socket(fileno=os.dup(socket_fd)) as sock:
        address = sock.getsockname()
    return address[0], address[1]


def _identity(file: os.stat_result) -> FileIdentity:
    return FileIdentity(file.st_dev, file.st_ino, file.st_uid, file.st_gid, file.st_mode)
