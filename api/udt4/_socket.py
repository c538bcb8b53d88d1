"""The socket that the functions use: states, options, errors."""

from __future__ import annotations

import contextlib
import os
import select
import socket as _socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Self

import udt4._constants as c
from shmring import errors
from shmring.udt import closer, compat
from shmring.udt.errors import Code, UdtError
from shmring.udt.files import Progress, recvfile, sendfile
from shmring.udt.listener import UdtListener
from shmring.udt.options import MOST_BACKLOG
from shmring.udt.port import Port
from shmring.udt.socket import UdtSocket
from shmring.udt.statistics import UdtState
from udt4._address import Address
from udt4._arguments import AnyFile, binary, integer
from udt4._errors import ENDINGS, UDTException, failure, translated, translation
from udt4._options import MOST_UDP_BYTES, Options
from udt4._trace import TRACEINFO, Meter

# As long the state after close is CLOSED, then NONEXIST.
CLOSED_S = 1.0
_MS_PER_S = 1000.0

_all: weakref.WeakSet[UDTSOCKET] = weakref.WeakSet()
_ports: dict[int, tuple[weakref.ref[Port], int, bool]] = {}
"""UDP ports bound by this process: port, MSS, whether it may be shared."""
_ports_lock = threading.Lock()
_making = object()

# Directions in which a call has reported the end of the connection.
_RECEIVING = 1
_SENDING = 2


