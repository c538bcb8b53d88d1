"""One end of a UDT connection."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from types import EllipsisType
from typing import Any, Self

from shmring import _address, errors
from shmring._arguments import Buffer, deadline, has_passed, payload, writable
from shmring._ring import ffi, lib
from shmring.udt.connection import SCRATCH_BYTES, Connection
from shmring.udt.errors import Code, udt_error
from shmring.udt.options import Settings, seconds
from shmring.udt.port import Port
from shmring.udt.receiving import Receiver
from shmring.udt.sending import Sender
from shmring.udt.statistics import Facts, UdtStats, read_facts, read_stats

READ_USUAL = 1 << 16


class UdtSocket:
    """One end of a UDT connection: a stream of bytes, or messages, over UDP.

    Made by `connect`, `rendezvous` and `UdtListener.accept`. May be used by any thread, also by
    several at once. It is closed when nobody refers to it any more, but only `close`, or leaving a
    ``with``, waits until the peer has everything.

    Timeouts are seconds: 0 not to wait, None to wait for ever; `timeout=` of a call goes before
    `settimeout`.
    """

    def __init__(
        self,
        port: Port,
        remote: tuple[str, int],
        settings: Settings,
        *,
        accepts: int = 0,
        rendezvous: bool = False,
        connect_s: float | None = None,
        socket_id: int = 0,
    ) -> None:
        """Begin to connect from `port`, which is held until the end; see `wait_connected`.

        accepts: number of the request that is answered, of `Port.listen`. connect_s: patience.
        """
        self._connection = Connection(
            port,
            remote,
            settings,
            accepts=accepts,
            rendezvous=rendezvous,
            connect_s=connect_s,
            socket_id=socket_id,
        )
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
    def settings(self) -> Settings:
        """What it was asked to be."""
        return self._settings

    @property
    def port(self) -> Port:
        """The UDP port it uses, for others to use too."""
        return self._connection.port

    @property
    def closed(self) -> bool:
        """Whether this end was closed."""
        return self._connection.closed

    @property
    def connected(self) -> bool:
        """Whether it is connected now."""
        return not self.closed and self.facts().state == lib.SHM_UDT_CONNECTED

    @property
    def local(self) -> tuple[str, int]:
        """Our address: (host, port)."""
        return self.port.local

    @property
    def remote(self) -> tuple[str, int]:
        """The peer's address: (host, port)."""
        return self._remote

    @property
    def socket_id(self) -> int:
        """Our socket id on the wire."""
        return self.facts().socket_id

    @property
    def max_message(self) -> int:
        """Longest message that can be sent, bytes."""
        return self._settings.send_bytes

    def getsockname(self) -> tuple[str, int]:
        """Our address: (host, port)."""
        return self.local

    def getpeername(self) -> tuple[str, int]:
        """The peer's address: (host, port). Raises `UdtNotConnected`."""
        if not self.connected:
            raise udt_error(Code.ENOCONN)
        peer = _address.unpack(self.facts().peer)
        return self._remote if peer is None else peer

    def facts(self) -> Facts:
        """What the worker says of it now. Raises `UdtError` if it is closed."""
        return read_facts(self._connection.mapped())

    def stats(self) -> UdtStats:
        """Return what the connection has counted and measured."""
        return read_stats(self._connection.mapped())

    def records_waiting(self) -> tuple[int, int]:
        """Pieces in shared memory: those the worker has not taken in, and those not received."""
        segment = self._connection.mapped()
        return int(lib.tx_ring_waiting(segment)), self._connection.channel.rx_waiting

    def fileno(self) -> int:
        """Return a descriptor that is readable while there may be something to receive, or after
        something happened to the connection; for select and asyncio.

        A call that finds nothing to receive clears it. It belongs to the socket.
        """
        return self._connection.fileno()

    def __repr__(self) -> str:
        with contextlib.suppress(errors.ShmringError):
            (here, at), (there, to) = self.local, self.remote
            state = _STATE_NAMES.get(self.facts().state, "opening")
            kind = "messages" if self.messages else "stream"
            return f"<shmring.udt.UdtSocket {kind} {here}:{at} -> {there}:{to} {state}>"
        return "<shmring.udt.UdtSocket closed>"

    # --- waiting ----------------------------------------------------------------------------------

    def settimeout(self, timeout: float | None) -> None:
        """What calls without `timeout=` wait, seconds; 0: not at all, None: for ever."""
        deadline(timeout)
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """What calls without `timeout=` wait, seconds."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """True: `settimeout(None)`. False: ``settimeout(0)``."""
        self.settimeout(None if flag else 0.0)

    def wait_connected(self, timeout: float | None = None) -> None:
        """Wait until it is connected.

        Raises `UdtTimeout` (nobody answered within the patience, or `timeout` is over),
        `UdtRefused`, `UdtError`.
        """
        until_ns = deadline(timeout)
        while not self.try_connected():
            if has_passed(until_ns):
                raise udt_error(Code.ETIMEOUT, "connecting")
            self._connection.sleep(lib.ENDPOINT_RX, until_ns)

    def try_connected(self) -> bool:
        """Whether it is connected by now. Raises as `wait_connected`."""
        return self._connection.try_connected(f"connecting to {_show(self._remote)}")

    async def connected_async(self) -> None:
        """As `wait_connected`, without blocking the event loop."""
        while not self.try_connected():
            await self._connection.waiters.wait(self.fileno())

    # --- sending ----------------------------------------------------------------------------------

    def send(self, data: Buffer, *, timeout: float | EllipsisType | None = ...) -> int:
        """Queue bytes of a stream, as many as there is room for, and return how many.

        Waits until there is room for the first of them. Raises `UdtTimeout`, `UdtWouldBlock`,
        `UdtClosed`, `UdtNotConnected`, `UdtPeerError` (once, for what was sent earlier).
        """
        self._need_messages(False)
        until_ns = self._until(timeout)
        with payload(data) as view:
            return self._sender.send_some(view, 0, until_ns)

    def sendall(self, data: Buffer, *, timeout: float | EllipsisType | None = ...) -> None:
        """Queue all of some bytes of a stream. Raises as `send`; how many were queued is then in
        the exception's `sent`."""
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

        ttl_ms: it is given up if it is to be sent, or repeated, after so many ms; None: never.
        in_order: the peer gets it behind all that were sent earlier.

        Waits until its beginning has room; one that is longer than `ring_bytes` is then waited for
        whatever the timeout, and goes out whole even if a signal or a cancellation ends the call.
        Raises as `send`; `UdtError` with `Code.ELARGEMSG`.
        """
        self._need_messages(True)
        until_ns = self._until(timeout)
        ttl, flags = _message_terms(ttl_ms, in_order)
        with payload(data) as view:
            return self._sender.send_message(view, ttl, flags, until_ns)

    def try_send(self, data: Buffer) -> int:
        """Queue what there is room for now of some bytes, and return how many; 0: there is none."""
        self._need_messages(False)
        with payload(data) as view:
            return self._sender.queue(view, 0)

    def can_send(self) -> bool:
        """Whether a call of `send` would find room, or an error."""
        return self._sender.has_room()

    def can_recv(self) -> bool:
        """Whether a call of `recv` would find something, or an error."""
        return self._receiver.has_data()

    async def send_async(self, data: Buffer) -> None:
        """As `sendall`, without blocking the event loop."""
        self._need_messages(False)
        with payload(data) as view:
            await self._sender.send_all_async(view)

    async def sendmsg_async(
        self, data: Buffer, *, ttl_ms: int | None = None, in_order: bool = False
    ) -> None:
        """As `sendmsg`, without blocking the event loop."""
        self._need_messages(True)
        ttl, flags = _message_terms(ttl_ms, in_order)
        with payload(data) as view:
            await self._sender.send_message_async(view, ttl, flags)

    # --- receiving --------------------------------------------------------------------------------

    def recv(self, size: int = READ_USUAL, *, timeout: float | EllipsisType | None = ...) -> bytes:
        """Take bytes of a stream: at least one, at most `size`.

        Raises `UdtClosed` when the peer closed, or the connection broke, and everything that came
        was taken: this is the end of the stream. `UdtTimeout`, `UdtWouldBlock`, `UdtNotConnected`.
        """
        self._need_messages(False)
        if size <= 0:
            return self._nothing(size)
        until_ns = self._until(timeout)
        if size > SCRATCH_BYTES:
            room = bytearray(min(size, self._settings.ring_bytes))
            return bytes(memoryview(room)[: self.recv_into(room, timeout=timeout)])
        return self._receiver.take(lambda: self._receiver.try_bytes(size), until_ns)

    def recv_into(self, buffer: Buffer, *, timeout: float | EllipsisType | None = ...) -> int:
        """As `recv`, into a writable buffer. Returns how many bytes."""
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
        """Take one message. What is longer than `size` is cut, the rest is lost; None: no limit.

        Raises as `recv`.
        """
        self._need_messages(True)
        until_ns = self._until(timeout)
        message = self._receiver.take(self._receiver.try_message, until_ns)
        return message if size is None else message[:size]

    def try_recv(self, size: int = READ_USUAL) -> bytes | None:
        """Take bytes of a stream that are there; None: there are none now. Raises `UdtClosed`."""
        self._need_messages(False)
        return self._receiver.try_bytes(size)

    def try_recvmsg(self) -> bytes | None:
        """Take the next message if it is there; None: there is none now. Raises `UdtClosed`."""
        self._need_messages(True)
        return self._receiver.try_message()

    async def recv_async(self, size: int = READ_USUAL) -> bytes:
        """As `recv`, without blocking the event loop. Cancelling it loses nothing."""
        return await self._receiver.take_async(lambda: self.try_recv(size))

    async def recvmsg_async(self) -> bytes:
        """As `recvmsg`, without blocking the event loop. Cancelling it loses nothing."""
        return await self._receiver.take_async(self.try_recvmsg)

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over messages, or over what comes of a stream, until the connection ends."""
        take = self.recvmsg if self.messages else self.recv
        with _until_end():
            while True:
                yield take()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """As iteration, without blocking the event loop."""
        take = self.recvmsg_async if self.messages else self.recv_async
        with _until_end():
            while True:
                yield await take()

    # --- commands ---------------------------------------------------------------------------------

    def set_max_bandwidth(self, bytes_per_second: int | None) -> None:
        """Send no faster than so; None: unlimited. The rate where congestion is ``"fixed"``."""
        self._connection.command(lib.SHM_UDT_SET_BANDWIDTH, bytes_per_second or 0)

    def report_error(self) -> None:
        """Tell the peer that what it sent could not be stored: its calls raise `UdtPeerError`."""
        self._connection.command(lib.SHM_UDT_REPORT_ERROR)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the peer has acknowledged everything. Raises `UdtTimeout`, `UdtClosed`."""
        self._sender.flush(deadline(timeout))

    def close(self, linger: float | None = None) -> None:
        """Send what was queued, waiting `linger` seconds for it at most, and end the connection.

        linger: None: as the socket was opened; 0: what was not acknowledged may be lost. Any number
        of times; calls under way in other threads raise `UdtError`. What was not received is lost.
        An exception of a signal's handler ends the waiting, and it is closed.
        """
        if not self.closed:
            wait_s = self._settings.linger if linger is None else seconds("linger", linger)
            self._connection.close(wait_s)

    def close_later(self, linger: float | None = None) -> None:
        """As `close`, but return at once: it waits elsewhere."""
        if not self.closed:
            threading.Thread(
                target=self.close, args=(linger,), name="a UDT socket lingers", daemon=True
            ).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- inside -----------------------------------------------------------------------------------

    def _need_messages(self, wanted: bool) -> None:
        if self._settings.messages is not wanted:
            raise udt_error(Code.ESTREAMILL if wanted else Code.EDGRAMILL)

    def _until(self, timeout: Any) -> int:
        return deadline(self._timeout if timeout is ... else timeout)

    def _nothing(self, size: int) -> bytes:
        if size < 0:
            raise ValueError(f"size is {size}: it must be 0 or more")
        self._connection.mapped()
        return b""


_STATE_NAMES: dict[int, str] = {
    lib.SHM_UDT_CONNECTING: "connecting",
    lib.SHM_UDT_CONNECTED: "connected",
    lib.SHM_UDT_CLOSING: "closing",
    lib.SHM_UDT_BROKEN: "broken",
    lib.SHM_UDT_CLOSED: "closed",
    lib.SHM_UDT_LOST: "lost",
}


class _until_end(contextlib.suppress):
    """Suppresses the end of a connection, and that of this end of it."""

    def __exit__(self, kind: Any, caught: Any, traceback: Any) -> bool:
        code = getattr(caught, "code", None)
        return code in (Code.ECONNLOST, Code.EINVSOCK)


def _message_terms(ttl_ms: int | None, in_order: bool) -> tuple[int, int]:
    if ttl_ms is None:
        ttl_ms = -1
    if not -1 <= ttl_ms < 2**31:
        raise ValueError(f"ttl_ms is {ttl_ms}: it must be 0 to 2**31 - 1, or None for ever")
    return ttl_ms, lib.SHM_UDT_IN_ORDER if in_order else 0


def _show(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


__all__ = ["UdtSocket"]
