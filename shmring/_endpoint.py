"""One process's end of a channel of any kind. `Channel` and the other channel classes, UDT
connections and the servers of `rtpsynth` each have one."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Never, Protocol, TypeVar

from rtworkers import paths
from rtworkers.layout import Op
from shmring import _address, batch, errors
from shmring._aio import NEVER_NS, Waiters, new_sleeper
from shmring._arguments import deadline, has_passed
from shmring._attachment import Attachment, check_whole, checked, map_named, served_epoch
from shmring._check import check, error
from shmring._options import switch
from shmring._ring import ffi, lib
from shmring.types import STATES, Clock, Reading, State

ADDRESS_CACHE = 4096
# How often a read-only end checks what others are told.
TAP_CHECK_S = 0.001
# Interval of the checks whether the channel is still served.
AWAIT_SLICE_NS = 50_000_000
# A wait for verdicts lets the worker finish some packets before it asks to be woken again.
FLUSH_REST_S = 0.0002
# The opener of a channel takes a sender slot before it sends, if the channel has this many.
MANY_PRODUCERS = 9
_AS_BEFORE = 0
_READINGS: dict[Reading, int] = {"each": lib.SHM_READ_EACH, "shared": lib.SHM_READ_SHARED}
_READING_NAMES: dict[int, Reading] = {number: name for name, number in _READINGS.items()}

T = TypeVar("T")

_endpoints: weakref.WeakSet[Endpoint] = weakref.WeakSet()


class Owner(Protocol):
    """What the opener's end may do with its channel as a whole."""

    @property
    def created(self) -> bool:
        """Whether the channel was not open before."""
        ...

    @property
    def alone(self) -> bool:
        """Whether no other opener of it ran then."""
        ...

    def has_others(self) -> bool:
        """Whether the channel was opened through other ends whose processes run."""
        ...

    def end(self) -> bool:
        """End the channel for all processes if no other opener runs. Return whether it did."""
        ...

    def undo(self) -> None:
        """Undo the opening."""
        ...


