"""Channels: one process's end of a named flow of packets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Never, Protocol, Self, TypeVar

from rtworkers import ownership, paths
from rtworkers.layout import Op
from shmring import _address, _arguments, errors
from shmring._aio import Waiters
from shmring._arguments import Buffer, deadline, has_passed
from shmring._check import check, error
from shmring._host import translated
from shmring._hot import Core, Packet
from shmring._link import Link, check_not_deserted, check_whole, is_deserted, served_epoch
from shmring._options import switch
from shmring._readiness import Readiness, open_bell
from shmring._ring import ffi, lib
from shmring.batch import ReportBatch
from shmring.stats import ChannelStats, direction_of, read_stats, text_of
from shmring.types import STATES, SendReport, State

REPORTS_AT_ONCE = 256
ADDRESS_CACHE = 4096
TAP_LOOK_S = 0.001
ROOM_LOOK_S = 0.001
FLUSH_LOOK_S = 0.0002
# The worker gives a stamp 2 ms to come; on a busy machine it may be stopped meanwhile.
REPORTS_FOLLOW_S = 0.5
_READINGS = {"broadcast": lib.SHM_READ_BROADCAST, "shared": lib.SHM_READ_SHARED}
_READING_NAMES = {number: name for name, number in _READINGS.items()}
_CLOCKS = {lib.RT_CLOCK_MONOTONIC: "monotonic", lib.RT_CLOCK_TAI: "tai"}

_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


class Owner(Protocol):
    """Whoever opened a channel, and closes it for all."""

    def close_channel(self, name: str) -> None: ...


class Channel(Core):
    """One process's end of a channel: send, receive, and see what became of each packet.

    Made by `Pool.open`, `shmring.open` and `shmring.attach`. May be used by any thread, in a child
    after fork (which then is a party of its own), and be pickled (the copy attaches by name). A
    replaced worker goes unnoticed: the next call attaches to its successor.

    Times are ns in the channel's clock, see `now_ns`; `timeout=` is in seconds. A call
    that sends waits for room and a call that receives waits for a packet, for ever unless `timeout`
    says how long; `try_send` and `try_recv` never wait. `send`, `try_send`, `send_many`, `replace`,
    `recv`, `try_recv`, `recv_into` and `recv_many` come from the backend.
    """

    _closed = True  # until it was made

    def __init__(
        self,
        name: str,
        *,
        namespace: str | None = None,
        readonly: bool = False,
        reading: str | None = None,
        owner: Owner | None = None,
        segment: Any = None,
    ) -> None:
        """Attach to a channel that is open.

        namespace: None: ``$SHMRING_NAMESPACE``, else ``default``.
        readonly: a tap, which reads along without being noticed and cannot disturb anything.
        reading: ``"broadcast"`` or ``"shared"``; None: as the channel was opened, a tap broadcast.
        owner: whoever opened it: `close` then closes it for all, and reading starts at the oldest
            packet. Others read what arrives from now on.
        segment: the mapping of its segment, where whoever opened it has one.

        Raises `ChannelNotFound`, `ChannelClosed`, `LayoutMismatch`, `NoPermission`, `BadConfig`.
        """
        switch("readonly", readonly)
        if reading is not None and reading not in _READINGS:
            raise errors.BadConfig(f'reading is {reading!r}: use "broadcast" or "shared"')
        namespace = paths.default_namespace() if namespace is None else namespace
        self._name = name
        self._namespace = namespace
        self._readonly = readonly
        self._owner = owner
        self._lock = threading.RLock()
        self._report_lock = threading.Lock()
        self._addresses: dict[Any, bytes] = {}
        self._reader_fd = -1
        self._readiness: Readiness | None = None
        self._waiters = Waiters()

        if segment is None:
            segment = map_named(name, namespace, writable=not readonly)
        self._segment = segment
        self._reading = self._choose_reading(reading)
        if not readonly:
            served_epoch(self._segment)
        self._end = ffi.gc(ffi.new("endpoint_t *"), lib.endpoint_close)
        mode_number = _READINGS[self._reading]
        check(lib.endpoint_open(self._end, self._segment, mode_number, owner is not None))
        self._serve((self._segment, self._end), self._end_address())
        self._link = Link(self._segment)
        self._reports = ffi.new("report_reader_t *")
        lib.report_reader_init(self._reports, self._segment)
        self._never_reported = 0
        self._closed = False
        _channels.add(self)

    # --- what it is ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._name

    @property
    def namespace(self) -> str:
        return self._namespace

    @property
    def readonly(self) -> bool:
        """Whether this end is a tap, which reads along and cannot disturb anything."""
        return self._readonly

    @property
    def reading(self) -> str:
        """``"broadcast"``: this end gets every packet. ``"shared"``: it takes them from others."""
        return self._reading

    @property
    def direction(self) -> str:
        """``"tx"``, ``"rx"`` or ``"duplex"``."""
        segment = self._mapped()  # the name keeps it mapped; what is read of it does not
        return direction_of(segment.config)

    @property
    def pool(self) -> str:
        """Name of the pool that serves it."""
        segment = self._mapped()
        return text_of(segment.config.pool)

    @property
    def local(self) -> tuple[str, int] | None:
        """The local address in force; a port that was given as 0 is filled in."""
        segment = self._mapped()
        return _address.unpack(segment.status.bound)

    @property
    def remote(self) -> tuple[str, int] | None:
        """Where packets go that name no destination; None: each `send` names one."""
        segment = self._mapped()
        return _address.unpack(segment.config.remote)

    @property
    def clock(self) -> str:
        """The clock of its times: ``"monotonic"`` or ``"tai"``."""
        segment = self._mapped()
        return _CLOCKS[segment.config.clock]

    @property
    def max_payload(self) -> int:
        """Longest payload, bytes."""
        segment = self._mapped()
        return int(segment.config.max_payload_bytes)

    @property
    def state(self) -> State:
        """What the worker says of it; ``closed`` once this end was closed."""
        segment = getattr(self, "_segment", None)  # another thread may close the channel now
        if self._closed or segment is None:
            return State.CLOSED
        if lib.shm_segment_torn(segment):
            return State.FAILED
        if is_deserted(segment):
            return State.CLOSED
        number = segment.status.state
        return STATES[number] if number < len(STATES) else State.FAILED

    @property
    def epoch(self) -> int:
        """How many workers have served it."""
        segment = self._mapped()
        return int(segment.status.epoch)

    @property
    def closed(self) -> bool:
        """Whether this end was closed."""
        return self._closed

    def now_ns(self) -> int:
        """Return the time in the channel's clock."""
        return int(lib.channel_now_ns(self._mapped()))

    def __repr__(self) -> str:
        with contextlib.suppress(errors.ChannelClosed):  # another thread may close it meanwhile
            arrow = {"tx": "->", "rx": "<-", "duplex": "<->"}[self.direction]
            ends = f"{_show(self.local)} {arrow} {_show(self.remote)}"
            tap = " tap" if self._readonly else ""
            return f"<shmring.{type(self).__name__} {self._name!r} {ends} {self.state}{tap}>"
        return f"<shmring.{type(self).__name__} {self._name!r} closed>"

    # --- queued packets -----------------------------------------------------------------------

    @property
    def tx_waiting(self) -> int:
        """Packets queued, by whomever, and without a verdict."""
        return int(lib.tx_ring_waiting(self._mapped()))

    def cancel(self, sequence: int) -> bool:
        """Take a packet back. Return whether it still waited; its verdict is then ``cancelled``.

        Raises `ShmringOSError` with ``EBUSY`` if the queue could not be searched within 10 ms:
        somebody died or stopped over a packet while no worker was there, or overwrote the queue.
        """
        self._need_writable("take packets back")
        segment = self._mapped()
        if not check(lib.tx_ring_cancel(segment, _arguments.sequence(sequence), ffi.NULL)):
            return False
        # A worker that sleeps until that packet's time gives its verdict and frees its room now.
        if not self._end.tx_ready:
            self._attach_now(lib.ENDPOINT_TX)
        lib.endpoint_ring_bell(self._end)
        return True

    def flush(self, timeout: float | None = None) -> None:
        """Wait until no packet, of whichever sender, waits to be sent.

        timeout: seconds; None: for ever. Raises `SendTimeout`, `ChannelClosed`. Packets that are
        due later are waited for as well; those of a held channel wait for `release`. Where every
        packet is reported, the reports can be read afterwards: it waits up to 500 ms for those
        whose stamp is still to come.
        """
        until_ns = deadline(timeout)
        while waiting := self.tx_waiting:
            if has_passed(until_ns):
                raise errors.SendTimeout(
                    errno.ETIMEDOUT,
                    f"channel {self._name!r}: {waiting} packets still wait after {timeout} s",
                )
            if self.state is State.CLOSED:
                self._refuse(-errno.EPIPE, None)
            time.sleep(FLUSH_LOOK_S)
        self._await_reports()

    def _await_reports(self) -> None:
        segment = self._mapped()
        if segment.config.reports != lib.SHM_REPORTS_ALL or not segment.config.report_slots:
            return
        until_ns = deadline(REPORTS_FOLLOW_S)
        while (awaited := lib.channel_reports_awaited(segment)) > self._never_reported:
            if has_passed(until_ns):
                self._never_reported = awaited  # died with a worker, or given up by their sender
            time.sleep(FLUSH_LOOK_S)

    async def send_async(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        to: tuple[str, int] | None = None,
        timeout: float | None = None,
    ) -> int:
        """As `send`, without blocking the event loop while the ring is full."""
        until_ns = deadline(timeout)
        return await self._when_room(lambda: self.send(data, at, to=to, timeout=0.0), until_ns)

    async def _when_room(self, queue: Callable[[], int], until_ns: int) -> int:
        """What `queue`, a call of `send`, returns once the ring has room."""
        while True:
            try:
                return queue()
            except errors.RingFull:
                if has_passed(until_ns):
                    self._raise_full(True, 0, 0)
            await asyncio.sleep(ROOM_LOOK_S)

    # --- reports ------------------------------------------------------------------------------

    def reports(self, max: int | None = None) -> Iterator[SendReport]:
        """Iterate over the send reports that are there and were not read by this end, oldest first.

        Covers packets of all senders. max: at most so many. Does not wait. Raises `BadConfig` on a
        channel without reports.
        """
        left = sys.maxsize if max is None else _arguments.count(max, "max", 0, sys.maxsize)
        while left > 0 and len(batch := self.read_reports(min(left, REPORTS_AT_ONCE))):
            yield from batch
            left -= len(batch)

    def read_reports(self, max: int = 65536) -> ReportBatch:
        """Take the send reports that are there, up to `max`, without an object for each."""
        most = _arguments.count(max, "max", 0, sys.maxsize)
        segment = self._mapped()
        if segment.config.report_slots == 0 or segment.config.reports == lib.SHM_REPORTS_OFF:
            raise errors.BadConfig(
                f'channel {self._name!r} keeps no send reports: open it with reports="all" and a '
                "report_capacity above 0"
            )
        out = ffi.new("shm_report_t[]", min(most, segment.config.report_slots))
        with self._report_lock:
            count = lib.report_reader_next(self._reports, out, len(out))
        return ReportBatch(bytes(ffi.buffer(out)[: count * ffi.sizeof("shm_report_t")]), count)

    @property
    def reports_lost(self) -> int:
        """Send reports overwritten before this end read them."""
        return int(self._reports.lost)

    # --- received packets ---------------------------------------------------------------------

    @property
    def rx_waiting(self) -> int:
        """Packets that this end could take now."""
        segment = self._mapped()
        waiting = int(lib.endpoint_waiting(self._end))
        del segment  # kept it mapped until here
        return waiting

    @property
    def lost(self) -> int:
        """Packets overwritten before this end (shared: any of the readers) took them."""
        segment = self._mapped()
        if self._reading == "shared":
            return int(lib.channel_shared_lost(segment))
        return int(self._end.rx.lost)

    def __iter__(self) -> Iterator[Packet]:
        """Iterate over packets as they arrive, until the channel is closed."""
        with contextlib.suppress(errors.ChannelClosed):
            while True:
                yield self.recv()

    async def recv_async(self, timeout: float | None = None) -> Packet:
        """As `recv`, without blocking the event loop. Cancelling it loses no packet.

        timeout: seconds; None: for ever. Raises `ReceiveTimeout`, `ChannelClosed`.
        """
        deadline(timeout)  # refuses what is no timeout
        packet = self.try_recv()
        if packet is not None:
            return packet
        try:
            async with asyncio.timeout(timeout):
                return await self._next_async()
        except TimeoutError:
            self._raise_timeout()

    async def _next_async(self) -> Packet:
        tap = self._readonly
        fd = -1 if tap else self.fileno()
        while True:
            packet = self.try_recv()
            if packet is not None:
                return packet
            self._check_heard()
            if tap:
                await asyncio.sleep(TAP_LOOK_S)
            else:
                await self._waiters.wait(fd)

    async def __aiter__(self) -> AsyncIterator[Packet]:
        """Iterate over packets as they arrive, until the channel is closed."""
        with contextlib.suppress(errors.ChannelClosed):
            while True:
                yield await self._next_async()

    def fileno(self) -> int:
        """Return a descriptor that is readable while there may be packets, for select and asyncio.

        Read with `try_recv` or ``recv(timeout=0)`` until nothing is left: that clears it. It
        belongs to the channel. Raises `NoPermission` for a tap, which the worker does not know of.
        """
        with self._lock:
            self._mapped()
            if self._readiness is None:
                self._need_writable("be selected on")
                self._open_reader_fd()
                with translated(f"channel {self._name!r}"):
                    self._readiness = self._link.readiness = Readiness(self._reader_fd)
                self._attach_now(lib.ENDPOINT_RX)
                self._readiness.watch(self._link.fileno())
                self._end.reader_fd = self._reader_fd
                lib.endpoint_rearm(self._end)
            return self._readiness.fileno()

    # --- commands -----------------------------------------------------------------------------

    def stats(self) -> ChannelStats:
        """Return counters, histograms and effective settings."""
        segment = self._mapped()
        stats = read_stats(segment)
        check_whole(segment)
        return stats

    def reset_stats(self) -> None:
        """Set counters and histograms to 0, for all who look at them."""
        self._command(Op.RESET)

    def hold(self) -> None:
        """Halt sending and receiving. Packets stay queued, and those that arrived stay readable."""
        self._command(Op.HOLD)

    def release(self) -> None:
        """Go on after `hold`, or after opening with ``held=True``."""
        self._command(Op.RELEASE)

    def purge(self) -> None:
        """Cancel every packet that waits to be sent, and forget those that arrived unread."""
        self._command(Op.PURGE)

    def _command(self, op: Op) -> None:
        self._need_writable(f"ask for {op.name.lower()}")
        with self._lock:
            self._mapped()
            self._link.command(op)

    def _engine_request(self, body: bytes, fds: tuple[int, ...] = ()) -> tuple[int, bytes]:
        """Ask the engine of this channel something that only it understands."""
        self._need_writable("ask the engine")
        with self._lock:
            self._mapped()
            return self._link.engine_request(body, fds)

    # --- life ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the channel; whoever opened it closes it for all. Waiting packets are cancelled
        then (see `flush`). Any number of times; calls under way in other threads raise
        `ChannelClosed`."""
        with self._lock:
            if self._closed:
                return
            self._leave()
            owner, self._owner = self._owner, None
        if owner is not None:
            owner.close_channel(self._name)

    def _leave(self) -> None:
        self._closed = True
        _channels.discard(self)
        self._shut()
        self._waiters.wake()
        self._close_files()
        del self._segment  # unmapped when the last call under way returns

    def _close_files(self) -> None:
        self._link.close()
        if self._readiness is not None:
            self._readiness.close()
            self._readiness = None
        if self._reader_fd >= 0:
            os.close(self._reader_fd)
            self._reader_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Not close(): a channel outlives the object that opened it, until its pool ends. And
        # nothing mapped is touched: in a cycle of garbage it may be unmapped already.
        if not self._closed:
            self._closed = True
            self._close_files()

    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, (self._name, self._namespace, self._readonly, self._reading)

    # --- called by the backend ----------------------------------------------------------------

    def _attach_now(self, what: int) -> None:
        """Make sure that this end is attached as sender or reader to the worker now in charge."""
        with self._lock:
            segment = self._mapped()
            if what == lib.ENDPOINT_TX:
                self._check_may_send()
            elif self._direction_lacks(lib.SHM_RX):
                raise errors.NoPermission(
                    errno.EPERM,
                    f'channel {self._name!r} only sends: open it with direction="duplex" to '
                    "receive",
                )
            if self._readonly:
                self._end.epoch = served_epoch(segment)
            else:
                self._reattach(what)

    def _reattach(self, what: int) -> None:
        """Attach as `what`, and as whatever this end was before the worker was replaced."""
        end, link = self._end, self._link
        epoch = served_epoch(self._segment)
        if not link.connected:
            link.connect()
        if (end.tx_ready or what == lib.ENDPOINT_TX) and not link.holds_producer:
            link.attach_producer()
            self._settled(self._bind_producer(link.producer, link.bell_fd))
        selecting = self._readiness is not None
        wants = what == lib.ENDPOINT_RX and not end.rx_ready
        reads = link.reader != lib.CTL_NO_SLOT or selecting or wants
        if reads and not link.holds_reader:
            self._open_reader_fd()
            link.attach_reader(self._reader_fd)
            self._settled(self._bind_reader(link.reader, self._reader_fd if selecting else -1))
            lib.endpoint_rearm(end)
        end.epoch = epoch

    def _settled(self, rc: int) -> None:
        check(rc, f"channel {self._name!r}: the worker gave a slot that does not exist")

    def _check_heard(self) -> None:
        """Called before waiting again if nobody said for a second that the channel is served."""
        check_not_deserted(self._mapped())

    def _settle(self) -> None:
        """Found empty while somebody selects on this channel: clear what made it readable."""
        with self._lock:
            if self._readiness is not None and self._readiness.look():
                self._readiness.keep_looking()

    def _pack_address(self, to: Any) -> bytes:
        try:
            return self._addresses[to]
        except (KeyError, TypeError):
            pass
        raw = _address.pack(to, "to", least_port=1)
        self._check_family(raw)
        if len(self._addresses) >= ADDRESS_CACHE:
            self._addresses.clear()
        with contextlib.suppress(TypeError):  # a list, say
            self._addresses[to] = raw
        return raw

    def _refuse(self, rc: int, text: str | None) -> Never:
        if rc == -errno.EPIPE:
            raise error(errno.EPIPE, f"channel {self._name!r} is closed")
        if rc == -errno.ENOENT:
            raise errors.TooLate("the packet does not wait any more: it was sent or cancelled")
        if rc == -errno.EDESTADDRREQ:
            raise errors.BadAddress(
                f"channel {self._name!r} has no remote address: give to=(host, port), or open it "
                "with remote="
            )
        if rc == -errno.ERANGE:
            raise ValueError(
                f"a time in at is below 0, or more than a year ahead: channel {self._name!r} "
                f"counts ns of CLOCK_{self.clock.upper()}, and has {self.now_ns()} now (now_ns())"
            )
        check(rc, text or "")
        raise AssertionError(rc)

    def _raise_full(self, waited: bool, sent: int, first: int) -> Never:
        waiting = self.tx_waiting
        kind, fix = errors.RingFull, "leave out timeout=0 to wait for room"
        if waited:
            kind, fix = errors.SendTimeout, "the worker did not empty it in time"
        if self.state is State.HELD:
            fix = "it is held: release it"
        full = kind(
            errno.EAGAIN,
            f"send ring of channel {self._name!r} is full, {waiting} packets wait: {fix}, or open "
            "it with a larger capacity",
        )
        full.sent = sent
        full.first_sequence = first if sent else None
        raise full

    def _raise_timeout(self) -> Never:
        raise errors.ReceiveTimeout(errno.ETIMEDOUT, f"channel {self._name!r}: no packet in time")

    # --- inside -------------------------------------------------------------------------------

    def _mapped(self) -> Any:
        """The segment. Raises `ChannelClosed`."""
        segment = getattr(self, "_segment", None)  # another thread may close the channel now
        if self._closed or segment is None:
            raise error(errno.EPIPE, f"channel {self._name!r} is closed")
        check_whole(segment)
        return segment

    def _choose_reading(self, reading: str | None) -> str:
        if reading is None:
            tap = self._readonly
            reading = "broadcast" if tap else _READING_NAMES[self._segment.config.read_mode]
        return reading

    def _direction_lacks(self, way: int) -> bool:
        return not self._segment.config.direction & way

    def _check_may_send(self) -> None:
        self._need_writable("send")
        if self._direction_lacks(lib.SHM_TX):
            raise errors.NoPermission(
                errno.EPERM,
                f'channel {self._name!r} only receives: open it with direction="duplex" to send',
            )

    def _need_writable(self, what: str) -> None:
        if self._readonly:
            raise errors.NoPermission(
                errno.EPERM,
                f"channel {self._name!r} is a tap and cannot {what}: attach without readonly",
            )

    def _check_family(self, raw: bytes) -> None:
        family = _address.family(raw)
        segment = self._mapped()
        config = segment.config
        own = config.local.family or config.remote.family
        # An IPv6 socket that is not v6only reaches IPv4 through mapped addresses, given as such.
        if own and family != own:
            raise errors.BadAddress(
                f"to: an IPv{family} address, channel {self._name!r} is IPv{own}: use an address "
                "of its family"
            )

    def _open_reader_fd(self) -> None:
        if self._reader_fd < 0:
            with translated(f"channel {self._name!r}"):
                self._reader_fd = open_bell()

    def _become_child(self) -> None:
        """In a child after fork: whatever the parent holds is not ours. Attach anew when needed."""
        self._lock = threading.RLock()
        self._report_lock = threading.Lock()
        self._owner = None
        self._waiters = Waiters()
        lib.endpoint_forget_slots(self._end)
        self._serve((self._segment, self._end), self._end_address())
        self._link.readiness = None  # to unregister there would do so for the parent
        self._close_files()
        self._link = Link(self._segment)

    def _end_address(self) -> int:
        return int(ffi.cast("uintptr_t", self._end))


def unattached_ends() -> int:
    """How many ends of this process have no connection yet."""
    return sum(end._link.fileno() < 0 for end in list(_channels))


End = TypeVar("End")


def owners_end(
    kind: Callable[..., End], name: str, namespace: str, owner: Owner, segment: Any = None
) -> End:
    """The opener's end of a channel just made, which is closed again if that fails."""
    try:
        return kind(name, namespace=namespace, owner=owner, segment=segment)
    except BaseException:
        owner.close_channel(name)
        raise


