"""What RtpJBuf reads from a datagram: every error code, sizes, samples, profiles."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize("size", range(12))
def test_shorter_than_a_header(datagram, size):
    assert read(datagram(1)[:size]) == -1


@pytest.mark.parametrize("version", [0, 1, 3])
@pytest.mark.parametrize("rest", [0, 0x3F])
def test_other_versions(datagram, version, rest):
    assert read(datagram(1, first_byte=version << 6 | rest)) == -2


@pytest.mark.parametrize("csrc", [0, 1, 15])
def test_extension_header_cut(datagram, csrc):
    for size in range(4 * csrc + 4):
        assert read(datagram(1, first_byte=0x90 | csrc, payload=bytes(size))) == -3


def test_a_missing_csrc_list_with_an_extension_is_a_cut_extension(datagram):
    assert read(datagram(1, first_byte=0x92, payload=bytes(4))) == -3
    assert read(datagram(1, first_byte=0xB2, payload=b"\1")) == -3


@pytest.mark.parametrize("csrc", [1, 15])
def test_csrc_list_cut(datagram, csrc):
    for first_byte in (0x80, 0xA0):
        for size in range(4 * csrc):
            assert read(datagram(1, first_byte=first_byte | csrc, payload=bytes(size))) == -4


@pytest.mark.parametrize(("words", "claimed"), [(0, 1), (2, 3), (2, 65535)])
@pytest.mark.parametrize("first_byte", [0x90, 0xB0])
def test_extension_longer_than_the_datagram(datagram, words, claimed, first_byte):
    data = datagram(1, first_byte=first_byte, payload=extension(bytes(4 * words), claimed))
    assert read(data) == -4


def test_padding(datagram):
    def padded(payload, first_byte=0xA0):
        return read(datagram(1, first_byte=first_byte, payload=payload))

    assert padded(b"") == -5
    assert padded(bytes(4), 0xA1) == -5
    assert padded(extension(bytes(8)), 0xB0) == -5
    assert padded(b"abc\0") == -7
    assert padded(b"abc\5") == -6
    assert padded(b"\2") == -6
    assert padded(extension(bytes(4)) + b"abc\5", 0xB0) == -6
    assert padded(b"abc\4").rtp_data == b""
    assert padded(b"\1").rtp_data == b""
    assert padded(b"abc\1").rtp_data == b"abc"
    assert padded(b"abc" + bytes(252) + b"\375").rtp_data == b"abc"


def test_all_of_the_header(datagram):
    payload = bytes(8) + extension(b"ext.") + b"sound" + b"\0\0\3"
    frame = read(
        datagram(0xFFFE, 0xFFFFFFFF, ssrc=1, first_byte=0xB2, payload=payload, marker=True)
    )
    info = frame.content.frame.rtp.info
    assert (info.data_offset, info.data_size, frame.rtp_data) == (28, 5, b"sound")
    assert (info.seq, info.ts, info.ssrc) == (0xFFFE, 0xFFFFFFFF, 1)


def test_empty_payload(datagram):
    for payload_type in range(128):
        info = info_of(datagram(1, payload_type=payload_type))
        assert (info.data_size, info.data_offset, info.nsamples) == (0, 12, -1)
        assert info.appendable is True


def g723(*kinds):
    sizes = (24, 20, 4, 1)
    return b"".join(bytes([kind]) + bytes(sizes[kind] - 1) for kind in kinds)


@pytest.mark.parametrize(
    ("payload_type", "payload", "samples", "appendable"),
    [
        *((pt, bytes(n), n, True) for pt in (0, 8, 9) for n in (1, 160, 1000)),
        (18, bytes(10), 80, True),
        (18, bytes(30), 240, True),
        (18, bytes(22), 240, False),
        (18, bytes(9), 80, False),
        (3, bytes(32), 0, True),
        (3, bytes(33), 160, True),
        (3, bytes(98), 320, True),
        (4, g723(0, 1, 2), 720, True),
        (4, g723(0)[:5], 240, True),
        (4, g723(1, 1, 3), -1, True),
        *((pt, bytes(20), -1, True) for pt in (1, 2, 5, 7, 10, 11, 13, 14, 15, 19, 96, 127)),
    ],
)
def test_samples(datagram, payload_type, payload, samples, appendable):
    info = info_of(datagram(1, payload_type=payload_type, payload=payload, marker=True))
    assert (info.nsamples, info.appendable) == (samples, appendable)
    assert info.data_size == len(payload)


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
