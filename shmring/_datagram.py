"""A channel as a transport of asyncio, for programs written for its datagram endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import socket
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, cast

from shmring import errors
from shmring._endpoint import Endpoint
from shmring._hot import Packet
from shmring._in_thread import in_thread
from shmring._linger import LINGER_S, warn_unsent
from shmring._ring import ffi, lib
from shmring.channel import Channel
from shmring.types import Verdict, verdict_of

BATCH = 64  # packets handed out before other tasks run
HIGH_WATER_BYTES = 65536
WATCH_PAUSE_S = 0.05
POLLED = 8  # endpoints that an event loop looks at while it is awake
_ADDRESS_CACHE = 4096

SocketAddress = tuple[Any, ...]
"""An address as sockets have it: (host, port), with IPv6 (host, port, flow, scope)."""


class ChannelTransport(asyncio.DatagramTransport, asyncio.Transport):
    """Sends and receives through a channel for an `asyncio.DatagramProtocol`.

    `create_datagram_endpoint` makes it. It behaves as the transport of asyncio's own event loop,
    and `sendto` also takes a deadline. Packets that find no room in the channel are kept here. If
    they are many, the protocol is told to pause.
    """

    def __init__(
        self, channel: Channel, protocol: asyncio.DatagramProtocol, sock: socket.socket | None
    ) -> None:
        """Call `begin` next, in the event loop. sock: what the channel was opened with, if it was,
        and what this closes."""
        remote = channel.remote
        super().__init__(
            {
                "socket": ChannelSocket(channel, sock),
                "sockname": socket_address(channel.local),
                "peername": socket_address(remote),
                "shmring_channel": channel,
            }
        )
        self.loop = asyncio.get_running_loop()
        """Calls the protocol."""
        self._channel = channel
        self._sock = sock
        self._remote = remote
        self._peer = socket_address(remote)
        self._protocol = protocol
        self._shown: dict[Any, SocketAddress | None] = {}
        self._asked: dict[SocketAddress, tuple[str, int]] = {}
        self._kept: deque[tuple[bytes, int | None, Any, Any]] = deque()
        self._kept_bytes = 0
        self._paused = False
        self.set_write_buffer_limits()
        self._failures = Failures(channel)
        self._linger = LINGER_S
        self._closing = False
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unwatched = False
        self._sent = False
        self._answers = Answers.of(self.loop, channel._endpoint)
        self._stop_receiving: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Tell the protocol that it is connected, and receive."""
        self._call(self._protocol.connection_made, self)
        if not self._closing:
            try:
                self._stop_receiving = self._channel._endpoint.call_when_readable(self.receive)
            except errors.ShmringError as caught:
                self._end(caught)

    # --- sending ----------------------------------------------------------------------------------

    def sendto(
        self, data: Any, addr: Any = None, *, at: int | None = None, source: Any = None
    ) -> Any:
        """Send a datagram. It never waits.

        addr: its destination, None for the remote address of the endpoint. at: its deadline, as of
        `Channel.send`. source: the address of this host that it leaves from, as of `Channel.send`.
        None: the one that `addr` last sent to, so that replies come from the address that was
        asked. Returns the sequence of the packet, for `Channel.verdict`, or None if it was
        kept because the channel has no room, if the transport is closing, or if the packet was
        refused, which the protocol hears of.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be a bytes-like object, not {type(data).__name__}")
        packet = cast("bytes | bytearray | memoryview", data)
        if self._remote is not None:
            if addr is not None and tuple(addr[:2]) != self._remote:
                raise ValueError(f"addr is {addr!r}: it must be None or {self._remote!r}")
            addr = None
        if self._closing:
            return None
        match addr:
            case (str(), 0, *_):  # a forged source of a request, say: no answer can go there
                self._call(self._protocol.error_received, _os_error(errno.EINVAL))
                return None
            case ("<broadcast>", port):
                addr = ("255.255.255.255", port)
        if source is None and self._asked:
            source = self._source_for(addr)
        try:
            sequence = (
                None if self._kept else self._channel.try_send(packet, at, to=addr, source=source)
            )
        except errors.PayloadTooLarge:
            self._call(self._protocol.error_received, _os_error(errno.EMSGSIZE))
            return None
        except errors.ChannelClosed as caught:
            self._end(caught)
            return None
        self._sent = True
        if sequence is None:
            self._keep(bytes(packet), at, addr, source)
        self._watch()
        return sequence

    def _source_for(self, addr: Any) -> tuple[str, int] | None:
        """Return the address of this host that `addr` has sent to. None: it is not known."""
        try:
            return self._asked.get(_known_as(addr))
        except TypeError:  # sending says what is wrong with it
            return None

    def _keep(self, data: bytes, at: int | None, addr: Any, source: Any) -> None:
        self._kept.append((data, at, addr, source))
        self._kept_bytes += len(data)
        if not self._paused and self._kept_bytes > self._high_bytes:
            self._paused = True
            self._call(self._protocol.pause_writing)
        self._run("send", self._send_kept())

    async def _send_kept(self) -> None:
        while self._kept:
            data, at, addr, source = self._kept[0]
            try:
                await self._channel.aio.send(data, at, to=addr, source=source)
            except errors.ChannelClosed as caught:
                self._end(caught)
                return
            except (errors.ShmringError, ValueError, TypeError) as caught:
                self._call(self._protocol.error_received, caught)
            if self._kept:  # not aborted
                self._kept.popleft()
                self._kept_bytes -= len(data)
            self._resume()

    def _resume(self) -> None:
        if self._paused and self._kept_bytes <= self._low_bytes:
            self._paused = False
            self._call(self._protocol.resume_writing)

    def get_write_buffer_size(self) -> int:
        """Bytes of the packets that found no room in the channel."""
        return self._kept_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the limits, bytes, below and above which the protocol is resumed and paused."""
        return self._low_bytes, self._high_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pause the protocol above `high` kept bytes, and resume it at `low`. Defaults: 64 KiB, or
        four times `low`, and a quarter of `high`."""
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        low = high // 4 if low is None else low
        if not high >= low >= 0:
            raise ValueError(f"high is {high} and low {low}: they must be high >= low >= 0")
        self._high_bytes, self._low_bytes = high, low

    # --- errors of sending ------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look for failed packets when the next verdict comes, a few times a second."""
        self._unwatched = True
        if self._running("watch") is None:
            self._run("watch", self._await_failures())

    async def _await_failures(self) -> None:
        with contextlib.suppress(errors.ShmringError):  # receiving says so
            while self._unwatched:
                self._unwatched = False
                await self._failures.wait()
                self._tell_failures()
                await asyncio.sleep(WATCH_PAUSE_S)

    def _tell_failures(self) -> None:
        for code in self._failures.take():
            self._call(self._protocol.error_received, _os_error(code))

    # --- receiving --------------------------------------------------------------------------------

    def receive(self) -> None:
        """Hand out the packets that are there. If they are many, the loop calls this again."""
        channel, endpoint = self._channel, self._channel._endpoint
        try:
            for _ in range(BATCH):
                packet = channel.try_recv()
                if packet is None:
                    endpoint.check_heard()
                    return
                self._hand_out(packet)
                if self._closing:
                    return
                if not endpoint.rx_waiting:
                    break
            if self._answers and self._sent:
                self._sent = False
                self._answers.came(self, endpoint)
        except errors.ShmringError as caught:
            self._end(caught)

    def _hand_out(self, packet: Packet) -> None:
        source = self._peer or self._address_of(packet.source)
        if source is not None and (local := packet.local) is not None:
            self._note_asked(source, local)
        self._call(self._protocol.datagram_received, packet.data, source)

    def _address_of(self, source: Any) -> SocketAddress | None:
        try:
            return self._shown[source]
        except KeyError:
            if len(self._shown) >= _ADDRESS_CACHE:
                self._shown.clear()
            shown = self._shown[source] = socket_address(source)
            return shown

    def _note_asked(self, source: SocketAddress, local: tuple[str, int]) -> None:
        """Remember where a sender sends to, so that replies come from there."""
        known = _known_as(source)
        if self._asked.get(known) != local:
            if len(self._asked) >= _ADDRESS_CACHE:
                self._asked.clear()
            self._asked[known] = local

    # --- the end ----------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """End the channel after what was sent. It waits for packets that are due within a second,
        and cancels the others. The protocol hears of it with ``connection_lost(None)``."""
        self._end(None)

    def abort(self) -> None:
        """End the channel and cancel what was not sent."""
        self._kept.clear()
        self._kept_bytes = 0
        self._linger = 0.0
        if self._closing:
            self._run("abort", self._hurry())
        self._end(None)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.DatagramProtocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def _end(self, caught: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._stop_receiving()
            if self._sock is not None:
                self._sock.close()  # the worker has a descriptor of its own
            if self._answers:
                self._answers.forget(self)
            self._run("end", self._finish(caught))

    async def _finish(self, caught: Exception | None) -> None:
        if watching := self._running("watch"):
            watching.cancel()
        try:
            if caught is None and (sending := self._running("send")):
                await asyncio.wait({sending}, timeout=self._linger)
                sending.cancel()
            await self._channel.aio.close(linger=self._linger)
        finally:
            self._call(self._protocol.connection_lost, caught)
        warn_unsent(f"the endpoint of channel {self._channel.name!r}", len(self._kept), 1)

    async def _hurry(self) -> None:
        """Let an end that lingers go on: cancel what it waits for."""
        if sending := self._running("send"):
            sending.cancel()
        with contextlib.suppress(errors.ShmringError):  # it has ended
            await in_thread(self._channel.purge)

    # --- tasks and calls --------------------------------------------------------------------------

    def _run(self, name: str, work: Any) -> None:
        """Run a coroutine as the only task of this name."""
        if self._running(name) is not None:
            work.close()
            return
        task = self._tasks[name] = self.loop.create_task(work)
        task.add_done_callback(functools.partial(self._forget, name))

    def _running(self, name: str) -> asyncio.Task[None] | None:
        """Return the task of this name. One that has ended is there until the loop's next round."""
        task = self._tasks.get(name)
        return None if task is None or task.done() else task

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]

    def _call(self, method: Callable[..., object], *args: object) -> None:
        """Call the protocol. Its errors are the program's, not the transport's."""
        try:
            method(*args)
        except Exception as caught:
            self.loop.call_exception_handler(
                {
                    "message": f"{_name_of(method)} of a datagram protocol failed",
                    "exception": caught,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )


class Answers:
    """Keeps an event loop awake while an answer to what its endpoints sent is likely to come soon.
    It looks for packets of these endpoints, and the loop runs all that is ready. Falling asleep and
    waking up takes longer than an answer from the same host."""

    _by_loop: ClassVar[weakref.WeakValueDictionary[asyncio.AbstractEventLoop, Answers]] = (
        weakref.WeakValueDictionary()
    )

    def __init__(self) -> None:
        self._next = ffi.new("soon_t *")
        lib.soon_init(self._next, lib.SOON_ANSWER_NS, lib.rt_mono_ns())
        self._is_awake = False
        self._polled: dict[ChannelTransport, Endpoint] = {}

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop, endpoint: Endpoint) -> Answers | None:
        """Return those of a loop. None: the channel saves power."""
        if endpoint.mapped().config.profile == lib.SHM_PROFILE_POWER:
            return None
        return cls._by_loop.setdefault(loop, cls())

    def came(self, transport: ChannelTransport, endpoint: Endpoint) -> None:
        """A packet came to an endpoint that had sent one."""
        now_ns = lib.rt_mono_ns()
        lib.soon_end(self._next, now_ns)
        lib.soon_begin(self._next, now_ns)
        if not self._is_awake:
            self._stay(transport.loop)
        if self._is_awake and transport not in self._polled and len(self._polled) < POLLED:
            self._polled[transport] = endpoint
            endpoint.polls(True)

    def _stay(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_awake = lib.soon_lasts(self._next, lib.rt_mono_ns())
        if not self._is_awake:
            while self._polled:
                self.forget(next(iter(self._polled)))
            return
        loop.call_soon(self._stay, loop)
        for transport, endpoint in tuple(self._polled.items()):
            # What the one before told its protocol may have closed this one.
            if transport in self._polled and _may_have_packets(endpoint):
                transport.receive()

    def forget(self, transport: ChannelTransport) -> None:
        """Leave the packets of an endpoint to the descriptor."""
        endpoint = self._polled.pop(transport, None)
        if endpoint is not None:
            with contextlib.suppress(errors.ShmringError):  # it is closed
                endpoint.polls(False)


def _may_have_packets(endpoint: Endpoint) -> bool:
    try:
        return endpoint.rx_waiting > 0
    except errors.ShmringError:  # receiving says why
        return True


_BUFFERS = {
    (socket.SOL_SOCKET, socket.SO_RCVBUF): "rcvbuf_bytes",
    (socket.SOL_SOCKET, socket.SO_SNDBUF): "sndbuf_bytes",
}


class ChannelSocket:
    """What ``get_extra_info("socket")`` returns: facts about the socket, which the worker owns, or
    has from the program."""

    def __init__(self, channel: Channel, sock: socket.socket | None) -> None:
        """sock: the program's."""
        self._channel = channel
        self._sock = sock
        self._name = socket_address(channel.local)
        self._peer = socket_address(channel.remote)

    @property
    def family(self) -> socket.AddressFamily:
        is_ipv6 = self._name is not None and len(self._name) == 4
        return socket.AF_INET6 if is_ipv6 else socket.AF_INET

    @property
    def type(self) -> socket.SocketKind:
        return socket.SOCK_DGRAM

    @property
    def proto(self) -> int:
        return socket.IPPROTO_UDP

    def fileno(self) -> int:
        """The descriptor of the channel, see `Channel.fileno`."""
        return self._channel.fileno()

    def setsockopt(self, level: int, option: int, value: Any, *length: Any) -> None:
        """Set an option of the program's socket. On a worker's, accept a size for a buffer, which
        is a wish to the kernel too, and ignore it, because options of the endpoint set it. Raises
        OSError, with ENOPROTOOPT for anything else on a worker's."""
        if self._sock is not None:
            self._sock.setsockopt(level, option, value, *length)
        else:
            self._buffer_option(level, option)

    def getsockopt(self, level: int, option: int, *length: Any) -> int | bytes:
        """Return an option of the program's socket, or the size of a buffer of a worker's, bytes.
        Raises OSError, with ENOPROTOOPT for anything else on a worker's."""
        if self._sock is not None:
            return cast("int | bytes", self._sock.getsockopt(level, option, *length))
        return int(getattr(self._channel.stats(), self._buffer_option(level, option)))

    def _buffer_option(self, level: int, option: int) -> str:
        name = _BUFFERS.get((level, option))
        if name is None:
            raise OSError(
                errno.ENOPROTOOPT,
                f"option {option} of level {level}: the socket belongs to the worker. Give options "
                "to create_datagram_endpoint, or pass a socket as sock=",
            )
        return name

    def getsockname(self) -> SocketAddress | None:
        return self._name

    def getpeername(self) -> SocketAddress:
        """Raises OSError with ENOTCONN if the endpoint has no remote address."""
        if self._peer is None:
            raise _os_error(errno.ENOTCONN)
        return self._peer


class Failures:
    """The packets of a channel that could not be sent, for which the late packets are read."""

    def __init__(self, channel: Channel) -> None:
        self._endpoint = channel._endpoint
        self._reader = ffi.new("slot_reader_t *")
        lib.channel_late_reader_init(self._reader, self._endpoint.mapped())
        self._late = ffi.new("shm_late_packet_t[]", BATCH)

    async def wait(self) -> None:
        """Wait until a packet has its verdict, if one waits for it."""
        waiting = self._endpoint.tx_waiting
        await self._endpoint.progress(lambda: not waiting or self._endpoint.tx_waiting < waiting)

    def take(self) -> list[int]:
        """Return the error numbers of the packets that have failed since the last call."""
        failed: list[int] = []
        count = BATCH
        while count == BATCH:
            segment = self._endpoint.mapped()
            count = lib.slot_reader_next(self._reader, self._late, BATCH)
            del segment  # kept it mapped until here
            reports = [packet.report for packet in self._late[0:count]]
            failed += [r.error for r in reports if verdict_of(r.verdict) is Verdict.FAILED]
        return failed


def socket_address(address: tuple[str, int] | None) -> SocketAddress | None:
    """Return an address of a channel as sockets have it."""
    if address is None or ":" not in address[0]:
        return address
    host, _, zone = address[0].partition("%")
    return host, address[1], 0, _scope(zone)


def _known_as(address: Any) -> SocketAddress:
    """Return an address without the parts that say nothing, because not everybody gives them."""
    parts = tuple(address)
    return parts if len(parts) == 4 and parts[3] else parts[:2]


def _scope(zone: str) -> int:
    """Return the index of an interface, 0 if it has gone meanwhile."""
    if zone.isdecimal():
        return int(zone)
    with contextlib.suppress(OSError):
        return socket.if_nametoindex(zone)
    return 0


def _name_of(method: object) -> str:
    """Return the name of a callable, which a partial has not."""
    return getattr(method, "__qualname__", repr(method))


def _os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))
