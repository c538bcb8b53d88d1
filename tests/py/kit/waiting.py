"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# What the worker, the kernel and a loaded machine may take; only what never happens must fail.
PATIENCE_S = 60.0


def until(
    condition: Callable[[], T], what: str = "it did not happen", patience_s: float = PATIENCE_S
) -> T:
    """Call a function until it returns something true, and return that."""
    give_up = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < give_up, what
        time.sleep(0.002)
    return found
