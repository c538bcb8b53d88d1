"""Datagram endpoints of asyncio over channels."""

import asyncio
import functools
import itertools
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

from shmring._datagram import ChannelTransport
from shmring._in_thread import in_thread
from shmring._opening import UDP, Opening, Udp, end_at_once
from shmring.channel import Channel
from shmring.errors import BadConfig
from shmring.parts import checked, places_in_open
from shmring.pool import pool_for
from shmring.types import Impairment, Profile

Protocol = TypeVar("Protocol", bound=asyncio.DatagramProtocol)
F = TypeVar("F", bound=Callable[..., Any])
Family = socket.AddressFamily
HostPort = tuple[str | None, int]

_PLACES = {
    name: place
    for name, place in places_in_open(Udp).items()
    if place.startswith("engine=") and name != "direction"
} | {
    "local": "local_addr=...",
    "remote": "remote_addr=...",
    "connect": "remote_addr=...",
    "socket": "sock=...",
    "existing": "sock=...",
    "reuse": "reuse_port=True",
    "broadcast": "allow_broadcast=True",
}
_numbers = itertools.count()


def _naming_places(make: F) -> F:
    """Let the error for an option of an engine say where it belongs."""

    @functools.wraps(make)
    async def checked_make(*args: Any, **given: Any) -> Any:
        for name in given.keys() & _PLACES.keys():
            raise TypeError(f"a datagram endpoint has no option {name!r}: write {_PLACES[name]}")
        return await make(*args, **given)

    return cast("F", checked_make)


@_naming_places
async def create_datagram_endpoint(
    protocol_factory: Callable[[], Protocol],
    local_addr: HostPort | None = None,
    remote_addr: HostPort | None = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
    name: str | None = None,
    pool: Opening | str | None = None,
    namespace: str | None = None,
    engine: Udp = UDP,
    impair: Impairment | None = None,
    impair_rx: Impairment | None = None,
    cpu: int | None = None,
    profile: Profile | None = None,
    strict: bool | None = None,
) -> tuple[ChannelTransport, Protocol]:
    """Open a channel as a datagram endpoint, and return (transport, protocol).

    A program that calls ``loop.create_datagram_endpoint(...)`` calls this function instead. The
    transport sends and receives through a worker. Its `sendto` also takes a deadline, ``at=``, and
    ``transport.get_extra_info("shmring_channel")`` is the `Channel`. Closing the transport ends the
    channel.

    protocol_factory: makes the `asyncio.DatagramProtocol`.
    local_addr: (host, port) to bind to. Names are looked up.
    remote_addr: (host, port). The endpoint sends to it and receives from nobody else. None:
        ``sendto`` names the destination.
    family, proto, flags: for `socket.getaddrinfo`.
    reuse_address, reuse_port: share the port, as `reuse` of `Socket`.
    allow_broadcast: allow sending to broadcast addresses.
    sock: a UDP socket to work with, instead of addresses. Options that you set on it stay, and
        ``transport.get_extra_info("socket")`` sets others. The transport closes it.
    name: of the channel. None: one that nobody else uses.
    engine: its options. The endpoint sends and receives, and arguments above that are given go
        before the fields of its socket.
    pool, namespace, impair, impair_rx, cpu, profile, strict: as for `open`.

    Raises the exceptions of `open`, `ValueError` for a wrong combination of arguments, and
    `OSError` for an unknown name. It needs asyncio, with any event loop.
    """
    checked("engine", engine, Udp)
    if engine.direction != "duplex":
        raise BadConfig(f"direction is {engine.direction!r}, but an endpoint sends and receives")
    if engine.socket.existing is not None:
        raise BadConfig("existing of the engine's Socket is given: give the socket as sock=")
    reuse = bool(reuse_address or reuse_port)
    if sock is not None:
        if local_addr or remote_addr or family or proto or flags or reuse:
            raise ValueError("sock is given: leave out addresses, family, proto and flags")
        where, own = _as_bound(sock)
    else:
        hints = {"family": family, "proto": proto, "flags": flags}
        where, own = await _resolved(local_addr, remote_addr, hints)
        if reuse_address is not None or reuse_port is not None:
            own["reuse"] = reuse
    if allow_broadcast is not None:
        own["broadcast"] = allow_broadcast
    channel: Channel = await pool_for(pool, namespace).aio.open(
        name or f"datagram-{os.getpid()}-{next(_numbers)}",
        replace(engine, socket=replace(engine.socket, **own)),
        impair=impair,
        impair_rx=impair_rx,
        cpu=cpu,
        profile=profile,
        strict=strict,
        **where,
    )
    try:
        protocol = protocol_factory()
        transport = ChannelTransport(channel, protocol, sock)
    except BaseException:
        await in_thread(end_at_once, channel)
        raise
    transport.begin()
    return transport, protocol


def _as_bound(sock: socket.socket) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of `open` and the fields of `Socket` for a socket."""
    if sock.type != socket.SOCK_DGRAM or sock.family not in (socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"sock must be a UDP socket, not {sock!r}")
    if sock.getsockname()[1] == 0:
        sock.bind(("", 0))
    try:
        return {"remote": sock.getpeername()[:2]}, {"existing": sock, "connect": True}
    except OSError:
        return {}, {"existing": sock}


async def _resolved(
    local: HostPort | None, remote: HostPort | None, hints: dict[str, int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of `open` and the fields of `Socket` for addresses, which may be names."""
    family = hints["family"]
    if family not in (0, socket.AF_INET, socket.AF_INET6) or not (local or remote or family):
        raise ValueError(
            f"family is {family}: give local_addr, remote_addr, or the family AF_INET or AF_INET6"
        )
    locals_ = await _look_up(local, hints)
    remotes = await _look_up(remote, hints)
    wanted = list(remotes or locals_ or [family])
    both = [family for family in wanted if family in (locals_ or wanted)]
    if not both:
        raise ValueError(f"{local!r} and {remote!r} have no addresses of the same family")
    wildcard = ("::" if both[0] == socket.AF_INET6 else "0.0.0.0", 0)
    where: dict[str, Any] = {"local": locals_.get(both[0], wildcard)}
    if remotes:
        where["remote"] = remotes[both[0]]
    return where, {"connect": True} if remotes else {}


async def _look_up(
    address: HostPort | None, hints: dict[str, int]
) -> dict[int, tuple[str, int]]:
    """Return the first address of each family."""
    if address is None:
        return {}
    host, port = address[:2]
    found: dict[int, tuple[str, int]] = {}
    for family, *_, sockaddr in await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_DGRAM, **hints
    ):
        if family in (socket.AF_INET, socket.AF_INET6):
            zone = sockaddr[3] if len(sockaddr) == 4 else 0
            numeric = str(sockaddr[0]).partition("%")[0] + (f"%{zone}" if zone else "")
            found.setdefault(int(family), (numeric, int(sockaddr[1])))
    return found


__all__ = ["ChannelTransport", "create_datagram_endpoint"]
