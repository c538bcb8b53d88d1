"""Which receiver a transfer began with, so that it does not go on with somebody else's.

A receiver is a user's folder on a host. Its identity is the same after a restart of the program
and differs from that of everybody else's receiver on the same port. A sender remembers it in a
small file from the greeting to the end of the transfer, and in another one the token with which
the receiver recognizes the sender of an interrupted transfer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from shmring_copy.protocol import IDENTITY_BYTES, TOKEN_BYTES

_MACHINE = Path("/etc/machine-id")


def of_folder(folder: str) -> bytes:
    """Return the identity of the receiver into `folder`. It does not tell host, user or folder."""
    try:
        machine = _MACHINE.read_text().strip()  # empty in images of containers
    except OSError:
        machine = ""
    machine = machine or socket.gethostname()
    return _digest([machine, str(os.getuid()), os.path.realpath(folder)])


class Memory:
    """The receiver of one transfer: of these files to this address."""

    def __init__(self, where: tuple[str, int], sources: Iterable[str]) -> None:
        self._sources = list(map(os.path.realpath, sources))
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        self._folder = Path(state) / "shmring" / "udt"
        self._path = self._folder / _digest([f"{where[0]} {where[1]}", *self._sources]).hex()

    def recall(self) -> bytes | None:
        """Return the receiver's identity. None: this transfer is new, or was completed."""
        return _read(self._path, IDENTITY_BYTES)

    def token(self, identity: bytes) -> bytes | None:
        """Return the token that this receiver gave for these files, at whatever address it was."""
        return _read(self._token_path(identity), TOKEN_BYTES)

    def keep(self, identity: bytes, token: bytes) -> None:
        """Remember both. Where no file can be written, nothing is remembered."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path, contents in ((self._path, identity), (self._token_path(identity), token)):
                path.touch(mode=0o600)
                path.write_bytes(contents)

    def forget(self) -> None:
        """The transfer is complete, or begins anew."""
        identity = self.recall()
        for path in (self._path, *([self._token_path(identity)] if identity else ())):
            with contextlib.suppress(OSError):
                path.unlink()

    def _token_path(self, identity: bytes) -> Path:
        return self._folder / _digest([identity.hex(), *self._sources]).hex()


def _read(path: Path, size: int) -> bytes | None:
    with contextlib.suppress(OSError):
        found = path.read_bytes()
        if len(found) == size:
            return found
    return None


def _digest(parts: list[str]) -> bytes:
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=IDENTITY_BYTES, person=b"shmring udt").digest()
