"""What is found in packets of each link type, with each rare header."""

from __future__ import annotations

import io
import struct

import pytest

from shmring.net import capture
from shmring.net.capture.reader import Reader
from shmring.testing import captures as c

T = 1_795_288_288_555_810_862
TO4, TO6 = ("10.0.0.2", 5004), ("fd00::2", 5004)
FROM6 = ("fd00::1", 40000)


def read(data: bytes) -> tuple[list[tuple[int, bytes]], capture.CaptureSummary]:
    """Times and payloads, and the summary."""
    found = []
    with Reader(io.BytesIO(data)) as reader:
        for count in reader.batches():
            for record in reader.records[0:count]:
                end = record.offset + record.length
                found.append((record.time_ns, bytes(reader.payloads[record.offset : end])))
    return found, capture.flows(io.BytesIO(data))


LINKS = [c.LINK_ETHERNET, c.LINK_RAW_OLD, c.LINK_RAW_OPENBSD, c.LINK_RAW, c.LINK_SLL, c.LINK_SLL2]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("link", LINKS)
def test_ip_on_each_link(link: int, order: c.Order) -> None:
    four = c.linked(c.udp(b"four", to=TO4), link)
    six = c.linked(c.udp(b"six", to=TO6, source=FROM6), link)
    found, summary = read(c.pcap([(T, four), (T + 5, six)], link=link, order=order))
    assert found == [(T, b"four"), (T + 5, b"six")]
    assert [flow.destination for flow in summary.flows] == [TO4, TO6]
    assert [flow.source for flow in summary.flows] == [("127.0.0.1", 40000), FROM6]


@pytest.mark.parametrize("link", [c.LINK_NULL, c.LINK_LOOP])
@pytest.mark.parametrize("order", ["<", ">"])
def test_loopback_of_bsd(link: int, order: c.Order) -> None:
    frames = [(T, c.linked(c.udp(b"a", to=TO4), link, order=order))]
    frames.append((T, c.linked(c.udp(b"b", to=TO6, source=FROM6), link, order=order)))
    assert [payload for _, payload in read(c.pcap(frames, link=link))[0]] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("link", "packet"), [(228, c.udp(b"x")), (229, c.udp(b"x", to=TO6, source=FROM6))]
)
def test_one_version_of_ip(link: int, packet: bytes) -> None:
    assert read(c.pcap([(T, packet)], link=link))[0] == [(T, b"x")]


@pytest.mark.parametrize("tags", [(0x8100,), (0x88A8, 0x8100), (0x9100, 0x8100, 0x8100)])
@pytest.mark.parametrize("link", [c.LINK_ETHERNET, c.LINK_SLL])
def test_vlan_tags(link: int, tags: tuple[int, ...]) -> None:
    frame = c.linked(c.udp(b"tagged"), link, tags=tags)
    assert read(c.pcap([(T, frame)], link=link))[0] == [(T, b"tagged")]


def test_options_of_ipv4_and_padding_of_the_link() -> None:
    frame = c.linked(c.udp(b"x", options=b"\x94\x04\0\0" * 3), c.LINK_ETHERNET) + bytes(20)
    assert read(c.pcap([(T, frame)], link=1))[0] == [(T, b"x")]


def test_extension_headers_of_ipv6() -> None:
    extensions = [
        (0, bytes(7)),  # hop by hop
        (60, bytes([1]) + bytes(14)),  # destination options, 16 bytes
        (51, bytes([4]) + bytes(22)),  # authentication, 24 bytes
        (44, bytes(7)),  # a fragment that is the whole
    ]
    packet = c.udp(b"deep", to=TO6, source=FROM6, extensions=extensions)
    assert read(c.pcap([(T, packet)]))[0] == [(T, b"deep")]


def test_what_is_not_sent_is_counted_by_kind() -> None:
    whole = c.udp(b"0123456789")
    fragment6 = c.udp(b"x", to=TO6, source=FROM6, extensions=[(44, b"\0\0\1\0\0\0\0")])
    tcp = bytearray(whole)
    tcp[9] = 6
    wrong = bytearray(whole)
    wrong[2:4] = struct.pack("!H", 500)
    frames = [whole, c.udp(b"x", fragment=0x2000), c.udp(b"x", fragment=3), fragment6]
    frames += [bytes(tcp), b"\x00arp", bytes(wrong)]
    data = c.pcap([(T, frame) for frame in frames])
    _, summary = read(data)
    fates = summary.fates
    assert (fates.udp, fates.fragment, fates.not_udp, fates.not_ip, fates.malformed) == (
        1,
        3,
        1,
        1,
        1,
    )
    assert read(c.pcap([(T, whole)], snap=30))[1].fates.truncated == 1
    other = read(c.pcap([(T, whole)], link=127))[1]
    assert (other.fates.other_link, other.other_link) == (1, 127)


def test_an_empty_payload_and_the_longest_one() -> None:
    longest = bytes(65507)
    found, _ = read(c.pcap([(T, c.udp(b"")), (T, c.udp(longest))]))
    assert [len(payload) for _, payload in found] == [0, 65507]
    six = c.udp(bytes(65508), to=TO6, source=FROM6)
    assert read(c.pcap([(T, six)]))[1].fates.malformed == 1
