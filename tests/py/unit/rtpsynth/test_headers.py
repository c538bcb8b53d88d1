"""rtpsynth.headers: the headers of many packets as one table."""

import struct
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpsynth.headers import (
    ERRORS,
    HEADER_FIELDS,
    HEADER_STRUCT,
    header_dtype,
    parse_headers,
)
from rtpsynth.RtpSynth import RtpSynth

np = pytest.importorskip("numpy")

VECTORS = Path(__file__).parents[3] / "vectors" / "rtp"


def by_definition(packet):
    """RFC 3550 section 5.1, written down once more."""
    row = dict.fromkeys(HEADER_FIELDS, 0)
    if len(packet) < 12:
        return {**row, "error": -1}
    first, second, row["seq"], row["ts"], row["ssrc"] = struct.unpack(">BBHII", packet[:12])
    row |= {
        "version": first >> 6,
        "padding": first >> 5 & 1,
        "extension": first >> 4 & 1,
        "cc": first & 15,
        "marker": second >> 7,
        "payload_type": second & 127,
    }
    row["error"], begin, end = payload_of(packet, row)
    if row["error"] == 0:
        row |= {"data_offset": begin, "data_size": end - begin}
    return row


def payload_of(packet, row):
    begin = 12 + 4 * row["cc"]
    end = len(packet)
    if row["version"] != 2:
        return -2, 0, 0
    if row["extension"]:
        if end < begin + 4:
            return -3, 0, 0
        begin += 4 + 4 * int.from_bytes(packet[begin + 2 : begin + 4], "big")
    if end < begin:
        return -4, 0, 0
    if row["padding"]:
        if end == begin:
            return -5, 0, 0
        if packet[-1] == 0:
            return -7, 0, 0
        if packet[-1] > end - begin:
            return -6, 0, 0
        end -= packet[-1]
    return 0, begin, end


def row_of(table, i):
    return {name: int(table[i][name]) for name in table.dtype.names}


PACKETS = st.lists(
    st.one_of(
        st.binary(max_size=80),
        st.tuples(
            st.integers(0x80, 0xBF), st.binary(min_size=11, max_size=11), st.binary(max_size=90)
        ).map(lambda parts: bytes([parts[0]]) + parts[1] + parts[2]),
        st.binary(max_size=40).map(lambda rest: b"\x90" + bytes(11) + b"\xbe\xde\0\2" + rest),
    ),
    max_size=20,
)


@given(PACKETS, st.sampled_from("bBhHiIlLqQ"), st.sampled_from("BHILQ"))
@settings(deadline=None)
def test_offsets_and_sizes(packets, offset_code, size_code):
    offsets, at = [], 0
    for packet in packets:
        offsets.append(at)
        at += len(packet)
    if at > 100:
        offset_code = "q"
    table = parse_headers(b"".join(packets), array(offset_code, offsets),
                          array(size_code, map(len, packets)))  # fmt: skip
    assert [row_of(table, i) for i in range(len(table))] == [*map(by_definition, packets)]


@pytest.mark.skipif(not VECTORS.is_dir(), reason="no vectors around these tests")
def test_vectors_named_by_fault():
    lines = (VECTORS / "rtp.txt").read_text(encoding="utf-8").splitlines()
    expected = [line.split() for line in lines if not line.startswith("#")]
    packets = [(VECTORS / name).read_bytes() for name, *_ in expected]
    sizes = [*map(len, packets)]
    offsets = [sum(sizes[:i]) for i in range(len(sizes))]
    table = parse_headers(b"".join(packets), offsets, sizes)
    assert set(table["error"].tolist()) >= {0, *ERRORS}
    for (name, code, begin, size), row in zip(expected, table, strict=True):
        found = (row["error"], row["data_offset"], row["data_size"])
        assert found == (int(code), int(begin), int(size)), name


