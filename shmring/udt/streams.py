"""UDT connections in asyncio, shaped like its streams."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Self, Unpack, cast

from shmring import errors
from shmring.types import Buffer
from shmring.udt import aio
from shmring.udt.connecting import listen
from shmring.udt.errors import Code, UdtError
from shmring.udt.listener import UdtListener
from shmring.udt.options import BACKLOG, UdtOptions
from shmring.udt.socket import READ_USUAL, UdtSocket

LIMIT = 1 << 16


class UdtReader:
    """Received data of a connection, with the methods of `asyncio.StreamReader`.

    A UDT stream ends with its connection, when the peer closes it or it breaks. In message mode
    iterate, or use `message`.
    """

    def __init__(self, sock: UdtSocket, limit: int = LIMIT) -> None:
        """limit: the longest line of `readline` and `readuntil`."""
        self._socket = sock
        self._limit = limit
        self._buffer = bytearray()
        self._eof = False

    def at_eof(self) -> bool:
        """Whether the stream has ended and everything was taken."""
        return self._eof and not self._buffer

    async def read(self, n: int = -1) -> bytes:
        """Take up to `n` bytes, at least one. -1: all until the end. ``b""``: the end."""
        if n == 0:
            return b""
        if n < 0:
            while await self._fill():
                pass
            return self._take(len(self._buffer))
        if not self._buffer:
            await self._fill(n)
        return self._take(min(n, len(self._buffer)))

    async def readexactly(self, n: int) -> bytes:
        """Take `n` bytes. Raises `asyncio.IncompleteReadError` if the stream ends before."""
        if n < 0:
            raise ValueError(f"n is {n}: it must be 0 or more")
        while len(self._buffer) < n:
            if not await self._fill():
                partial = self._take(len(self._buffer))
                raise asyncio.IncompleteReadError(partial, n)
        return self._take(n)

    async def readline(self) -> bytes:
        """Take a line with its line feed. The last one may have none. ``b""``: the end."""
        try:
            return await self.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            return end.partial
        except asyncio.LimitOverrunError as caught:
            raise ValueError(str(caught)) from caught

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Take bytes up to `separator`, including it. Raises `asyncio.IncompleteReadError`,
        `asyncio.LimitOverrunError`."""
        if not separator:
            raise ValueError("separator is empty")
        start = 0
        while (at := self._buffer.find(separator, start)) < 0:
            if len(self._buffer) > self._limit:
                raise asyncio.LimitOverrunError(
                    f"no separator within {self._limit} bytes", len(self._buffer)
                )
            start = max(0, len(self._buffer) - len(separator) + 1)
            if not await self._fill():
                partial = self._take(len(self._buffer))
                raise asyncio.IncompleteReadError(partial, None)
        if at > self._limit:
            raise asyncio.LimitOverrunError(f"a line is longer than {self._limit} bytes", at)
        return self._take(at + len(separator))

    async def message(self) -> bytes:
        """Take the next message. Raises `UdtClosed` at the end."""
        return await self._socket.aio.recvmsg(timeout=None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over messages, or over the lines of a stream, until the end."""
        if self._socket.messages:
            async for message in self._socket:
                yield message
            return
        while line := await self.readline():
            yield line

    async def _fill(self, most: int = READ_USUAL) -> bool:
        """Get more bytes into the buffer. False: there are no more."""
        if self._eof:
            return False
        try:
            self._buffer += await self._socket.aio.recv(max(most, READ_USUAL), timeout=None)
        except UdtError as caught:
            if caught.code not in (Code.ECONNLOST, Code.EINVSOCK):
                raise
            self._eof = True
        return not self._eof

    def _take(self, n: int) -> bytes:
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken


class UdtWriter:
    """Sends on a connection, with the methods of `asyncio.StreamWriter`.

    `write` queues as much as there is room for and keeps the rest, which `drain` sends.
    """

    def __init__(self, sock: UdtSocket) -> None:
        self._socket = sock
        self._kept = bytearray()
        self._draining = asyncio.Lock()
        self._closing: asyncio.Future[None] | None = None

    @property
    def socket(self) -> UdtSocket:
        """The connection."""
        return self._socket

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``"peername"``, ``"sockname"``, ``"socket"``; `default` for other names."""
        match name:
            case "peername":
                return self._socket.remote
            case "sockname":
                return self._socket.local
            case "socket":
                return self._socket
        return default

    def write(self, data: Buffer) -> None:
        """Queue bytes. Await `drain` from time to time. Raises `UdtClosed`."""
        view = memoryview(cast("Any", data)).cast("B")
        done = 0
        if not self._kept and not self._draining.locked():
            done = self._socket._try_send(view)
        self._kept += view[done:]

    def writelines(self, parts: Iterable[Buffer]) -> None:
        """Call `write` for each item."""
        for part in parts:
            self.write(part)

    async def drain(self) -> None:
        """Wait until everything that was written is queued. Raises `UdtClosed`."""
        async with self._draining:
            while self._kept:
                part, self._kept = self._kept, bytearray()
                await self._socket.aio.sendall(part, timeout=None)

    async def send_message(
        self, data: Buffer, *, ttl_ms: int | None = None, in_order: bool = False
    ) -> None:
        """Send one message. See `UdtSocket.sendmsg`."""
        await self._socket.aio.sendmsg(
            data, ttl_ms=ttl_ms, in_order=in_order, timeout=None
        )

    def can_write_eof(self) -> bool:
        """False: UDT closes both directions at once."""
        return False

    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing is not None

    def close(self) -> None:
        """Send what was written, and close. See `wait_closed`."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())

    async def wait_closed(self) -> None:
        """Wait until `close` is done."""
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            await self.drain()
        except errors.ShmringError:
            pass
        finally:
            await self._socket.aio.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await self.wait_closed()


class UdtServer:
    """Serves each connection in a separate task. `start_server` makes it."""

    def __init__(
        self,
        listener: UdtListener,
        serve: Callable[[UdtReader, UdtWriter], Awaitable[None]],
        limit: int,
    ) -> None:
        self._listener = listener
        self._serve = serve
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.ensure_future(self._accept())

    @property
    def listener(self) -> UdtListener:
        """The listener that the server accepts connections from."""
        return self._listener

    @property
    def local(self) -> tuple[str, int]:
        """The bound address."""
        return self._listener.local

    @property
    def sockets(self) -> tuple[UdtListener, ...]:
        """The listener, as a server of asyncio shows its sockets. Empty after `close`."""
        return () if self._listener.closed else (self._listener,)

    async def serve_forever(self) -> None:
        """Wait until the server is closed."""
        await asyncio.shield(self._accepting)

    def close(self) -> None:
        """Stop accepting. Connections continue."""
        self._listener.close()

    async def wait_closed(self) -> None:
        """Wait for the tasks of all connections."""
        await asyncio.gather(self._accepting, *self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await self.wait_closed()

    async def _accept(self) -> None:
        async for sock in self._listener:
            task = asyncio.ensure_future(self._serve_one(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve_one(self, sock: UdtSocket) -> None:
        async with UdtWriter(sock) as writer:
            await self._serve(UdtReader(sock, self._limit), writer)


async def open_connection(
    host: str,
    port: int,
    *,
    local: tuple[str, int] | None = None,
    rendezvous: bool | None = None,
    limit: int = LIMIT,
    **options: Unpack[UdtOptions],
) -> tuple[UdtReader, UdtWriter]:
    """Connect, and return reader and writer.

    host: name or numeric address. local: as in `shmring.udt.connect`. rendezvous: the peer connects
    to us at the same time. It needs `local`. limit: longest line. options: `UdtOptions`. Raises
    `UdtTimeout`, `UdtRefused`, `UdtError`, and `OSError` for an unknown name.
    """
    sock = await aio.connect((host, port), local=local, rendezvous=rendezvous, **options)
    return UdtReader(sock, limit), UdtWriter(sock)


async def start_server(
    serve: Callable[[UdtReader, UdtWriter], Awaitable[None]],
    local: tuple[str, int],
    *,
    backlog: int = BACKLOG,
    limit: int = LIMIT,
    **options: Unpack[UdtOptions],
) -> UdtServer:
    """Listen at `local`, numeric, and call `serve` for each connection in a separate task."""
    listener = await asyncio.to_thread(listen, local, backlog=backlog, **options)
    return UdtServer(listener, serve, limit)
