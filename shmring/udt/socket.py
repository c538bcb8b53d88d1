"""One end of a UDT connection."""

import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from shmring import errors
from shmring._arguments import count, deadline, has_passed, payload, writable
from shmring._in_thread import in_thread
from shmring._moved import moved
from shmring._options import integer
from shmring._ring import ffi, lib
from shmring._signature import like
from shmring.types import Buffer
from shmring.udt.connection import SCRATCH_BYTES, Connection
from shmring.udt.errors import Code, UdtWouldBlock, udt_error
from shmring.udt.options import MOST_SECONDS, Begin, Settings, seconds
from shmring.udt.port import Port
from shmring.udt.receiving import Receiver
from shmring.udt.sending import Sender
from shmring.udt.statistics import Facts, UdtState, UdtStats, read_facts, read_stats

READ_USUAL = 1 << 16

P = ParamSpec("P")
T = TypeVar("T")


class UdtSocket:
    """One end of a UDT connection: a stream of bytes, or messages, over UDP.

    `connect` and `UdtListener.accept` make it. Any thread may use it, also several at
    once. It is closed when there is no reference to it. Only `close`, or leaving a ``with``, waits
    until the peer has everything.

    Timeouts are in seconds: 0 does not wait, None waits forever. `timeout=` of a call overrides
    `settimeout`.
    """

    def __init__(
        self,
        port: Port,
        remote: tuple[str, int],
        settings: Settings,
        **begin: Unpack[Begin],
    ) -> None:
        """Begin to connect from `port`, which is held until the end, see `wait_connected`."""
        self._connection = Connection(port, remote, settings, **begin)
        self._sender = Sender(self._connection)
        self._receiver = Receiver(self._connection)
        self._settings = settings
        self._remote = remote
        self._timeout: float | None = None

    # --- what it is -------------------------------------------------------------------------------

    @property
    def messages(self) -> bool:
        """Whether it sends and receives messages, not a stream of bytes."""
        return self._settings.messages

    @property
    def port(self) -> Port:
        """The UDP port it uses, which others may use, too."""
        return self._connection.port

    @property
    def closed(self) -> bool:
        """Whether this end was closed."""
        return self._connection.closed

    @property
    def connected(self) -> bool:
        """Whether it is connected now."""
        return not self.closed and self._facts().state is UdtState.CONNECTED

    @property
    def local(self) -> tuple[str, int]:
        """Our address: (host, port)."""
        return self.port.local

    @property
    def remote(self) -> tuple[str, int]:
        """The peer's address: (host, port)."""
        return self._remote

    @property
    def max_message(self) -> int:
        """Maximum length of a message to send, bytes."""
        return self._settings.send_bytes

    def stats(self) -> UdtStats:
        """Return what the connection has counted and measured."""
        return read_stats(self._connection.mapped())

    def fileno(self) -> int:
        """Return a descriptor that is readable while there may be something to receive, or after
        something happened to the connection; for select and asyncio.

        A call that finds nothing to receive clears it. The socket owns the descriptor.
        """
        return self._connection.fileno()

    def __repr__(self) -> str:
        with contextlib.suppress(errors.ShmringError):
            (here, at), (there, to) = self.local, self.remote
            state = self._facts().state
            kind = "messages" if self.messages else "stream"
            return f"<shmring.udt.UdtSocket {kind} {here}:{at} -> {there}:{to} {state}>"
        return "<shmring.udt.UdtSocket closed>"

    # --- waiting ----------------------------------------------------------------------------------

    def settimeout(self, timeout: float | None) -> None:
        """How long calls without `timeout=` wait, seconds. 0: not at all, None: forever."""
        deadline(timeout)
        self._timeout = timeout

    def wait_connected(self, *, timeout: float | None = None) -> None:
        """Wait until it is connected.

        Raises `UdtTimeout` (no answer within the time limit, or `timeout` has passed),
        `UdtRefused`, `UdtError`.
        """
        until_ns = deadline(timeout)
        while not self._try_connected():
            if has_passed(until_ns):
                raise udt_error(Code.ETIMEOUT, "connecting")
            self._connection.sleep(lib.ENDPOINT_RX, until_ns)

    # --- sending ----------------------------------------------------------------------------------

    def send(self, data: Buffer, *, timeout: float | EllipsisType | None = ...) -> int:
        """Queue as many bytes of a stream as there is room for, and return the number.

        Waits until there is room for the first of them. Raises `UdtTimeout`, `UdtWouldBlock`,
        `UdtClosed`, `UdtNotConnected`, `UdtPeerError` (once, for earlier data).
        """
        self._need_messages(False)
        until_ns = self._until(timeout)
        with payload(data) as view:
            return self._sender.send_some(view, 0, until_ns)

    def sendall(self, data: Buffer, *, timeout: float | EllipsisType | None = ...) -> None:
        """Queue all given bytes of a stream. Raises the errors of `send`. The exception's `sent` is
        then the number of queued bytes."""
        self._need_messages(False)
        until_ns = self._until(timeout)
        done = 0
        with payload(data) as view:
            try:
                while done < len(view):
                    done += self._sender.send_some(view, done, until_ns)
            except errors.ShmringError as caught:
                caught.sent = done  # type: ignore[attr-defined]
                raise

    def sendmsg(
        self,
        data: Buffer,
        *,
        ttl_ms: int | None = None,
        in_order: bool = False,
        timeout: float | EllipsisType | None = ...,
    ) -> int:
        """Queue one message and return its length.

        ttl_ms: after this time, ms, it is neither sent nor sent again. None: it is kept until it
        arrives. in_order: the peer gets it after all earlier messages.

        Waits until there is room for its beginning. If it is longer than `ring_bytes`, the call
        then waits for the rest whatever the timeout, and the whole message is sent even if a signal
        or a cancellation ends the call. Raises the errors of `send`, and `UdtError` with
        `Code.ELARGEMSG`.
        """
        self._need_messages(True)
        until_ns = self._until(timeout)
        ttl, flags = _message_terms(ttl_ms, in_order)
        with payload(data) as view:
            return self._sender.send_message(view, ttl, flags, until_ns)

    # --- receiving --------------------------------------------------------------------------------

    def recv(self, size: int = READ_USUAL, *, timeout: float | EllipsisType | None = ...) -> bytes:
        """Take bytes of a stream: at least one, at most `size`.

        Raises `UdtClosed` at the end of the stream: the peer closed it, or the connection broke,
        and everything that arrived was taken. Raises `UdtTimeout`, `UdtWouldBlock`,
        `UdtNotConnected`.
        """
        self._need_messages(False)
        size = _size(size)
        if size == 0:
            self._connection.mapped()
            return b""
        until_ns = self._until(timeout)
        if size > SCRATCH_BYTES:
            room = bytearray(min(size, self._settings.ring_bytes))
            return bytes(memoryview(room)[: self.recv_into(room, timeout=timeout)])
        return self._receiver.take(lambda: self._receiver.try_bytes(size), until_ns)

    def recv_into(self, buffer: Buffer, *, timeout: float | EllipsisType | None = ...) -> int:
        """Take bytes of a stream into a writable buffer, and return their number. Waits for the
        first one.

        timeout: seconds. None: no limit. Not given: as `settimeout` says. Raises `UdtTimeout`,
        `UdtWouldBlock`, `UdtClosed`.
        """
        self._need_messages(False)
        until_ns = self._until(timeout)
        view = writable(buffer, "buffer")
        with ffi.from_buffer("uint8_t[]", view, require_writable=True) as room:
            while len(view):
                got = self._receiver.read(room, len(view))
                if got:
                    return got
                self._receiver.wait(until_ns)
        return 0

    def recvmsg(
        self, size: int | None = None, *, timeout: float | EllipsisType | None = ...
    ) -> bytes:
        """Take one message. One longer than `size` is cut, and its rest is lost. None: no limit.

        Raises the errors of `recv`.
        """
        self._need_messages(True)
        if size is not None:
            size = _size(size)
        until_ns = self._until(timeout)
        message = self._receiver.take(self._receiver.try_message, until_ns)
        return message if size is None else message[:size]

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over messages, or over pieces of a stream, until the connection ends."""
        take = self.recvmsg if self.messages else self.recv
        with _until_end():
            while True:
                yield take()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """As iteration, without blocking the event loop."""
        take = self.aio.recvmsg if self.messages else self.aio.recv
        with _until_end():
            while True:
                yield await take(timeout=None)

    @property
    def aio(self) -> "UdtAio":
        """The calls that wait, for tasks of asyncio and trio: ``await sock.aio.recv()``."""
        return UdtAio(self)

    # --- commands ---------------------------------------------------------------------------------

    def set_max_bandwidth(self, bytes_per_second: int | None) -> None:
        """Limit the rate. None: unlimited. With congestion ``"fixed"`` it is the rate."""
        most = 0 if bytes_per_second is None else bytes_per_second
        most = integer("bytes_per_second", most, 0, 2**63 - 1)
        self._connection.command(lib.SHM_UDT_SET_BANDWIDTH, most)

    def report_error(self) -> None:
        """Tell the peer that its data could not be stored: its calls raise `UdtPeerError`."""
        self._connection.command(lib.SHM_UDT_REPORT_ERROR)

    def flush(self, *, timeout: float | None = None) -> None:
        """Wait until the peer has acknowledged everything. Raises `UdtTimeout`, `UdtClosed`."""
        self._sender.flush(deadline(timeout))

    def close(self, *, linger: float | EllipsisType | None = ...) -> None:
        """Send queued data, wait for it, and end the connection.

        linger: how long to wait, in seconds, until the peer has acknowledged everything. Default:
            the option `linger` of the connection. 0: data that is not acknowledged may be lost.
            None: no limit.

        May be called repeatedly. Current calls in other threads raise `UdtError`. Data that was not
        received is lost. An exception in a signal handler ends the wait and closes the socket.
        """
        if not self.closed:
            self._connection.close(self._linger_s(linger))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    if not TYPE_CHECKING:  # for a type checker, an object with __getattr__ has every name

        def __getattr__(self, name):
            raise moved(self, name, _MOVED)

    # --- inside, and for `compat` -----------------------------------------------------------------

    def _facts(self) -> Facts:
        """Its state in the worker. Raises `UdtError` if it is closed."""
        return read_facts(self._connection.mapped())

    def _try_connected(self) -> bool:
        """Whether it is connected. Raises the errors of `wait_connected`."""
        return self._connection.try_connected(f"connecting to {_show(self._remote)}")

    def _try_send(self, data: Buffer) -> int:
        """Queue as many bytes as there is room for now, and return the number. 0: no room."""
        self._need_messages(False)
        with payload(data) as view:
            return self._sender.queue(view, 0)

    def _need_messages(self, wanted: bool) -> None:
        if self._settings.messages is not wanted:
            raise udt_error(Code.ESTREAMILL if wanted else Code.EDGRAMILL)

    def _linger_s(self, linger: Any) -> float:
        if linger is ...:
            return self._settings.linger
        return float(MOST_SECONDS) if linger is None else seconds("linger", linger)

    def _until(self, timeout: Any) -> int:
        return deadline(self._timeout if timeout is ... else timeout)


def _receiving(
    call: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Return a call that receives as one for tasks."""
    receive: Callable[..., T] = call

    @like(call)
    async def received(
        self: "UdtAio", *args: Any, timeout: float | EllipsisType | None = ..., **how: Any
    ) -> T:
        sock, until_ns = self._sock, self._sock._until(timeout)
        while True:
            try:
                return receive(sock, *args, timeout=0, **how)
            except UdtWouldBlock:
                sock._receiver.check_time(until_ns)
                await sock._connection.waiters.wait(sock.fileno(), until_ns)

    return received


