"""16-bit samples, and what a payload makes of them: G.711 (ITU-T) and L16 (RFC 3551 4.5.11)."""

from __future__ import annotations

import array
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shmring._arguments import Buffer
from shmring._ring import ffi, lib

SAMPLE_BYTES = 2
_OCTETS = ("B", "b", "c")


@dataclass(frozen=True, slots=True)
class Codec:
    """One way to write 16-bit samples into payloads; all are of a constant rate."""

    name: str
    """As `Rtp` takes it."""
    width: int
    """Bytes that a sample of one channel takes in a payload."""
    payload_type: int | None
    """The static one (RFC 3551), for one channel; None: a dynamic one has to be agreed on."""
    clock_rate: int
    """What the static payload type says, or what is usual, Hz."""
    silence_byte: int
    """What a silent payload consists of."""
    encode: Callable[[Buffer], bytes]
    """Payload from samples: bytes-like in the machine's order, or a buffer of int16."""
    decode: Callable[[Buffer], memoryview]
    """Samples from a payload, as a view of format ``h``. A last half sample is left out."""


def sample_bytes(pcm: Buffer) -> memoryview:
    """The bytes of 16-bit samples. Raises `TypeError`, `ValueError`."""
    view = memoryview(pcm)
    code = view.format.lstrip("@=" + ("<" if sys.byteorder == "little" else ">"))
    if code not in ("h", *_OCTETS):
        raise TypeError(
            f"samples of format {view.format!r}: give int16 in the machine's byte order, such as "
            "numpy.int16, or bytes"
        )
    if not view.c_contiguous:
        raise TypeError("samples with gaps between them: give a contiguous buffer")
    flat = view.cast("B")
    if len(flat) % SAMPLE_BYTES:
        raise ValueError(f"{len(flat)} bytes are no whole number of 16-bit samples")
    return flat


def silence(samples: int) -> memoryview:
    """So many samples of nothing, as a view of format ``h``."""
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
    def decode(payload: Buffer) -> memoryview:
        out = bytearray(SAMPLE_BYTES * len(payload))
        with (
            ffi.from_buffer("uint8_t[]", payload) as data,
            ffi.from_buffer("int16_t[]", out, require_writable=True) as samples,
        ):
            convert(samples, data, len(payload))
        return memoryview(out).cast("h")

    return decode


def _aligned(view: memoryview) -> memoryview:
    """The same bytes where 16-bit samples may lie."""
    address = int(ffi.cast("uintptr_t", ffi.from_buffer(view)))
    return memoryview(bytes(view)) if address % SAMPLE_BYTES else view


def _swapped(octets: memoryview) -> array.array[int]:
    """Network order to the machine's, and back."""
    samples = array.array("h", bytes(octets))
    if sys.byteorder == "little":
        samples.byteswap()
    return samples


def _l16_encode(pcm: Buffer) -> bytes:
    return _swapped(sample_bytes(pcm)).tobytes()


def _l16_decode(payload: Buffer) -> memoryview:
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
