"""Functions that make UDT connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket as _socket
from typing import Unpack

from shmring.pool import Pool
from shmring.udt.listener import UdtListener
from shmring.udt.options import BACKLOG, PortOptions, Settings, UdtOptions, seconds
from shmring.udt.port import Port
from shmring.udt.socket import UdtSocket


def connect(
    remote: tuple[str, int],
    *,
    local: tuple[str, int] | None = None,
    port: Port | None = None,
    timeout: float | None = None,
    pool: Pool | str | None = None,
    namespace: str | None = None,
    port_options: PortOptions | None = None,
    **options: Unpack[UdtOptions],
) -> UdtSocket:
    """Connect to a listener at `remote`.

    remote: (host, port). Names are looked up. local: numeric address to bind to. None: the kernel
    chooses. port: instead of `local`, a port that is already open, such as `UdtListener.port`.
    timeout: how long to try, seconds. None: 3. pool, namespace: as in `shmring.open`.
    port_options: options of a new port. options: `UdtOptions`.

    Raises `UdtTimeout` (no answer), `UdtRefused`, `UdtError`, the errors of `shmring.open`, and
    `OSError` for an unknown name.
    """
    return _connected(
        begin_connect(
            remote,
            local=local,
            port=port,
            timeout=timeout,
            pool=pool,
            namespace=namespace,
            port_options=port_options,
            **options,
        )
    )


def rendezvous(
    remote: tuple[str, int],
    *,
    local: tuple[str, int] | None = None,
    port: Port | None = None,
    timeout: float | None = None,
    pool: Pool | str | None = None,
    namespace: str | None = None,
    port_options: PortOptions | None = None,
    **options: Unpack[UdtOptions],
) -> UdtSocket:
    """Connect to a peer that does the same at the same time, if both ends are behind firewalls.

    Arguments and errors are as in `connect`. Give `local` or `port`. The peer must know it, and
    there must be no listener on it. timeout: None: 30 s.
    """
    return _connected(
        begin_connect(
            remote,
            local=local,
            port=port,
            timeout=timeout,
            rendezvous=True,
            pool=pool,
            namespace=namespace,
            port_options=port_options,
            **options,
        )
    )


def begin_connect(
    remote: tuple[str, int],
    *,
    local: tuple[str, int] | None = None,
    port: Port | None = None,
    timeout: float | None = None,
    rendezvous: bool = False,
    pool: Pool | str | None = None,
    namespace: str | None = None,
    port_options: PortOptions | None = None,
    **options: Unpack[UdtOptions],
) -> UdtSocket:
    """As `connect`, but return at once, except while a name is looked up.

    See `UdtSocket.wait_connected` and `UdtSocket.connected_async`.
    """
    settings = Settings.of(options)
    patience = None if timeout is None else seconds("timeout", timeout)
    remote = resolve(remote)
    with _holding(port, local, remote, pool, namespace, port_options) as held:
        return UdtSocket(held, remote, settings, rendezvous=rendezvous, connect_s=patience)


async def connect_async(
    remote: tuple[str, int],
    *,
    local: tuple[str, int] | None = None,
    port: Port | None = None,
    timeout: float | None = None,
    rendezvous: bool = False,
    pool: Pool | str | None = None,
    namespace: str | None = None,
    port_options: PortOptions | None = None,
    **options: Unpack[UdtOptions],
) -> UdtSocket:
    """As `connect` or `rendezvous`, without blocking the event loop, not even to look up a name."""
    sock = await asyncio.to_thread(
        begin_connect,
        remote,
        local=local,
        port=port,
        timeout=timeout,
        rendezvous=rendezvous,
        pool=pool,
        namespace=namespace,
        port_options=port_options,
        **options,
    )
    try:
        await sock.connected_async()
    except BaseException:
        await asyncio.to_thread(sock.close, 0)
        raise
    return sock


def listen(
    local: tuple[str, int] | None = None,
    *,
    backlog: int = BACKLOG,
    port: Port | None = None,
    pool: Pool | str | None = None,
    namespace: str | None = None,
    port_options: PortOptions | None = None,
    **options: Unpack[UdtOptions],
) -> UdtListener:
    """Listen for connection requests.

    local: numeric (host, port), port 0 for any. backlog: peers that are answered before `accept` is
    called, 1 to 4096. The other arguments are as in `connect`. options: of each connection.

    Raises the errors of `shmring.open`, `UdtError` with `Code.ESOCKFAIL` if the port is in use, and
    with `Code.EDUPLISTEN` if there is already a listener on `port`.
    """
    settings = Settings.of(options)
    with _holding(port, local, None, pool, namespace, port_options) as held:
        return UdtListener(held, settings, backlog)


def resolve(remote: tuple[str, int]) -> tuple[str, int]:
    """Return a numeric address, after looking up a name. Raises `OSError`, `TypeError`."""
    if not (isinstance(remote, (tuple, list)) and len(remote) >= 2 and isinstance(remote[0], str)):
        raise TypeError(f'remote must be a pair such as ("127.0.0.1", 9000), not {remote!r}')
    host = remote[0]
    for family in (_socket.AF_INET, _socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            _socket.inet_pton(family, host.partition("%")[0])
            return host, remote[1]
    found = _socket.getaddrinfo(host, None, type=_socket.SOCK_DGRAM)
    return str(found[0][4][0]), remote[1]


class _holding:
    """Return the given port, or a new one."""

    def __init__(
        self,
        port: Port | None,
        local: tuple[str, int] | None,
        remote: tuple[str, int] | None,
        pool: Pool | str | None,
        namespace: str | None,
        port_options: PortOptions | None,
    ) -> None:
        if port is not None:
            if local is not None:
                raise TypeError("give local= or port=, not both")
            port.acquire()
            self._port, self._end = port, port.release
            return
        options: PortOptions = {} if port_options is None else port_options
        if local is None and remote is not None and options.get("socket") is None:
            local = ("::", 0) if ":" in remote[0] else ("0.0.0.0", 0)
        self._port = Port(local, pool=pool, namespace=namespace, **options)
        self._end = self._port.close

    def __enter__(self) -> Port:
        return self._port

    def __exit__(self, *_: object) -> None:
        self._end()


def _connected(sock: UdtSocket) -> UdtSocket:
    try:
        sock.wait_connected()
    except BaseException:
        sock.close(0)
        raise
    return sock