class UdtAio:
    """The calls of a `UdtSocket` that wait, for tasks of asyncio and trio: with the same names,
    arguments and results, but without blocking the event loop.

    Cancelling a call that receives loses nothing.
    """

    __slots__ = ("_sock",)

    def __init__(self, sock: UdtSocket) -> None:
        self._sock = sock

    @like(UdtSocket.wait_connected)
    async def wait_connected(self, *, timeout: float | None = None) -> None:
        sock, until_ns = self._sock, deadline(timeout)
        while not sock._try_connected():
            if has_passed(until_ns):
                raise udt_error(Code.ETIMEOUT, "connecting")
            await sock._connection.waiters.wait(sock.fileno(), until_ns)

    @like(UdtSocket.send)
    async def send(self, data: Buffer, *, timeout: float | EllipsisType | None = ...) -> int:
        sock = self._sock
        sock._need_messages(False)
        until_ns = sock._until(timeout)
        with payload(data) as view:
            return await sock._sender.send_some_in_task(view, 0, until_ns)

    @like(UdtSocket.sendall)
    async def sendall(self, data: Buffer, *, timeout: float | EllipsisType | None = ...) -> None:
        sock = self._sock
        sock._need_messages(False)
        until_ns = sock._until(timeout)
        done = 0
        with payload(data) as view:
            try:
                while done < len(view):
                    done += await sock._sender.send_some_in_task(view, done, until_ns)
            except errors.ShmringError as caught:
                caught.sent = done  # type: ignore[attr-defined]
                raise

    @like(UdtSocket.sendmsg)
    async def sendmsg(
        self,
        data: Buffer,
        *,
        ttl_ms: int | None = None,
        in_order: bool = False,
        timeout: float | EllipsisType | None = ...,
    ) -> int:
        sock = self._sock
        sock._need_messages(True)
        until_ns = sock._until(timeout)
        ttl, flags = _message_terms(ttl_ms, in_order)
        with payload(data) as view:
            return await sock._sender.send_message_in_task(view, ttl, flags, until_ns)

    recv = _receiving(UdtSocket.recv)
    recv_into = _receiving(UdtSocket.recv_into)
    recvmsg = _receiving(UdtSocket.recvmsg)

    @like(UdtSocket.flush)
    async def flush(self, *, timeout: float | None = None) -> None:
        await self._sock._sender.flush_in_task(deadline(timeout))

    @like(UdtSocket.close)
    async def close(self, *, linger: float | EllipsisType | None = ...) -> None:
        await in_thread(self._sock.close, linger=linger)


