"""How long the end of a channel or pool waits for packets that are not sent yet."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable

from shmring._in_thread import in_thread
from shmring.errors import UnsentWarning

LINGER_S = 1.0


def linger_after(exception: object) -> float:
    """Return how long the end of a ``with`` block waits, which an exception may have left."""
    return LINGER_S if exception is None else 0.0


def warn_unsent(what: str, packets: int, stacklevel: int, *, failing: bool = False) -> None:
    """Warn if packets were cancelled.

    stacklevel: as of `warnings.warn`, seen from the caller. failing: an exception is on its way to
        the program. A warning that a filter turns into an error must not take its place.
    """
    if not packets:
        return
    with contextlib.suppress(*(UnsentWarning,) if failing else ()):
        warnings.warn(
            f"{what} ended while {packets} packets waited to be sent: they were cancelled. Wait "
            "for them with flush(), or give close() a longer linger. linger=0 cancels "
            "them without this warning",
            UnsentWarning,
            stacklevel=stacklevel + 1,
        )


async def end_in_thread(
    what: str, end: Callable[[], int], *, linger: float | None = None, failing: bool = False
) -> None:
    """Call `end` in a thread, and warn of the packets that it cancelled, for the caller's caller.

    linger: with 0, do not warn. failing: as for `warn_unsent`. If the task is cancelled, the call
    is completed first, and the warning is given as well.
    """
    unsent = 0

    def call() -> None:
        nonlocal unsent
        unsent = end()
        if linger == 0:
            unsent = 0

    try:
        await in_thread(call)
    except BaseException:
        warn_unsent(what, unsent, stacklevel=3, failing=True)
        raise
    warn_unsent(what, unsent, stacklevel=3, failing=failing)
