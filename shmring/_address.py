"""Conversion of numeric addresses between Python's tuples and `shm_addr_t`.

Names are not resolved, because resolving may wait for the network and this module must not wait.
"""

import errno
import operator
import socket
import sys
from collections.abc import Iterable
from typing import Any

from shmring._ring import ffi
from shmring.errors import BadAddress

ADDRESS_BYTES = ffi.sizeof("shm_addr_t")

Address = tuple[str, int]
"""A numeric host and a port. An IPv6 host may include its zone ("fe80::1%eth0")."""


def pack(address: object, what: str = "address", least_port: int = 0) -> bytes:
    """Return `address`, a (host, port) pair, as the bytes of an `shm_addr_t`.

    IPv6 addresses may also have the four-part form of `socket`, (host, port, flow, scope). Set
    `least_port` to 1 for a destination address. Raises `BadAddress`, `TypeError`.
    """
    host, port, scope = _parts(address, what)
    if isinstance(port, bool) or not least_port <= port <= 65535:
        raise BadAddress(f"{what}: port is {port!r}: it must be {least_port} to 65535")
    out = ffi.new("shm_addr_t *")
    out.port = port
    if ":" in host:
        host, _, zone = host.partition("%")
        out.family = 6
        out.scope = _scope(zone, what) if zone else scope
        raw = _numeric(socket.AF_INET6, host, what)
    else:
        out.family = 4
        raw = _numeric(socket.AF_INET, host, what)
    ffi.memmove(out.ip, raw, len(raw))
    return bytes(ffi.buffer(out))


def pack_addresses(addresses: Iterable[Address | None]) -> bytes:
    """Return addresses as the bytes that `Channel.send_many` takes as `to` or `source`: 24 for each
    packet.

    addresses: (host, port) pairs, or None for a packet without a `source`. Each different one is
    converted once. Raises `BadAddress`, `TypeError`.
    """
    known: dict[Address | None, bytes] = {None: bytes(ADDRESS_BYTES)}
    packed: list[bytes] = []
    for address in addresses:
        if address not in known:
            known[address] = pack(address, "address")
        packed.append(known[address])
    return b"".join(packed)


def zoned(host: str, interface: str | None) -> str:
    """Return a numeric host with `interface` as its zone, if it is link-local and has none."""
    if interface is None or "%" in host or ":" not in host:
        return host
    raw = _numeric(socket.AF_INET6, host, "host")
    link_local = raw[0] == 0xFE and raw[1] & 0xC0 == 0x80
    group = raw[0] == 0xFF and raw[1] & 15 == 2
    return f"{host}%{interface}" if link_local or group else host


def family(raw: bytes) -> int:
    """Return 4 or 6, or 0 if there is no address."""
    return int.from_bytes(raw[:2], sys.byteorder)


def is_multicast(raw: bytes) -> bool:
    """Whether the address belongs to a multicast group."""
    place: int = ffi.offsetof("shm_addr_t", "ip")
    first = raw[place]
    return first == 0xFF if family(raw) == 6 else 224 <= first < 240


def unpack(raw: Any) -> Address | None:
    """Return the (host, port) of an `shm_addr_t` or of its bytes, or None for family 0."""
    if isinstance(raw, ffi.CData):
        address = raw
    else:
        buffer = bytes(raw)
        address = ffi.new("shm_addr_t *")
        ffi.memmove(address, buffer, ADDRESS_BYTES)
    if address.family == 0:
        return None
    ip = bytes(ffi.buffer(address.ip))
    if address.family == 4:
        return socket.inet_ntop(socket.AF_INET, ip[:4]), address.port
    host = socket.inet_ntop(socket.AF_INET6, ip)
    return (f"{host}%{_zone(address.scope)}" if address.scope else host), address.port


def unpack_known(raw: Any, what: str) -> Address:
    """Like `unpack`, for an address in shared memory that must be one. Raises `OSError`."""
    if raw.family not in (4, 6):
        raise OSError(errno.EPROTO, f"its {what} has the family {raw.family}: it must be 4 or 6")
    host, port = unpack(raw) or ("", 0)
    return host, port


def _parts(address: object, what: str) -> tuple[str, int, int]:
    host: Any = None
    port: Any = None
    scope: Any = None
    value: Any = address
    given: Any = value if isinstance(address, (tuple, list)) else None
    match given:
        case (str(), _):
            (host, port), scope = given, 0
        case (str(), _, _, _):
            host, port, _, scope = given
    if not (hasattr(port, "__index__") and hasattr(scope, "__index__")):
        raise TypeError(f'{what} must be a pair such as ("127.0.0.1", 9000), not {address!r}')
    if not 0 <= scope < 2**32:
        raise BadAddress(f"{what}: scope is {scope}: it must be the number of an interface")
    return host, port if isinstance(port, bool) else operator.index(port), operator.index(scope)


def _numeric(family: int, host: str, what: str) -> bytes:
    try:
        return socket.inet_pton(family, host)
    except (OSError, ValueError):
        raise BadAddress(
            f'{what}: {host!r} is not a numeric address such as "127.0.0.1" or "::1": resolve '
            "names with socket.getaddrinfo first"
        ) from None


def _scope(zone: str, what: str) -> int:
    if zone.isdecimal():
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        raise BadAddress(f"{what}: this host has no interface {zone!r}") from None


def _zone(scope: int) -> str:
    try:
        return socket.if_indextoname(scope)
    except OSError:
        return str(scope)
