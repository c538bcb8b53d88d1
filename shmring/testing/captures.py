"""Captures for tests: UDP packets as pcap and pcapng, in memory.

data = pcap([(time_ns, udp(b"hello", to=("127.0.0.1", 9000)))], link=LINK_RAW)
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from typing import Literal

LINK_NULL = 0
LINK_ETHERNET = 1
LINK_RAW_OLD = 12
LINK_RAW_OPENBSD = 14
LINK_RAW = 101
LINK_LOOP = 108
LINK_SLL = 113
LINK_IPV4 = 228
LINK_IPV6 = 229
LINK_SLL2 = 276

Order = Literal["<", ">"]
Frame = tuple[int, bytes]
"""A time in ns since 1970, and the packet with its link header."""


def udp(
    payload: bytes,
    *,
    to: tuple[str, int] = ("127.0.0.1", 9000),
    source: tuple[str, int] = ("127.0.0.1", 40000),
    options: bytes = b"",
    extensions: Iterable[tuple[int, bytes]] = (),
    fragment: int = 0,
) -> bytes:
    """Return an IPv4 or IPv6 packet. Of the checksums it has only that of IPv4.

    options: of IPv4, padded to 4 bytes. extensions: of IPv6, (number, header without its first
    byte). fragment: the flags and the offset of IPv4.
    """
    datagram = struct.pack("!HHHH", source[1], to[1], 8 + len(payload), 0) + payload
    ends = [ipaddress.ip_address(address[0]) for address in (source, to)]
    hosts = b"".join(end.packed for end in ends)
    if ends[0].version == 6:
        first, body = _chained(list(extensions), datagram)
        return struct.pack("!IHBB", 6 << 28, len(body), first, 64) + hosts + body
    options += bytes(-len(options) % 4)
    head = 20 + len(options)
    total = head + len(datagram)
    begin = struct.pack("!BBHHHBB", 0x40 | head // 4, 0, total, 0, fragment, 64, 17)
    rest = hosts + options
    return begin + _checksum(begin + bytes(2) + rest) + rest + datagram


def _checksum(head: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(head) // 2}H", head))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", total ^ 0xFFFF)


def _chained(extensions: list[tuple[int, bytes]], body: bytes) -> tuple[int, bytes]:
    following = 17
    for number, rest in reversed(extensions):
        body = bytes([following]) + rest + body
        following = number
    return following, body


def linked(
    packet: bytes,
    link: int,
    *,
    tags: Iterable[int] = (),
    order: Order = "<",
    macs: bytes = bytes(12),
) -> bytes:
    """Put the header of a link type in front of an IP packet. tags: VLAN types, outermost first.
    macs: the Ethernet addresses, destination first."""
    is_ipv6 = packet[0] >> 4 == 6
    ether = 0x86DD if is_ipv6 else 0x0800
    for tag in reversed(list(tags)):
        packet = struct.pack("!HH", 7, ether) + packet
        ether = tag
    if link == LINK_ETHERNET:
        return macs + struct.pack("!H", ether) + packet
    if link == LINK_SLL:
        return bytes(14) + struct.pack("!H", ether) + packet
    if link == LINK_SLL2:
        return struct.pack("!H", ether) + bytes(18) + packet
    if link in (LINK_NULL, LINK_LOOP):
        return struct.pack(f"{'!' if link == LINK_LOOP else order}I", 10 if is_ipv6 else 2) + packet
    return packet


def pcap(
    frames: Iterable[Frame],
    *,
    link: int = LINK_RAW,
    order: Order = "<",
    unit_ns: Literal[1, 1000] = 1,
    snap: int = 262144,
) -> bytes:
    """Return a pcap file. order: "<" little-endian. unit_ns: of its times. snap: longer packets
    are cut."""
    magic = 0xA1B23C4D if unit_ns == 1 else 0xA1B2C3D4
    out = bytearray(struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap, link))
    for time_ns, frame in frames:
        seconds, rest = divmod(time_ns, 1_000_000_000)
        kept = frame[:snap]
        out += struct.pack(f"{order}IIII", seconds, rest // unit_ns, len(kept), len(frame)) + kept
    return bytes(out)


class Pcapng:
    """A pcapng file, block by block."""

    def __init__(self, order: Order = "<") -> None:
        """order: "<" little-endian."""
        self._order = order
        self.data = bytearray()
        self.block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))

    def block(self, kind: int, body: bytes) -> None:
        """Append any block."""
        body += bytes(-len(body) % 4)
        size = 12 + len(body)
        self.data += struct.pack(f"{self._order}II", kind, size) + body
        self.data += struct.pack(f"{self._order}I", size)

    def interface(
        self,
        link: int = LINK_RAW,
        *,
        snap: int = 0,
        resolution: int | None = None,
        offset_s: int | None = None,
    ) -> None:
        """Declare an interface. resolution: if_tsresol as it is in the file."""
        options = b""
        if resolution is not None:
            options += struct.pack(f"{self._order}HHB3x", 9, 1, resolution)
        if offset_s is not None:
            options += struct.pack(f"{self._order}HHq", 14, 8, offset_s)
        if options:
            options += bytes(4)
        self.block(1, struct.pack(f"{self._order}HHI", link, 0, snap) + options)

    def packet(self, ticks: int, frame: bytes, *, interface: int = 0, snap: int = 1 << 18) -> None:
        """Append an enhanced packet block."""
        kept = frame[:snap]
        head = struct.pack(
            f"{self._order}IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(kept), len(frame)
        )
        self.block(6, head + kept)

    def simple(self, frame: bytes) -> None:
        """Append a simple packet block, which has no time."""
        self.block(3, struct.pack(f"{self._order}I", len(frame)) + frame)
