"""Every test is in one room of ../rooms.py, which `make test ROOM=...` runs alone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import rooms

HERE = Path(__file__).parents[1]
NAMES = [path.relative_to(HERE).as_posix() for path in sorted(HERE.rglob("test_*.py"))]


@pytest.fixture(scope="module")
def programs(checkout: Path) -> list[str]:
    """The names of C tests that are files, as ctest has them."""
    top = checkout / "tests" / "c"
    found = (path for name in ("unit", "sim", "stress") for path in (top / name).rglob("*.c"))
    return [str(path.relative_to(top).with_suffix("")) for path in found]


def test_every_file_has_a_room() -> None:
    assert [name for name in NAMES if not rooms.room_of(name)] == []


def test_every_beginning_is_in_one_room_and_of_use() -> None:
    begins = Counter(word for text in rooms.PYTHON.values() for word in text.split())
    assert [word for word, count in begins.items() if count > 1] == []
    of_use = set()
    for name in NAMES:
        of_use.add(max((word for word in begins if name.startswith(word)), key=len))
    assert set(begins) - of_use == set()


def test_every_c_test_is_run_for_one_room(programs: list[str]) -> None:
    assert len(programs) > 100
    chosen = Counter[str]()
    for room in rooms.PYTHON:
        _, kind, pattern = rooms.ctest_words(room)
        found = [name for name in programs if bool(re.search(pattern, name)) == (kind == "-R")]
        assert all(rooms.room_of(name, rooms.C) == room for name in found), room
        chosen.update(found)
    assert set(chosen) == set(programs)
    assert chosen.total() == len(programs)


def test_make_names_the_rooms(checkout: Path) -> None:
    assert f"ROOM={'|'.join(rooms.PYTHON)}" in (checkout / "Makefile").read_text()
