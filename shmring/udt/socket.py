"""One end of a UDT connection."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import EllipsisType
from typing import Any, Never, Self, TypeVar

from shmring import _address, errors
from shmring._aio import Waiters
from shmring._arguments import Buffer, deadline, has_passed, payload, writable
from shmring._ring import ffi, lib
from shmring.channel import Channel
from shmring.types import State
from shmring.udt import _closer
from shmring.udt.errors import Code, udt_error
from shmring.udt.options import MESSAGES, STREAM, Settings, connection_channel, seconds
from shmring.udt.port import Port, draw_name, open_channel
from shmring.udt.statistics import Facts, UdtStats, read_facts, read_stats

T = TypeVar("T")

READ_USUAL = 1 << 16
SCRATCH_BYTES = 1 << 18
ROOM_LOOK_S = 0.001
STATE_LOOK_S = 0.002
# The worker says within its patience what became of a connection; this much later it is gone.
GRACE_S = 2.0
_NS_PER_S = 1_000_000_000
_OPEN_STATES = (State.NEW, State.OPEN, State.HELD)
_LOST = (lib.SHM_UDT_BROKEN, lib.SHM_UDT_CLOSED, lib.SHM_UDT_LOST)


class UdtSocket:
    """One end of a UDT connection: a stream of bytes, or messages, over UDP.

    Made by `connect`, `rendezvous` and `UdtListener.accept`. May be used by any thread, also by
    several at once. It is closed when nobody refers to it any more, but only `close`, or leaving a
    ``with``, waits until the peer has everything.

    Timeouts are seconds: 0 not to wait, None to wait for ever; `timeout=` of a call goes before
    `settimeout`.
    """

    _closed = True  # until it was made

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
        _closer.start()
        made = connection_channel(
            settings,
            port.name,
            remote,
            accepts=accepts,
            rendezvous=rendezvous,
            connect_s=connect_s,
            cpu=port.cpu,
            socket_id=socket_id,
        )
        port.acquire()
        try:
            self._channel = open_channel(port.pool, draw_name("socket"), made)
        except BaseException:
            port.release()
            raise
        self._port = port
        self._settings = settings
        self._remote = remote
        self._timeout: float | None = None
        self._stream = settings.mode == STREAM
        self._segment = self._channel._segment
        self._end = self._channel._end
        self._pid = os.getpid()
        # What sends and what receives: each has its part of the end. Whoever takes both takes
        # the receiving one first.
        self._rx_lock = threading.RLock()
        self._tx_lock = threading.RLock()
        # A message is one run of records.
        self._message_lock = threading.Lock()
        self._waiters = Waiters()
        self._connected = False
        self._ended = 0
        self._peer_errors_told = 0
        self._pieces: list[bytes] = []
        self._udt = ffi.new("udt_end_t *")
        self._udt.end = self._end
        self._tag = ffi.new("uint32_t *")
        self._done = ffi.new("uint64_t *")
        self._scratch: Any = None
        self._fd = -1
        self._closed = False
        try:
            self._channel._attach_now(lib.END_TX)
        except BaseException:
            self._leave()
            raise
        self._epoch = int(self._end.epoch)

    # --- what it is -------------------------------------------------------------------------------

    @property
    def mode(self) -> str:
        """``"stream"`` or ``"messages"``."""
        return self._settings.mode

    @property
    def settings(self) -> Settings:
        """What it was asked to be."""
        return self._settings

    @property
    def port(self) -> Port:
        """The UDP port it uses, for others to use too."""
        return self._port

    @property
    def closed(self) -> bool:
        """Whether this end was closed."""
        return self._closed

    @property
    def connected(self) -> bool:
        """Whether it is connected now."""
        return not self._closed and self.facts().state == lib.SHM_UDT_CONNECTED

    @property
    def local(self) -> tuple[str, int]:
        """Our address: (host, port)."""
        return self._port.local

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
        return read_facts(self._mapped())

    def stats(self) -> UdtStats:
        """Return what the connection has counted and measured."""
        return read_stats(self._mapped())

    def records_waiting(self) -> tuple[int, int]:
        """Pieces in shared memory: those the worker has not taken in, and those not received."""
        segment = self._mapped()
        return int(lib.tx_ring_waiting(segment)), self._channel.rx_waiting

    def fileno(self) -> int:
        """Return a descriptor that is readable while there may be something to receive, or after
        something happened to the connection; for select and asyncio.

        A call that finds nothing to receive clears it. It belongs to the socket.
        """
        if self._fd < 0:
            with self._rx_lock, self._tx_lock:
                self._mapped()
                self._fd = self._channel.fileno()
        self._mapped()
        return self._fd

    def __repr__(self) -> str:
        with contextlib.suppress(errors.ShmringError):
            (here, at), (there, to) = self.local, self.remote
            state = _STATE_NAMES.get(self.facts().state, "opening")
            return f"<shmring.udt.UdtSocket {self.mode} {here}:{at} -> {there}:{to} {state}>"
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
            self._sleep(lib.END_RX, until_ns)

    def try_connected(self) -> bool:
        """Whether it is connected by now. Raises as `wait_connected`."""
        with self._rx_lock:
            if not self._connected:
                self._look()
            if self._connected:
                return True
            if self._ended:
                raise udt_error(self._ended, f"connecting to {_show(self._remote)}")
            self._find_end()
            if not self._connected and self._ended:
                raise udt_error(self._ended, f"connecting to {_show(self._remote)}")
            self._rearm()
            return self._connected

    async def connected_async(self) -> None:
        """As `wait_connected`, without blocking the event loop."""
        while not self.try_connected():
            await self._waiters.wait(self.fileno())

    # --- sending ----------------------------------------------------------------------------------

    def send(self, data: Buffer, *, timeout: float | EllipsisType | None = ...) -> int:
        """Queue bytes of a stream, as many as there is room for, and return how many.

        Waits until there is room for the first of them. Raises `UdtTimeout`, `UdtWouldBlock`,
        `UdtClosed`, `UdtNotConnected`, `UdtPeerError` (once, for what was sent earlier).
        """
        self._need_stream(True)
        until_ns = self._until(timeout)
        with payload(data) as view:
            return self._send_some(view, 0, len(view), until_ns)

    def sendall(self, data: Buffer, *, timeout: float | EllipsisType | None = ...) -> None:
        """Queue all of some bytes of a stream. Raises as `send`; how many were queued is then in
        the exception's `sent`."""
        self._need_stream(True)
        until_ns = self._until(timeout)
        done = 0
        with payload(data) as view:
            try:
                while done < len(view):
                    done += self._send_some(view, done, len(view), until_ns)
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
        self._need_stream(False)
        until_ns = self._until(timeout)
        ttl, flags = _message_terms(ttl_ms, in_order)
        with payload(data) as view:
            self._check_length(len(view))
            self._message_lock.acquire()
            done = 0
            try:
                while done < len(view):
                    done = self._queue(view, len(view), ttl, flags, done)
                    if done == len(view):
                        break
                    if done == 0 and has_passed(until_ns):
                        self._raise_no_room(until_ns)
                    self._sleep(lib.END_TX, until_ns if done == 0 else lib.RT_NEVER_NS)
            finally:
                self._end_message(view, done, ttl, flags)
            return done

    def try_send(self, data: Buffer) -> int:
        """Queue what there is room for now of some bytes, and return how many; 0: there is none."""
        self._need_stream(True)
        with payload(data) as view:
            return self._queue(view, len(view), -1, 0, 0)

    def can_send(self) -> bool:
        """Whether a call of `send` would find room, or an error."""
        with self._tx_lock:
            self._mapped()
            if self._state() in _LOST:
                return True
            return self._state() == lib.SHM_UDT_CONNECTED and bool(lib.udt_end_has_room(self._udt))

    def can_recv(self) -> bool:
        """Whether a call of `recv` would find something, or an error."""
        with self._rx_lock:
            self._mapped()
            if self._ended or lib.udt_end_has_data(self._udt):
                return True
            self._find_end()
            if self._ended:
                return True
            self._rearm()
            return bool(lib.udt_end_has_data(self._udt))

    async def send_async(self, data: Buffer) -> None:
        """As `sendall`, without blocking the event loop."""
        self._need_stream(True)
        done = 0
        with payload(data) as view:
            while done < len(view):
                done = self._queue(view, len(view), -1, 0, done)
                if done < len(view):
                    await asyncio.sleep(ROOM_LOOK_S)

    async def sendmsg_async(
        self, data: Buffer, *, ttl_ms: int | None = None, in_order: bool = False
    ) -> None:
        """As `sendmsg`, without blocking the event loop."""
        self._need_stream(False)
        ttl, flags = _message_terms(ttl_ms, in_order)
        with payload(data) as view:
            self._check_length(len(view))
            while not self._message_lock.acquire(blocking=False):
                await asyncio.sleep(ROOM_LOOK_S)
            done = 0
            try:
                while (done := self._queue(view, len(view), ttl, flags, done)) < len(view):
                    await asyncio.sleep(ROOM_LOOK_S)
            finally:
                self._end_message(view, done, ttl, flags)

    # --- receiving --------------------------------------------------------------------------------

    def recv(self, size: int = READ_USUAL, *, timeout: float | EllipsisType | None = ...) -> bytes:
        """Take bytes of a stream: at least one, at most `size`.

        Raises `UdtClosed` when the peer closed, or the connection broke, and everything that came
        was taken: this is the end of the stream. `UdtTimeout`, `UdtWouldBlock`, `UdtNotConnected`.
        """
        self._need_stream(True)
        if size <= 0:
            return self._nothing(size)
        until_ns = self._until(timeout)
        if size > SCRATCH_BYTES:
            room = bytearray(min(size, self._settings.ring_bytes))
            return bytes(memoryview(room)[: self.recv_into(room, timeout=timeout)])
        while True:
            data = self._try_recv(size)
            if data is not None:
                return data
            self._wait_for_more(until_ns)

    def recv_into(
        self, buffer: Buffer, *, timeout: float | EllipsisType | None = ...
    ) -> int:
        """As `recv`, into a writable buffer. Returns how many bytes."""
        self._need_stream(True)
        until_ns = self._until(timeout)
        view = writable(buffer, "buffer")
        with ffi.from_buffer("uint8_t[]", view, require_writable=True) as room:
            while len(view):
                got = self._read(room, len(view))
                if got:
                    return got
                self._wait_for_more(until_ns)
        return 0

    def recvmsg(
        self, size: int | None = None, *, timeout: float | EllipsisType | None = ...
    ) -> bytes:
        """Take one message. What is longer than `size` is cut, the rest is lost; None: no limit.

        Raises as `recv`.
        """
        self._need_stream(False)
        until_ns = self._until(timeout)
        while True:
            message = self.try_recvmsg()
            if message is not None:
                return message if size is None else message[:size]
            self._wait_for_more(until_ns)

    def try_recv(self, size: int = READ_USUAL) -> bytes | None:
        """Take bytes of a stream that are there; None: there are none now. Raises `UdtClosed`."""
        self._need_stream(True)
        return self._try_recv(min(size, SCRATCH_BYTES))

    def try_recvmsg(self) -> bytes | None:
        """Take the next message if it is there; None: there is none now. Raises `UdtClosed`."""
        self._need_stream(False)
        with self._rx_lock:
            while True:
                self._mapped()
                room = self._room()
                length = lib.udt_end_take(self._udt, room, self._tag)
                tag = self._tag[0]
                if tag == lib.UDT_END_NOTHING:
                    self._nothing_there()
                    return None
                kind = tag & 0xFF
                if kind == lib.SHM_UDT_GOT_MESSAGE and not self._pieces:
                    return bytes(ffi.buffer(room, length))
                if kind in (lib.SHM_UDT_GOT_MESSAGE, lib.SHM_UDT_GOT_PIECE):
                    self._pieces.append(bytes(ffi.buffer(room, length)))
                    if kind == lib.SHM_UDT_GOT_MESSAGE:
                        whole = b"".join(self._pieces)
                        self._pieces.clear()
                        return whole
                else:
                    self._note(tag)

    async def recv_async(self, size: int = READ_USUAL) -> bytes:
        """As `recv`, without blocking the event loop. Cancelling it loses nothing."""
        return await self._until_there(lambda: self.try_recv(size))

    async def recvmsg_async(self) -> bytes:
        """As `recvmsg`, without blocking the event loop. Cancelling it loses nothing."""
        return await self._until_there(self.try_recvmsg)

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over messages, or over what comes of a stream, until the connection ends."""
        take = self.recv if self._stream else self.recvmsg
        with _until_end():
            while True:
                yield take()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """As iteration, without blocking the event loop."""
        take = self.recv_async if self._stream else self.recvmsg_async
        with _until_end():
            while True:
                yield await take()

    # --- commands ---------------------------------------------------------------------------------

    def set_max_bandwidth(self, bytes_per_second: int | None) -> None:
        """Send no faster than so; None: unlimited. The rate where congestion is ``"fixed"``."""
        self._command(lib.SHM_UDT_SET_BANDWIDTH, bytes_per_second or 0)

    def report_error(self) -> None:
        """Tell the peer that what it sent could not be stored: its calls raise `UdtPeerError`."""
        self._command(lib.SHM_UDT_REPORT_ERROR)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the peer has acknowledged everything. Raises `UdtTimeout`, `UdtClosed`."""
        until_ns = deadline(timeout)
        self._mapped()
        while self._unsent():
            if self._state() in _LOST:
                raise udt_error(Code.ECONNLOST, "flush")
            if has_passed(until_ns):
                raise udt_error(Code.ETIMEOUT, "flush")
            time.sleep(STATE_LOOK_S)

    def close(self, linger: float | None = None) -> None:
        """Send what was queued, waiting `linger` seconds for it at most, and end the connection.

        linger: None: as the socket was opened; 0: what was not acknowledged may be lost. Any number
        of times; calls under way in other threads raise `UdtError`. What was not received is lost.
        An exception of a signal's handler ends the waiting, and it is closed.
        """
        if self._closed:
            return
        wait_s = self._settings.linger if linger is None else seconds("linger", linger)
        try:
            if self._pid == os.getpid():
                with contextlib.suppress(errors.ShmringError, OSError):
                    self._say_goodbye(wait_s)
        finally:  # a signal's handler may have had enough
            self._leave()

    def close_later(self, linger: float | None = None) -> None:
        """As `close`, but return at once: it waits elsewhere."""
        if not self._closed:
            threading.Thread(
                target=self.close, args=(linger,), name="a UDT socket lingers", daemon=True
            ).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Nothing mapped is touched: in a cycle of garbage it may be unmapped already.
        if not self._closed and self._pid == os.getpid():
            _closer.later(_Forgotten(self._port, self._channel.name, self._settings.linger))

    # --- inside -----------------------------------------------------------------------------------

    def _mapped(self) -> Any:
        if self._closed:
            raise udt_error(Code.EINVSOCK)
        return self._segment

    def _need_stream(self, wanted: bool) -> None:
        if self._stream is not wanted:
            raise udt_error(Code.EDGRAMILL if wanted else Code.ESTREAMILL)

    def _until(self, timeout: Any) -> int:
        return deadline(self._timeout if timeout is ... else timeout)

    def _room(self) -> Any:
        """Memory for what is received; with the receiving lock only."""
        if self._scratch is None:
            self._scratch = ffi.new("uint8_t[]", SCRATCH_BYTES)
        return self._scratch

    def _state(self) -> int:
        """`shm_udt_conn_state_t`. Raises `UdtError` if it is closed."""
        return int(lib.udt_read_state(self._mapped()))

    # Sending.

    def _send_some(self, view: Any, start: int, size: int, until_ns: int) -> int:
        """At least one byte from `start` on; returns how many."""
        while start < size:
            done = self._queue(view, size, -1, 0, start)
            if done > start:
                return done - start
            if has_passed(until_ns):
                self._raise_no_room(until_ns)
            self._sleep(lib.END_TX, until_ns)
        return 0

    def _queue(self, view: Any, size: int, ttl_ms: int, flags: int, done: int) -> int:
        """Queue what there is room for, from `done` on; returns how far it came."""
        with self._tx_lock:
            peer_errors = lib.udt_read_peer_errors(self._mapped())
            if self._peer_errors_told != peer_errors:
                self._peer_errors_told = peer_errors
                raise udt_error(Code.EPEERERR)
            self._done[0] = done
            data = ffi.cast("uint8_t *", view)
            rc = lib.udt_end_send(
                self._udt, data, size, ttl_ms, flags, not self._stream, self._done
            )
            now = int(self._done[0])
        if now > done or rc in (0, -errno.ENOBUFS):
            return now
        self._refuse_send()

    def _end_message(self, view: Any, done: int, ttl_ms: int, flags: int) -> None:
        """Let others send messages, as soon as all of this one is queued: what was queued of it
        would become the beginning of the next one."""
        if not 0 < done < len(view):
            self._message_lock.release()
            return
        rest = bytes(ffi.buffer(view))[done:]
        threading.Thread(
            target=self._finish_message,
            args=(rest, ttl_ms, flags),
            name="a UDT socket finishes a message",
            daemon=True,
        ).start()

    def _finish_message(self, rest: bytes, ttl_ms: int, flags: int) -> None:
        try:
            with contextlib.suppress(errors.ShmringError, OSError), payload(rest) as view:
                done = 0
                while (done := self._queue(view, len(view), ttl_ms, flags, done)) < len(view):
                    self._sleep(lib.END_TX, lib.RT_NEVER_NS)
        finally:
            self._message_lock.release()

    def _refuse_send(self) -> Never:
        state = self._state()
        if state == lib.SHM_UDT_CONNECTING or state == 0:
            raise udt_error(Code.ENOCONN)
        raise udt_error(Code.ECONNLOST)

    def _raise_no_room(self, until_ns: int) -> Never:
        raise udt_error(Code.ETIMEOUT if until_ns else Code.EASYNCSND)

    def _check_length(self, length: int) -> None:
        if length > self.max_message:
            raise udt_error(
                Code.ELARGEMSG,
                f"a message of {length} bytes, the send buffer has {self.max_message}: send less "
                "at once, or open the socket with larger send_bytes",
            )

    def _unsent(self) -> bool:
        with contextlib.suppress(errors.ShmringError):
            segment = self._mapped()
            return bool(lib.tx_ring_waiting(segment) or read_facts(segment).unsent_bytes)
        return False

    # Receiving.

    def _read(self, room: Any, size: int) -> int:
        """What is there of the stream; 0: nothing now. Raises at its end."""
        with self._rx_lock:
            while True:
                self._mapped()
                got = lib.udt_end_read(self._udt, room, size, self._tag)
                if got:
                    return int(got)
                if self._tag[0] == lib.UDT_END_NOTHING:
                    self._nothing_there()
                    return 0
                self._note(self._tag[0])

    def _try_recv(self, size: int) -> bytes | None:
        with self._rx_lock:
            room = self._room()
            got = self._read(room, size)
            return bytes(ffi.buffer(room, got)) if got else None

    def _nothing(self, size: int) -> bytes:
        if size < 0:
            raise ValueError(f"size is {size}: it must be 0 or more")
        self._mapped()
        return b""

    def _nothing_there(self) -> None:
        """The ring is empty: is it for good? With the receiving lock."""
        if not self._ended:
            self._find_end()
            if self._ended and lib.udt_end_has_data(self._udt):
                return  # it came before the end did
        if self._ended:
            raise udt_error(self._ended)
        if not self._connected and self._state() != lib.SHM_UDT_CONNECTED:
            raise udt_error(Code.ENOCONN)
        self._rearm()

    def _wait_for_more(self, until_ns: int) -> None:
        if has_passed(until_ns):
            if until_ns == 0:
                raise udt_error(Code.EASYNCRCV)
            raise udt_error(Code.ETIMEOUT)
        self._sleep(lib.END_RX, until_ns)

    async def _until_there(self, take: Callable[[], T | None]) -> T:
        while (got := take()) is None:
            await self._waiters.wait(self.fileno())
        return got

    # Events.

    def _note(self, tag: int) -> None:
        """An event was taken from the ring."""
        kind, number = tag & 0xFF, tag >> 8
        if kind == lib.SHM_UDT_GOT_CONNECTED:
            self._connected = True
        elif kind == lib.SHM_UDT_GOT_FAILED:
            self._ended = number or int(Code.ECONNSETUP)
        elif kind in (lib.SHM_UDT_GOT_BROKEN, lib.SHM_UDT_GOT_CLOSED):
            self._ended = int(Code.ECONNLOST)

    def _look(self) -> None:
        """Take events that are next in the ring. With the receiving lock."""
        self._mapped()
        while (tag := lib.udt_end_event(self._udt)) != lib.UDT_END_NOTHING:
            self._note(tag)

    def _find_end(self) -> None:
        """Whether the worker is gone, or says in its page what it cannot say in the ring."""
        segment = self._mapped()
        replaced = int(segment.status.epoch) != self._epoch
        gone = self._channel.state not in _OPEN_STATES
        if replaced or gone or self._state() == lib.SHM_UDT_LOST:
            self._ended = int(Code.ECONNLOST)

    def _rearm(self) -> None:
        if self._fd >= 0:
            lib.end_rearm(self._end)
            self._channel._settle()

    def _sleep(self, what: int, until_ns: int) -> None:
        """Until there is something to receive, or room to send, or a little while is over. Python's
        signal handlers run afterwards."""
        lock = self._tx_lock if what == lib.END_TX else self._rx_lock
        sleep = ffi.new("end_sleep_t *")
        with lock:
            segment = self._mapped()
            lib.end_before_sleep(self._end, what, until_ns, sleep)
        lib.end_sleep(sleep)
        del segment  # kept it mapped until here
        if what == lib.END_TX:
            self._mapped()

    def _command(self, op: int, value: int = 0) -> None:
        command = ffi.new("shm_udt_command_t *")
        command.op, command.value = op, value
        self._mapped()
        self._channel._engine_request(bytes(ffi.buffer(command)))

    # The end.

    def _say_goodbye(self, linger_s: float) -> None:
        if self._state() not in (lib.SHM_UDT_CONNECTED, lib.SHM_UDT_CONNECTING):
            return
        self._command(lib.SHM_UDT_CLOSE, int(linger_s * _NS_PER_S))
        until_ns = deadline(linger_s + GRACE_S)
        while self._state() not in _LOST and not has_passed(until_ns):
            with self._rx_lock:
                self._discard()
                if self._ended:
                    return
            self._sleep(lib.END_RX, until_ns)

    def _discard(self) -> None:
        """Take what is there and forget it, so that the worker can say that it is done."""
        room = self._room()
        while True:
            lib.udt_end_take(self._udt, room, self._tag)
            if self._tag[0] == lib.UDT_END_NOTHING:
                self._find_end()
                return
            self._note(self._tag[0])

    def _leave(self) -> None:
        with self._rx_lock, self._tx_lock:
            if self._closed:
                return
            self._closed = True
            self._waiters.wake()
            with contextlib.suppress(errors.ShmringError, OSError):
                self._channel.close()
            self._scratch = self._segment = None
        with contextlib.suppress(errors.ShmringError, OSError):
            self._port.release()


