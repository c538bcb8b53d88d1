"""Functions that make UDT connections."""

import contextlib
import socket as _socket
from collections.abc import Iterator
from typing import Unpack

from shmring.pool import Pool
from shmring.udt.listener import UdtListener
from shmring.udt.options import BACKLOG, PortOptions, Settings, UdtOptions, seconds
from shmring.udt.port import Port
from shmring.udt.socket import UdtSocket


class ConnectOptions(UdtOptions, total=False):
    """Keyword arguments of `connect` and similar calls, with those of `UdtOptions`. None means the
    default.

    local: numeric (host, port) to bind to, port 0 for any. Default: the kernel chooses.
    port: instead of `local`, a port that is already open, such as `UdtListener.port`.
    timeout: how long to try, seconds. Default 3, with `rendezvous` 30.
    rendezvous: the peer does the same at the same time, because both ends are behind firewalls. The
        peer must know `local` or `port`, which must have no listener. Default False.
    pool: as for `shmring.open`.
    namespace: as for `shmring.open`.
    port_options: `PortOptions` of a new port.
    """

    local: tuple[str, int] | None
    port: Port | None
    timeout: float | None
    rendezvous: bool | None
    pool: Pool | str | None
    namespace: str | None
    port_options: PortOptions | None


def connect(remote: tuple[str, int], **options: Unpack[ConnectOptions]) -> UdtSocket:
    """Connect to a listener at `remote`, (host, port). Names are looked up.

    options: `ConnectOptions`.

    Raises `UdtTimeout` (no answer), `UdtRefused`, `UdtError`, the errors of `shmring.open`, and
    `OSError` for an unknown name.
    """
    sock = begin_connect(remote, **options)
    try:
        sock.wait_connected()
    except BaseException:
        sock.close(linger=0)
        raise
    return sock


def begin_connect(
    remote: tuple[str, int],
    *,
    local: tuple[str, int] | None = None,
    port: Port | None = None,
    timeout: float | None = None,
    rendezvous: bool | None = None,
    pool: Pool | str | None = None,
    namespace: str | None = None,
    port_options: PortOptions | None = None,
    **options: Unpack[UdtOptions],
) -> UdtSocket:
    """Begin to connect to a listener at `remote`, (host, port), and return at once, except while a
    name is looked up. The options are those of `connect`.

    See `UdtSocket.wait_connected`.
    """
    settings = Settings.of(options)
    patience = None if timeout is None else seconds("timeout", timeout)
    remote = resolve(remote)
    with _holding(port, local, remote, pool, namespace, port_options) as held:
        return UdtSocket(held, remote, settings, rendezvous=rendezvous, connect_s=patience)


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

    local: numeric (host, port), port 0 for any.
    backlog: peers that are answered before `accept` is called, 1 to 4096.
    port, pool, namespace, port_options: as in `ConnectOptions`.
    options: `UdtOptions` of each connection.

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


@contextlib.contextmanager
def _holding(
    port: Port | None,
    local: tuple[str, int] | None,
    remote: tuple[str, int] | None,
    pool: Pool | str | None,
    namespace: str | None,
    port_options: PortOptions | None,
) -> Iterator[Port]:
    """Hold the given port, or a new one, until a socket or listener holds it."""
    if port is not None:
        if local is not None:
            raise TypeError("give local= or port=, not both")
        port.acquire()
        try:
            yield port
        finally:
            port.release()
        return
    options: PortOptions = {} if port_options is None else port_options
    if local is None and remote is not None and options.get("socket") is None:
        local = ("::", 0) if ":" in remote[0] else ("0.0.0.0", 0)
    with Port(local, pool=pool, namespace=namespace, **options) as made:
        yield made
