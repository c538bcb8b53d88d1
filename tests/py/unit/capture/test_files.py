"""The formats of captures: times, byte orders, interfaces, damage, and pieces of any size."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmring.net import capture
from shmring.net.capture.reader import Reader
from shmring.net.tap import pcapng
from shmring.testing import captures as c

T = 1_795_288_288_555_810_862
PACKET = c.udp(b"payload")


def times(data: bytes) -> list[int]:
    with Reader(io.BytesIO(data)) as reader:
        return [reader.records[i].time_ns for n in reader.batches() for i in range(n)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_times_of_pcap(order: c.Order) -> None:
    assert times(c.pcap([(T, PACKET)], order=order)) == [T]
    assert times(c.pcap([(T, PACKET)], order=order, unit_ns=1000)) == [T // 1000 * 1000]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "ticks", "expected"),
    [
        (None, 7, 7000),
        (9, T, T),
        (3, 5, 5_000_000),
        (0, 5, 5_000_000_000),
        (12, 7_000_999, 7000),
        (0x80, 5, 5_000_000_000),
        (0x80 | 10, 1536, 1_500_000_000),
        (0x80 | 32, 3 << 31, 1_500_000_000),
        (30, 2**64 - 1, 0),
    ],
)
def test_units_of_pcapng(order: c.Order, resolution: int | None, ticks: int, expected: int) -> None:
    file = c.Pcapng(order)
    file.interface(resolution=resolution)
    file.packet(ticks, PACKET)
    assert times(bytes(file.data)) == [expected]


def test_interfaces_have_their_own_links_units_and_offsets() -> None:
    file = c.Pcapng()
    file.interface(c.LINK_ETHERNET, resolution=9)
    file.interface(c.LINK_RAW, resolution=6, offset_s=-2)
    file.block(0xBAD, bytes(5_000_000))  # longer than a piece
    file.packet(9_000_000, PACKET, interface=1)
    file.packet(5, c.linked(PACKET, c.LINK_ETHERNET))
    assert times(bytes(file.data)) == [7_000_000_000, 5]


def test_a_second_section_has_interfaces_of_its_own() -> None:
    first, second = c.Pcapng(), c.Pcapng(">")
    for file in (first, second):
        file.interface(resolution=9)
        file.packet(T, PACKET)
    assert times(bytes(first.data + second.data)) == [T, T]


def test_simple_packets_have_the_time_of_the_one_before() -> None:
    file = c.Pcapng()
    file.interface()
    file.packet(7, PACKET)
    file.simple(PACKET)
    data = bytes(file.data)
    assert times(data) == [7000, 7000]
    assert capture.flows(io.BytesIO(data)).packets_without_time == 1


@given(
    st.lists(st.tuples(st.integers(0, 2**62), st.binary(max_size=200)), max_size=30),
)
@settings(deadline=None)
def test_what_a_tap_writes_is_read(packets: list[tuple[int, bytes]]) -> None:
    out = io.BytesIO()
    writer = pcapng.Writer(out)
    writer.section(application="shmring", system="Linux", comment="")
    writer.interface("ctl tx", "")
    for time_ns, payload in packets:
        data = c.udp(payload)
        writer.packet(0, time_ns, data, original_bytes=len(data), direction=pcapng.OUTBOUND)
    writer.statistics(0, 0, received=0, dropped=0, comment="")
    writer.flush()
    out.seek(0)
    found = []
    with Reader(out) as reader:
        for count in reader.batches():
            for r in reader.records[0:count]:
                found.append((r.time_ns, bytes(reader.payloads[r.offset : r.offset + r.length])))
    assert found == packets


@given(st.binary(max_size=300), st.integers(0, 400))
@settings(deadline=None)
def test_damage_raises_a_value_error_or_is_counted(noise: bytes, at: int) -> None:
    file = c.Pcapng()
    file.interface()
    for i in range(5):
        file.packet(i, PACKET)
    for whole in (bytes(file.data), c.pcap([(T, PACKET)] * 5)):
        with contextlib.suppress(ValueError):
            capture.flows(io.BytesIO(whole[:at] + noise + whole[at + len(noise) :]))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes are no capture"),
        (b"\xa1\xb2", "2 bytes are no capture"),
        (b"hello world", "the file begins with 68656c6c"),
        (b"\x1f\x8b\x08\0", "0 bytes are no capture"),
        (c.pcap([])[:24] + bytes(8) + b"\xff" * 8, "at most 262144 are possible"),
        (bytes(c.Pcapng().data) + b"\6\0\0\0\7\0\0\0    ", "the length of a block is 7"),
    ],
)
def test_errors_name_the_value_and_the_fix(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        capture.flows(io.BytesIO(data))


def test_a_file_that_ends_inside_a_packet_is_read_so_far() -> None:
    summary = capture.flows(io.BytesIO(c.pcap([(T, PACKET)] * 2)[:-3]))
    assert (summary.packets, summary.cut_bytes) == (1, 16 + len(PACKET) - 3)


def test_a_file_that_ends_inside_a_block_that_nobody_needs_says_so() -> None:
    data = c.Pcapng()
    data.interface()
    data.block(5, bytes(20))
    data.packet(0, PACKET)
    assert capture.flows(io.BytesIO(data.data)).cut_bytes == 0
    data.data += (0x0BAD).to_bytes(4, "little") + (1 << 30).to_bytes(4, "little") + bytes(40)
    summary = capture.flows(io.BytesIO(data.data))
    assert (summary.packets, summary.cut_bytes) == (1, 48)


def test_a_pipe_streams_more_than_a_piece(tmp_path: os.PathLike[str]) -> None:
    data = c.pcap([(T + i, c.udp(bytes(1400))) for i in range(4000)])  # 5.8 MB
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(read_end, "rb", buffering=0) as pipe:
        assert capture.flows(pipe).packets == 4000
    thread.join()


def test_what_gzip_has_compressed(tmp_path: Path) -> None:
    """Also in several members, as of `cat a.gz b.gz`, in a loop, and through a pipe."""
    data = c.pcap([(T + i, c.udp(bytes(1400))) for i in range(4000)])
    packed = gzip.compress(data[:100_000]) + gzip.compress(data[100_000:])
    path = tmp_path / "line.pcap.gz"
    path.write_bytes(packed)
    assert capture.flows(str(path)).packets == 4000
    with Reader(str(path)) as reader:
        for _ in range(2):
            assert sum(reader.batches()) == 4000
            assert reader.share == 1
            reader.rewind()
    shown = subprocess.Popen(["cat", path], stdout=subprocess.PIPE, bufsize=0)
    assert shown.stdout is not None
    with shown.stdout as pipe:
        assert capture.flows(pipe).packets == 4000
    assert shown.wait() == 0
    assert capture.flows(io.BytesIO(packed[:-5000])).packets > 100
    with pytest.raises(ValueError, match="the gzip data is damaged"):
        capture.flows(io.BytesIO(packed[:50] + b"x" + packed[51:]))


class Stream(io.RawIOBase):
    """A file object of a program's own: it has no descriptor and cannot be rewound."""

    def __init__(self, data: bytes) -> None:
        self._left = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._left.readinto(buffer)


def test_a_file_object_needs_no_descriptor() -> None:
    assert capture.flows(Stream(c.pcap([(T, PACKET)] * 3))).packets == 3
