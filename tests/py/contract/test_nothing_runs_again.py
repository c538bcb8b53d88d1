"""A test runs once: what fails is understood, and not tried again until it passes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REFUSED = re.compile(
    r"rerunfailures|--re-?run|--last-failed|until-pass|after-timeout|mark\.flaky|\bflaky\("
)
NAMED = re.compile(r"\bAssertionError\b")
ANY = re.compile(r"\b(AssertionError|(Base)?Exception)\b")


def test_no_tool_runs_a_test_again(checkout: Path) -> None:
    named = [checkout / name for name in ("Makefile", "pyproject.toml", "CONTRIBUTING.md")]
    folders = [checkout / name for name in (".ci", ".github", "docs", "tests", "csrc/wheels")]
    paths = [*named, *(path for folder in folders for path in folder.rglob("*") if path.is_file())]
    assert len(paths) > 100
    paths = [path for path in paths if path.suffix != ".pyc" and path.name != Path(__file__).name]
    texts = {str(path): path.read_text(encoding="utf-8", errors="replace") for path in paths}
    assert [path for path, text in texts.items() if REFUSED.search(text)] == []


def going_on(text: str) -> set[int]:
    """Return the lines that catch AssertionError, or in a loop whatever an assertion raises.

    `pytest.raises(AssertionError)` is something else: there it must fail.
    """
    nodes = list(ast.walk(ast.parse(text)))
    loops = [ast.walk(node) for node in nodes if isinstance(node, ast.For | ast.While)]
    again, found = {part for loop in loops for part in loop}, set()
    for node in nodes:
        caught: list[str] = []
        if isinstance(node, ast.Try):
            caught = [ast.unparse(way.type) if way.type else "Exception" for way in node.handlers]
        if isinstance(node, ast.With):
            caught = [text for text in map(ast.unparse, node.items) if "suppress(" in text]
        asserts = any(isinstance(part, ast.Assert) for part in ast.walk(node))
        if any(map((ANY if asserts and node in again else NAMED).search, caught)):
            found.add(node.lineno)
    return found


def test_no_test_goes_on_after_an_assertion_that_failed(checkout: Path) -> None:
    paths = (checkout / "tests" / "py").rglob("*.py")
    found = {path.name: going_on(path.read_text(encoding="utf-8")) for path in paths}
    assert not any(found.values()), found


@pytest.mark.parametrize("caught", ["", " Exception", " builtins.AssertionError"])
def test_each_way_to_go_on_is_seen(caught: str) -> None:
    assert going_on(f"for _ in range(3):\n try:\n  assert 0\n except{caught}:\n  pass") == {2}
    assert going_on(f"while look():\n with suppress({caught or ' Exception'}):\n  assert 0") == {2}
    assert going_on("try:\n assert 0\nexcept Exception:\n pass") == set()
