"""What channels of all kinds share, and what those that queue packets share besides."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, Self, TypeVar

from rtworkers.layout import Op
from shmring import _address, _arguments, errors
from shmring._arguments import deadline, has_passed, seconds_until
from shmring._check import error
from shmring._endpoint import CLOCKS, Endpoint, Owner
from shmring._link import check_whole
from shmring._ring import ffi, lib
from shmring.batch import ReportBatch
from shmring.stats import ChannelStats, direction_of, read_stats, text_of
from shmring.types import SendReport, State

REPORTS_AT_ONCE = 256
TAP_LOOK_S = 0.001
# Between two looks whether the channel is still served.
FLUSH_SLICE_NS = 50_000_000
# A flush lets the worker finish some packets before it asks to be woken again.
FLUSH_REST_S = 0.0002
REPORTS_LOOK_S = 0.0002
# The worker gives a stamp 2 ms to come; on a busy machine it may be stopped meanwhile.
REPORTS_FOLLOW_S = 0.5

Item = TypeVar("Item")


class ChannelBase(Generic[Item]):
    """A channel, whatever its engine: what it is, what arrives, commands, and its end."""

    _REMOTE_HINT = "open it with remote="

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
        """Attach to a channel that is open; see `Channel`."""
        self._endpoint = Endpoint(
            name,
            namespace=namespace,
            readonly=readonly,
            reading=reading,
            owner=owner,
            segment=segment,
            remote_hint=self._REMOTE_HINT,
        )

    def _engine_config(self, kind: str, engine: str, struct: str) -> Any:
        """A copy of the engine's configuration. Raises `BadConfig` for a channel of another."""
        shared = self._endpoint.mapped().config
        if text_of(shared.engine) != engine:
            raise errors.BadConfig(
                f"channel {self.name!r} is no {kind} channel: attach to it with shmring.attach"
            )
        config = ffi.new(f"{struct} *")
        ffi.memmove(config, shared.engine_config, ffi.sizeof(struct))
        return config

    # --- what it is -------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._endpoint.name

    @property
    def namespace(self) -> str:
        return self._endpoint.namespace

    @property
    def readonly(self) -> bool:
        """Whether this end is a tap, which reads along and cannot disturb anything."""
        return self._endpoint.readonly

    @property
    def reading(self) -> str:
        """``"broadcast"``: this end gets every packet. ``"shared"``: it takes them from others."""
        return self._endpoint.reading

    @property
    def direction(self) -> str:
        """``"tx"``, ``"rx"`` or ``"duplex"``."""
        segment = self._endpoint.mapped()  # the name keeps it mapped; what is read of it does not
        return direction_of(segment.config)

    @property
    def pool(self) -> str:
        """Name of the pool that serves it."""
        segment = self._endpoint.mapped()
        return text_of(segment.config.pool)

    @property
    def local(self) -> tuple[str, int] | None:
        """The local address in force; a port that was given as 0 is filled in."""
        segment = self._endpoint.mapped()
        return _address.unpack(segment.status.bound)

    @property
    def remote(self) -> tuple[str, int] | None:
        """Where packets go that name no destination; None: each `send` names one."""
        segment = self._endpoint.mapped()
        return _address.unpack(segment.config.remote)

    @property
    def clock(self) -> str:
        """The clock of its times: ``"monotonic"`` or ``"tai"``."""
        segment = self._endpoint.mapped()
        return CLOCKS[segment.config.clock]

    @property
    def max_payload(self) -> int:
        """Longest payload, bytes."""
        segment = self._endpoint.mapped()
        return int(segment.config.max_payload_bytes)

    @property
    def state(self) -> State:
        """What the worker says of it; ``closed`` once this end was closed."""
        return self._endpoint.state

    @property
    def epoch(self) -> int:
        """How many workers have served it."""
        segment = self._endpoint.mapped()
        return int(segment.status.epoch)

    @property
    def closed(self) -> bool:
        """Whether this end was closed."""
        return self._endpoint.closed

    def now_ns(self) -> int:
        """Return the time in the channel's clock."""
        return int(lib.channel_now_ns(self._endpoint.mapped()))

    def __repr__(self) -> str:
        with contextlib.suppress(errors.ChannelClosed):  # another thread may close it meanwhile
            arrow = {"tx": "->", "rx": "<-", "duplex": "<->"}[self.direction]
            ends = f"{_show(self.local)} {arrow} {_show(self.remote)}"
            tap = " tap" if self.readonly else ""
            return f"<shmring.{type(self).__name__} {self.name!r} {ends} {self.state}{tap}>"
        return f"<shmring.{type(self).__name__} {self.name!r} closed>"

    # --- what arrives -----------------------------------------------------------------------------

    @property
    def rx_waiting(self) -> int:
        """Packets that this end could take now."""
        return self._endpoint.rx_waiting

    @property
    def lost(self) -> int:
        """Packets overwritten before this end (shared: any of the readers) took them."""
        return self._endpoint.lost

    def recv(self, timeout: float | None = None) -> Item:
        raise NotImplementedError

    def try_recv(self) -> Item | None:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Item]:
        """Iterate over what arrives, until the channel is closed."""
        with contextlib.suppress(errors.ChannelClosed):
            while True:
                yield self.recv()

    async def recv_async(self, timeout: float | None = None) -> Item:
        """As `recv`, without blocking the event loop. Cancelling it loses nothing.

        timeout: seconds; None: for ever. Raises `ReceiveTimeout`, `ChannelClosed`.
        """
        deadline(timeout)  # refuses what is no timeout
        item = self.try_recv()
        if item is not None:
            return item
        try:
            async with asyncio.timeout(timeout):
                return await self._next_async()
        except TimeoutError:
            self._endpoint.raise_timeout()

    async def _next_async(self) -> Item:
        endpoint = self._endpoint
        tap = endpoint.readonly
        if not tap:
            endpoint.fileno()
        while True:
            item = self.try_recv()
            if item is not None:
                return item
            endpoint.check_heard()
            if tap:
                await asyncio.sleep(TAP_LOOK_S)
            else:
                await endpoint.readable()

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Iterate over what arrives, until the channel is closed."""
        with contextlib.suppress(errors.ChannelClosed):
            while True:
                yield await self._next_async()

    def fileno(self) -> int:
        """Return a descriptor that is readable while there may be packets, for select and asyncio.

        Read with `try_recv` or ``recv(timeout=0)`` until nothing is left: that clears it. It
        belongs to the channel. Raises `NoPermission` for a tap, which the worker does not know of.
        """
        return self._endpoint.fileno()

    # --- commands ---------------------------------------------------------------------------------

    def stats(self) -> ChannelStats:
        """Return counters, histograms and effective settings."""
        segment = self._endpoint.mapped()
        stats = read_stats(segment)
        check_whole(segment)
        return stats

    def reset_stats(self) -> None:
        """Set counters and histograms to 0, for all who look at them."""
        self._endpoint.command(Op.RESET)

    def hold(self) -> None:
        """Halt sending and receiving. Packets stay queued, and those that arrived stay readable."""
        self._endpoint.command(Op.HOLD)

    def release(self) -> None:
        """Go on after `hold`, or after opening with ``held=True``."""
        self._endpoint.command(Op.RELEASE)

    def purge(self) -> None:
        """Cancel every packet that waits to be sent, and forget those that arrived unread."""
        self._endpoint.command(Op.PURGE)

    # --- life -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the channel. It goes on for all others, also if this end opened it: see `end`.

        Any number of times. Calls under way in other threads raise `ChannelClosed`.
        """
        self._endpoint.close()

    def end(self) -> None:
        """End the channel for everybody, and close this end. Waiting packets are cancelled (see
        `flush`).

        For the end that opened it, also after its `close`, and any number of times. The ``with``
        block that opened it does the same. Others use `Pool.close_channel`. Raises `NoPermission`.
        """
        if not self.opened_here and not self.closed:
            raise errors.NoPermission(
                errno.EPERM,
                f"channel {self.name!r} was opened elsewhere: end it there, or with close_channel "
                "of its pool",
            )
        self._endpoint.finish()

    @property
    def opened_here(self) -> bool:
        """Whether this end opened the channel, and may `end` it."""
        return self._endpoint.opened_here

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._endpoint.finish()

    def _attached_as(self) -> dict[str, Any]:
        """The arguments with which a copy attaches."""
        end = self._endpoint
        return {"namespace": end.namespace, "readonly": end.readonly, "reading": end.reading}

    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, (type(self), self.name, self._attached_as())


