"""Argument checks in Python. They equal those of `csrc/python/hot_arguments.c`."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex, cast

from shmring._ring import ffi, lib

NS_PER_S = 1_000_000_000
SEQUENCE_MAX = 2**63 - 1

def integer(value: object, what: str, meaning: str = "") -> int:
    """Return an integer. bool is refused: it is an int, but always a mistake here."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} must be an int{meaning}, not {value!r}")
    return operator.index(cast("SupportsIndex", value))


def sequence(value: object) -> int:
    """Check the sequence number of a packet."""
    number = integer(value, "sequence", ", as send() returned it")
    if not 0 <= number <= SEQUENCE_MAX:
        raise ValueError(
            f"sequence is {number}: packets are counted from 0, see what send() returned"
        )
    return number


def count(value: object, what: str, least: int, most: int) -> int:
    """Check a count between `least` and `most`."""
    number = integer(value, what)
    if not least <= number <= most:
        raise ValueError(f"{what} is {number}: it must be {least} to {most}")
    return number


def payload(data: object, what: str = "a payload", hint: str = "") -> Any:
    """Return the cffi buffer of a payload. Use it in a ``with`` statement.

    A number is refused: ``bytes(8)`` would make zeros of it. hint: what else the argument may be.
    """
    try:
        return ffi.from_buffer(data)
    except TypeError:
        if isinstance(data, str):
            hint += ": encode it, as in text.encode()"
        raise TypeError(
            f"{what} must be a bytes-like object, not {type(data).__name__}{hint}"
        ) from None
    except (BufferError, ValueError) as caught:  # NumPy's arrays raise the latter
        raise BufferError(f"{what} must be a contiguous buffer: {caught}") from None


def payload_bytes(data: object, what: str = "a payload", hint: str = "") -> bytes:
    """Return a copy of a payload. The checks are those of `payload`."""
    with payload(data, what, hint) as view:
        return bytes(ffi.buffer(view))


def iterable(value: Any, what: str, meaning: str) -> Iterable[Any]:
    """Return an iterable of objects. Text and buffers are refused, whose items are none of them."""
    kind = type(value).__name__
    is_text = isinstance(value, (str, bytes, bytearray, memoryview))
    if is_text or not hasattr(value, "__iter__"):
        raise TypeError(f"{what} must be an iterable of {meaning}, not {kind}")
    items: Iterable[Any] = value
    return items


def writable(buffer: Any, what: str) -> memoryview:
    """Return a writable buffer as a memoryview of bytes."""
    try:
        view = memoryview(buffer).cast("B")
    except TypeError:
        raise TypeError(
            f"{what} must be a writable buffer such as a bytearray, not {type(buffer).__name__}"
        ) from None
    if view.readonly:
        raise BufferError(f"{what} is read-only: give a writable buffer such as a bytearray")
    return view


def deadline(timeout: float | None, what: str = "timeout") -> int:
    """Convert a time limit in seconds to a time of CLOCK_MONOTONIC. 0 means: do not wait."""
    if timeout is None:
        return int(lib.RT_NEVER_NS)
    try:
        if isinstance(timeout, bool):
            raise TypeError
        seconds = math.ldexp(timeout, 0)  # float() would take text as well
    except TypeError:
        raise TypeError(
            f"{what} must be seconds, 0 not to wait, or None to wait without a limit, not "
            f"{timeout!r}"
        ) from None
    if not seconds >= 0.0:
        raise ValueError(
            f"{what} is {timeout!r}: use seconds, 0 not to wait, None to wait without a limit"
        )
    if seconds == 0.0:
        return 0
    if seconds > 1e9:
        return int(lib.RT_NEVER_NS)
    return int(lib.rt_mono_ns()) + int(seconds * NS_PER_S)


def has_passed(until_ns: int) -> bool:
    """Return whether `deadline` has passed."""
    return until_ns == 0 or bool(lib.rt_mono_ns() >= until_ns)


def seconds_until(until_ns: int) -> float | None:
    """Return the time until `deadline`, or None for no limit."""
    if until_ns == lib.RT_NEVER_NS:
        return None
    return float(max(0, until_ns - int(lib.rt_mono_ns())) / NS_PER_S)