class _until_end(contextlib.suppress):
    """Suppress the errors of a connection that ended, or was closed at this end."""

    def __exit__(self, kind: Any, caught: Any, traceback: Any) -> bool:
        code = getattr(caught, "code", None)
        return code in (Code.ECONNLOST, Code.EINVSOCK)


def _size(size: object) -> int:
    return count(size, "size", 0, sys.maxsize)


def _message_terms(ttl_ms: int | None, in_order: bool) -> tuple[int, int]:
    ttl_ms = integer("ttl_ms", -1 if ttl_ms is None else ttl_ms, -1, 2**31 - 1)
    return ttl_ms, lib.SHM_UDT_IN_ORDER if in_order else 0


def _show(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_COMPAT = (
    *("facts", "records_waiting", "getpeername", "try_connected", "can_send", "can_recv"),
    "close_later",
)
_MOVED = {
    **{name: f"shmring.udt.compat.{name}(sock)" for name in _COMPAT},
    "socket_id": "shmring.udt.compat.facts(sock).socket_id",
    **dict.fromkeys(("settings", "gettimeout"), "known to the caller"),
    "getsockname": "local",
    "setblocking": "settimeout(None) or settimeout(0)",
    "try_send": "send(data, timeout=0)",
    "try_recv": "recv(timeout=0)",
    "try_recvmsg": "recvmsg(timeout=0)",
    "connected_async": "aio.wait_connected",
    "send_async": "aio.sendall",
    "sendmsg_async": "aio.sendmsg",
    "recv_async": "aio.recv",
    "recvmsg_async": "aio.recvmsg",
}
"""Where the names of former versions are."""

__all__ = ["UdtSocket"]
