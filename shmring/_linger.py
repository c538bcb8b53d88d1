"""How long the end of a channel or pool waits for packets that are not sent yet."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import ParamSpec

from shmring._in_thread import in_thread
from shmring.errors import UnsentWarning

P = ParamSpec("P")

LINGER_S = 1.0


def warn_unsent(what: str, packets: int, stacklevel: int) -> None:
    """Warn that packets were cancelled. stacklevel: as of `warnings.warn`, seen from the caller."""
    warnings.warn(
        f"{what} ended while {packets} packets waited to be sent: they were cancelled. Wait for "
        "them with flush(), or give end() or close() a longer linger. linger=0 cancels them "
        "without this warning",
        UnsentWarning,
        stacklevel=stacklevel + 1,
    )


async def end_in_thread(
    what: str, end: Callable[P, int], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Call `end` in a thread, and warn of the packets that it cancelled, for the caller's caller.

    If the task is cancelled, the call is completed first, and the warning is given as well.
    """
    unsent = 0

    def call() -> None:
        nonlocal unsent
        unsent = end(*args, **kwargs)

    try:
        await in_thread(call)
    finally:
        if unsent:
            warn_unsent(what, unsent, stacklevel=3)
