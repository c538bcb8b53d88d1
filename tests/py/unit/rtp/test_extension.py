"""Elements of header extensions, RFC 8285."""

from __future__ import annotations

import pytest

from shmring.rtp.extension import ONE_BYTE, TWO_BYTE, elements


def test_one_byte_form() -> None:
    words = bytes([0x10, 0xAA, 0, 0, 0x2F]) + bytes(range(16)) + b"\0\0\0"
    assert elements(ONE_BYTE, words) == ((1, b"\xaa"), (2, bytes(range(16))))


@pytest.mark.parametrize("low_bits", [0, 15])
def test_two_byte_form(low_bits: int) -> None:
    words = bytes([0, 7, 0, 200, 3, 1, 2, 3])
    assert elements(TWO_BYTE | low_bits, words) == ((7, b""), (200, b"\1\2\3"))


def test_an_id_may_come_twice() -> None:
    assert elements(ONE_BYTE, bytes([0x10, 1, 0x10, 2])) == ((1, b"\1"), (1, b"\2"))


@pytest.mark.parametrize(
    ("profile", "words", "good"),
    [
        (ONE_BYTE, bytes([0x10, 5, 0x2F, 1]), ((1, b"\5"),)),  # longer than what is left
        (ONE_BYTE, bytes([0x10, 5, 0xF0, 1]), ((1, b"\5"),)),  # id 15 ends it
        (ONE_BYTE, bytes([0x10, 5, 0x03, 1]), ((1, b"\5"),)),  # id 0 with a length
        (TWO_BYTE, bytes([1, 1, 5, 2]), ((1, b"\5"),)),
        (TWO_BYTE, bytes([1, 9, 5, 2]), ()),
        (0x1234, bytes([0x10, 1, 0, 0]), ()),
        (ONE_BYTE, b"", ()),
    ],
)
def test_what_is_cut_or_strange(profile: int, words: bytes, good: tuple) -> None:
    assert elements(profile, words) == good
