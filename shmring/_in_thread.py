"""Calls that block, for asyncio and trio: in a thread, and never abandoned half-done."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from shmring._aio import running_trio

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a call returns that runs in a thread. If the task is cancelled, the call is
    completed first."""
    trio = running_trio()
    if trio is not None:
        with trio.CancelScope(shield=True):
            result: T = await trio.to_thread.run_sync(functools.partial(call, *args, **kwargs))
            return result
    return await _completed(asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs)))


def made_in_thread(
    make: Callable[P, T], undo: Callable[[Any], object]
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return `make` as a coroutine function that runs it in a thread.

    If the task is cancelled meanwhile, what was made is undone, in a thread too. In trio the task
    gets it, and is cancelled at its next checkpoint.
    """

    @functools.wraps(make)
    async def make_async(*args: P.args, **kwargs: P.kwargs) -> T:
        if running_trio() is not None:
            return await in_thread(make, *args, **kwargs)
        making = asyncio.ensure_future(asyncio.to_thread(make, *args, **kwargs))
        try:
            return await _completed(making)
        except asyncio.CancelledError:
            if making.exception() is None:
                await in_thread(undo, making.result())
            raise

    make_async.__doc__ = (
        f"Like `{make.__name__}`, but without blocking the event loop. Cancelling the call undoes "
        "what it did."
    )
    make_async.__name__ += "_async"
    make_async.__qualname__ += "_async"
    return make_async


async def _completed(task: asyncio.Future[T]) -> T:
    """Return the result of a task. A cancellation takes effect when the task has ended."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as caught:
            cancelled = caught
        except Exception:  # the task's own: raised below
            break
    if cancelled is not None:
        raise cancelled
    return task.result()
