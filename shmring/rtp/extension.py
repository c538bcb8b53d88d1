"""Elements of a header extension (RFC 8285): decoded on request, and encoded."""

import struct
from collections.abc import Iterable

from shmring._arguments import iterable, payload_bytes
from shmring._options import integer
from shmring.errors import BadConfig

ONE_BYTE = 0xBEDE
TWO_BYTE = 0x1000
_TWO_BYTE_MASK = 0xFFF0  # the low four bits belong to the application
_HEAD = struct.Struct(">HH")
_WORD_BYTES = 4
_BYTES_MAX = 65535 * _WORD_BYTES


def elements(profile: int, words: bytes) -> tuple[tuple[int, bytes], ...]:
    """(id, data) of each element, in their order.

    Empty for a profile that is of neither form. An element that is longer than the remaining bytes
    ends the list. The elements before it are valid.
    """
    two_byte = profile & _TWO_BYTE_MASK == TWO_BYTE
    if not two_byte and profile != ONE_BYTE:
        return ()
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(words):
        head = words[at]
        at += 1
        if head == 0:  # padding
            continue
        if two_byte:
            if at == len(words):
                break
            ident, size = head, words[at]
            at += 1
        else:
            ident, size = head >> 4, (head & 0x0F) + 1
            if ident in (0, 15):  # reserved: the rest has no meaning (RFC 8285 section 4.2)
                break
        if size > len(words) - at:
            break
        found.append((ident, words[at : at + size]))
        at += size
    return tuple(found)


def build(given: Iterable[tuple[int, bytes]]) -> bytes:
    """An encoded header extension, in the one-byte form if all elements fit into it.

    Raises `BadConfig` for an id outside of 1 to 255, data longer than 255 bytes, or too much data.
    """
    pairs = [
        (integer("elements: an id", ident, 1, 255), payload_bytes(data, "elements: data"))
        for ident, data in iterable(given, "elements", "(id, data)")
    ]
    two_byte = any(ident > 14 or not 1 <= len(data) <= 16 for ident, data in pairs)
    out = bytearray()
    for ident, data in pairs:
        if len(data) > 255:
            raise BadConfig(f"elements: id {ident} has {len(data)} bytes, the limit is 255")
        out += bytes((ident, len(data)) if two_byte else (ident << 4 | (len(data) - 1),))
        out += data
    out += bytes(-len(out) % _WORD_BYTES)
    if len(out) > _BYTES_MAX:
        raise BadConfig(
            f"elements: header extension has {len(out)} bytes, the limit is {_BYTES_MAX}"
        )
    return _HEAD.pack(TWO_BYTE if two_byte else ONE_BYTE, len(out) // _WORD_BYTES) + out
