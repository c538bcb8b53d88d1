"""Expectations of single calls."""

from __future__ import annotations

import re
from typing import Any

import pytest


def raises(kind: type[BaseException], message: str) -> pytest.RaisesExc[BaseException]:
    """Expect an exception with this whole message."""
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


def ignore(*_: object) -> None:
    """Do nothing: a callback."""


class Index:
    """A number that is no int, as those of NumPy."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def outcome(expression: str, names: dict[str, Any]) -> tuple[str, str]:
    """Return what comes of a call: the repr of its value, or the name of its exception, with the
    number of a UDTException. And what the exception says."""
    try:
        return repr(eval(expression, {"Index": Index} | names)), ""
    except Exception as error:
        caught: Any = error
        if type(caught).__name__ == "UDTException":
            return f"UDTException {caught.code}", str(caught)
        kinds = type(caught).__mro__
        return next(k.__name__ for k in kinds if k.__module__ == "builtins"), str(caught)


def gives(expression: str, expected: str, names: dict[str, Any]) -> None:
    """Check a row of a table: a call, and its `outcome` with words of its text after a colon."""
    kind, _, words = expected.partition(": ") if "Error: " in expected else (expected, "", "")
    got, says = outcome(expression, names)
    assert got == kind, f"{expression}: {says}"
    assert words in says, expression
