"""16-bit samples and their encodings in payloads: G.711 (ITU-T) and L16 (RFC 3551 4.5.11)."""

from __future__ import annotations

import array
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shmring._arguments import payload
from shmring._ring import ffi, lib
from shmring.types import Buffer

SAMPLE_BYTES = 2
_OCTETS = ("B", "b", "c")


@dataclass(frozen=True, slots=True)
class Codec:
    """An encoding of 16-bit samples in payloads. All have a constant rate."""

    name: str
    """The name that `Rtp` takes."""
    width: int
    """Bytes of one sample of one audio channel in a payload."""
    payload_type: int | None
    """Static payload type (RFC 3551) for one audio channel. None: only a dynamic one exists."""
    clock_rate: int
    """Clock rate of the static payload type, or the usual one, Hz."""
    silence_byte: int
    """The byte that a silent payload consists of."""
    encode: Callable[[Buffer], bytes]
    """Payload from samples: bytes-like in the machine's order, or a buffer of int16."""
    decode: Callable[[Buffer], memoryview]
    """Samples from a payload, as a view of format ``h``. An incomplete last sample is left out."""


def sample_bytes(pcm: Any) -> memoryview:
    """The bytes of 16-bit samples. Raises `TypeError`, `BufferError` (gaps), `ValueError`."""
    with payload(pcm, "samples"):
        view = memoryview(pcm)
    code = view.format.lstrip("@=" + ("<" if sys.byteorder == "little" else ">"))
    if code not in ("h", *_OCTETS):
        raise TypeError(
            f"samples have the format {view.format!r}: give int16 in the machine's byte order, "
            "such as numpy.int16, or bytes"
        )
    flat = view.cast("B")
    if len(flat) % SAMPLE_BYTES:
        raise ValueError(
            f"buffer length {len(flat)} is not a multiple of {SAMPLE_BYTES}: give whole samples"
        )
    return flat


def silence(samples: int) -> memoryview:
    """This number of silent samples, as a view of format ``h``."""
    return memoryview(bytes(SAMPLE_BYTES * samples)).cast("h")


def _g711_encoder(convert: Any) -> Callable[[Buffer], bytes]:
    def encode(pcm: Buffer) -> bytes:
        samples = _aligned(sample_bytes(pcm))
        count = len(samples) // SAMPLE_BYTES
        out = ffi.new("uint8_t[]", count)
        with ffi.from_buffer("int16_t[]", samples) as data:
            convert(out, data, count)
        return bytes(ffi.buffer(out))

    return encode


def _g711_decoder(convert: Any) -> Callable[[Buffer], memoryview]:
    def decode(payload: Any) -> memoryview:
        size = memoryview(payload).nbytes
        out = bytearray(SAMPLE_BYTES * size)
        with (
            ffi.from_buffer("uint8_t[]", payload) as data,
            ffi.from_buffer("int16_t[]", out, require_writable=True) as samples,
        ):
            convert(samples, data, size)
        return memoryview(out).cast("h")

    return decode


def _aligned(view: memoryview) -> memoryview:
    """The same bytes, aligned for 16-bit samples."""
    address = int(ffi.cast("uintptr_t", ffi.from_buffer(view)))
    return memoryview(bytes(view)) if address % SAMPLE_BYTES else view


def _swapped(octets: memoryview) -> array.array[int]:
    """Convert network byte order to the machine's, and back."""
    samples = array.array("h", bytes(octets))
    if sys.byteorder == "little":
        samples.byteswap()
    return samples


def _l16_encode(pcm: Any) -> bytes:
    return _swapped(sample_bytes(pcm)).tobytes()


def _l16_decode(payload: Any) -> memoryview:
    octets = memoryview(payload)
    return memoryview(_swapped(octets[: len(octets) // SAMPLE_BYTES * SAMPLE_BYTES]))


PCMU = Codec(
    "pcmu",
    1,
    0,
    8000,
    0xFF,
    _g711_encoder(lib.g711_ulaw_encode),
    _g711_decoder(lib.g711_ulaw_decode),
)
PCMA = Codec(
    "pcma",
    1,
    8,
    8000,
    0xD5,
    _g711_encoder(lib.g711_alaw_encode),
    _g711_decoder(lib.g711_alaw_decode),
)
L16 = Codec("l16", 2, None, 44100, 0, _l16_encode, _l16_decode)

CODECS = {codec.name: codec for codec in (PCMU, PCMA, L16)}
# What RFC 3551 fixes; 10 and 11 are L16 at 44.1 kHz, of two channels and of one.
STATIC = {0: PCMU, 8: PCMA, 10: L16, 11: L16}