class _Forgotten:
    """Ends a connection that nobody refers to any more, by the name of its channel."""

    def __init__(self, port: Port, name: str, linger_s: float) -> None:
        self._port = port
        self._name = name
        self._linger_s = linger_s

    def __call__(self) -> None:
        thread = threading.Thread(target=self._end, name="a UDT socket lingers", daemon=True)
        thread.start()

    def _end(self) -> None:
        pool = self._port.pool
        with contextlib.suppress(errors.ShmringError, OSError):
            self._linger(Channel(self._name, namespace=pool.namespace))
        with contextlib.suppress(errors.ShmringError, OSError):
            pool.close_channel(self._name)
        self._port.release()

    def _linger(self, channel: Channel) -> None:
        segment = channel._mapped()
        until_ns = deadline(self._linger_s + GRACE_S)
        command = ffi.new("shm_udt_command_t *")
        command.op, command.value = lib.SHM_UDT_CLOSE, int(self._linger_s * _NS_PER_S)
        channel._engine_request(bytes(ffi.buffer(command)))
        while channel.state in _OPEN_STATES and not has_passed(until_ns):
            if lib.udt_read_state(segment) in _LOST:
                break
            time.sleep(STATE_LOOK_S)
        channel.close()


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


__all__ = ["MESSAGES", "STREAM", "UdtSocket"]
