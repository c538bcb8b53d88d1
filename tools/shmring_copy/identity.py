"""Which receiver a transfer began with, so that it does not go on with somebody else's.

A receiver is a user's folder on a host. Its identity is the same after a restart of the program
and differs from that of everybody else's receiver on the same port. A sender remembers it in a
small file from the greeting to the end of the transfer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from shmring_copy.protocol import IDENTITY_BYTES

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
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        transfer = _digest([f"{where[0]} {where[1]}", *map(os.path.realpath, sources)])
        self._path = Path(state) / "shmring" / "udt" / transfer.hex()

    def recall(self) -> bytes | None:
        """Return the receiver's identity. None: this transfer is new, or was completed."""
        with contextlib.suppress(OSError):
            found = self._path.read_bytes()
            if len(found) == IDENTITY_BYTES:
                return found
        return None

    def keep(self, identity: bytes) -> None:
        """Remember it. Where no file can be written, nothing is remembered."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.write_bytes(identity)

    def forget(self) -> None:
        """The transfer is complete."""
        with contextlib.suppress(OSError):
            self._path.unlink()


def _digest(parts: list[str]) -> bytes:
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=IDENTITY_BYTES, person=b"shmring udt").digest()
