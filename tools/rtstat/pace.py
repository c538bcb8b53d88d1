"""When to take the next snapshot of a series."""

from __future__ import annotations

import math


def next_due(due: float, interval_s: float, now: float) -> float:
    """Return the next time of the grid that `due` is on, at least half an interval after `now`.

    A program that was stopped skips the times it missed. It takes no snapshot right after the one
    that ended the stop, because rates of such a short interval say nothing.
    """
    return due + max(1, math.ceil((now - due) / interval_s + 0.5)) * interval_s
