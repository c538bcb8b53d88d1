"""A test runs once: what fails is understood, and not tried again until it passes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REFUSED = re.compile(r"rerunfailures|--reruns|until-pass|mark\.flaky|\bflaky\(")


def test_no_tool_runs_a_test_again(checkout: Path) -> None:
    named = [checkout / name for name in ("Makefile", "pyproject.toml", "CONTRIBUTING.md")]
    folders = [checkout / name for name in (".ci", ".github", "docs", "tests", "csrc/wheels")]
    paths = [*named, *(path for folder in folders for path in folder.rglob("*") if path.is_file())]
    assert len(paths) > 100
    found = [
        str(path)
        for path in paths
        if REFUSED.search(path.read_text(encoding="utf-8", errors="replace"))
        and path.suffix != ".pyc"
        and path.name != Path(__file__).name
    ]
    assert found == []


def test_no_test_goes_on_after_an_assertion_that_failed(checkout: Path) -> None:
    """`pytest.raises(AssertionError)` is something else: there it must fail."""
    found = []
    for path in (checkout / "tests" / "py").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.ExceptHandler(type=caught) if caught is not None:
                    caught_names = ast.walk(caught)
                case ast.Call(func=ast.Attribute(attr="suppress") | ast.Name(id="suppress")):
                    caught_names = ast.walk(node)
                case _:
                    continue
            names = {name.id for name in caught_names if isinstance(name, ast.Name)}
            if "AssertionError" in names:
                found.append(f"{path.name}:{node.lineno}")
    assert found == []
