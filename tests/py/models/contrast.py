"""The contrast of two colours by WCAG 2."""

from __future__ import annotations

from collections.abc import Iterable


def contrast(one: str | Iterable[int], other: str | Iterable[int]) -> float:
    """Return the ratio, 1 to 21. A colour is ``#rrggbb``, or red, green and blue of 0 to 255."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str | Iterable[int]) -> float:
    parts = bytes.fromhex(colour[1:]) if isinstance(colour, str) else colour
    r, g, b = (_linear(part / 255) for part in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
