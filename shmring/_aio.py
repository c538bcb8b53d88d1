"""Wait for a channel in asyncio, from any number of tasks and event loops at the same time, and
share a lock with them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable

# A thread that sleeps for tasks stays this long after the last task, in case tasks come back.
COME_BACK_S = 0.1


class Waiters:
    """Tasks that wait until a descriptor is readable.

    An event loop accepts one callback per descriptor, so the tasks of one loop share it. The
    callback wakes all of them, and the tasks that find nothing wait again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.AbstractEventLoop, set[asyncio.Future[None]]] = {}

    async def wait(self, fd: int) -> None:
        """Return when `fd` is readable, or after `wake`. `fd` is the same in every call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            mine = self._waiting.setdefault(loop, set())
            if not mine:
                loop.add_reader(fd, self._wake_loop, loop)
            mine.add(future)
        try:
            await future
        finally:
            self._leave(loop, fd, future)

    def wake(self) -> None:
        """Wake all tasks, because the descriptor is about to be closed. Any thread may
        call this."""
        with self._lock:
            loops = list(self._waiting)
        for loop in loops:
            if loop.is_running():
                loop.call_soon_threadsafe(self._wake_loop, loop)

    def _leave(
        self, loop: asyncio.AbstractEventLoop, fd: int, future: asyncio.Future[None]
    ) -> None:
        with self._lock:
            mine = self._waiting[loop]
            mine.discard(future)
            if not mine:
                del self._waiting[loop]
                loop.remove_reader(fd)

    def _wake_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            mine = list(self._waiting.get(loop, ()))
        for future in mine:
            _finish(future)


class RoomWaiters:
    """Tasks that wait until a ring has room. No descriptor signals that.

    While tasks wait, one thread sleeps for all of them. It wakes all of them each time, and the
    tasks that find no room wait again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: set[asyncio.Future[None]] = set()
        self._has_thread = False

    async def wait(self, sleep: Callable[[], bool]) -> None:
        """Return when there may be room.

        sleep: the same function in every call. It waits some time for room, and returns whether a
        new attempt makes sense.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._waiting.add(future)
            self._changed.notify()
            if not self._has_thread:
                threading.Thread(
                    target=self._serve, args=(sleep,), name="waits for room", daemon=True
                ).start()
                self._has_thread = True
        try:
            await future
        finally:
            with self._changed:
                self._waiting.discard(future)

    def _serve(self, sleep: Callable[[], bool]) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._waiting, COME_BACK_S):
                    self._has_thread = False
                    return
            if _is_worth_a_try(sleep):
                with self._changed:
                    waiting, self._waiting = self._waiting, set()
                for future in waiting:
                    with contextlib.suppress(RuntimeError):  # its loop was closed in the meantime
                        future.get_loop().call_soon_threadsafe(_finish, future)


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

    async def acquire_async(self) -> None:
        """Wait for the lock in a task. If the task is cancelled, the lock is not taken."""
        if self._take():
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        turn = _Turn(lambda: loop.call_soon_threadsafe(_finish, future))
        try:
            if not self._take(turn):
                await future
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


def _is_worth_a_try(sleep: Callable[[], bool]) -> bool:
    try:
        return sleep()
    except Exception:  # the tasks will get the same error
        return True


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
