"""The little protocol of libudt's programs `sendfile` and `recvfile`, as bytes.

The one who wants a file connects and names it: length of the name (32 bits), the name. The one who
has it answers with its size (64 bits, -1: no such file), its bytes, and the end of the connection.
Numbers are as the programs' machines have them, which today is little-endian. No hash, no time, no
permissions.
"""

from __future__ import annotations

import struct

from shmring_copy.protocol import MAX_FILE_BYTES, TransferError, show

MAX_NAME = 1023
"""libudt's program keeps the name, and a zero behind it, in 1024 bytes."""
NO_FILE = -1

NAME_LENGTH = struct.Struct("<i")
SIZE = struct.Struct("<q")


def request(name: bytes) -> bytes:
    """What asks for a file. Raises `TransferError`."""
    if not 1 <= len(name) <= MAX_NAME or b"\0" in name:
        raise TransferError(
            f"the name {show(name)} has {len(name)} bytes: it must have 1 to {MAX_NAME}, none zero"
        )
    return NAME_LENGTH.pack(len(name)) + name


def name_length(head: bytes) -> int:
    """Length of the name that follows. Raises `TransferError`."""
    (length,) = NAME_LENGTH.unpack(head)
    if not 1 <= length <= MAX_NAME:
        raise TransferError(f"the peer asks for a name of {length} bytes: 1 to {MAX_NAME}")
    return int(length)


def size_of(head: bytes) -> int | None:
    """Size of the file that follows; None: there is none. Raises `TransferError`."""
    (size,) = SIZE.unpack(head)
    if size < 0:
        return None
    if size > MAX_FILE_BYTES:
        raise TransferError(f"the peer says that the file has {size} bytes, which cannot be")
    return int(size)
