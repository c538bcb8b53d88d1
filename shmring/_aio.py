"""Wait for a channel in asyncio or trio, from any number of tasks, event loops and threads at the
same time, and share a lock with them.

Nothing here polls or starts a thread. In asyncio (with any event loop) a task waits for a future.
In trio, which anyio may run, it sleeps in a cancel scope that any thread can end. trio is used only
by programs that run it, so it is no dependency. asyncio is imported by the first task that waits.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shmring._arguments import seconds_until
from shmring._ring import lib

if TYPE_CHECKING:
    import asyncio

NEVER_NS = int(lib.RT_NEVER_NS)


# --- one task -------------------------------------------------------------------------------------


class AsyncioSleeper:
    """A task of asyncio that sleeps, or is about to."""

    __slots__ = ("_future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._future: asyncio.Future[None] = loop.create_future()

    def wake(self) -> None:
        """End the sleep, now or when it begins. Any thread may call this, more than once. Raises
        RuntimeError if the event loop was closed."""
        self.loop.call_soon_threadsafe(self.wake_here)

    def wake_here(self) -> bool:
        """`wake` for the thread of the loop. Return whether the task still slept."""
        if self._future.done():
            return False
        self._future.set_result(None)
        return True

    async def sleep(self, until_ns: int = NEVER_NS) -> None:
        """Sleep until `wake`, or until a time of CLOCK_MONOTONIC."""
        seconds = seconds_until(until_ns)
        if seconds is None:
            await self._future
            return
        timer = self.loop.call_later(seconds, self.wake_here)
        try:
            await self._future
        finally:
            timer.cancel()


class TrioSleeper:
    """The same for trio."""

    __slots__ = ("_scope", "_token", "_trio")

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._scope = trio.CancelScope()

    def wake(self) -> None:
        self._token.run_sync_soon(self._scope.cancel)

    async def sleep(self, until_ns: int = NEVER_NS) -> None:
        with self._limited(until_ns):
            await self._trio.sleep_forever()

    async def sleep_at(
        self, fd: int, look: Callable[[], None], is_over: Callable[[], bool], until_ns: int
    ) -> None:
        """Sleep. Call `look` whenever `fd` is readable, until `is_over`."""
        with self._limited(until_ns):
            while True:
                await self._trio.lowlevel.wait_readable(fd)
                look()
                if is_over():
                    return

    def _limited(self, until_ns: int) -> Any:
        seconds = seconds_until(until_ns)
        if seconds is not None:
            self._scope.deadline = self._trio.current_time() + seconds
        return self._scope


Sleeper = AsyncioSleeper | TrioSleeper


def running_trio() -> Any:
    """Return the module trio if it runs this task, otherwise None."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


def new_sleeper() -> Sleeper:
    """Return the sleeper of this task. Raises RuntimeError outside of asyncio and trio."""
    trio = running_trio()
    if trio is not None:
        return TrioSleeper(trio)
    from asyncio import get_running_loop

    return AsyncioSleeper(get_running_loop())


# --- tasks that wait for a descriptor -------------------------------------------------------------


