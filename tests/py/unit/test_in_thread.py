"""Calls in a thread: what a cancelled task leaves behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

import shmring
from shmring import errors
from shmring._in_thread import in_thread, made_in_thread


class Thing:
    pass


def fail(thing: Thing) -> None:
    raise errors.ChannelClosed("gone")


def cancelled_while_it_makes(undo: Any) -> tuple[list[Any], bool]:
    """Cancel a task while its call runs. Return what was made, and whether it was cancelled."""
    running, go_on = threading.Event(), threading.Event()
    made: list[Any] = []

    def make() -> Thing:
        running.set()
        assert go_on.wait(20)
        made.append(Thing())
        return made[-1]

    async def main() -> bool:
        task = asyncio.create_task(made_in_thread(make, undo))
        await asyncio.to_thread(running.wait, 20)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait({task})
        return task.cancelled()

    return made, asyncio.run(main())


def test_what_a_cancelled_task_made_is_undone() -> None:
    undone: list[Any] = []
    made, cancelled = cancelled_while_it_makes(undone.append)
    assert cancelled
    assert undone == made
    assert len(made) == 1


def test_a_task_is_cancelled_although_undoing_fails() -> None:
    assert cancelled_while_it_makes(fail)[1]


def test_an_exception_keeps_no_arguments_alive() -> None:
    async def main() -> None:
        thing = Thing()
        gone.append(weakref.ref(thing))
        for call in (in_thread(fail, thing), made_in_thread(fail, print, thing)):
            with pytest.raises(errors.ChannelClosed):
                await call

    gone: list[weakref.ref[Thing]] = []
    gc.disable()
    try:
        asyncio.run(main())
        assert gone[0]() is None
    finally:
        gc.enable()


def test_the_help_names_both_kinds_of_event_loops() -> None:
    words = type(shmring.default_pool().aio).__doc__ or ""
    assert "asyncio and trio" in words
    assert "In trio" in words
