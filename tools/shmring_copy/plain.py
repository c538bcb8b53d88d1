"""The simple protocol of libudt's programs `sendfile` and `recvfile`, as bytes.

The end that wants a file connects and names it: length of the name (32 bits), then the name. The
end that has it answers with its size (64 bits, -1: no such file), its bytes, and the end of the
connection. Numbers have the byte order of the programs' machines, which today is little-endian.
There is no hash, no time and no permissions.
"""

from __future__ import annotations

import struct

from shmring_copy.protocol import MAX_FILE_BYTES, TransferError, show

MAX_NAME = 1023
"""libudt's program stores the name and a terminating zero in 1024 bytes."""
NO_FILE = -1

NAME_LENGTH = struct.Struct("<i")
SIZE = struct.Struct("<q")


def request(name: bytes) -> bytes:
    """Return the request for a file. Raises `TransferError`."""
    if not 1 <= len(name) <= MAX_NAME or b"\0" in name:
        raise TransferError(
            f"the name {show(name)} has {len(name)} bytes: it must have 1 to {MAX_NAME}, none zero"
        )
    return NAME_LENGTH.pack(len(name)) + name


def name_length(head: bytes) -> int:
    """Return the length of the name that follows. Raises `TransferError`."""
    (length,) = NAME_LENGTH.unpack(head)
    if not 1 <= length <= MAX_NAME:
        raise TransferError(f"the peer asks for a name of {length} bytes: use 1 to {MAX_NAME}")
    return int(length)


def size_of(head: bytes) -> int | None:
    """Return the size of the file that follows, or None if there is none.
    Raises `TransferError`."""
    (size,) = SIZE.unpack(head)
    if size < 0:
        return None
    if size > MAX_FILE_BYTES:
        raise TransferError(f"the peer sent a malformed file size, {size} bytes")
    return int(size)