class Waiters:
    """Tasks that wait until a descriptor is readable and what they wait for is there.

    An asyncio loop accepts one callback per descriptor, so the tasks of a loop share a `_Watch`,
    which stays registered between their waits. Whichever loop finds the descriptor readable wakes
    the tasks of all loops, because one of them may make it unreadable before another has looked.
    """

    def __init__(
        self, *, one_by_one: bool = False, clear: Callable[[], None] | None = None
    ) -> None:
        """one_by_one: wake one task each time the descriptor is found readable. It stays readable
        until a task found nothing more, so the next one is woken if there is work for it.

        clear: a bound method that makes the descriptor unreadable, if tasks do not do that by
        taking something. It is called before the tasks are looked at, and by nobody else: a task
        that cleared the descriptor for itself would take the news from those that were looked at
        before it. It must not raise.
        """
        self._one_by_one = one_by_one
        # The owner of the method has a reference to this object: no cycle.
        self._clear: Callable[[], Callable[[], None] | None] = (
            weakref.WeakMethod(clear) if clear else lambda: None
        )
        # The garbage collector may end a task of a closed loop in a thread that is in here already.
        self._lock = threading.RLock()
        self._waiting: dict[Sleeper, Callable[[], bool]] = {}
        self._watches: dict[asyncio.AbstractEventLoop, _Watch] = {}
        self._closed = False

    async def wait(
        self,
        fd: int,
        until_ns: int = NEVER_NS,
        is_over: Callable[[], bool] = lambda: True,
    ) -> None:
        """Return when `fd` is readable and `is_over`, at a time of CLOCK_MONOTONIC, or at `close`.

        fd: the same in every call. is_over: any thread may call it, and it raises nothing.
        """
        sleeper = new_sleeper()
        if isinstance(sleeper, TrioSleeper):
            await self._wait_in_trio(sleeper, fd, until_ns, is_over)
            return
        with self._lock:
            if self._closed:
                return
            watch = self._watch(sleeper.loop, fd)
            watch.begin()
            self._waiting[sleeper] = is_over
        try:
            # Whatever happened before the task was among those that wait was seen by no `look`.
            if self._clear() is None or not is_over():
                await sleeper.sleep(until_ns)
        finally:
            with self._lock:
                watch.tasks -= 1
                self._waiting.pop(sleeper, None)

    def call(self, fd: int, reader: Callable[[], None]) -> Callable[[], None]:
        """Call `reader` in the running loop of asyncio whenever `fd` is readable, and at `close`,
        instead of waking tasks of this loop. It takes what is there. Return what ends that.

        fd: as of `wait`.
        """
        from asyncio import get_running_loop

        with self._lock:
            watch = self._watch(get_running_loop(), fd)
            watch.call(reader)
            if self._closed:
                watch.close()
        return watch.call_no_more

    def close(self) -> None:
        """Wake all tasks, because the descriptor is about to be closed. Later waits end at once.
        Any thread may call this."""
        with self._lock:
            self._closed = True
            waiting, watches = list(self._waiting), list(self._watches.values())
            self._watches.clear()
        for sleeper in waiting:
            _wake(sleeper)
        for watch in watches:
            watch.close()

    def __del__(self) -> None:
        for watch in self._watches.values():
            watch.close()

    def look(self) -> None:
        """Wake the tasks whose wait is over, or the first of them."""
        clear = self._clear()
        if clear is not None:
            clear()
        with self._lock:
            waiting = self._waiting.copy()
        for sleeper, is_over in waiting.items():
            if not is_over():
                continue
            with self._lock:
                self._waiting.pop(sleeper, None)
            if _wake(sleeper) and self._one_by_one:
                return

    async def _wait_in_trio(
        self, sleeper: TrioSleeper, fd: int, until_ns: int, is_over: Callable[[], bool]
    ) -> None:
        with self._lock:
            if self._closed:
                return
            own = os.dup(fd)  # trio accepts one task per descriptor
            self._waiting[sleeper] = is_over
        try:
            if self._clear() is None or not is_over():
                await sleeper.sleep_at(own, self.look, is_over, until_ns)
        finally:
            with self._lock:
                self._waiting.pop(sleeper, None)
            os.close(own)

    def _watch(self, loop: asyncio.AbstractEventLoop, fd: int) -> _Watch:
        watch = self._watches.get(loop)
        if watch is None:
            for old in [old for old in self._watches if old.is_closed()]:
                self._watches.pop(old).close()
            watch = self._watches[loop] = _Watch(loop, fd, self)
        return watch


