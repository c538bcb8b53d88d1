"""When the first packet is due."""

import time
from datetime import datetime

from shmring.types import Clock

_MOST_NS = 365 * 86400 * 10**9

LEAD_NS = 200_000_000
"""From the call to the first packet, if no start is given: time to fill the ring."""


def clock_of(start: datetime | int | None) -> Clock:
    """Return the clock in which a start is given: an int is CLOCK_TAI. Raises `TypeError`."""
    if not (start is None or isinstance(start, (int, datetime))):
        raise TypeError(f"start is {start!r}: it must be a datetime, or an int, ns of CLOCK_TAI")
    return "tai" if isinstance(start, int) else "monotonic"


def start_ns(start: datetime | int | None, now_ns: int) -> int:
    """Return the start in the clock that shows `now_ns`. Raises `ValueError` if it has passed, or
    is more than a year ahead."""
    if start is None:
        return now_ns + LEAD_NS
    if isinstance(start, int):
        ahead_ns = start - now_ns
    else:
        at_ns = round(start.timestamp() * 1e6) * 1000  # a float has 0.2 us at present
        ahead_ns = at_ns - time.time_ns()
    if ahead_ns < 0:
        raise ValueError(f"start is {start}, {-ahead_ns / 1e9:.3f} s ago: it must be in the future")
    if ahead_ns > _MOST_NS:
        raise ValueError(f"start is {start}, in {ahead_ns / 1e9:.0f} s: at most a year is possible")
    return now_ns + ahead_ns
