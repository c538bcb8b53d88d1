"""Batches as columns of Arrow. `shmring._hot` turns the description into C structs.

The records of a batch are interleaved, and Arrow wants each column in one piece, so columns are
copied. Payloads are not, unless there are gaps between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shmring import _address, _hot

# (format, name, length, buffers, children, dictionary), as hot_arrow.c reads it
Node = tuple[str, str, int, tuple[Any, ...], tuple[Any, ...], Any]

_FORMATS = {"u1": "C", "u2": "S", "u4": "I", "u8": "L", "i4": "i", "i8": "l"}


def struct(count: int, columns: Sequence[Node]) -> Node:
    """Return a table: one row per record."""
    return ("+s", "", count, (None,), tuple(columns), None)


def numbers(name: str, code: str, column: memoryview) -> Node:
    return (_FORMATS[code], name, len(column), (None, column.tobytes()), (), None)


def names(name: str, column: memoryview, words: Sequence[str], other: int = 0) -> Node:
    """Numbers that stand for words. Numbers without a word become `other`."""
    known = bytes(n if n < len(words) else other for n in range(256))
    return ("C", name, len(column), (None, column.tobytes().translate(known)), (), texts(words))


def texts(words: Sequence[str]) -> Node:
    ends, data = [0], b""
    for word in words:
        data += word.encode()
        ends.append(len(data))
    return ("u", "", len(words), (None, _packed("i", ends), data), (), None)


def hosts(name: str, addresses: Sequence[tuple[bytes, bytes]]) -> Node:
    """Addresses as they are in records, before and behind the port, as numeric hosts."""
    indices = {address: index for index, address in enumerate(dict.fromkeys(addresses))}
    column = list(map(indices.__getitem__, addresses))
    hosts = [(_address.unpack(head + bytes(2) + rest) or ("", 0))[0] for head, rest in indices]
    return ("i", name, len(column), (None, _packed("i", column)), (), texts(hosts))


def payloads(batch: Any, record_bytes: int, offset_at: int, length_at: int) -> Node:
    ends, data = _hot.payload_column(
        batch._records, record_bytes, offset_at, length_at, batch.payload
    )
    return ("Z", "payload", len(batch), (None, ends, data), (), None)


def _packed(code: str, values: Sequence[int]) -> bytes:
    from array import array

    return array(code, values).tobytes()
