"""Durations, sizes, rates and shares as people write them: on command lines and in timetables.

Every function raises `ValueError`, which names the text and shows what is allowed.
"""

from __future__ import annotations

import contextlib
import math

_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_FACTORS = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BINARY = {"ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30, "ti": 2.0**40}
_MOST = 2.0**63


def seconds(text: str) -> float:
    """Read ``500us``, ``20ms``, ``1.5s``, ``5m``, ``3h`` or ``1d``. A number alone is seconds."""
    value = _number(text, {"": 1.0} | _SECONDS)
    if value is None:
        raise ValueError(f"{text!r} is no time: use 500us, 20ms, 1.5s, 5m, 3h or 1d")
    return value


def nanoseconds(text: str) -> int:
    """Read the same as `seconds`."""
    return round(seconds(text) * 1e9)


def rate(text: str) -> float:
    """Read ``1000``, ``50k``, ``10M`` or ``1.5G``, above 0: packets or bits a second."""
    value = _number(text, {"": 1.0} | _FACTORS)
    if not value:
        raise ValueError(f"{text!r} is no rate above 0: use 1000, 50k, 10M or 1.5G")
    return value


def number(text: str) -> float:
    """Read what `rate` reads, or ``0``."""
    return 0.0 if text == "0" else rate(text)


def size(text: str) -> int:
    """Read ``4096``, ``64k`` (64 000 bytes) or ``16Mi`` (16 times 1024 times 1024 bytes)."""
    value = _number(text, {"": 1.0} | _FACTORS | _BINARY)
    if value is None or value != int(value):
        raise ValueError(f"{text!r} is no size in bytes: use 4096, 64k or 16Mi")
    return int(value)


def count(text: str) -> int:
    """Read ``1``, ``1000`` or ``10k``."""
    value = _number(text, {"": 1.0} | _FACTORS)
    if not value or value != int(value):
        raise ValueError(f"{text!r} is no number of 1 or more: use 1, 1000 or 10k")
    return int(value)


def share(text: str) -> float:
    """Read ``1%`` or ``0.01``."""
    value = _number(text, {"": 1.0, "%": 0.01})
    if value is None:
        raise ValueError(f"{text!r} is no share: use 1% or 0.01")
    if value > 1:
        meant = "" if text.endswith("%") else f": did you mean {text}%?"
        raise ValueError(f"{text} is above {'100%' if text.endswith('%') else '1'}{meant}")
    return value


def _number(text: str, units: dict[str, float]) -> float | None:
    """Return a number of 0 or more with one of the units. None: it is no such number."""
    stem = text.rstrip("%abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZµ")
    unit = text[len(stem) :]
    factor = units.get(unit, units.get(unit.lower()) if "ms" not in units else None)
    if factor is None:
        return None
    with contextlib.suppress(ValueError):
        value = float(stem) * factor
        if 0 <= value < _MOST and math.isfinite(value):
            return value
    return None
