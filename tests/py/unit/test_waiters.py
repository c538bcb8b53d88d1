"""Tasks that share one descriptor: what each of them waits for is never missed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

import pytest

from shmring._aio import Waiters


class Bell:
    """An eventfd. `look_at` rings it while a task is looked at, as a worker may."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.waiters = Waiters(clear=self.clear)
        self.happened: set[str] = set()

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def ring(self, event: str) -> None:
        self.happened.add(event)
        os.eventfd_write(self.fd, 1)

    def look_at(self, event: str, rings: str) -> Callable[[], bool]:
        """Whether `event` happened. Right after the second look, `rings` happens."""
        looks = 0

        def is_over() -> bool:
            nonlocal looks
            seen = event in self.happened
            looks += 1
            if looks == 2:
                self.ring(rings)
            return seen

        return is_over

    async def wait(self, is_over: Callable[[], bool]) -> None:
        await self.waiters.wait(self.fd, is_over=is_over)


@pytest.fixture
def bell():
    bell = Bell()
    yield bell
    bell.waiters.close()
    os.close(bell.fd)


def test_what_happens_between_the_looks_at_two_tasks_wakes_the_first(bell):
    async def main():
        first = asyncio.create_task(bell.wait(bell.look_at("first", rings="first")))
        second = asyncio.create_task(bell.wait(bell.look_at("second", rings="nothing")))
        await asyncio.sleep(0)
        bell.ring("second")
        await asyncio.wait_for(asyncio.gather(first, second), 20)

    asyncio.run(main())


def test_a_task_that_begins_to_wait_takes_no_news_from_others(bell):
    async def main():
        first = asyncio.create_task(bell.wait(lambda: "first" in bell.happened))
        await asyncio.sleep(0)
        bell.ring("first")  # not seen yet by the loop
        second = asyncio.create_task(bell.wait(lambda: "second" in bell.happened))
        await asyncio.wait_for(first, 20)
        bell.ring("second")
        await asyncio.wait_for(second, 20)

    asyncio.run(main())


def test_what_happened_before_a_task_was_noted_is_seen(bell):
    async def main():
        bell.happened.add("early")
        await asyncio.wait_for(bell.wait(lambda: "early" in bell.happened), 20)

    asyncio.run(main())
