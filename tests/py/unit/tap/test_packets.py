"""Headers around datagrams, with right checksums."""

from __future__ import annotations

import socket
import struct

import pytest

from shmring.net.tap import packets

V4 = (bytes((10, 0, 0, 1)), 5004), (bytes((10, 0, 0, 2)), 9)
V6 = (socket.inet_pton(socket.AF_INET6, "::1"), 1), (socket.inet_pton(socket.AF_INET6, "::2"), 2)


def words(data: bytes) -> int:
    """RFC 1071, word by word."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("size", [0, 1, 2, 7, 1400, 65000])
@pytest.mark.parametrize("fill", [0x00, 0x5A, 0xFF])
def test_the_sums_come_out(size: int, fill: int) -> None:
    data = bytes([fill]) * size
    raw, length = packets.ip_packet(*V4, data, size, 0xB8)
    assert len(raw) == length == 28 + size
    assert words(raw[:20]) == 0xFFFF
    assert (raw[1], raw[9], raw[12:20]) == (0xB8, 17, V4[0][0] + V4[1][0])
    assert struct.unpack_from("!H", raw, 2) == (length,)
    pseudo = raw[12:20] + struct.pack("!HH", 17, 8 + size)
    assert words(pseudo + raw[20:]) == 0xFFFF
    assert struct.unpack_from("!HHH", raw, 20) == (5004, 9, 8 + size)
    assert raw[26:28] != b"\0\0"
    raw, length = packets.ip_packet(*V6, data, size)
    assert len(raw) == length == 48 + size
    assert struct.unpack_from("!HBB", raw, 4) == (8 + size, 17, 64)
    pseudo = raw[8:40] + struct.pack("!II", 8 + size, 17)
    assert words(pseudo + raw[40:]) == 0xFFFF


def test_a_cut_datagram_has_the_length_it_had_and_no_sum() -> None:
    raw, length = packets.ip_packet(*V4, b"begin", 1000)
    assert (len(raw), length) == (33, 1028)
    assert struct.unpack_from("!HH", raw, 24) == (1008, 0)


def test_mapped_addresses_are_plain_again() -> None:
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:10.0.0.1")
    assert packets.plain_ip(mapped) == bytes((10, 0, 0, 1))
    assert packets.plain_ip(V6[0][0]) == V6[0][0]


def test_wildcards_are_replaced_by_what_leads_there() -> None:
    known = packets.LocalAddresses()
    loopback = bytes((127, 0, 0, 1))
    assert known.towards(bytes(4), loopback) == loopback
    assert known.towards(bytes((10, 1, 2, 3)), loopback) == bytes((10, 1, 2, 3))
    assert known.towards(bytes(16), loopback) == loopback  # a socket of both families