class UDTSOCKET:
    """One UDT socket. `udt4.socket` and `udt4.accept` make it, and the functions of `udt4` use it.

    It is closed when there is no reference to it.
    """

    __slots__ = (
        "__weakref__",
        "_closed_at",
        "_conn",
        "_descriptor",
        "_failed",
        "_id",
        "_listener",
        "_lock",
        "_meter",
        "_options",
        "_port",
        "_protocol",
        "_reported",
        "_type",
        "_watched",
    )

    def __init__(self, making: object = None, type: int = 0, protocol: int = 0) -> None:
        if making is not _making:
            raise TypeError("make sockets with udt4.socket(domain, type, protocol)")
        closer.start()
        self._type = type
        self._protocol = protocol
        self._lock = threading.RLock()
        self._options = Options()
        self._port: Port | None = None
        self._listener: UdtListener | None = None
        self._conn: UdtSocket | None = None
        self._meter: Meter | None = None
        self._failed = 0
        self._reported = 0
        self._closed_at: float | None = None
        # The descriptor of the socket. It exists before the socket is bound.
        self._descriptor: select.epoll | None = select.epoll()
        self._id = self._descriptor.fileno()
        self._watched = -1
        _all.add(self)

    # --- what it is -------------------------------------------------------------------------------

    @property
    def family(self) -> int:
        return int(_socket.AF_INET)

    @property
    def domain(self) -> int:
        return int(_socket.AF_INET)

    @property
    def type(self) -> int:
        return self._type

    @property
    def protocol(self) -> int:
        return self._protocol

    @property
    def UDTSOCKET(self) -> int:
        """Its id, which is unique among the open sockets of this process. It is also the descriptor
        of `fileno`."""
        return self._id

    def fileno(self) -> int:
        """A descriptor that is readable while there may be something to receive or to accept, for
        select and asyncio. Raises `UDTException` if the socket is closed."""
        self._open()
        return self._id

    def debug(self) -> None:
        """Print its description to stderr."""
        sys.stderr.write(f"{self!r} state {self.state()} options {self._options}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(UDTException):
            self.close()

    def __del__(self) -> None:
        if getattr(self, "_closed_at", 0.0) is None:
            closer.later(_end_of(self._listener, self._port))

    # --- states -----------------------------------------------------------------------------------

    def state(self) -> int:
        """``UDTSTATUS_...``"""
        if self._closed_at is not None:
            recent = time.monotonic() < self._closed_at + CLOSED_S
            return c.UDTSTATUS_CLOSED if recent else c.UDTSTATUS_NONEXIST
        if self._listener is not None:
            return c.UDTSTATUS_BROKEN if self._listener.closed else c.UDTSTATUS_LISTENING
        if self._conn is not None:
            return self._state_of(self._conn)
        return c.UDTSTATUS_INIT if self._port is None else c.UDTSTATUS_OPENED

    def _state_of(self, conn: UdtSocket) -> int:
        if self._progress(conn):
            return c.UDTSTATUS_BROKEN
        try:
            state = compat.facts(conn).state
        except UdtError:
            return c.UDTSTATUS_CLOSED
        if state is UdtState.CONNECTED:
            return c.UDTSTATUS_CONNECTED
        if state in (UdtState.OPENING, UdtState.CONNECTING):
            return c.UDTSTATUS_CONNECTING
        return c.UDTSTATUS_BROKEN

    def _progress(self, conn: UdtSocket) -> int:
        """The error of a connection that was started without waiting. 0: it did not fail."""
        if not self._failed:
            try:
                compat.try_connected(conn)
            except UdtError as caught:
                if caught.code != Code.ECONNLOST:
                    self._failed = int(caught.code)
        return self._failed

    def _open(self) -> None:
        if self._closed_at is not None:
            raise failure(c.EINVSOCK)

    def connection(self) -> UdtSocket:
        """The connection, which may have ended. Raises `UDTException` if there was none."""
        self._open()
        conn = self._conn
        if conn is None:
            raise failure(c.ENOCONN)
        if self._failed:
            self._reported = _RECEIVING | _SENDING
            raise failure(self._failed)
        return conn

    # --- life -------------------------------------------------------------------------------------

    def bind(self, host: str, port: int) -> None:
        """Bind to a numeric IPv4 address. Several sockets may share one port."""
        port = check_address(host, port, ValueError)
        with self._lock, translated():
            self._may_bind()
            self._port = self._shared_port(port) or self._bound((host, port))

    def bind_to_udp(self, descriptor: int) -> None:
        """Bind to a UDP socket that is already bound. The caller keeps it."""
        descriptor = integer("descriptor", descriptor)
        with self._lock, translated():
            self._may_bind()
            try:
                self._port = self._bound(None, socket=descriptor)
            except (errors.ShmringError, OSError) as caught:
                raise failure(c.ESOCKFAIL, str(caught)) from caught

    def _may_bind(self) -> None:
        self._open()
        if self._port is not None:
            raise failure(c.EINVOP, "it is bound already")

    def _shared_port(self, number: int) -> Port | None:
        """Acquire the port of another socket of this process for this one."""
        if number == 0:
            return None
        with _ports_lock:
            found = _ports.get(number)
            port = None if found is None else found[0]()
            if found is None or port is None or port.closed:
                _ports.pop(number, None)
                return None
            _, mss, reuse = found
            if not (reuse and self._options.reuseaddr and mss == self._options.mss):
                raise failure(c.ESOCKFAIL, f"port {number} is taken by another socket")
            try:
                port.acquire()
            except UdtError:  # just closed
                return None
            return port

    def _bound(self, local: tuple[str, int] | None, **given: Any) -> Port:
        opts = self._options
        port = Port(
            local,
            rcvbuf_bytes=min(opts.udp_rcvbuf, MOST_UDP_BYTES),
            sndbuf_bytes=min(opts.udp_sndbuf, MOST_UDP_BYTES),
            **given,
        )
        port.acquire()
        port.close()  # with the last socket
        with _ports_lock:
            _ports[port.local[1]] = (weakref.ref(port), opts.mss, opts.reuseaddr)
        return port

    def listen(self, backlog: int) -> None:
        with self._lock, translated():
            self._open()
            if self._listener is not None:
                return
            if self._port is None or self._conn is not None:
                raise failure(c.EUNBOUNDSOCK)
            if self._options.rendezvous:
                raise failure(c.ERDVNOSERV)
            settings = self._options.settings(self.is_messages)
            self._listener = UdtListener(self._port, settings, min(backlog, MOST_BACKLOG))
            self._watch(self._listener.fileno())

    def accept(self) -> tuple[Self, Address]:
        self._open()
        if self._options.rendezvous:
            raise failure(c.ERDVNOSERV)
        listener = self._listener
        if listener is None:
            raise failure(c.ENOLISTEN)
        with self._calling(_RECEIVING):
            conn, address = listener.accept(timeout=None if self._options.rcvsyn else 0)
            made = self.__class__(_making, self._type, self._protocol)
            made._options = self._options.copy()
            made._options.reuseaddr = True
            made._connected_by(conn)
        return made, Address(*address)

    def connect(self, host: str, port: int) -> None:
        port = check_address(host, port, RuntimeError)
        with self._lock, translated():
            self._open()
            self._may_connect()
            if self._port is None:
                self._port = self._bound(("0.0.0.0", 0))
            opts = self._options
            conn = UdtSocket(
                self._port,
                (host, port),
                opts.settings(self.is_messages),
                rendezvous=opts.rendezvous,
            )
            self._failed = 0
            self._reported = 0
            self._connected_by(conn)
        if opts.rcvsyn:
            self._await_connection(conn)

    def _may_connect(self) -> None:
        if self._listener is not None:
            raise failure(c.ECONNSOCK)
        if self._conn is not None:
            if not self._progress(self._conn):
                raise failure(c.ECONNSOCK)
            self._drop_connection()
        if self._options.rendezvous and self._port is None:
            raise failure(c.ERDVUNBOUND)

    def _await_connection(self, conn: UdtSocket) -> None:
        try:
            conn.wait_connected()
        except UdtError as caught:
            with self._lock:
                if self._closed_at is not None:
                    raise failure(c.ECONNSETUP, "the socket was closed meanwhile") from caught
                self._drop_connection()
            raise failure(caught.code) from caught
        except BaseException:  # a signal's handler
            with self._lock:
                if self._conn is conn:
                    self._drop_connection()
            raise

    def _connected_by(self, conn: UdtSocket) -> None:
        if self._port is None:
            conn.port.acquire()
            self._port = conn.port
        self._conn = conn
        self._meter = Meter()
        self._watch(conn.fileno())

    def _drop_connection(self) -> None:
        conn, self._conn = self._conn, None
        self._unwatch()
        if conn is not None:
            conn.close(linger=0)

    def _watch(self, descriptor: int) -> None:
        self._unwatch()
        if self._descriptor is not None:
            self._descriptor.register(descriptor, select.EPOLLIN)
            self._watched = descriptor

    def _unwatch(self) -> None:
        if self._watched >= 0 and self._descriptor is not None:
            with contextlib.suppress(OSError, ValueError):
                self._descriptor.unregister(self._watched)
        self._watched = -1

    def close(self) -> None:
        """Raises `UDTException` with `EINVSOCK` for one that is closed."""
        with self._lock:
            self._open()
            self._closed_at = time.monotonic()
            conn, listener, port = self._conn, self._listener, self._port
            self._unwatch()
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            descriptor.close()
        try:
            with contextlib.suppress(errors.ShmringError, OSError):
                if listener is not None:
                    listener.close()
                if conn is not None and self._options.sndsyn:
                    conn.close(linger=self._options.linger_s)
                elif conn is not None:
                    compat.close_later(conn, linger=self._options.linger_s)
        finally:
            if port is not None:
                port.release()

    # --- options ----------------------------------------------------------------------------------

    @property
    def options(self) -> Options:
        return self._options

    @property
    def is_messages(self) -> bool:
        return self._type == _socket.SOCK_DGRAM

    def setsockopt(self, option: int, value: Any) -> None:
        option = integer("option", option)
        with self._lock, translated():
            value = self._options.check(option, value)
            self._open()
            conn = self._conn
            if conn is not None and not self._progress(conn) and self.broken():
                raise failure(c.ECONNLOST)
            self._options.set(
                option, value, bound=self._port is not None, connected=conn is not None
            )
            if self._listener is not None:
                self._listener.use(self._options.settings(self.is_messages))
            if option == c.UDT_MAXBW and conn is not None:
                conn.set_max_bandwidth(self._options.max_bandwidth)

    def getsockopt(self, option: int) -> Any:
        option = integer("option", option)
        self._open()
        match option:
            case c.UDT_STATE:
                return self.state()
            case c.UDT_EVENT:
                return self._events()
            case c.UDT_SNDDATA:
                return self._waiting()[0]
            case c.UDT_RCVDATA:
                return self._waiting()[1]
        return self._options.get(option)

    def _events(self) -> int:
        if self.broken():
            return c.UDT_EPOLL_ERR
        return (c.UDT_EPOLL_IN if self.readable() else 0) | (
            c.UDT_EPOLL_OUT if self.writable() else 0
        )

    def _waiting(self) -> tuple[int, int]:
        """Number of packets not sent or not acknowledged, and of packets not read."""
        conn = self._conn
        if conn is None:
            return 0, 0
        with translated():
            facts = compat.facts(conn)
            payload = max(1, (facts.mss_bytes or self._options.mss) - 44)
            unsent, unread = compat.records_waiting(conn)
            return (
                unsent + -(-facts.unsent_bytes // payload),
                unread + -(-facts.unread_bytes // payload),
            )

    # --- readiness --------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._closed_at is not None

    def readable(self) -> bool:
        """Whether a call would receive or accept without waiting."""
        listener, conn = self._listener, self._conn
        if listener is not None:
            return listener.waiting > 0 or listener.closed
        return conn is not None and (bool(self._progress(conn)) or _asks(compat.can_recv, conn))

    def writable(self) -> bool:
        """Whether a call would send without waiting."""
        conn = self._conn
        return conn is not None and (bool(self._progress(conn)) or _asks(compat.can_send, conn))

    def broken(self) -> bool:
        """Whether the connection ended without `close`, or was never made."""
        return self._closed_at is None and self.state() == c.UDTSTATUS_BROKEN

    def ready(self, flags: int) -> tuple[bool, bool]:
        """Whether an epoll that watches for `flags` reports it to readers, and to writers.

        The end of a connection is reported to both until a call has raised its error. A reader must
        take the remaining data first. Then nothing more is reported.
        """
        ended, reported = self.broken(), self._reported
        if ended and flags & c.UDT_EPOLL_ERR:
            flags = c.UDT_EPOLL_IN | c.UDT_EPOLL_OUT
        return (
            bool(flags & c.UDT_EPOLL_IN) and not reported & _RECEIVING and self.readable(),
            bool(flags & c.UDT_EPOLL_OUT) and not reported and (ended or self.writable()),
        )

    @property
    def over(self) -> bool:
        """Whether no further event is possible: it is closed, or a reader has seen its end."""
        return self._closed_at is not None or bool(self._reported & _RECEIVING)

    # --- data -------------------------------------------------------------------------------------

    def send(self, data: Any) -> int:
        conn = self._for(message=False)
        with self._calling(_SENDING):
            return conn.send(data, timeout=self._send_timeout()) if len(data) else 0

    def sendall(self, data: Any) -> int:
        conn = self._for(message=False)
        with self._calling(_SENDING):
            conn.sendall(data, timeout=self._send_timeout())
        return len(data)

    def sendmsg(self, data: Any, ttl: int, inorder: bool) -> int:
        conn = self._for(message=True)
        with self._calling(_SENDING):
            if len(data) > self._options.send_bytes:
                raise failure(c.ELARGEMSG)
            return conn.sendmsg(
                data,
                ttl_ms=None if ttl < 0 else ttl,
                in_order=inorder,
                timeout=self._send_timeout(),
            )

    def recv(self, size: int) -> bytes:
        conn = self._for(message=False)
        with self._calling(_RECEIVING):
            return conn.recv(size, timeout=self._receive_timeout()) if size else b""

    def recv_into(self, buffer: Any) -> int:
        conn = self._for(message=False)
        with self._calling(_RECEIVING):
            return conn.recv_into(buffer, timeout=self._receive_timeout())

    def recvmsg(self, size: int) -> bytes:
        conn = self._for(message=True)
        with self._calling(_RECEIVING):
            return conn.recvmsg(size, timeout=self._receive_timeout()) if size else b""

    def sendfile(
        self, file: AnyFile, offset: int, size: int | None, block: int, progress: Progress | None
    ) -> int:
        conn = self._for(message=False)
        with self._calling(_SENDING):
            return sendfile(conn, binary(file), offset, size, block=block, progress=progress)

    def recvfile(
        self, file: AnyFile, offset: int, size: int | None, block: int, progress: Progress | None
    ) -> int:
        conn = self._for(message=False)
        with self._calling(_RECEIVING):
            return recvfile(conn, binary(file), offset, size, block=block, progress=progress)

    def perfmon(self, clear: bool) -> TRACEINFO:
        conn = self.connection()
        state = self._state_of(conn)
        if state == c.UDTSTATUS_BROKEN:
            raise failure(c.ECONNLOST)
        if state != c.UDTSTATUS_CONNECTED or self._meter is None:
            raise failure(c.ENOCONN)
        opts = self._options
        with translated():
            return self._meter.read(
                conn.stats(), opts.send_packets, opts.receive_packets, clear=clear
            )

    def getpeername(self) -> tuple[str, int]:
        with translated():
            return compat.getpeername(self.connection())

    def getsockname(self) -> tuple[str, int]:
        self._open()
        if self._port is None:
            raise failure(c.ENOCONN)
        with translated():
            return self._port.local

    def _for(self, *, message: bool) -> UdtSocket:
        self._open()
        if message is not self.is_messages:
            raise failure(c.ESTREAMILL if message else c.EDGRAMILL)
        if self._conn is not None:
            self._progress(self._conn)
        return self.connection()

    @contextlib.contextmanager
    def _calling(self, direction: int) -> Iterator[None]:
        """Translate the exceptions of the connection into the original's errors.

        If another thread closes the socket during a call, that call raises ECONNLOST. Later calls
        find no socket.
        """
        try:
            yield
        except errors.ShmringError as caught:
            error = translation(caught)
            code = error.code if isinstance(error, UDTException) else c.SUCCESS
            if code == c.EINVSOCK and self._closed_at is not None:
                error = failure(c.ECONNLOST, "the socket was closed meanwhile")
            elif code in ENDINGS:
                self._reported |= direction
            raise error from caught

    def _send_timeout(self) -> float | None:
        return _timeout(self._options.sndsyn, self._options.sndtimeo)

    def _receive_timeout(self) -> float | None:
        return _timeout(self._options.rcvsyn, self._options.rcvtimeo)


UDTSOCKET.__module__ = "udt4"


def new_socket(type: int, protocol: int) -> UDTSOCKET:
    """A socket in state INIT. Raises `UDTException`."""
    if type not in (_socket.SOCK_STREAM, _socket.SOCK_DGRAM):
        raise failure(c.EINVPARAM, f"type is {type}, use SOCK_STREAM or SOCK_DGRAM")
    return UDTSOCKET(_making, int(type), protocol)


def close_all() -> None:
    """Close every socket, without lingering."""
    for sock in list(_all):
        sock._options.linger = (0, 0)
        with contextlib.suppress(UDTException):
            sock.close()


def check_address(host: str, port: Any, kind: type[Exception]) -> int:
    """Return the port of an address (dotted quad, port). Raises `kind`, `TypeError`."""
    if not isinstance(host, str):
        raise TypeError(f"host must be a string, not {host!r}")
    number = integer("port", port)
    if not 0 <= number <= 65535:
        raise kind(f"port is {number}, it must be 0 to 65535")
    try:
        _socket.inet_pton(_socket.AF_INET, host)
    except (OSError, ValueError):
        raise kind(
            f'{host!r} is not an IPv4 address such as "127.0.0.1": look names up with '
            "socket.gethostbyname first"
        ) from None
    return number


def _timeout(waits: bool, limit_ms: int) -> float | None:
    if not waits:
        return 0.0
    return None if limit_ms < 0 else max(limit_ms / _MS_PER_S, 1e-9)


def _asks(question: Callable[[UdtSocket], bool], conn: UdtSocket) -> bool:
    """Return its answer. True for a connection that is being closed."""
    try:
        return question(conn)
    except errors.ShmringError:
        return True


def _end_of(listener: UdtListener | None, port: Port | None) -> Callable[[], None]:
    def end() -> None:
        if listener is not None:
            listener.close()
        if port is not None:
            port.release()

    return end


def _after_fork() -> None:
    global _ports_lock
    _ports_lock = threading.Lock()
    _ports.clear()


os.register_at_fork(after_in_child=_after_fork)
