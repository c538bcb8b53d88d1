"""Expectations of calls, and tables of them: a row is steps, and what comes of the last one."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
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


def told(call: Callable[..., Any], *args: Any, **options: Any) -> str:
    """Return how a call fails: the name of the exception, and what it says."""
    try:
        value = call(*args, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"nothing, it returned {value!r}"


def outcome(steps: str, names: dict[str, Any]) -> tuple[str, str]:
    """Return what comes of the last of some steps: the repr of its value, or the name of an
    exception, with the number of a UDTException. And what the exception says."""
    scope = {"Index": Index, "told": told} | names
    *before, last = ast.parse(steps).body
    assert isinstance(last, ast.Expr)
    try:
        exec(compile(ast.Module(before, []), steps, "exec"), scope)
        return repr(eval(compile(ast.Expression(last.value), steps, "eval"), scope)), ""
    except Exception as error:
        caught: Any = error
        if type(caught).__name__ == "UDTException":
            return f"UDTException {caught.code}", str(caught)
        kinds = type(caught).__mro__
        return next(k.__name__ for k in kinds if k.__module__ == "builtins"), str(caught)


def gives(steps: str, expected: str, names: dict[str, Any]) -> None:
    """Check a row of a table: steps, and their `outcome` with words of its text after a colon."""
    said = re.fullmatch(r"(\w+(?:Error|Exception(?: \d+)?)): (.*)", expected)
    kind, words = said.groups() if said else (expected, "")
    got, says = outcome(steps, names)
    failure = f"{steps}\ngives {got} {says!r}\nand should give {expected}"
    assert got == kind, failure
    assert words in says, failure


def rows(table: Iterable[tuple[str, str, str]]) -> pytest.MarkDecorator:
    """Run a test for each row of a table: a promise, which names it, `steps` and `expected`."""
    made = [pytest.param(steps, expected, id=promise) for promise, steps, expected in table]
    return pytest.mark.parametrize(("steps", "expected"), made)