class Endpoint(batch.Core):
    """One process's end of a channel. It attaches to the current worker, sends it commands, has the
    descriptor for select, and closes the end. `Core` has the calls per packet.

    Any thread may use it. It may also be used in a child after fork, where it attaches separately.
    """

    closed = True  # until the constructor succeeds
    """Whether this end was closed."""

    def __init__(
        self,
        name: str,
        *,
        namespace: str | None = None,
        readonly: bool = False,
        reading: Reading | None = None,
        owner: Owner | None = None,
        segment: Any = None,
    ) -> None:
        """Attach to an open channel.

        namespace: None: ``$SHMRING_NAMESPACE``, else ``default``.
        readonly: only observe, and nobody notices.
        reading: ``"each"`` or ``"shared"``. None: as the channel was opened, with readonly
            "each".
        owner: given to the opener's end: `close` ends the channel for all processes, and reading of
            a new channel starts at the oldest packet. Other ends read what arrives from now on.
        segment: the mapping of the segment, if the caller has one.

        Raises `ChannelNotFound`, `ChannelClosed`, `LayoutMismatch`, `NoPermission`, `BadConfig`.
        """
        switch("readonly", readonly)
        if reading is not None and reading not in _READINGS:
            raise errors.BadConfig(f'reading is {reading!r}: use "each" or "shared"')
        self.name = name
        self.namespace = paths.default_namespace() if namespace is None else namespace
        self.readonly = readonly
        self._owner = owner
        self.remote_hint = "give to=(host, port), or open it with remote="
        """The fix that the error names for a packet without a destination."""
        self._addresses: dict[Any, bytes] = {}
        self._sources: dict[Any, bytes] = {}
        self._start_locks()

        if segment is None:
            segment = map_named(name, self.namespace, writable=not readonly)
        self._segment = segment
        self._segment_id = int(segment.segment_id)
        self.reading: Reading = self._choose_reading(reading)
        if not readonly:
            served_epoch(self._segment)
        self.end = ffi.gc(ffi.new("endpoint_t *"), lib.endpoint_close)
        mode_number = _READINGS[self.reading]
        self.created = owner is not None and owner.created
        """Whether this end opened the channel, which was not open before."""
        check(lib.endpoint_open(self.end, self._segment, mode_number, self.created))
        self._serve((self._segment, self.end), self.address())
        self.attachment = Attachment(self._segment)
        self.closed = False
        _endpoints.add(self)

    def _start_locks(self) -> None:
        self._lock = threading.RLock()
        self.report_lock = threading.Lock()
        """Held while a thread reads reports through this end."""
        self._waiters = Waiters(one_by_one=True)
        self._progress = Waiters(clear=self._clear_progress)

    # --- what it is -------------------------------------------------------------------------------

    def mapped(self) -> Any:
        """The segment. Raises `ChannelClosed`."""
        segment = getattr(self, "_segment", None)  # another thread may close this end now
        if self.closed or segment is None:
            raise self._closed_error()
        check_whole(segment)
        return segment

    def address(self) -> int:
        """Return the core's part of the endpoint_t."""
        return int(ffi.cast("uintptr_t", self.end))

    @property
    def state(self) -> State:
        """The state that the worker reports, or ``closed`` after this end was closed."""
        segment = getattr(self, "_segment", None)  # another thread may close this end now
        if self.closed or segment is None:
            return State.CLOSED
        if lib.shm_segment_torn(segment):
            return State.FAILED
        if lib.attachment_check_deserted(segment) < 0:
            return State.CLOSED
        number = int(segment.status.state)
        return STATES[number] if number < len(STATES) else State.FAILED

    @property
    def tx_waiting(self) -> int:
        """Packets that any process has queued and that have no verdict yet."""
        return int(lib.tx_ring_waiting(self.mapped()))

    @property
    def rx_waiting(self) -> int:
        """The number of packets that this end can take now."""
        segment = self.mapped()
        waiting = int(lib.endpoint_waiting(self.end))
        del segment  # kept it mapped until here
        return waiting

    @property
    def lost(self) -> int:
        """Packets that were overwritten before this end took them (shared: before any
        reader did)."""
        segment = self.mapped()
        if self.reading == "shared":
            return int(lib.channel_shared_lost(segment))
        return int(self.end.rx.lost)

    # --- asking the worker ------------------------------------------------------------------------

    def command(self, op: Op) -> None:
        """Send a request that names the channel and nothing else."""
        self.need_writable(f"ask for {op.name.lower()}")
        with self._lock:
            segment = self.mapped()
            self.attachment.request(op)
            del segment  # kept it mapped until here

    def engine_request(self, body: bytes) -> bytes:
        """Send a request to the channel's engine, and return its answer."""
        self.need_writable("ask the engine")
        with self._lock:
            segment = self.mapped()
            answer = self.attachment.request(Op.ENGINE, body)[1]
            del segment  # kept it mapped until here
            return answer

    def engine_request_apart(self, body: bytes) -> bytes:
        """Like `engine_request`, but on a separate connection, because the usual one waits for an
        answer."""
        segment = self.mapped()
        apart = Attachment(segment)
        try:
            return apart.request(Op.ENGINE, body)[1]
        finally:
            apart.close()

    def cancel(self, sequence: int) -> bool:
        """Cancel a packet, see `Channel.cancel`."""
        self.need_writable("take packets back")
        segment = self.mapped()
        if not check(lib.tx_ring_cancel(segment, sequence, ffi.NULL)):
            return False
        # A worker that sleeps until that packet's time wakes, gives the verdict and frees the room.
        if not self.end.tx_ready:
            self.attach_now(lib.ENDPOINT_TX)
        self._ring_bell()
        del segment  # kept it mapped until here
        return True

    # --- selecting --------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return a descriptor that is readable while there may be packets, see `Channel.fileno`."""
        with self._lock:
            segment = self.mapped()
            own = self.attachment.own
            if own.readiness.epoll_fd < 0:
                self.need_writable("be selected on")
                checked(lib.attachment_select(own))
                try:
                    self.attach_now(lib.ENDPOINT_RX)
                except BaseException:
                    lib.attachment_unselect(own)
                    raise
            del segment  # kept it mapped until here
            return int(own.readiness.epoll_fd)

    async def readable(self, until_ns: int = NEVER_NS) -> None:
        """Return when there may be a packet, when this end is closed, or at a time of
        CLOCK_MONOTONIC. A read-only end, which no worker knows, returns after a short time."""
        self.check_heard()
        if self.readonly:
            await new_sleeper().sleep(min(until_ns, deadline(TAP_CHECK_S)))
            return
        fd = self.fileno()
        if not self.spin():
            await self._waiters.wait(fd, until_ns)
        self.waited()

    async def arrival(self, until_ns: int) -> None:
        """Like `readable`. Raises `ReceiveTimeout` if the time is over."""
        if has_passed(until_ns):
            self.raise_timeout()
        await self.readable(until_ns)

    def call_when_readable(self, reader: Callable[[], None]) -> Callable[[], None]:
        """Call `reader` in the running loop of asyncio whenever there may be packets, and when this
        end is closed. It takes packets until there are none, and then calls `check_heard`. Return
        what ends that."""
        self.check_heard()
        return self._waiters.call(self.fileno(), reader)

    async def room(self, until_ns: int = NEVER_NS) -> None:
        """Return when there may be room for a packet that found none, when this end is closed, or
        at a time of CLOCK_MONOTONIC."""
        await self.progress(self.may_have_room, until_ns)

    async def progress(self, is_over: Callable[[], bool], until_ns: int = NEVER_NS) -> None:
        """Return when the worker has made progress and `is_over`, when this end is closed, or at a
        time of CLOCK_MONOTONIC. A read-only end returns after a short time.

        Progress is what `await_worker` says. Any thread may call `is_over`.
        """
        self.check_heard()
        if self.readonly:
            await new_sleeper().sleep(min(until_ns, deadline(TAP_CHECK_S)))
            return
        fd = self._watch()
        over = self._ask_progress(is_over)
        if over is None:
            await new_sleeper().sleep(min(until_ns, deadline(TAP_CHECK_S)))
        elif not over:
            await self._progress.wait(
                fd, until_ns, lambda: self._ask_progress(is_over) is not False
            )

    def _watch(self) -> int:
        """Return the descriptor that is readable after progress."""
        with self._lock:
            segment = self.mapped()
            own = self.attachment.own
            if own.progress.epoll_fd < 0:
                checked(lib.attachment_watch(own))
                try:
                    self.attach_now(_AS_BEFORE)
                except BaseException:
                    lib.attachment_unwatch(own)
                    raise
            del segment  # kept it mapped until here
            return int(own.progress.epoll_fd)

    def _clear_progress(self) -> None:
        """Make the descriptor of `_watch` unreadable until the next progress."""
        with self._lock, contextlib.suppress(errors.ShmringError):
            segment = self.mapped()
            lib.attachment_clear_progress(self.attachment.own)
            del segment  # kept it mapped until here

    def _ask_progress(self, is_over: Callable[[], bool]) -> bool | None:
        """Ask to be woken at the next progress. Return whether the wait is over, or None if the
        worker could not be asked, because a new one does not answer yet, say."""
        try:
            with self._lock:
                segment = self.mapped()
                if segment.status.epoch != self.end.epoch:
                    self.attach_now(_AS_BEFORE)
                lib.attachment_ask_progress(self.attachment.own)
                del segment  # kept it mapped until here
            self.check_heard()
            return is_over() or self.state not in (State.NEW, State.OPEN, State.HELD)
        except Exception:
            return None

    def await_worker(self, is_done: Callable[[], bool], until_ns: int) -> None:
        """Sleep until the worker has made progress, unless `is_done`, at most for a short time.

        Progress is a verdict, a report that came late, room in the ring, or a connection's end.
        A read-only end, which cannot ask to be woken, only sleeps.
        """
        segment = self.mapped()
        if self.readonly:
            time.sleep(TAP_CHECK_S)
            return
        asked = lib.tx_ring_ask_wake(segment)
        if not is_done():
            slice_end_ns = int(lib.rt_mono_ns()) + AWAIT_SLICE_NS
            lib.tx_ring_sleep(segment, asked, min(until_ns, slice_end_ns))

    def await_sent(self, until_ns: int) -> int:
        """Wait until no packet waits to be sent, and return how many still do. Packets of a held
        channel, or of one that nobody serves, are not waited for. A closed end waits, too."""
        if self.closed:
            return await_sent(self.name, self.namespace, until_ns)
        with contextlib.suppress(errors.ShmringError):
            while (waiting := self.tx_waiting) and not has_passed(until_ns):
                if self.state not in (State.NEW, State.OPEN):
                    break
                self.await_worker(lambda: not self.tx_waiting, until_ns)
                if self.tx_waiting:
                    time.sleep(FLUSH_REST_S)
            return waiting
        return 0

    def await_end(self, until_ns: int) -> int:
        """Do what `await_sent` does, if `close` would end the channel."""
        owner = self._owner
        with contextlib.suppress(errors.ShmringError):
            if owner is None or not (self.closed or self.tx_waiting):
                return 0
            if not self.has_its_name() or owner.has_others():
                return 0
        return self.await_sent(until_ns)

    # --- the end ----------------------------------------------------------------------------------

    def detach(self) -> None:
        """Leave the channel, which stays open for all others. May be called more than once."""
        with self._lock:
            self._owner = None
            if not self.closed:
                self.leave()

    def close(self) -> bool:
        """Leave the channel. If this end opened it, and no other opener runs, end it for all
        processes. Return whether it did. May be called more than once."""
        owner = self._leave_for_good()
        return owner is not None and owner.end()

    def undo(self) -> None:
        """Leave the channel. If this end opened it, undo that."""
        owner = self._leave_for_good()
        if owner is not None:
            owner.undo()

    def _leave_for_good(self) -> Owner | None:
        """Leave the channel. Return its owner, if this end opened it and it was not ended since."""
        with self._lock:
            owner = self._owner
            self.detach()
        return owner if owner is not None and self.has_its_name() else None

    def has_its_name(self) -> bool:
        """Whether no other channel has the name now. Others may have ended this channel, and opened
        one of the same name."""
        with contextlib.suppress(errors.ShmringError):
            found = map_named(self.name, self.namespace, writable=False)
            return int(found.segment_id) == self._segment_id
        return True  # nobody can say, so its pool decides

    @property
    def opened_here(self) -> bool:
        """Whether this end opened the channel."""
        return self._owner is not None

    @property
    def begins(self) -> bool:
        """Whether this end opened the channel while no other opener ran: it sets what the channel
        starts with."""
        owner = self._owner
        return owner is not None and owner.alone

    def leave(self) -> None:
        """Leave the channel, and do nothing else."""
        self.closed = True
        _endpoints.discard(self)
        self._shut()
        self._waiters.close()
        self._progress.close()
        self.attachment.close()
        del self._segment  # unmapped when the last running call returns

    def __del__(self) -> None:
        # Do not call close(): a channel outlives the object that opened it, until its pool ends.
        # Do not touch mapped memory: in a garbage cycle it may be unmapped already.
        # At the end of the interpreter the modules that close it may be gone.
        if not self.closed and not sys.is_finalizing():
            self.closed = True
            self.attachment.close()

    def become_child(self) -> None:
        """Drop what belongs to the parent, in a child after fork. The child attaches again when
        needed."""
        self._start_locks()
        self._owner = None
        lib.endpoint_forget_slots(self.end)
        self._serve((self._segment, self.end), self.address())
        lib.attachment_forget(self.attachment.own)

    # --- called by Core ---------------------------------------------------------------------------

    def attach_now(self, what: int, until_ns: int = NEVER_NS) -> None:
        """Make sure that this end is attached to the current worker as sender or reader, or
        _AS_BEFORE: as at the previous worker.

        until_ns: a time of CLOCK_MONOTONIC. If no worker has answered then, it is not attached.
        """
        with self._lock:
            segment = self.mapped()
            if what == lib.ENDPOINT_TX:
                self._check_may_send()
            elif what == lib.ENDPOINT_RX and self._direction_lacks(lib.SHM_RX):
                raise errors.NoPermission(
                    errno.EPERM,
                    f'channel {self.name!r} only sends: open it with direction="duplex" to receive',
                )
            own = self.attachment.own
            rc = lib.attachment_attach(own, self.end, what, until_ns)
            if rc == -errno.ETIMEDOUT and until_ns != NEVER_NS:
                return
            checked(rc)
            self._bind(int(ffi.cast("uintptr_t", own)))
            del segment  # kept it mapped until here

    def prepare_to_send(self) -> None:
        """Attach as sender now, because attaching takes longer than the lead of many a deadline.

        If that fails, the first send tries again and raises the reason. A channel with few sender
        slots keeps them for those that do send.
        """
        segment = self.mapped()
        if segment.config.producers < MANY_PRODUCERS or self._direction_lacks(lib.SHM_TX):
            return
        with contextlib.suppress(errors.ShmringError):
            self.attach_now(lib.ENDPOINT_TX)

    def check_heard(self) -> None:
        """Check the channel before the next wait, if no process has served it for a second."""
        segment = self.mapped()
        check(lib.attachment_check_deserted(segment))

    def check_goes_on(self) -> None:
        """Raise `ChannelClosed`, or why the channel failed: no packet will get a verdict."""
        if self.state in (State.CLOSED, State.FAILED):
            self.refuse(-errno.EPIPE, None)

    def settle(self) -> None:
        """Clear the descriptor's readiness, because a process selects on this channel and it is
        empty."""
        with self._lock:
            lib.attachment_settle(self.attachment.own)

    def pack_address(self, to: Any) -> bytes:
        """Return the bytes of an shm_addr_t. Raises `BadAddress`."""
        try:
            return self._addresses[to]
        except (KeyError, TypeError):
            pass
        raw = _address.pack(to, "to", least_port=1)
        self.check_family(raw)
        if len(self._addresses) >= ADDRESS_CACHE:
            self._addresses.clear()
        with contextlib.suppress(TypeError):  # a list, say
            self._addresses[to] = raw
        return raw

    def pack_source(self, source: Any) -> bytes:
        """Return the bytes of an shm_addr_t. Raises `BadAddress`."""
        try:
            return self._sources[source]
        except (KeyError, TypeError):
            pass
        raw = _address.pack(source, "source")
        own = ffi.from_buffer("shm_addr_t *", raw)
        self.mapped()
        if lib.endpoint_check_source(self.end, own) < 0:
            raise errors.BadAddress(ffi.string(lib.rt_err_text()).decode())
        if len(self._sources) >= ADDRESS_CACHE:
            self._sources.clear()
        with contextlib.suppress(TypeError):  # a list, say
            self._sources[source] = raw
        return raw

    def refuse(self, rc: int, text: str | None) -> Never:
        """Raise the exception for an error code."""
        if rc == -errno.EPIPE:
            served_epoch(self.mapped())  # raises the reason
            raise self._closed_error()
        if rc == -errno.ENOENT:
            raise errors.TooLate("the packet no longer waits: it was sent or cancelled")
        if rc == -errno.EDESTADDRREQ:
            raise errors.BadAddress(
                f"channel {self.name!r} has no remote address: {self.remote_hint}"
            )
        if rc == -errno.ERANGE:
            segment = self.mapped()
            clock, now_ns = CLOCKS[segment.config.clock], int(lib.channel_now_ns(segment))
            raise ValueError(
                "a time in at is below 0, in seconds, or more than a year ahead: channel "
                f"{self.name!r} uses ns of CLOCK_{clock.upper()}, now {now_ns} (now_ns())"
            )
        check(rc, text or "")
        raise AssertionError(rc)

    def raise_full(self, waited: bool, sent: int, first: int) -> Never:
        """Raise that the ring has no room, or had none in time."""
        waiting = self.tx_waiting
        kind, fix = errors.RingFull, "leave out timeout=0 to wait for room"
        if waited:
            kind, fix = errors.SendTimeout, "the worker did not empty it in time"
        if self.state is State.HELD:
            fix = "it is held: release it"
        size = "tx" if waiting >= self.mapped().config.tx_capacity else "packet_bytes"
        full = kind(
            errno.EAGAIN,
            f"send ring of channel {self.name!r} is full, {waiting} packets wait: {fix}, or open "
            f"it with a larger {size}",
        )
        full.sent = sent
        full.first_sequence = first if sent else None
        raise full

    def raise_timeout(self) -> Never:
        """Raise that no packet arrived in time."""
        raise errors.ReceiveTimeout(errno.ETIMEDOUT, f"channel {self.name!r}: no packet in time")

    # --- checks -----------------------------------------------------------------------------------

    def need_writable(self, what: str) -> None:
        """Raise `NoPermission` for a read-only end."""
        if self.readonly:
            raise errors.NoPermission(
                errno.EPERM,
                f"channel {self.name!r} is read-only here and cannot {what}: "
                "attach without readonly=True",
            )

    @property
    def has_addresses(self) -> bool:
        """Whether packets have a source and a destination. False: the engine is `Local`."""
        segment = self.mapped()
        return bool(lib.shm_engine_has_addresses(ffi.addressof(segment.config)))

    def check_family(self, raw: bytes) -> None:
        """Raise `BadAddress` unless the channel can send to this address."""
        family = _address.family(raw)
        segment = self.mapped()
        config = segment.config
        if not self.has_addresses:
            raise errors.BadAddress(
                f"channel {self.name!r} delivers on this host and has no addresses: leave out to"
            )
        own = config.local.family or config.remote.family
        # An IPv6 socket without v6only reaches IPv4 through mapped addresses, in their IPv6 form.
        if own and family != own:
            raise errors.BadAddress(
                f"to is an IPv{family} address, but channel {self.name!r} is IPv{own}: use an "
                "address of its family"
            )

    def _closed_error(self) -> Exception:
        return error(errno.EPIPE, f"channel {self.name!r} is closed")

    def _choose_reading(self, reading: Reading | None) -> Reading:
        if reading is None:
            usual = _READING_NAMES[self._segment.config.read_mode]
            return "each" if self.readonly else usual
        return reading

    def _direction_lacks(self, way: int) -> bool:
        segment = self.mapped()
        return not segment.config.direction & way

    def _check_may_send(self) -> None:
        self.need_writable("send")
        if self._direction_lacks(lib.SHM_TX):
            raise errors.NoPermission(
                errno.EPERM,
                f'channel {self.name!r} only receives: open it with direction="duplex" to send',
            )