class SendQueue:
    """A channel that queues packets: what became of them."""

    _endpoint: Endpoint

    def _start_reports(self) -> None:
        self._reports = ffi.new("report_reader_t *")
        lib.report_reader_init(self._reports, self._endpoint.mapped())
        self._never_reported = 0

    @property
    def tx_waiting(self) -> int:
        """Packets queued, by whomever, and without a verdict."""
        return self._endpoint.tx_waiting

    def cancel(self, sequence: int) -> bool:
        """Take a packet back. Return whether it still waited; its verdict is then ``cancelled``.

        Raises `ShmringOSError` with ``EBUSY`` if the queue could not be searched within 10 ms:
        somebody died or stopped over a packet while no worker was there, or overwrote the queue.
        """
        return self._endpoint.cancel(_arguments.sequence(sequence))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until no packet, of whichever sender, waits to be sent.

        timeout: seconds; None: for ever. Raises `SendTimeout`, `ChannelClosed`. Packets that are
        due later are waited for as well; those of a held channel wait for `release`. Where every
        packet is reported, the reports can be read afterwards: it waits up to 500 ms for those
        whose stamp is still to come.
        """
        name, until_ns = self._endpoint.name, deadline(timeout)
        while waiting := self.tx_waiting:
            if has_passed(until_ns):
                raise errors.SendTimeout(
                    errno.ETIMEDOUT,
                    f"channel {name!r}: {waiting} packets still wait after {timeout} s",
                )
            if self._endpoint.state is State.CLOSED:
                raise error(errno.EPIPE, f"channel {name!r} is closed")
            self._await_verdict(until_ns)
        self._await_reports()

    def _await_verdict(self, until_ns: int) -> None:
        """Sleep until packets got their verdicts, or a little while is over."""
        segment = self._endpoint.mapped()
        if self._endpoint.readonly:  # nobody tells a tap
            time.sleep(TAP_LOOK_S)
            return
        slice_end_ns = int(lib.rt_mono_ns()) + FLUSH_SLICE_NS
        lib.tx_ring_wait_verdict(segment, min(until_ns, slice_end_ns))
        if self.tx_waiting:
            time.sleep(FLUSH_REST_S)

    def _await_reports(self) -> None:
        segment = self._endpoint.mapped()
        if segment.config.reports != lib.SHM_REPORTS_ALL or not segment.config.report_slots:
            return
        until_ns = deadline(REPORTS_FOLLOW_S)
        while (awaited := lib.channel_reports_awaited(segment)) > self._never_reported:
            if has_passed(until_ns):
                self._never_reported = awaited  # died with a worker, or given up by their sender
            time.sleep(REPORTS_LOOK_S)

    async def _when_room(self, queue: Callable[[], int], until_ns: int) -> int:
        """What `queue`, a call of `send`, returns once the ring has room."""
        while True:
            try:
                return queue()
            except errors.RingFull:
                if has_passed(until_ns):
                    self._endpoint.raise_full(True, 0, 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds_until(until_ns)):
                    await self._endpoint.room()

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
        segment = self._endpoint.mapped()
        if segment.config.report_slots == 0 or segment.config.reports == lib.SHM_REPORTS_OFF:
            raise errors.BadConfig(
                f"channel {self._endpoint.name!r} keeps no send reports: open it with "
                'reports="all" and a report_capacity above 0'
            )
        out = ffi.new("shm_report_t[]", min(most, segment.config.report_slots))
        with self._endpoint.report_lock:
            count = lib.report_reader_next(self._reports, out, len(out))
        return ReportBatch(bytes(ffi.buffer(out)[: count * ffi.sizeof("shm_report_t")]), count)

    @property
    def reports_lost(self) -> int:
        """Send reports overwritten before this end read them."""
        return int(self._reports.lost)


def _attach(kind: Callable[..., Any], name: str, how: dict[str, Any]) -> Any:
    """What a pickled channel is made of again."""
    return kind(name, **how)


def _show(address: tuple[str, int] | None) -> str:
    if address is None:
        return "*"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
