"""IP and UDP headers for a datagram, as they may have been on the wire.

A worker sees datagrams and addresses, but not the headers that the kernel makes. The headers made
here have the right addresses, lengths and checksums. Identification, hop limit and flow label are
synthetic.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
import struct

from shmring._ring import lib

UDP_HEADER_BYTES = 8
IPV4_HEADER_BYTES = 20
IPV6_HEADER_BYTES = 40

_PROTOCOL_UDP = 17
_HOP_LIMIT = 64
_DONT_FRAGMENT = 0x4000
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_MAPPED = bytes(10) + b"\xff\xff"


def _sum16(data: bytes) -> int:
    """Return the ones' complement sum of 16-bit words (RFC 1071)."""
    return int(lib.ring_sum16(data, len(data)))


def _complement(total: int) -> int:
    return 0xFFFF - total % 0xFFFF


@functools.lru_cache(maxsize=4096)
def _flow(source: bytes, target: bytes, ports: tuple[int, int], tos: int) -> tuple[int, int]:
    """Return the part that the checksums of the IPv4 and UDP headers share, without the lengths."""
    udp = _sum16(source + target + struct.pack("!HHH", _PROTOCOL_UDP, *ports))
    if len(source) == 16:
        return 0, udp
    ip = _IPV4.pack(0x45, tos, 0, 0, _DONT_FRAGMENT, _HOP_LIMIT, _PROTOCOL_UDP, 0, source, target)
    return _sum16(ip), udp


def ip_packet(
    source: tuple[bytes, int], target: tuple[bytes, int], data: bytes, whole: int, tos: int = 0
) -> tuple[bytes, int]:
    """Return a packet that carries `data`, the beginning of a datagram of `whole` bytes, and the
    packet's full length. The two addresses have 4 or 16 bytes, both the same number, and a port."""
    (from_ip, from_port), (to_ip, to_port) = source, target
    ip_sum, udp_sum = _flow(from_ip, to_ip, (from_port, to_port), tos)
    length = UDP_HEADER_BYTES + whole
    checksum = 0  # the checksum of a truncated datagram is unknown
    if len(data) == whole:
        checksum = _complement(udp_sum + 2 * length + _sum16(data)) or 0xFFFF
    udp = _UDP.pack(from_port, to_port, length & 0xFFFF, checksum)
    if len(from_ip) == 16:
        head = _IPV6.pack(
            6 << 28 | tos << 20, length & 0xFFFF, _PROTOCOL_UDP, _HOP_LIMIT, from_ip, to_ip
        )
        return head + udp + data, IPV6_HEADER_BYTES + length
    total = IPV4_HEADER_BYTES + length
    head = _IPV4.pack(
        0x45,
        tos,
        total & 0xFFFF,
        0,
        _DONT_FRAGMENT,
        _HOP_LIMIT,
        _PROTOCOL_UDP,
        _complement(ip_sum + total),
        from_ip,
        to_ip,
    )
    return head + udp + data, total


def plain_ip(ip: bytes) -> bytes:
    """Return the IPv4 address in ``::ffff:a.b.c.d``. Return any other address unchanged."""
    return ip[12:] if len(ip) == 16 and ip.startswith(_MAPPED) else ip


class LocalAddresses:
    """Finds a replacement for a wildcard address: the local address of the route to the peer."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, int], bytes] = {}

    def towards(self, local: bytes, remote: bytes, scope: int = 0) -> bytes:
        """Return `local`. If it is a wildcard or of the other family, return the local address that
        leads to `remote`."""
        if len(local) == len(remote) and any(local):
            return local
        key = (remote, scope)
        if key not in self._known:
            self._known[key] = _route(remote, scope)
        return self._known[key]


def _route(remote: bytes, scope: int) -> bytes:
    family = socket.AF_INET if len(remote) == 4 else socket.AF_INET6
    where = (str(ipaddress.ip_address(remote)), 9)
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(where if family == socket.AF_INET else (*where, 0, scope))
        return socket.inet_pton(family, probe.getsockname()[0].partition("%")[0])
    return bytes(len(remote))
