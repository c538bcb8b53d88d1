"""Waiting for a channel in asyncio, any number of tasks and loops at once."""

from __future__ import annotations

import asyncio
import threading


class Waiters:
    """Tasks that wait until a descriptor is readable.

    An event loop takes one callback per descriptor, so tasks of one loop share it. All of them are
    woken each time; those that find nothing wait again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.AbstractEventLoop, set[asyncio.Future[None]]] = {}

    async def wait(self, fd: int) -> None:
        """Return when `fd`, always the same one, is readable, or after `wake`."""
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
        """Wake everybody: the descriptor is about to be closed. Any thread."""
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
            if not future.done():
                future.set_result(None)
