"""Ticks of a grid that a worker keeps, and sleeping until an instant."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Self

from shmring import errors
from shmring._aio import Waiters, new_sleeper
from shmring._arguments import deadline, has_passed
from shmring._check import check
from shmring._endpoint import Endpoint, made
from shmring._in_thread import in_thread
from shmring._moved import moved
from shmring._options import integer
from shmring._ring import lib
from shmring._signature import like
from shmring.cyclic.channel import Channel
from shmring.cyclic.engine import TickGrid
from shmring.parts import Share

if TYPE_CHECKING:
    from shmring._opening import Opening

RX_CAPACITY = 64
_MOVED = {"next_async": "aio.next"}
_MOST_NS = 366 * 24 * 3600 * 10**9
_numbers = itertools.count()


class Tick(NamedTuple):
    """One instant of a grid, as this process got it. Times are ns of CLOCK_MONOTONIC."""

    number: int
    """Number of the instant: ``number * period_ns + phase`` is its time. It is the same in every
    process."""
    due_ns: int
    """The instant."""
    late_ns: int
    """How late the program got the tick."""
    worker_late_ns: int
    """How much of that the worker was late."""
    wake_ns: int
    """How long this process took to wake up after the worker gave the tick to it. The worker begins
    that much earlier, as it learns."""
    missed: int
    """Instants between the previous tick of this object and this one."""


class Ticks:
    """An iterator over the ticks of a grid, for ``for`` and ``async for``.

    `ticks` makes it. Ticks that pass while the program does something else are missed: the next one
    is the newest, and says how many were missed. Close it, or use it in ``with`` or ``async with``.

    Several processes share a grid by its name. If the process that opened it leaves, another one
    opens it again, on the same instants. One thread or task at a time may wait for a tick.
    """

    def __init__(
        self, period_ns: int, phase_ns: int | None, name: str | None, pool: Opening | str | None
    ) -> None:
        self._engine = _grid(period_ns, phase_ns)
        self._shared = name is not None
        self._name = f"ticks-{os.getpid()}-{next(_numbers)}" if name is None else name
        self._pool = pool
        self._last: int | None = None
        self._closed = False
        self._opening = threading.Lock()
        self._channel: Channel | None = None  # until the first tick is awaited
        self._phase_ns = 0

    # --- the grid ---------------------------------------------------------------------------------

    def _ready(self) -> Channel:
        """Return the channel. Open it if that was not done. Any thread may call this."""
        with self._opening:
            if self._channel is None:
                if self._closed:
                    raise errors.ChannelClosed(f"the grid {self._name!r} is closed")
                self._channel = self._open()
                self._phase_ns = self._channel.cyclic_stats().origin_mono_ns
            return self._channel

    async def _ready_for_task(self) -> Channel:
        channel = self._channel
        return await in_thread(self._ready) if channel is None else channel

    def _open(self) -> Channel:
        """Attach to the grid, or open it if no process has done so."""
        while self._shared:
            try:
                return self._attached()
            except (errors.ChannelNotFound, errors.ChannelClosed):
                pass
            try:
                return self._opened()
            except errors.ChannelExists:
                time.sleep(0.001)  # another process opens it, or ends it, right now
        return self._opened()

    def _opened(self) -> Channel:
        from shmring.pool import open as open_channel

        return open_channel(self._name, self._engine, pool=self._pool, share=Share(readers=64))

    def _attached(self) -> Channel:
        pool = self._pool
        space = None if pool is None or isinstance(pool, str) else pool.namespace
        channel = made(Channel, Endpoint(self._name, namespace=space))
        if channel.remote is not None or channel.max_payload > 0:
            channel.close()
            raise errors.BadConfig(
                f"channel {self._name!r} has a payload, so it is not a grid of ticks: give another "
                "name"
            )
        for option, wanted, found in (
            ("period_ns", self._engine.period_ns, channel.period_ns),
            ("phase_ns", self._engine.phase_ns, channel.cyclic_stats().origin_mono_ns),
        ):
            if wanted is not None and wanted != found:
                channel.close()
                raise errors.BadConfig(
                    f"{option} is {wanted}, but the grid {self._name!r} has {found}: give that, or "
                    "another name"
                )
        return channel

    def _renew(self) -> None:
        """Continue on the same instants after the process that opened the grid has left."""
        if self._closed or not self._shared:
            raise errors.ChannelClosed(f"the grid {self._name!r} is closed")
        self._ready().detach()
        period_ns = self._engine.period_ns
        self._engine = _grid(period_ns, self._phase_ns % period_ns)
        self._channel = self._open()
        if self._closed:  # by another thread in the meantime
            self.close()

    @property
    def channel(self) -> Channel:
        """The channel below: its statistics say how late the worker is."""
        return self._ready()

    @property
    def name(self) -> str:
        """Name of the grid's channel."""
        return self._name

    @property
    def period_ns(self) -> int:
        """Time between two ticks, ns."""
        return self._engine.period_ns

    @property
    def phase_ns(self) -> int:
        """The instants are whole multiples of `period_ns` plus this time of CLOCK_MONOTONIC."""
        self._ready()
        return self._phase_ns

    # --- ticks ------------------------------------------------------------------------------------

    def next(self, *, timeout: float | None = None) -> Tick:
        """Return the next tick. Wait `timeout` seconds for it, None sets no limit.

        Raises `ReceiveTimeout`, `ChannelClosed`.
        """
        until_ns = deadline(timeout)
        while True:
            endpoint = self._ready()._endpoint
            try:
                found = endpoint.tick(until_ns)
            except errors.ChannelClosed:
                self._renew()
                continue
            if found is not None:
                return self._tick(*found)
            if has_passed(until_ns):
                endpoint.raise_timeout()

    @property
    def aio(self) -> TicksAio:
        """The calls that wait, for tasks of asyncio and trio: ``await ticks.aio.next()``."""
        return TicksAio(self)

    def _tick(self, due_ns: int, shown_ns: int, awake_ns: int) -> Tick:
        number = (due_ns - self._phase_ns) // self._engine.period_ns
        missed = 0 if self._last is None else max(0, number - self._last - 1)
        self._last = number
        worker_late_ns = max(0, shown_ns - due_ns)
        # All but this is done before the instant.
        late_ns = max(0, int(lib.alarm_spin(due_ns)) - due_ns)
        fields = (number, due_ns, late_ns, worker_late_ns, awake_ns - shown_ns, missed)
        return tuple.__new__(Tick, fields)  # pyright: ignore[reportUnknownMemberType]

    def __iter__(self) -> Iterator[Tick]:
        return self

    def __next__(self) -> Tick:
        try:
            return self.next()
        except errors.ChannelClosed:
            if self._closed:
                raise StopIteration from None
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Tick:
        try:
            return await self.aio.next()
        except errors.ChannelClosed:
            if self._closed:
                raise StopAsyncIteration from None
            raise

    # --- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the grid. It ends if no other process has it. Iterating over the ticks ends. Any
        thread may call it, and more than once."""
        self._closed = True
        channel = self._channel
        if channel is None:
            return
        channel.close(linger=0)

    def __enter__(self) -> Self:
        self._ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self._ready_for_task()
        return self

    async def __aexit__(self, *_: object) -> None:
        await in_thread(self.close)

    if not TYPE_CHECKING:  # for a type checker, an object with __getattr__ has every name

        def __getattr__(self, name):
            raise moved(self, name, _MOVED)

    def __repr__(self) -> str:
        return f"<shmring.cyclic.Ticks {self._name!r} every {self.period_ns} ns>"


class TicksAio:
    """The calls of `Ticks` that wait, for tasks of asyncio and trio."""

    __slots__ = ("_ticks",)

    def __init__(self, ticks: Ticks) -> None:
        self._ticks = ticks

    @like(Ticks.next)
    async def next(self, *, timeout: float | None = None) -> Tick:
        ticks, until_ns = self._ticks, deadline(timeout)
        while True:
            endpoint = (await ticks._ready_for_task())._endpoint
            try:
                found = endpoint.tick(0)
                if found is not None:
                    return ticks._tick(*found)
                await endpoint.arrival(until_ns)
            except errors.ChannelClosed:
                await in_thread(ticks._renew)


def ticks(
    period_ns: int,
    *,
    phase_ns: int | None = None,
    name: str | None = None,
    pool: Opening | str | None = None,
) -> Ticks:
    """Return an iterator over the ticks of a grid, for ``for`` and ``async for``.

    A worker keeps the grid, and wakes the program shortly before each instant. The program spins
    for the rest, at most 200 us and a quarter of the period.

    period_ns: time between two ticks, 100 us to 1 h.
    phase_ns: instants are whole multiples of `period_ns` plus this time of CLOCK_MONOTONIC, 0 to
        `period_ns` - 1. None: the worker chooses it, or the grid of that name has it already.
    name: processes that give the same name share one grid. None: the grid belongs to this object.
    pool: whose worker keeps the grid: a pool, or the name of one, as for `open`. None: the default
        pool.

    Raises `BadConfig` and `TypeError` for bad times. The grid is opened by ``with`` or by the first
    wait for a tick, in ``async with`` and ``async for`` without blocking the event loop. Then it
    raises the exceptions of `open`, and `BadConfig` if the grid of that name has another period or
    phase, or if that name is of a channel with a payload.
    """
    return Ticks(period_ns, phase_ns, name, pool)


# --- sleeping -------------------------------------------------------------------------------------


class _Alarm:
    """A timer of this process for all tasks that sleep until an instant."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # the collector may end a task that sleeps, in here
        self._fd = check(lib.alarm_open())
        self._waiters = Waiters()
        self._times: list[tuple[int, int]] = []
        self._asleep: set[int] = set()
        self._early_ns = 0

    async def sleep_until(self, at_ns: int) -> None:
        wake_ns = at_ns - self._early_ns
        key = next(_numbers)
        self._add(wake_ns, key)
        try:
            await self._waiters.wait(self._fd, is_over=lambda: self._is_over(wake_ns, key))
        finally:
            self._remove(key)
        took_ns = int(lib.rt_mono_ns()) - wake_ns
        if 0 <= took_ns < 1_000_000:  # else the loop had other work to do
            self._early_ns = int(lib.alarm_early_ns(self._early_ns, took_ns))
        lib.alarm_spin(at_ns)

    def _add(self, wake_ns: int, key: int) -> None:
        with self._lock:
            self._asleep.add(key)
            heapq.heappush(self._times, (wake_ns, key))
            if self._times[0][1] == key:
                self._set()

    def _is_over(self, wake_ns: int, key: int) -> bool:
        """Whether a task is due. If so, the timer goes on to the next one at once: the loop of this
        task may be busy or closed, and the others must not find the timer expired meanwhile."""
        if lib.rt_mono_ns() < wake_ns:
            return False
        self._remove(key)
        return True

    def _remove(self, key: int) -> None:
        with self._lock:
            self._asleep.discard(key)
            if not self._times or self._times[0][1] in self._asleep:
                return
            while self._times and self._times[0][1] not in self._asleep:
                heapq.heappop(self._times)
            self._set()

    def _set(self) -> None:
        lib.alarm_set(self._fd, max(1, self._times[0][0]) if self._times else 0)


