"""Datagram endpoints of asyncio over channels."""

import asyncio
import itertools
import os
import socket
from collections.abc import Callable
from typing import Any, TypeVar, Unpack

from shmring._datagram import ChannelTransport
from shmring._in_thread import in_thread
from shmring._opening import Opening, end_at_once, showing
from shmring._options import asked_for
from shmring.channel import Channel
from shmring.engine import EndpointOptions
from shmring.pool import open_async

Protocol = TypeVar("Protocol", bound=asyncio.DatagramProtocol)
Family = socket.AddressFamily
HostPort = tuple[str | None, int]

_numbers = itertools.count()


@showing(EndpointOptions)
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
    **options: Unpack[EndpointOptions],
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
    reuse_address, reuse_port: share the port, as the option `reuse` of `Pool.open`.
    allow_broadcast: allow sending to broadcast addresses.
    sock: a UDP socket to work with, instead of addresses. Options that you set on it stay, and
        ``transport.get_extra_info("socket")`` sets others. The transport closes it.
    name: of the channel. None: one that nobody else uses.
    pool, namespace: as for `open`.

    All others are options of `Pool.open` and explained there. Raises the same exceptions,
    `ValueError` for a wrong combination of arguments, and `OSError` for an unknown name. It needs
    asyncio, with any event loop.
    """
    given = asked_for(options, EndpointOptions.__optional_keys__, "a datagram endpoint")
    reuse = bool(reuse_address or reuse_port)
    if sock is not None:
        if local_addr or remote_addr or family or proto or flags or reuse:
            raise ValueError("sock is given: leave out addresses, family, proto and flags")
        where = _as_bound(sock)
    else:
        hints = {"family": family, "proto": proto, "flags": flags}
        where = await _resolved(local_addr, remote_addr, hints)
        where["reuse"] = reuse
    channel: Channel = await open_async(
        name or f"datagram-{os.getpid()}-{next(_numbers)}",
        pool=pool,
        namespace=namespace,
        broadcast=bool(allow_broadcast),
        **where,
        **given,
    )
    try:
        protocol = protocol_factory()
        transport = ChannelTransport(channel, protocol, sock)
    except BaseException:
        await in_thread(end_at_once, channel)
        raise
    transport.begin()
    return transport, protocol


def _as_bound(sock: socket.socket) -> dict[str, Any]:
    """Return the options of `open` for a socket."""
    if sock.type != socket.SOCK_DGRAM or sock.family not in (socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"sock must be a UDP socket, not {sock!r}")
    if sock.getsockname()[1] == 0:
        sock.bind(("", 0))
    try:
        return {"socket": sock, "remote": sock.getpeername()[:2], "connect": True}
    except OSError:
        return {"socket": sock}


async def _resolved(
    local: HostPort | None, remote: HostPort | None, hints: dict[str, int]
) -> dict[str, Any]:
    """Return the options of `open` for addresses, which may be names."""
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
        where |= {"remote": remotes[both[0]], "connect": True}
    return where


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
