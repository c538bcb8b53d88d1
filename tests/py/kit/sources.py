"""The sources around these tests. There are none where only the tests were copied."""

from __future__ import annotations

from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[3]
CHECKOUT = _ROOT if (_ROOT / "csrc" / "CMakeLists.txt").is_file() else None


def checkout() -> Path:
    """Return the folder of the sources, or skip the test."""
    if CHECKOUT is None:
        pytest.skip("no sources around these tests")
    return CHECKOUT
