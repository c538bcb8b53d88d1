"""What RtpJBuf reads from a datagram: every error code, sizes, samples, profiles."""

# A row of a table is a line, or two.
# ruff: noqa: E501

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.calls import gives, rows

from rtpsynth.RtpJBuf import RtpJBuf, RTPParseError

VECTORS = Path(__file__).parents[2] / "vectors" / "rtp"


@pytest.fixture(scope="module")
def datagram(rtp_jbuf_model):
    return rtp_jbuf_model.datagram


def read(data):
    """The error code, or the frame."""
    buffer = RtpJBuf(1)
    try:
        buffer.udp_in(data)
    except RTPParseError as error:
        return int(str(error).rpartition(" ")[2])
    (frame,) = buffer.drain()
    return frame


def info_of(data):
    return read(data).content.frame.rtp.info


def extension(words, claimed=None):
    length = len(words) // 4 if claimed is None else claimed
    return b"\xbe\xde" + length.to_bytes(2, "big") + words


def g723(*kinds):
    sizes = (24, 20, 4, 1)
    return b"".join(bytes([kind]) + bytes(sizes[kind] - 1) for kind in kinds)


# d: datagram, of(first byte, payload...): what is read of one; ext(words, claimed): an extension.
ROWS = [
    ("shorter than a header", "{read(d(1)[:size]) for size in range(12)}", "{-1}"),
    ("other versions", "{read(d(1, first_byte=version << 6 | rest)) for version in (0, 1, 3) for rest in (0, 0x3F)}", "{-2}"),
    ("the header of an extension is cut", "{of(0x90 | csrc, bytes(size)) for csrc in (0, 1, 15) for size in range(4 * csrc + 4)}", "{-3}"),
    ("a missing CSRC list with an extension is a cut extension", "[of(0x92, bytes(4)), of(0xB2, b'\\1')]", "[-3, -3]"),
    ("the CSRC list is cut", "{of(first | csrc, bytes(size)) for first in (0x80, 0xA0) for csrc in (1, 15) for size in range(4 * csrc)}", "{-4}"),
    ("an extension is longer than the datagram", "{of(first, ext(bytes(4 * words), claimed)) for first in (0x90, 0xB0) for words, claimed in ((0, 1), (2, 3), (2, 65535))}", "{-4}"),
    ("no room for the padding", "[of(0xA0, b''), of(0xA1, bytes(4)), of(0xB0, ext(bytes(8)))]", "[-5, -5, -5]"),
    ("no padding", "of(0xA0, b'abc\\0')", "-7"),
    ("too much padding", "[of(0xA0, b'abc\\5'), of(0xA0, b'\\2'), of(0xB0, ext(bytes(4)) + b'abc\\5')]", "[-6, -6, -6]"),
    ("padding", "[of(0xA0, data).rtp_data for data in (b'abc\\4', b'\\1', b'abc\\1', b'abc' + bytes(252) + b'\\375')]", "[b'', b'', b'abc', b'abc']"),
    ("all of the header",
     "x = of(0xB2, bytes(8) + ext(b'ext.') + b'sound' + b'\\0\\0\\3', 0xFFFE, 0xFFFFFFFF, ssrc=1, marker=True); i = info(x); [i.data_offset, i.data_size, x.rtp_data, i.seq, i.ts, i.ssrc]",
     "[28, 5, b'sound', 65534, 4294967295, 1]"),
    ("an empty payload", "{(i.data_size, i.data_offset, i.nsamples, i.appendable) for i in (info(read(d(1, payload_type=pt))) for pt in range(128))}", "{(0, 12, -1, True)}"),
    *[(f"samples of {payload}, type {pt}", f"x = {payload}; i = info(read(d(1, payload_type={pt}, payload=x, marker=True))); [i.nsamples, i.appendable, i.data_size == len(x)]", f"[{samples}, {appendable}, True]")
      for pt, payload, samples, appendable in (
          *((pt, f"bytes({n})", n, True) for pt in (0, 8, 9) for n in (1, 160, 1000)),
          (18, "bytes(10)", 80, True), (18, "bytes(30)", 240, True), (18, "bytes(22)", 240, False), (18, "bytes(9)", 80, False),
          (3, "bytes(32)", 0, True), (3, "bytes(33)", 160, True), (3, "bytes(98)", 320, True),
          (4, "g723(0, 1, 2)", 720, True), (4, "g723(0)[:5]", 240, True), (4, "g723(1, 1, 3)", -1, True),
          *((pt, "bytes(20)", -1, True) for pt in (1, 2, 5, 7, 10, 11, 13, 14, 15, 19, 96, 127)),
    )],
]  # fmt: skip


@rows(ROWS)
def test_datagrams(steps, expected, datagram):
    def of(first_byte, payload, *numbers, **more):
        return read(datagram(*numbers or (1,), first_byte=first_byte, payload=payload, **more))

    names = {"d": datagram, "of": of, "ext": extension, "g723": g723, "read": read}
    gives(steps, expected, names | {"info": lambda frame: frame.content.frame.rtp.info})


PROFILES = {
    **{pt: (8000, 1, 0) for pt in (0, 3, 4, 5, 7, 8, 9, 12, 13, 15, 18)},
    **{pt: (0, 0, 3) for pt in (1, 2)},
    6: (16000, 1, 0),
    10: (44100, 1, 0),
    11: (44100, 2, 0),
    14: (90000, 2, 0),
    16: (11025, 1, 0),
    17: (22050, 1, 0),
}


@pytest.mark.parametrize("payload_type", range(128))
def test_profile_is_the_address_of_four_ints(datagram, payload_type):
    address = info_of(datagram(1, payload_type=payload_type)).rtp_profile
    rate, channels, kind = PROFILES.get(payload_type, (0, 0, 0))
    assert list((ctypes.c_int * 4).from_address(address)) == [rate, rate, channels, kind]


def vectors():
    table = VECTORS / "rtp.txt"
    if not table.is_file():
        return
    for line in table.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, *numbers = line.split()
            yield pytest.param(name, *map(int, numbers), id=name)


@pytest.mark.parametrize(("name", "code", "offset", "size"), list(vectors()))
def test_vectors(name, code, offset, size):
    got = read((VECTORS / name).read_bytes())
    if code:
        assert got == code
    else:
        info = got.content.frame.rtp.info
        assert (info.data_offset, info.data_size) == (offset, size)


HEADERS = st.builds(
    lambda first, rest: bytes([first]) + rest,
    st.one_of(st.integers(0x80, 0xBF), st.integers(0, 255)),
    st.binary(max_size=100),
)


@settings(max_examples=1000, deadline=None)
@given(data=HEADERS)
def test_any_bytes(rtp_jbuf_model, data):
    expected = rtp_jbuf_model.parse(data)
    got = read(data)
    if isinstance(expected, int):
        assert got == expected
    else:
        offset, size = expected
        info = got.content.frame.rtp.info
        assert (info.data_offset, info.data_size) == expected
        assert got.rtp_data == data[offset : offset + size]
        assert (info.seq, info.ts, info.ssrc) == (
            int.from_bytes(data[2:4], "big"),
            int.from_bytes(data[4:8], "big"),
            int.from_bytes(data[8:12], "big"),
        )
