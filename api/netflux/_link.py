"""The channel of `shmring` for a receiver, a sender, or both, and its socket."""

from __future__ import annotations

import contextlib
import operator
import os
import socket
from typing import TYPE_CHECKING, Any

# As early as this module: workers may use the cores that the process had at that moment. What needs
# no link works without.
_missing: ImportError | None = None
if TYPE_CHECKING:
    import shmring
    from shmring import netflux
    from shmring.types import Direction
else:
    try:
        import shmring
    except ImportError as _error:
        _missing = _error

Address = tuple[str, int]
_MAX_PORT = 65535


class LinkClosed(Exception):
    """The link was closed during the call."""


class LinkSocket(socket.socket):
    """The socket of a receiver. Only its worker reads from it."""

    owner: Any = None
    """The receiver."""


def resolve(host: str, port: int, family: int = socket.AF_UNSPEC) -> Address:
    """Return a numeric address for a host, which may be a name.

    Raises OSError, TypeError, ValueError.
    """
    if not isinstance(host, str):
        raise TypeError(f"remote_ip is {host!r}; it must be an address, or the name of a host")
    if not 1 <= operator.index(port) <= _MAX_PORT:  # getaddrinfo takes others modulo 65536
        raise ValueError(f"remote_port is {port}; it must be 1 to {_MAX_PORT}")
    address = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)[0][4]
    scope = address[3] if len(address) == 4 else 0
    return f"{address[0]}%{scope}" if scope else str(address[0]), port


def _family_of(host: str) -> int:
    """The address family, IPv4 if it is unknown."""
    try:
        return socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)[0][0]
    except (OSError, TypeError):
        return socket.AF_INET


def bound_socket(
    address: str, port: int, remote: Address | None, *, reuse: bool = False
) -> LinkSocket:
    """Return a socket bound to an address. Empty: to all addresses of the remote's family.

    Raises OSError, OverflowError, TypeError.
    """
    family: int = socket.AF_INET
    place: tuple[Any, ...] = ("", port)
    if address:
        family, _, _, _, found = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM)[0]
        place = (found[0], port, *found[2:])  # of a link-local one also the interface
    elif remote is not None:
        family = _family_of(remote[0])
    sock = LinkSocket(family, socket.SOCK_DGRAM)
    try:
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(place)
    except BaseException:
        sock.close()
        raise
    return sock


class Link:
    """A channel. After `close`, its properties keep their last values."""

    def __init__(
        self,
        name: str,
        pool: Any,
        sock: socket.socket,
        *,
        remote: Address | None = None,
        direction: Direction = "duplex",
        **engine: Any,
    ) -> None:
        """Open it on a bound socket, which stays the caller's. It sends nothing before `send`.

        engine: arguments of `shmring.Netflux`. By default nothing is exchanged or watched.
        Raises ImportError (no `shmring`), and the errors of `shmring.open`.
        """
        if _missing is not None:
            raise ImportError(
                "netflux exchanges data through the compiled package shmring, which cannot be "
                f"imported here ({_missing}); statistics work without it"
            ) from _missing
        self._pid = os.getpid()
        self._closed = False
        engine = {"send": 0, "receive": 0, "watchdog_ns": 0, "any_source": True} | engine
        self.tx_size: int = engine["send"]
        self.family = sock.family
        self.channel: netflux.Channel = shmring.open(
            name,
            shmring.Netflux(direction=direction, socket=shmring.Socket(existing=sock), **engine),
            pool=pool,
            remote=remote,
            held=True,
        )
        # A link whose packets carry no values would send at once. The sender says when.
        self.channel.configure(sending=False)
        self.channel.release()
        # Its last values, for use after it is closed.
        self._seen: netflux.Link = self.channel.link()
        self._stats: netflux.Stats = self.channel.netflux_stats()
        self._values: bytes | None = None

    def close(self) -> None:
        """Close the channel. May be called repeatedly."""
        with contextlib.suppress(shmring.ShmringError):  # so that the number seen is the last
            self.send(False)
        self._closed = True
        self.look()
        self.stats()
        self.snapshot()
        with self.channel:
            pass  # ends it, if this process opened it

    # --- what it shows ------------------------------------------------------------------------

    @property
    def broken(self) -> bool:
        """Whether it ended by itself: its socket failed, or its pool was closed."""
        return not self._closed and self.channel.state in ("closed", "failed")

    def look(self) -> netflux.Link:
        """State and counters."""
        with contextlib.suppress(shmring.ChannelClosed):
            self._seen = self.channel.link()
        return self._seen

    def stats(self) -> netflux.Stats:
        """Histograms."""
        with contextlib.suppress(shmring.ChannelClosed):
            self._stats = self.channel.netflux_stats()
        return self._stats

    def snapshot(self) -> bytes | None:
        """The partner's newest values. None: there were none yet."""
        with contextlib.suppress(shmring.ChannelClosed):
            found = self.channel.snapshot()
            self._values = None if found is None else found.values
        return self._values

    # --- what it does -------------------------------------------------------------------------

    def put(self, values: bytes | memoryview) -> None:
        """Send these values from now on. Raises LinkClosed, ShmringError."""
        try:
            self.channel.update(values)
        except shmring.ChannelClosed:
            raise LinkClosed("the socket was closed") from None

    def next_values(self, timeout: float | None) -> bytes | None:
        """Wait for the next values, or for the zeros after a timeout.

        None: another event happened. Raises TimeoutError, LinkClosed, ShmringError.
        """
        try:
            item = self.channel.recv(timeout=timeout)
        except shmring.ChannelClosed:
            raise LinkClosed("the socket was closed") from None
        if item.void if isinstance(item, shmring.netflux.Event) else True:
            values: bytes = item.values
            return values
        return None

    def send(self, on: bool) -> None:
        """Start, continue or stop sending. Raises ShmringError.

        Does nothing in a child after fork: the parent owns the link.
        """
        if os.getpid() != self._pid:
            return
        if on:
            self.channel.configure(sending=True)
        else:
            self.channel.configure(sending=False)