class _Watch:
    """An asyncio loop's callback for the tasks that wait in it.

    It has a duplicate of the descriptor, which it closes in the loop's thread: the loop must have
    forgotten a descriptor before another file gets its number.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, waiters: Waiters) -> None:
        self.tasks = 0
        """Number of tasks that wait. Guarded by the lock of `waiters`."""
        self._loop = loop
        self._fd = os.dup(fd)
        self._pid = os.getpid()
        self._waiters = weakref.ref(waiters)  # the loop must not keep a channel alive
        self._registered = False
        self._reader: Callable[[], None] | None = None

    def begin(self) -> None:
        """Note that one more task waits."""
        self._register()
        self.tasks += 1

    def call(self, reader: Callable[[], None]) -> None:
        """Call `reader` from now on."""
        self._reader = reader
        self._register()

    def call_no_more(self) -> None:
        """Forget what `call` was given."""
        self._reader = None

    def _register(self) -> None:
        if not self._registered:
            self._loop.add_reader(self._fd, self._readable)
            self._registered = True

    def _readable(self) -> None:
        waiters = self._waiters()
        if self._reader is not None:
            self._reader()
        elif waiters is None or self.tasks == 0:
            self._rest()  # it stays readable until a task comes back
        else:
            waiters.look()

    def _rest(self) -> None:
        if self._registered:
            self._registered = False
            self._loop.remove_reader(self._fd)

    def close(self) -> None:
        """Unregister, and close the duplicate. Any thread may call this, once."""
        if os.getpid() != self._pid or self._loop.is_closed():
            os.close(self._fd)  # in a forked child the loop is the parent's
        elif _is_running(self._loop):
            self._leave()
        else:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._rest()
        os.close(self._fd)
        if self._reader is not None:
            self._reader()


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this thread runs the loop."""
    from asyncio import get_running_loop

    try:
        return get_running_loop() is loop
    except RuntimeError:
        return False


def _wake(sleeper: Sleeper) -> bool:
    """Wake a task. Return whether that was possible: its loop may have been closed."""
    if isinstance(sleeper, AsyncioSleeper) and _is_running(sleeper.loop):
        return sleeper.wake_here()
    try:
        sleeper.wake()
    except RuntimeError:
        return False
    return True


class SharedLock:
    """A lock for threads and for tasks of any event loop. They get it in the order in which they
    asked for it. Tasks whose loop was closed are passed over."""

    def __init__(self) -> None:
        # The garbage collector may end a task that waits, in a thread that is in here already.
        self._guard = threading.RLock()
        self._held = False
        self._turns: deque[_Turn] = deque()

    def acquire(self) -> None:
        """Wait for the lock in a thread. If a signal handler raises, the lock is not taken."""
        if self._take():
            return
        gate = threading.Lock()
        gate.acquire()
        turn = _Turn(gate.release)
        try:
            if not self._take(turn):
                gate.acquire()
        except BaseException:
            self._give_up(turn)
            raise

    async def acquire_in_task(self) -> None:
        """Wait for the lock in a task. If the task is cancelled, the lock is not taken."""
        if self._take():
            return
        sleeper = new_sleeper()
        turn = _Turn(sleeper.wake)
        try:
            if not self._take(turn):
                await sleeper.sleep()
        except BaseException:
            self._give_up(turn)
            raise

    def release(self) -> None:
        """Pass the lock to whoever has waited longest. Any thread may call this."""
        with self._guard:
            while self._turns:
                if self._turns.popleft().come():
                    return
            self._held = False

    def _take(self, turn: _Turn | None = None) -> bool:
        """Take the lock if it is free. If not, let the turn wait for it."""
        with self._guard:
            if self._held:
                if turn is not None:
                    self._turns.append(turn)
                return False
            self._held = True
            if turn is not None:
                turn.has_come = True
            return True

    def _give_up(self, turn: _Turn) -> None:
        with self._guard:
            if turn.has_come:
                self.release()
            elif turn in self._turns:
                self._turns.remove(turn)


class _Turn:
    """The turn of a thread or task that waits for a `SharedLock`."""

    __slots__ = ("_wake", "has_come")

    def __init__(self, wake: Callable[[], object]) -> None:
        """wake: wakes the one who waits. Raises RuntimeError if its loop was closed."""
        self._wake = wake
        self.has_come = False

    def come(self) -> bool:
        """Wake the one who waits, and return whether that was possible."""
        try:
            self._wake()
        except RuntimeError:
            return False
        self.has_come = True
        return True