def test_a_stride():
    synth = RtpSynth(8000, 20)
    packets = synth.next_pkts(5, 160, 72, stride=200)
    table = parse_headers(packets, stride=200)
    assert table.dtype == header_dtype()
    assert table["data_size"].tolist() == [188] * 5
    table = parse_headers(packets, sizes=172, stride=200)
    assert table["data_size"].tolist() == [160] * 5
    assert table["marker"].tolist() == [True] + [False] * 4
    assert (np.diff(table["seq"].astype(int)) % 2**16).tolist() == [1] * 4
    assert (np.diff(table["ts"].astype(int)) % 2**32).tolist() == [160] * 4
    assert set(table["payload_type"].tolist()) == {72}
    assert parse_headers(packets, stride=200, sizes=[172, 100, 11])["error"].tolist() == [0, 0, -1]
    assert len(parse_headers(packets, stride=200, sizes=172, count=2)) == 2
    assert len(parse_headers(packets[:-28], stride=200, sizes=172)) == 5
    assert len(parse_headers(packets[:-29], stride=200, sizes=172)) == 4
    assert len(parse_headers(b"", stride=200)) == 0
    assert len(parse_headers(b"", stride=0, count=0)) == 0


def test_strided_columns_as_arguments():
    packets = RtpSynth(8000, 20).next_pkts(3, 10, 0)
    records = np.zeros(3, [("offset", "u8"), ("other", "u1"), ("length", "u4")])
    records["offset"], records["length"] = [44, 0, 22], 22
    table = parse_headers(packets, records["offset"], records["length"])
    assert np.argsort(table["ts"]).tolist() == [1, 2, 0]
    table["seq"] = 0  # it is the caller's


def test_the_table_without_numpy(tmp_path):
    code = """
import sys
sys.modules["numpy"] = None
from rtpsynth.RtpSynth import RtpSynth
from rtpsynth.headers import HEADER_FIELDS, HEADER_STRUCT, parse_headers
packets = RtpSynth(8000, 20).next_pkts(2, 100, 9)
rows = parse_headers(packets, stride=112)
assert type(rows) is bytearray and len(rows) == 2 * HEADER_STRUCT.size
for row, marker in zip(HEADER_STRUCT.iter_unpack(rows), (True, False), strict=True):
    found = dict(zip(HEADER_FIELDS, row, strict=True))
    assert found["marker"] is marker and found["version"] == 2 and found["padding"] is False
    assert (found["payload_type"], found["data_offset"], found["data_size"]) == (9, 12, 100)
print("ok")
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("ok\n", 0), done.stderr
    assert header_dtype().itemsize == HEADER_STRUCT.size


@pytest.mark.parametrize(
    ("args", "kwargs", "kind", "message"),
    [
        ((bytes(20),), {}, TypeError, "either offsets or stride"),
        ((bytes(20), [0], [12]), {"stride": 12}, TypeError, "either offsets or stride"),
        ((bytes(20), [0]), {}, TypeError, "sizes with offsets"),
        ((bytes(20), [0, 1], [12]), {}, ValueError, "there are 1 sizes, and 2 packets"),
        ((bytes(20), [0], [12]), {"count": 2}, ValueError, "there are 1 offsets, and 2 packets"),
        ((bytes(20), [9], [12]), {}, ValueError, "packet 0: 12 bytes at 9 are not within the 20"),
        ((bytes(20), [0, -1], 5), {}, ValueError, "packet 1: 5 bytes at -1 are not"),
        ((bytes(20), [0], [-1]), {}, ValueError, "packet 0: -1 bytes at 0"),
        ((bytes(20), array("Q", [2**64 - 1]), [1]), {}, ValueError, "packet 0: 1 bytes at -1"),
        ((bytes(20), [2**62], [2**62]), {}, ValueError, "packet 0"),
        ((bytes(20),), {"stride": 10, "count": 3}, ValueError, "packet 2: 10 bytes at 20"),
        ((bytes(20),), {"stride": 10, "count": -1}, ValueError, "count is -1"),
        ((bytes(20),), {"stride": 0}, ValueError, "stride is 0"),
        ((bytes(20),), {"stride": -10, "count": 2, "sizes": 1}, ValueError, "packet 1"),
        ((bytes(20), array("d", [1.0]), 1), {}, TypeError, "offsets is an array of format 'd'"),
        ((bytes(20), np.zeros((1, 1), "i8"), 1), {}, TypeError, "with 2 dimensions"),
        ((bytes(20), np.zeros(1, ">i8"), 1), {}, TypeError, "format '>q'"),
        ((bytes(20), ["x"], 1), {}, TypeError, ""),
        ((5,), {"stride": 5}, TypeError, "bytes-like"),
        ((memoryview(bytes(20))[::2],), {"stride": 5}, BufferError, "contiguous"),
    ],
)
def test_errors(args, kwargs, kind, message):
    with pytest.raises(kind, match=message or None):
        parse_headers(*args, **kwargs)
