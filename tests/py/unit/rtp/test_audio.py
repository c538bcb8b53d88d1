"""Samples and payloads: G.711 beside its formulas, L16, and what is no samples."""

from __future__ import annotations

import array
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmring.rtp import audio

SAMPLES = st.lists(st.integers(-32768, 32767), max_size=400)


def ulaw_to_linear(code: int) -> int:
    """G.711 table 2a/2b by its formula, 14 bits left-aligned in 16."""
    code ^= 0xFF
    value = (((code & 15) << 3) + 132 << (code >> 4 & 7)) - 132
    return -value if code & 0x80 else value


def alaw_to_linear(code: int) -> int:
    code ^= 0x55
    exponent = code >> 4 & 7
    value = (code & 15) << 4 | 8
    if exponent:
        value = value + 256 << exponent - 1
    return value if code & 0x80 else -value


@pytest.mark.parametrize(
    ("codec", "formula"), [(audio.PCMU, ulaw_to_linear), (audio.PCMA, alaw_to_linear)]
)
def test_every_code_decodes_as_g711_says(codec: audio.Codec, formula) -> None:
    assert codec.decode(bytes(range(256))).tolist() == [formula(code) for code in range(256)]


@pytest.mark.parametrize("codec", [audio.PCMU, audio.PCMA])
def test_every_code_survives_decoding_and_encoding(codec: audio.Codec) -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)  # one of two zeroes of mu-law
    assert codec.encode(codec.decode(codes)) == codes


@given(SAMPLES)
def test_l16_is_network_order(samples: list[int]) -> None:
    payload = audio.L16.encode(array.array("h", samples))
    assert payload == struct.pack(f">{len(samples)}h", *samples)
    assert audio.L16.decode(payload).tolist() == samples


@pytest.mark.parametrize("codec", audio.CODECS.values(), ids=audio.CODECS)
def test_bytes_numpy_and_arrays_say_the_same(codec: audio.Codec) -> None:
    samples = np.arange(-3000, 3000, 7, dtype=np.int16)
    payload = codec.encode(samples)
    assert len(payload) == len(samples) * codec.width
    assert codec.encode(samples.tobytes()) == payload
    assert codec.encode(array.array("h", samples.tolist())) == payload
    assert codec.encode(memoryview(b"x" + samples.tobytes())[1:]) == payload  # at an odd address
    assert codec.encode(samples.reshape(-1, 2)[:428]) == codec.encode(samples[:856])
    decoded = np.asarray(codec.decode(payload))
    assert decoded.dtype == np.int16
    assert np.abs(decoded.astype(int) - samples).max() <= 128


@pytest.mark.parametrize("codec", audio.CODECS.values(), ids=audio.CODECS)
def test_nothing_is_nothing(codec: audio.Codec) -> None:
    assert codec.encode(b"") == b""
    assert codec.decode(b"").tolist() == []


def test_half_a_sample_at_the_end_is_left_out() -> None:
    assert audio.L16.decode(b"\1\2\3").tolist() == [0x0102]


@pytest.mark.parametrize(
    ("pcm", "error", "text"),
    [
        (b"abc", ValueError, "length 3 is not a multiple of 2"),
        (np.zeros(4, np.float32), TypeError, "format 'f'"),
        (np.zeros(4, ">i2"), TypeError, "byte order"),
        (np.zeros(8, np.int16)[::2], BufferError, "contiguous"),
        ("text", TypeError, "bytes-like"),
    ],
)
def test_what_is_no_samples(pcm: object, error: type[Exception], text: str) -> None:
    for codec in audio.CODECS.values():
        with pytest.raises(error, match=text):
            codec.encode(pcm)


def test_silence() -> None:
    assert audio.silence(3).tolist() == [0, 0, 0]
