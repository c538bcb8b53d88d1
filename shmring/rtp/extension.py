"""Elements of a header extension (RFC 8285): decoded on request, and encoded."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from shmring._ring import ffi, lib
from shmring.errors import BadConfig

ONE_BYTE = int(lib.RTP_EXT_ONE_BYTE)
TWO_BYTE = int(lib.RTP_EXT_TWO_BYTE)
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
    found = []
    reader, element = ffi.new("rtp_ext_reader_t *"), ffi.new("rtp_ext_element_t *")
    with ffi.from_buffer("uint8_t[]", words) as data:
        reader.at, reader.end, reader.two_byte = data, data + len(words), two_byte
        while lib.rtp_ext_next(reader, element) == 1:
            found.append((int(element.id), bytes(ffi.buffer(element.data, element.bytes))))
    return tuple(found)


def build(given: Iterable[tuple[int, bytes]]) -> bytes:
    """An encoded header extension, in the one-byte form if all elements fit into it.

    Raises `BadConfig` for an id outside of 1 to 255, data longer than 255 bytes, or too much data.
    """
    pairs = [(ident, bytes(data)) for ident, data in given]
    two_byte = any(ident > 14 or not 1 <= len(data) <= 16 for ident, data in pairs)
    room = sum(2 + len(data) for _, data in pairs) + _WORD_BYTES
    out = ffi.new("uint8_t[]", room)
    writer, fields = ffi.new("rtp_ext_writer_t *"), ffi.new("rtp_fields_t *")
    lib.rtp_ext_writer_init(writer, two_byte, out, room)
    for ident, data in pairs:
        if not 1 <= ident <= 255 or lib.rtp_ext_add(writer, ident, data, len(data)) < 0:
            raise BadConfig(
                f"elements: id {ident} has {len(data)} bytes: ids are 1 to 255, and an element has "
                "at most 255 bytes"
            )
    lib.rtp_ext_finish(writer, fields)
    size = int(fields.ext_bytes)
    if size > _BYTES_MAX:
        raise BadConfig(f"elements: header extension has {size} bytes, the limit is {_BYTES_MAX}")
    return _HEAD.pack(fields.ext_profile, size // _WORD_BYTES) + bytes(ffi.buffer(out, size))
