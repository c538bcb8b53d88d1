"""Expectations of single calls."""

from __future__ import annotations

import re

import pytest


def raises(kind: type[BaseException], message: str) -> pytest.RaisesExc[BaseException]:
    """Expect an exception with this whole message."""
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


def ignore(*_: object) -> None:
    """Do nothing: a callback."""
