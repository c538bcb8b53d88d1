"""Constants in definitions: their values, and whether they fit a type."""

from __future__ import annotations

import math
import re
import struct

from shmring.netflux.records.field_types import Scalar, int_range

_UNIT_NS = {
    "D": 86_400_000_000_000,
    "H": 3_600_000_000_000,
    "M": 60_000_000_000,
    "S": 1_000_000_000,
    "MS": 1_000_000,
    "US": 1_000,
    "NS": 1,
}
_TIME_PART = re.compile(r"(\d+)(?:\.(\d+))?(MS|US|NS|D|H|M|S)_?")
_ESCAPES = {"L": "\n", "N": "\n", "P": "\f", "R": "\r", "T": "\t", "$": "$", "'": "'", '"': '"'}
_ESCAPE = re.compile(r"\$([0-9A-Fa-f]{2}|.)", re.DOTALL)


def based_int(text: str) -> int:
    """``16#FF``, ``2#1010_1010``. ValueError for another base, or a digit outside of the base."""
    base, _, digits = text.partition("#")
    if base not in ("2", "8", "16"):
        raise ValueError(f"base is {base}: it must be 2, 8 or 16")
    try:
        return int(digits.replace("_", ""), int(base))
    except ValueError:
        raise ValueError(f"{text} has a digit outside of base {base}") from None


def time_ns(text: str) -> int:
    """``T#1h2m3.5s``, signs included. ValueError for anything else."""
    _, _, rest = text.upper().partition("#")
    negative = rest.startswith("-")
    rest = rest.lstrip("+-")
    total = 0
    at = 0
    while at < len(rest):
        part = _TIME_PART.match(rest, at)
        if part is None:
            raise ValueError(f"{text} is not a duration: write it as T#1h2m3s4ms")
        digits = part[2] or ""
        value, remainder = divmod(int(part[1] + digits) * _UNIT_NS[part[3]], 10 ** len(digits))
        if remainder:
            raise ValueError(f"{text} is finer than a nanosecond")
        total += value
        at = part.end()
    return -total if negative else total


def text_of(quoted: str) -> str:
    """Contents of ``'...'`` with its ``$`` escapes. ValueError for an unknown one."""

    def plain(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) == 2:
            return chr(int(code, 16))
        if code.upper() not in _ESCAPES:
            raise ValueError(f"${code} is not an escape sequence")
        return _ESCAPES[code.upper()]

    return _ESCAPE.sub(plain, quoted[1:-1])


def fit_int(value: int, kind: Scalar, code: str) -> int:
    """Return value. ValueError if the type cannot hold it."""
    low, high = int_range(code)
    if not low <= value <= high:
        raise ValueError(f"{value} is outside of {kind.name}'s {low} .. {high}")
    return value


def fit_float(value: float, kind: Scalar, code: str) -> float:
    """Return value. ValueError if it is too large for the type."""
    try:
        number = float(value)
        struct.pack("<" + code, number)
        if math.isfinite(number):
            return number
    except OverflowError:
        pass
    raise ValueError(f"this is too large for {kind.name}")
