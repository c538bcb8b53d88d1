"""The count of lines behind `tests/budgets.txt`."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def budgets(checkout: Path) -> dict[str, Any]:
    return runpy.run_path(str(checkout / "tests" / "budgets.py"))


def test_comments_and_docstrings_are_no_code(budgets: dict[str, Any]) -> None:
    text = '"""A\nmodule."""\n\n# a remark\ndef f():\n    """Do."""\n    return """a\nb"""\n'
    assert budgets["python_lines"](text) == 3
    assert budgets["c_lines"]('/* a\n remark */\nint a; /* b */\n// c\nchar *d = "/*";\n\n') == 2


def test_rooms(budgets: dict[str, Any]) -> None:
    rooms = ["shmring/rtp", "csrc/worker/agents/udp", "csrc/worker", "tests/py/unit"]
    assert [budgets["room_of"](f"{room}/a.py") for room in rooms] == rooms
    assert budgets["room_of"]("tests/py/unit/netflux/partners/a.py") == "tests/py/unit"


def test_a_room_above_its_budget_is_named(budgets: dict[str, Any]) -> None:
    sizes = Counter({"a": 7, "b": 3, "c": 1})
    said = budgets["complaints"](sizes, {"a": 5, "b": 3, "d": 2})
    assert [line.partition(":")[0] for line in said] == ["a", "c", "d"]
    assert said[0].startswith("a: 7, 2 above the budget of 5: ")
    assert "say why" in said[0]
