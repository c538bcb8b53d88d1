"""Arguments that the original reads as C integers: int, bool, and objects with ``__index__``."""

from __future__ import annotations

import operator
from typing import Any


def integer(name: str, value: Any) -> int:
    """Return an argument as an int. Raises a `TypeError` that names it."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None
