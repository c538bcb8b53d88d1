"""What all kinds of channels share, and what those that queue packets share in addition."""

import contextlib
import errno
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from rtworkers.layout import Op
from shmring import _address, _arguments, errors
from shmring._arguments import deadline, has_passed
from shmring._awaited_report import AwaitedReport
from shmring._endpoint import FLUSH_REST_S, Endpoint, checked_end, made
from shmring._host import translated
from shmring._linger import LINGER_S, end_in_thread, linger_after, warn_unsent
from shmring._moved import moved
from shmring._ring import ffi, lib
from shmring._segment import direction_of, text_of
from shmring._way_back import engine_of
from shmring.batch import ReportBatch
from shmring.types import SendReport, State

if TYPE_CHECKING:
    from shmring.stats import ChannelStats

REPORTS_AT_ONCE = 256
# The worker waits 2 ms for a timestamp. On a busy machine it may lose its core during that time.
REPORTS_FOLLOW_S = 0.5

_ARROWS = {"tx": "->", "rx": "<-", "duplex": "<->"}

Item = TypeVar("Item")


class ChannelEnd:
    """A channel with any engine: its properties, commands, and its end."""

    aio: Any = None
    """The calls that wait, for tasks of asyncio and trio: those of each kind of channel."""

    _REMOTE_HINT = "open it with remote="

    def __init__(self, end: Endpoint, *_: object, **__: object) -> None:
        """`open` and `shmring.attach` make it. Raises `TypeError`, which says so, without `end`."""
        self._endpoint = checked_end(type(self), end)
        self._endpoint.remote_hint = self._REMOTE_HINT
        self._begin()

    def _begin(self) -> None:
        """Prepare what this kind of channel needs, after the endpoint was attached."""
        raise NotImplementedError

    def _engine_config(self, kind: str, engine: str, struct: str) -> Any:
        """Return a copy of the engine's configuration. Raises `BadConfig` if the engine is another
        one."""
        shared = self._endpoint.mapped().config
        if text_of(shared.engine) != engine:
            raise errors.BadConfig(
                f"channel {self.name!r} is of another kind than {kind}: use shmring.attach"
            )
        config = ffi.new(f"{struct} *")
        ffi.memmove(config, shared.engine_config, ffi.sizeof(struct))
        return config

    # --- what it is -------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The channel's name, by which any process attaches."""
        return self._endpoint.name

    @property
    def namespace(self) -> str:
        """The namespace in which the name is unique."""
        return self._endpoint.namespace

    @property
    def engine(self) -> Any:
        """The engine with its options, equal to the object with which the channel was opened: a
        `Udp`, `Rtp` or another.

        Shared memory holds all but descriptors, records and payloads, which are None. An interface
        that was given by number comes back by name, and `ptime_ns` of `Rtp` as a time that gives
        the same samples. None: an engine of another package. Raises `LayoutMismatch` if somebody
        wrote there what no opener writes.
        """
        segment = self._endpoint.mapped()  # this variable keeps it mapped, its fields do not
        with translated(f"channel {self.name!r}"):
            return engine_of(segment.config)

    @property
    def local(self) -> tuple[str, int] | None:
        """The local address that is bound. If port 0 was given, it has the real port. None: the
        channel has no socket."""
        segment = self._endpoint.mapped()
        return _address.unpack(segment.status.bound)

    @property
    def remote(self) -> tuple[str, int] | None:
        """The destination of packets that name none. None: each `send` names one, or the channel is
        `Local`, without addresses."""
        segment = self._endpoint.mapped()
        return _address.unpack(segment.config.remote)

    @property
    def max_payload(self) -> int:
        """Longest payload, bytes."""
        segment = self._endpoint.mapped()
        return int(segment.config.max_payload_bytes)

    @property
    def state(self) -> State:
        """The state that the worker reports, or ``closed`` after this end was closed."""
        return self._endpoint.state

    @property
    def closed(self) -> bool:
        """Whether this end was closed."""
        return self._endpoint.closed

    def now_ns(self) -> int:
        """Return the time in the channel's clock."""
        return int(lib.channel_now_ns(self._endpoint.mapped()))

    def __repr__(self) -> str:
        with contextlib.suppress(errors.ChannelClosed):  # another thread may close it
            segment = self._endpoint.mapped()  # keeps it mapped, its fields do not
            arrow = _ARROWS[direction_of(segment.config)]
            ends = f"{_show(self.local)} {arrow} {_show(self.remote)}"
            if not self._endpoint.has_addresses:
                ends = "on this host"
            readonly = " readonly" if self._endpoint.readonly else ""
            return f"<{self._kind()} {self.name!r} {ends} {self.state}{readonly}>"
        return f"<{self._kind()} {self.name!r} closed>"

    def _kind(self) -> str:
        home = type(self).__module__
        return f"{home.rpartition('.')[0] or home}.{type(self).__name__}"

    def _same_end(self) -> Self:
        """Return a second object for this end. The calls for tasks refer to it, and so they form no
        cycle with this one, which keeps them."""
        other = type(self).__new__(type(self))
        vars(other).update(vars(self))
        return other

    # --- commands ---------------------------------------------------------------------------------

    def stats(self) -> "ChannelStats[Any]":
        """Return counters, histograms and the settings in effect."""
        from shmring.stats import no_engine, read_stats  # its classes take 20 ms to make

        return read_stats(self._endpoint.mapped(), no_engine)

    def reset_stats(self) -> None:
        """Set counters and histograms to 0, for all processes that read them."""
        self._endpoint.command(Op.RESET)

    def hold(self) -> None:
        """Halt sending and receiving. Queued packets stay queued, and arrived ones
        stay readable."""
        self._endpoint.command(Op.HOLD)

    def release(self) -> None:
        """Continue after `hold`, or after opening with ``held=True``."""
        self._endpoint.command(Op.RELEASE)

    def purge(self) -> None:
        """Cancel every packet that waits to be sent, and discard unread packets that arrived."""
        self._endpoint.command(Op.PURGE)

    # --- life -------------------------------------------------------------------------------------

    def close(self, *, linger: float | None = LINGER_S) -> None:
        """Leave the channel. If this end opened it, and no other opener of it runs, end it for all
        processes.

        linger: how long to wait, in seconds, until the packets of all senders are sent, before the
            channel ends. The others are then cancelled, and an `UnsentWarning` says how many. 0:
            cancel them now, without a warning. None: no limit. Packets of a held channel are not
            waited for.

        The end of a ``with`` block does the same. After an exception in the block it does not wait.
        May be called more than once. Calls that run in other threads raise `ChannelClosed`. See
        `detach`, and `shmring.control.end` for a channel that another process opened.
        """
        unsent = self._close(linger)
        warn_unsent(self._what, 0 if linger == 0 else unsent, stacklevel=2)

    def detach(self) -> None:
        """Leave the channel. It stays open for all others, even if this end opened it.

        May be called more than once. Calls that run in other threads raise `ChannelClosed`.
        """
        self._endpoint.detach()

    def _close(self, linger: float | None) -> int:
        """Close this end. Return how many packets were cancelled."""
        until_ns = deadline(linger, "linger")
        unsent = self._endpoint.await_end(until_ns)
        return unsent if self._endpoint.close() else 0

    @property
    def _what(self) -> str:
        return f"channel {self.name!r}"

    @property
    def created(self) -> bool:
        """Whether this end opened the channel and it was not open before. Otherwise packets that
        wait are still sent (see `purge`), sequence numbers go on, and reading starts with what
        arrives from now on."""
        return self._endpoint.created

    if not TYPE_CHECKING:  # for a type checker, an object with __getattr__ has every name

        def __getattr__(self, name):
            raise moved(self, name, _MOVED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        unsent = self._close(linger_after(kind))
        warn_unsent(self._what, unsent, stacklevel=2, failing=kind is not None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        failing = kind is not None
        await end_in_thread(self._what, lambda: self._close(linger_after(kind)), failing=failing)

    def _records_given(self) -> dict[str, Any]:
        """Return what a copy needs beside its end."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        end = self._endpoint
        how = {"namespace": end.namespace, "readonly": end.readonly, "reading": end.reading}
        return _attach, (type(self), self.name, how, self._records_given())


class ChannelBase(ChannelEnd, Generic[Item]):
    """A channel whose packets arrive in this process, too."""

    @property
    def rx_waiting(self) -> int:
        """The number of packets that this end can take now."""
        return self._endpoint.rx_waiting

    @property
    def lost(self) -> int:
        """Packets that were overwritten before this end took them (shared: before any
        reader did)."""
        return self._endpoint.lost

    def recv(self, *, timeout: float | None = None) -> Item:
        raise NotImplementedError

    def try_recv(self) -> Item | None:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Item]:
        """Iterate over the packets that arrive, until the channel is closed."""
        with contextlib.suppress(errors.ChannelClosed):
            while True:
                yield self.recv()

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Iterate over the packets that arrive, until the channel is closed."""
        with contextlib.suppress(errors.ChannelClosed):
            while True:
                while (item := self.try_recv()) is None:
                    await self._endpoint.readable()
                yield item

    def fileno(self) -> int:
        """Return a descriptor that is readable while there may be packets, for select and asyncio.

        Call `try_recv` or ``recv(timeout=0)`` until nothing is left: this makes the descriptor
        unreadable again. The descriptor belongs to the channel. Raises `NoPermission` for a
        read-only end, which the worker does not know.
        """
        return self._endpoint.fileno()


class _Wait:
    """A wait for reports."""

    def __init__(self, channel: "Reporting", max: int, until_ns: int) -> None:
        self.until_ns = until_ns
        self.batch = ReportBatch(b"", 0)
        """What came. None of them: the time is over, or no more were wanted."""
        self._channel = channel
        self._max = max

    def came(self) -> bool:
        """Take the reports that are there. Return whether there are any."""
        if not len(self.batch):
            self.batch = self._channel._read_reports(self._max)
        return len(self.batch) > 0

    def is_over(self) -> bool:
        """Whether reports came or the time is over. Raises `ChannelClosed` when there will be no
        more."""
        if self._max == 0:
            return True
        endpoint = self._channel._endpoint
        has_ended = endpoint.state in (State.CLOSED, State.FAILED)
        if self.came() or has_passed(self.until_ns):
            return True
        if has_ended:
            endpoint.check_goes_on()
        return False


class ReportReader(Iterator[SendReport]):
    """The send reports of a channel that its end has not read yet. `Channel.reports` makes it.

    It is an iterator that waits for the next report, and ends with the channel.
    """

    def __init__(self, channel: "Reporting", max: int | None, timeout: float | None) -> None:
        deadline(timeout)
        self._channel = channel
        self._left = sys.maxsize if max is None else _arguments.count(max, "max", 0, sys.maxsize)
        self._timeout = timeout
        self._taken: Iterator[SendReport] = iter(())

    def read(self, max: int = 65536) -> ReportBatch:
        """Take up to `max` available send reports, without creating an object for each. Does not
        wait."""
        return self._channel._read_reports(_arguments.count(max, "max", 0, sys.maxsize))

    @property
    def lost(self) -> int:
        """Send reports that were overwritten before this end read them."""
        return int(self._channel._report_reader.lost)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SendReport:
        for report in self._taken:
            return report
        wait = self._next_wait()
        try:
            while not wait.is_over():
                self._channel._endpoint.await_worker(wait.came, wait.until_ns)
        except errors.ChannelClosed:
            if self._timeout == 0:
                raise
            raise StopIteration from None
        self._take(wait.batch)
        return next(self._taken)

    async def in_task(self) -> AsyncIterator[SendReport]:
        """As iteration, without blocking the event loop."""
        with contextlib.suppress(*() if self._timeout == 0 else (errors.ChannelClosed,)):
            while True:
                for report in self._taken:
                    yield report
                wait = self._next_wait()
                while not wait.is_over():
                    await self._channel._endpoint.progress(wait.came, wait.until_ns)
                self._take(wait.batch)
                if not len(wait.batch):
                    return

    def _next_wait(self) -> _Wait:
        return _Wait(self._channel, min(self._left, REPORTS_AT_ONCE), deadline(self._timeout))

    def _take(self, batch: ReportBatch) -> None:
        self._left -= len(batch)
        self._taken = iter(batch)


class Reporting:
    """A channel that reports what became of its packets."""

    _endpoint: Endpoint

    def _start_reports(self) -> None:
        self._report_reader = ffi.new("slot_reader_t *")
        lib.channel_report_reader_init(self._report_reader, self._endpoint.mapped())

    def reports(self, max: int | None = None, *, timeout: float | None = None) -> ReportReader:
        """Iterate over the send reports that this end has not read yet, oldest first, and over
        those that follow, until the channel is closed.

        They cover the packets of all senders. max: the highest number of reports. timeout: seconds
        to wait for the next report, then the iteration ends. None: no limit. 0: take what is there,
        and raise `ChannelClosed` if this end is closed. Raises `BadConfig` if the channel has no
        reports, and the reason if the channel fails.

        What it returns has `read`, which takes many reports without an object for each, and `lost`.
        """
        return ReportReader(self, max, timeout)

    def _read_reports(self, max: int) -> ReportBatch:
        """Take up to `max` reports that are there."""
        segment = self._endpoint.mapped()
        if segment.config.report_slots == 0 or segment.config.reports == lib.SHM_REPORTS_OFF:
            raise errors.BadConfig(
                f"channel {self._endpoint.name!r} keeps no send reports: open it with "
                'reports="all" and a report_capacity above 0'
            )
        out = ffi.new("shm_report_t[]", min(max, segment.config.report_slots))
        with self._endpoint.report_lock:
            count = lib.slot_reader_next(self._report_reader, out, len(out))
        return ReportBatch(bytes(ffi.buffer(out)[: count * ffi.sizeof("shm_report_t")]), count)


class SendQueue(Reporting):
    """A channel that queues packets and reports what became of them."""

    def _start_sending(self) -> None:
        self._start_reports()
        self._never_reported = 0
        if self._endpoint.opened_here:
            self._endpoint.prepare_to_send()

    @property
    def tx_waiting(self) -> int:
        """Packets that any process has queued and that have no verdict yet."""
        return self._endpoint.tx_waiting

    def cancel(self, sequence: int) -> bool:
        """Cancel a packet. Return whether it still waited. Its verdict is then ``cancelled``.

        Raises `ShmringOSError` with ``EBUSY`` if the queue could not be searched within 10 ms. This
        happens if a process died or stopped in the middle of a packet while no worker ran, or
        overwrote the queue.
        """
        return self._endpoint.cancel(_arguments.sequence(sequence))

    def flush(self, *, timeout: float | None = None) -> None:
        """Wait until no packet of any sender waits to be sent.

        timeout: seconds. None: no limit. Raises `SendTimeout`, `ChannelClosed`, and the reason if
        the channel fails. The call also waits for packets that are due later. Packets of a held
        channel wait for `release`. If every packet is reported, the call also waits up to 500 ms
        for missing timestamps, so that all reports can be read after it. After it, the counters of
        `stats` include all these packets.
        """
        until_ns = deadline(timeout)
        while self._must_wait_to_flush(until_ns, timeout):
            self._endpoint.await_worker(lambda: not self.tx_waiting, until_ns)
            if self.tx_waiting:
                time.sleep(FLUSH_REST_S)
        until_ns = deadline(REPORTS_FOLLOW_S)
        while self._must_wait_for_reports(until_ns):
            self._endpoint.await_worker(self._has_all_reports, until_ns)

    def _must_wait_to_flush(self, until_ns: int, timeout: float | None) -> bool:
        waiting, name = self.tx_waiting, self._endpoint.name
        if waiting and has_passed(until_ns):
            raise errors.SendTimeout(
                errno.ETIMEDOUT,
                f"channel {name!r}: {waiting} packets still wait to be sent after {timeout} s",
            )
        if waiting:
            self._endpoint.check_goes_on()
        return waiting > 0

    def _must_wait_for_reports(self, until_ns: int) -> bool:
        segment = self._endpoint.mapped()
        if segment.config.reports != lib.SHM_REPORTS_ALL or not segment.config.report_slots:
            return False
        if has_passed(until_ns):  # lost with a worker, or abandoned by their sender
            self._never_reported = int(lib.channel_reports_awaited(segment))
        return not self._has_all_reports()

    def _has_all_reports(self) -> bool:
        awaited = int(lib.channel_reports_awaited(self._endpoint.mapped()))
        return awaited <= self._never_reported

    def verdict(self, sequence: int, *, timeout: float | None = None) -> SendReport:
        """Wait for the verdict on one packet, and return its report.

        sequence: what `send` returned. timeout: seconds. None: no limit. The report stays there for
        `reports`. If every report of the channel is there and this one was overwritten, `TooLate`
        is raised. Raises `SendTimeout`, `ChannelClosed`, `ValueError` for a number that no packet
        has yet, and `BadConfig` unless the channel reports all packets.
        """
        until_ns, awaited = deadline(timeout), self._awaited_report(sequence)
        while (report := awaited.look()) is None:
            awaited.check_time(until_ns, timeout)
            self._endpoint.await_worker(lambda: awaited.look() is not None, until_ns)
        return report

    def _awaited_report(self, sequence: int) -> AwaitedReport:
        return AwaitedReport(self._endpoint, _arguments.sequence(sequence))


_SUFFIXED = ("recv", "recv_many", "send", "send_many", "send_block", "verdict", "flush")
_MEDIA = (
    *("codec", "audio_channels", "payload_type", "clock_rate", "samples_per_packet"),
    *("ptime_ns", "delivery"),
)
_LINK = ("any_source", "send_bytes", "receive_bytes", "send_layout", "receive_layout")
_MOVED = {
    "clock": "engine.clock",
    **{f"{name}_async": f"aio.{name}" for name in _SUFFIXED},
    "close_async": "aio.detach at the opener, elsewhere aio.close",
    "end_async": "aio.close",
    "end": "close, or shmring.control.end",
    **{name: f"stats().{name}" for name in ("direction", "epoch", "pool")},
    **dict.fromkeys(("opened_here", "readonly", "reading"), "known to the caller"),
    "read_reports": "reports().read",
    "reports_lost": "reports().lost",
    **{name: f"media.{name}" for name in _MEDIA},
    **{name: f"settings.{name}" for name in _LINK},
    "start_sending": "configure(sending=True)",
    "stop_sending": "configure(sending=False)",
    "try_send_many": "send_many(timeout=0), with RingFull.sent",
}
"""Where the names of former versions are."""


def _attach(
    kind: Callable[..., Any], name: str, how: dict[str, Any], records: dict[str, Any]
) -> Any:
    """Recreate a pickled channel."""
    return made(lambda end: kind(end, **records), Endpoint(name, **how))


def _show(address: tuple[str, int] | None) -> str:
    if address is None:
        return "*"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