_alarm: _Alarm | None = None
_alarm_lock = threading.Lock()
_thread = threading.local()


def _grid(period_ns: int, phase_ns: int | None) -> TickGrid:
    return TickGrid(
        period_ns=period_ns,
        phase_ns=phase_ns,
        max_payload=0,
        rx=RX_CAPACITY,
        reports="off",
        report_capacity=0,
    )


def _this_alarm() -> _Alarm:
    global _alarm
    if _alarm is not None:
        return _alarm
    with _alarm_lock:
        if _alarm is None:
            _alarm = _Alarm()
        return _alarm


def _forget_alarm() -> None:
    global _alarm, _alarm_lock
    _alarm_lock = threading.Lock()
    if _alarm is not None:
        os.close(_alarm._fd)  # the timer is the parent's
        _alarm._fd = -1  # tasks of the parent may end here, when the collector finds them
    _alarm = None


os.register_at_fork(after_in_child=_forget_alarm)


async def sleep_until(at_ns: int) -> None:
    """Sleep in a task until a time of CLOCK_MONOTONIC, to the microsecond.

    at_ns: ns, as from `time.monotonic_ns`, at most a year ahead. A time that has passed only lets
        other tasks run.

    The task wakes up some microseconds early, as early as it takes here, and spins for the rest, at
    most 200 us. Cancelling it leaves nothing behind. It needs no worker. asyncio (with any event
    loop) and trio may run it. Raises `BadConfig`, `TypeError`.
    """
    now_ns = int(lib.rt_mono_ns())
    at_ns = integer("at_ns", at_ns, 0, now_ns + _MOST_NS)
    if at_ns > now_ns:
        await _this_alarm().sleep_until(at_ns)
    else:
        sleeper = new_sleeper()
        sleeper.wake()
        await sleeper.sleep()


def block_until(at_ns: int) -> None:
    """Like `sleep_until`, but blocks this thread. Other threads run meanwhile. Signal handlers run
    and may raise."""
    at_ns = integer("at_ns", at_ns, 0, int(lib.rt_mono_ns()) + _MOST_NS)
    early_ns: int = getattr(_thread, "early_ns", 0)
    wake_ns = at_ns - early_ns
    now_ns = int(lib.rt_mono_ns())
    slept = now_ns < wake_ns
    while now_ns < wake_ns:
        now_ns = int(lib.alarm_sleep(wake_ns))
    if slept and now_ns - wake_ns < 1_000_000:
        _thread.early_ns = int(lib.alarm_early_ns(early_ns, now_ns - wake_ns))
    lib.alarm_spin(at_ns)


__all__ = ["Tick", "Ticks", "block_until", "sleep_until", "ticks"]
