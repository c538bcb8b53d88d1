"""Elements of a header extension (RFC 8285), taken apart only when somebody asks."""

from __future__ import annotations

from shmring._ring import ffi, lib

ONE_BYTE = int(lib.RTP_EXT_ONE_BYTE)
TWO_BYTE = int(lib.RTP_EXT_TWO_BYTE)
_TWO_BYTE_MASK = 0xFFF0  # the low four bits belong to the application


def elements(profile: int, words: bytes) -> tuple[tuple[int, bytes], ...]:
    """(id, data) of each element, in their order.

    Empty for a profile that is of neither form. One that is longer than what is left ends the list;
    those before it are good.
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