def _attach(name: str, namespace: str, readonly: bool, reading: str) -> Channel:
    """What a pickled channel is made of again."""
    return Channel(name, namespace=namespace, readonly=readonly, reading=reading)


def map_named(name: str, namespace: str, *, writable: bool, trusted: int | None = None) -> Any:
    """Map a channel's segment; it is unmapped when nobody refers to it any more.

    `trusted`: the id of a user whose segment it may be, too. Raises `ChannelNotFound`,
    `NoPermission`, `LayoutMismatch`, `BadConfig`.
    """
    fd = _open_segment(name, namespace, writable)
    segment = ffi.new("shm_segment_t *")
    try:
        _check_owner(name, os.fstat(fd), trusted)
        check(lib.shm_segment_map(segment, fd, writable))
    finally:
        os.close(fd)
    return ffi.gc(segment, lib.shm_segment_unmap)


def _open_segment(name: str, namespace: str, writable: bool) -> int:
    try:
        return paths.open_shm(paths.channel_segment(namespace, name), writable=writable)
    except FileNotFoundError:
        raise errors.ChannelNotFound(
            errno.ENOENT,
            f"no channel {name!r} is open in namespace {namespace!r}: open it first, or see "
            '"shmring ls" for what there is',
        ) from None
    except PermissionError:
        text = f"channel {name!r} belongs to another user: "
        text += "attach with readonly=True, or " if writable else ""
        raise errors.NoPermission(
            errno.EACCES, text + "have it opened with group= and permissions="
        ) from None
    except OSError as caught:
        raise error(errno.EPROTO, f"channel {name!r}: {caught.strerror}") from None


def _check_owner(name: str, facts: os.stat_result, trusted: int | None) -> None:
    if ownership.is_trusted(facts, () if trusted is None else (trusted,)):
        return
    raise errors.NoPermission(
        errno.EPERM,
        f"channel {name!r} belongs to another user, {ownership.user_text(facts.st_uid)}: "
        f"its contents may be forged. If you trust them, attach with "
        f"owner={facts.st_uid}",
    )


def _show(address: tuple[str, int] | None) -> str:
    if address is None:
        return "*"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _become_child() -> None:
    for channel in list(_channels):
        channel._become_child()


os.register_at_fork(after_in_child=_become_child)
