"""The worlds of `make worlds` and the lists of what they skip."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def folder(checkout: Path) -> Path:
    return checkout / "tests" / "worlds"


@pytest.fixture(scope="module")
def worlds(folder: Path) -> dict[str, Any]:
    return runpy.run_path(str(folder / "worlds.py"))


def test_each_list_of_what_is_skipped_is_of_a_world(worlds: dict[str, Any], folder: Path) -> None:
    lists = {file.stem: worlds["read_skips"](file) for file in folder.glob("*.skips")}
    assert lists.keys() <= worlds["WORLDS"].keys()
    assert all(number > 0 for found in lists.values() for number in found.values())


def test_a_difference_in_either_direction_is_named(worlds: dict[str, Any], tmp_path: Path) -> None:
    written, listed = tmp_path / "written", tmp_path / "listed"
    written.write_text("3\tneeds fifo\n1\tneeds netns\n2\tneeds mlock\n")
    listed.write_text("# a remark\n3\tneeds fifo\n2\tneeds netns\n1\tneeds ptrace\n")
    assert worlds["differences"](written, listed) == [
        "needs mlock: 2 skipped, 0 expected",
        "needs netns: 1 skipped, 2 expected",
        "needs ptrace: 0 skipped, 1 expected",
    ]
