"""Which flows of a capture are sent, and where to."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shmring import _address
from shmring._address import Address
from shmring.errors import BadAddress
from shmring.net.capture.reader import Ends

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_HOW = 'use "10.0.0.1:5004", "[fd00::1]:5004", "10.0.0.0/8", "*:5004" or "10.0.0.1"'


class _Pattern(NamedTuple):
    """A host or network and a port. None: any."""

    network: _Network | None
    port: int | None

    def fits(self, address: Address) -> bool:
        host, port = address
        if self.port is not None and self.port != port:
            return False
        return self.network is None or ipaddress.ip_address(host) in self.network


class _FlowPattern(NamedTuple):
    source: _Pattern
    destination: _Pattern

    def fits(self, ends: Ends) -> bool:
        return self.source.fits(ends[0]) and self.destination.fits(ends[1])


class _Target(NamedTuple):
    """What replaces a destination. None: stays as captured."""

    host: str | None
    port: int | None

    def of(self, address: Address) -> Address:
        host, port = address
        return (host if self.host is None else self.host, port if self.port is None else self.port)


class Routes:
    """Chooses flows by patterns and gives them destinations."""

    def __init__(
        self,
        to: str | Address | None = None,
        map: Mapping[str, str] | None = None,
        flow: str | Iterable[str] = (),
        interface: str | None = None,
    ) -> None:
        """Raises `ValueError` (`BadAddress`) for a word that is no pattern or address."""
        wanted = [flow] if isinstance(flow, str) else list(flow)
        self._wanted = [_flow_pattern(text) for text in wanted]
        self._map = [
            (_pattern(old, "map"), _target(new, "map")) for old, new in (map or {}).items()
        ]
        self._rest = None
        if to is not None:
            self._rest = _target(to, "to") if isinstance(to, str) else _Target(*to)
        self._interface = interface
        if self._rest is not None:
            self._check(self._rest)
        for _, target in self._map:
            self._check(target)

    def destination(self, ends: Ends) -> Address | None:
        """Return where the packets of a flow go. None: they are not sent."""
        if self._wanted and not any(pattern.fits(ends) for pattern in self._wanted):
            return None
        captured = ends[1]
        target = next((new for old, new in self._map if old.fits(captured)), self._rest)
        host, port = captured if target is None else target.of(captured)
        return (_address.zoned(host, self._interface), port) if port else None

    @staticmethod
    def _check(target: _Target) -> None:
        host = "127.0.0.1" if target.host is None else target.host
        _address.pack((host, 1 if target.port is None else target.port), "to", least_port=1)


def address(text: str) -> Address:
    """Return the host and the port, 0 if there is none, of ``10.0.0.1:5004`` or ``[::1]:5004``.

    Raises `BadAddress`.
    """
    host, port = split(text, "address")
    _address.pack((host, port or 0), "address")
    return host, port or 0


# --- words ----------------------------------------------------------------------------------------


def split(text: str, what: str) -> tuple[str, int | None]:
    """Return the host and the port of ``host``, ``host:port``, ``[host]:port`` or ``*:port``.

    Raises `BadAddress`.
    """
    host, colon, port = text.strip(), "", ""
    if host.startswith("["):
        host, end, rest = host[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        if not end or colon not in ("", ":"):
            raise BadAddress(f"{what}: {text!r} has no end: use [fd00::1] or [fd00::1]:5004")
    elif host.count(":") == 1:
        host, colon, port = host.partition(":")
    if not colon:
        return host, None
    if port == "*":
        return host, None
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise BadAddress(f"{what}: port is {port!r}: it must be 1 to 65535, or *")
    return host, int(port)


def _pattern(text: str, what: str) -> _Pattern:
    host, port = split(text, what)
    if host in ("", "*"):
        return _Pattern(None, port)
    try:
        return _Pattern(ipaddress.ip_network(host, strict=False), port)
    except ValueError:
        raise BadAddress(f"{what}: {text!r} is no address or network: {_HOW}") from None


def _flow_pattern(text: str) -> _FlowPattern:
    source, arrow, destination = text.partition(">")
    if not arrow:
        source, destination = "*", text
    return _FlowPattern(_pattern(source, "flow"), _pattern(destination, "flow"))


def _target(text: str, what: str) -> _Target:
    host, port = split(text, what)
    return _Target(None if host in ("", "*") else host, port)
