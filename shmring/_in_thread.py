"""Calls that block, for asyncio and trio: in a thread, and never abandoned half-done."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from shmring._aio import running_trio
from shmring.errors import ShmringError

if TYPE_CHECKING:
    import asyncio

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
    return await _completed(_started(call, *args, **kwargs))


async def made_in_thread(
    make: Callable[P, T], undo: Callable[[T], object], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Return what `make` makes in a thread.

    If the task is cancelled meanwhile, what was made is undone, in a thread too. In trio the task
    gets it, and is cancelled at its next checkpoint.
    """
    if running_trio() is not None:
        return await in_thread(make, *args, **kwargs)
    from asyncio import CancelledError

    making = _started(make, *args, **kwargs)
    try:
        return await _completed(making)
    except CancelledError:
        if making.exception() is None:
            with contextlib.suppress(ShmringError):  # the cancellation is what counts
                await in_thread(undo, making.result())
        raise
    finally:
        del making  # an exception that it keeps refers to this frame


def _started(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
    """Run a call in a thread, as `asyncio.to_thread`. The future is no task: the end of
    `asyncio.run` cancels all tasks, and a cancelled one could not be waited for."""
    from asyncio import get_running_loop

    inside = functools.partial(contextvars.copy_context().run, call, *args, **kwargs)
    return get_running_loop().run_in_executor(None, inside)


async def _completed(running: asyncio.Future[T]) -> T:
    """Return the result of a call that runs. A cancellation takes effect when it has ended."""
    import asyncio

    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError as caught:
            cancelled = caught
        except Exception:  # the call's own: raised below
            break
    try:
        if cancelled is not None:
            raise cancelled
        return running.result()
    finally:
        del cancelled, running  # else an exception would keep the frames alive that it names