def made(make: Callable[[Endpoint], T], end: Endpoint) -> T:
    """Return what `make` makes of an end. If it raises, leave the channel."""
    try:
        return make(end)
    except BaseException:
        end.detach()
        raise


def checked_end(kind: type, end: Any) -> Endpoint:
    """Return the end for a channel of a class. Raises `TypeError` if a program calls the class."""
    if isinstance(end, Endpoint):
        return end
    name = end if isinstance(end, str) else "name"
    raise TypeError(f"{kind.__name__} is made by open, and by shmring.attach({name!r})")


CLOCKS: dict[int, Clock] = {lib.RT_CLOCK_MONOTONIC: "monotonic", lib.RT_CLOCK_TAI: "tai"}


def await_sent(name: str, namespace: str, until_ns: int) -> int:
    """Like `Endpoint.await_sent`, for a channel by its name."""
    with contextlib.suppress(errors.ShmringError):
        watching = Endpoint(name, namespace=namespace, readonly=True)
        unsent = watching.await_sent(until_ns)
        watching.detach()
        return unsent
    return 0


def ends_open_files() -> list[int]:
    """Return how many descriptors each end of this process has open."""
    return [end.attachment.open_files() for end in list(_endpoints)]


def _become_child() -> None:
    for endpoint in list(_endpoints):
        endpoint.become_child()


os.register_at_fork(after_in_child=_become_child)
