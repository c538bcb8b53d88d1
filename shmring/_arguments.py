"""Arguments of the cffi backend's calls: what `csrc/python/hot.c` checks in C."""

from __future__ import annotations

import math
import operator
from typing import Any

from shmring._ring import lib

NS_PER_S = 1_000_000_000
TIME_MAX_NS = 2**63 - 1

Buffer = bytes | bytearray | memoryview | Any
"""Anything with the buffer protocol, C-contiguous."""


def ns(value: object, what: str) -> int:
    """An integer; bool is refused although it is an int: it is never a time."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(
            f"{what} must be an int: nanoseconds (seconds times 1_000_000_000), not {value!r}"
        )
    return operator.index(value)


def time_ns(value: object, what: str) -> int:
    """A time in a channel's clock."""
    number = ns(value, what)
    if not 0 <= number <= TIME_MAX_NS:
        raise ValueError(
            f"{what} is {value} ns: a time in the channel's clock is between 0 and 2**63 - 1"
        )
    return number


def deadline(timeout: float | None) -> int:
    """timeout= in seconds to a point of CLOCK_MONOTONIC; 0: do not wait."""
    if timeout is None:
        return int(lib.RT_NEVER_NS)
    seconds = math.ldexp(timeout, 0)  # float() would take text as well
    if not seconds >= 0.0:
        raise ValueError(
            f"timeout is {timeout!r}: use seconds, 0 not to wait, None to wait for ever"
        )
    if seconds == 0.0:
        return 0
    if seconds > 1e9:
        return int(lib.RT_NEVER_NS)
    return int(lib.rt_mono_ns()) + int(seconds * NS_PER_S)


def has_passed(until_ns: int) -> bool:
    """Whether the time of `deadline` has come."""
    return until_ns == 0 or bool(lib.rt_mono_ns() >= until_ns)
