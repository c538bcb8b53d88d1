"""The calls of a channel that wait, for tasks of asyncio and trio: what `Channel.aio` and its like
are made of.

The calls have the names, arguments and results of the channel's own. They do not block the event
loop, and a call that is cancelled loses no packet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from shmring import errors
from shmring._aio import NEVER_NS
from shmring._arguments import deadline, has_passed
from shmring._channel_base import (
    REPORTS_FOLLOW_S,
    ChannelEnd,
    Item,
    ReportReader,
    SendQueue,
)
from shmring._endpoint import Endpoint
from shmring._in_thread import in_thread
from shmring._linger import LINGER_S, end_in_thread
from shmring._signature import like
from shmring.types import SendReport

P = ParamSpec("P")
T = TypeVar("T")


def receiving(
    call: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Return a call that receives as one for tasks."""
    receive: Callable[..., T] = call

    @like(call)
    async def received(
        self: EndAio, *args: Any, timeout: float | None = None, **how: Any
    ) -> T:
        until_ns = deadline(timeout)
        while True:
            try:
                return receive(self._ch, *args, timeout=0.0, **how)
            except errors.ReceiveTimeout:
                await self._end.arrival(until_ns)

    return received


def queueing(
    call: Callable[Concatenate[Any, P], int],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, int]]:
    """Return a call that queues one packet as one for tasks."""
    queue: Callable[..., int] = call

    @like(call)
    async def queued(
        self: EndAio, *args: Any, timeout: float | None = None, **how: Any
    ) -> int:
        until_ns = deadline(timeout)
        return await when_room(
            self._end, lambda: queue(self._ch, *args, timeout=0.0, **how), until_ns
        )

    return queued


async def when_room(end: Endpoint, queue: Callable[[], int], until_ns: int) -> int:
    """Return the result of `queue`, a call of `send` that does not wait, once the ring has room."""
    while True:
        try:
            return queue()
        except errors.RingFull:
            if has_passed(until_ns):
                end.raise_full(True, 0, 0)
        await end.room(until_ns)


async def all_when_room(end: Endpoint, batch: Any, until_ns: int, unit: int = 1) -> int:
    """Queue a batch of packets and return the sequence of the first.

    The attribute `sent` of every exception, also that of a cancellation, says how many packets were
    queued, times `unit`.
    """
    try:
        while not end.queue(batch):
            if has_passed(until_ns):
                end.raise_full(True, *end.queued(batch))
            await end.room(until_ns)
        return end.queued(batch)[1]
    except BaseException as caught:
        vars(caught)["sent"] = end.queued(batch)[0] * unit
        raise
    finally:
        del batch  # a traceback would keep the caller's buffers


class EndAio:
    """The calls of a channel that wait, for tasks of asyncio and trio: with the same names,
    arguments and results, but without blocking the event loop.

    Cancelling a call loses no packet.
    """

    __slots__ = ("_ch", "_end")

    def __init__(self, ch: Any) -> None:
        self._ch = ch
        self._end: Endpoint = ch._endpoint

    @like(ChannelEnd.close)
    async def close(self, *, linger: float | None = LINGER_S) -> None:
        await end_in_thread(self._ch._what, lambda: self._ch._close(linger), linger=linger)

    @like(ChannelEnd.detach)
    async def detach(self) -> None:
        await in_thread(self._ch.detach)


class ArrivalsAio(EndAio, Generic[Item]):
    """The calls of a channel that receives."""

    __slots__ = ("_try_recv",)

    def __init__(self, ch: Any) -> None:
        super().__init__(ch)
        self._try_recv: Callable[[], Item | None] = ch.try_recv

    async def recv(self, *, timeout: float | None = None) -> Item:
        """Return the next packet or event. Wait `timeout` seconds for it: 0 does not wait, None
        sets no limit. Raises `ReceiveTimeout`, `ChannelClosed`."""
        until_ns = NEVER_NS if timeout is None else deadline(timeout)
        take = self._try_recv  # a variable is called faster
        while (item := take()) is None:
            await self._end.arrival(until_ns)
        return item


class ReportsAio(EndAio):
    """The calls of a channel that reports what became of its packets."""

    __slots__ = ()

    async def reports(
        self, max: int | None = None, *, timeout: float | None = None
    ) -> AsyncIterator[SendReport]:
        """Iterate over the send reports that this end has not read yet, oldest first, and over
        those that follow, until the channel is closed.

        max: the highest number of reports. timeout: seconds to wait for the next report, then the
        iteration ends. None: no limit. 0: take what is there, and raise `ChannelClosed` if this end
        is closed. Raises `BadConfig` if the channel has no reports, and the reason if the channel
        fails.
        """
        async for report in ReportReader(self._ch, max, timeout).in_task():
            yield report


class QueueAio(ReportsAio):
    """The calls of a channel that queues packets."""

    __slots__ = ()

    @like(SendQueue.flush)
    async def flush(self, *, timeout: float | None = None) -> None:
        ch, end, until_ns = self._ch, self._end, deadline(timeout)
        while ch._must_wait_to_flush(until_ns, timeout):
            await end.progress(lambda: not end.tx_waiting, until_ns)
        until_ns = deadline(REPORTS_FOLLOW_S)
        while ch._must_wait_for_reports(until_ns):
            await end.progress(ch._has_all_reports, until_ns)

    @like(SendQueue.verdict)
    async def verdict(self, sequence: int, *, timeout: float | None = None) -> SendReport:
        until_ns, awaited = deadline(timeout), self._ch._awaited_report(sequence)
        while (report := awaited.look()) is None:
            awaited.check_time(until_ns, timeout)
            await self._end.progress(lambda: awaited.look() is not None, until_ns)
        found: SendReport = report
        return found
