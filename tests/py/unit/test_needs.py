"""../needs.py: what is skipped, why, and what would enable it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import needs
import pytest

pytest_plugins = ["pytester"]

Inner = Callable[..., pytest.RunResult]

C_TESTS = Path(needs.__file__).parents[1] / "c"
OUTER = """
import pytest, needs

@pytest.mark.needs("absent")
def test_a_right():
    raise SystemExit

@pytest.mark.program("true", "no-such-program")
def test_a_program():
    raise SystemExit

@pytest.mark.module("no_such_module")
def test_a_module():
    raise SystemExit

@pytest.mark.shm_mb(10**9)
def test_room():
    raise SystemExit

@pytest.mark.needs("present")
@pytest.mark.program("true")
@pytest.mark.module("json")
@pytest.mark.shm_mb(0)
def test_all_there():
    pass

@pytest.fixture
def peer():
    needs.require("absent")

def test_a_fixture(peer):
    raise SystemExit

@pytest.mark.skipif(True, reason="this  Python\\nis old")
def test_python():
    raise SystemExit
"""
CONFTEST = """
import needs
needs.NEEDS["absent"] = needs.Need(lambda: False, "a better machine")
needs.NEEDS["present"] = needs.Need(lambda: True, "")
"""
LOG = """
skipped: needs absent
ok     test_x
  skipped: no line of its own
skipped: needs program tc
"""
REASONS = {
    "needs absent": 3,
    "needs module no_such_module": 2,
    "needs program no-such-program": 1,
    "needs 1000000000 MB of shared memory": 1,
    "needs program tc": 1,
    "this Python is old": 1,
}


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:
    """Run the tests of `OUTER` with needs.py."""
    (pytester.path / "LastTest.log").write_text(LOG)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_outer=OUTER)
    pytester.makepyfile(test_file="import pytest; pytest.importorskip('no_such_module')")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(needs.__file__).parent))
    monkeypatch.setenv("SHMRING_CTEST_LOG", "LastTest.log")
    monkeypatch.setenv("SHMRING_TEST_SKIPS", "skips")
    return lambda *words: pytester.runpytest_subprocess("-p", "needs", *words)


@pytest.mark.parametrize("words", [(), ("-n", "2")], ids=["alone", "side-by-side"])
def test_one_table_tells_what_was_skipped(
    words: tuple[str, ...], inner: Inner, pytester: pytest.Pytester
) -> None:
    result = inner(*words)
    assert result.parseoutcomes()["passed"] == 1
    assert not {"failed", "errors"} & result.parseoutcomes().keys()
    result.stdout.fnmatch_lines(
        [
            "*= skipped =*",
            "tests  reason  * enabled by",
            "    3  needs absent  * a better machine",
            "    2  needs module no_such_module  * .venv/bin/pip install no_such_module",
        ]
    )
    result.stdout.fnmatch_lines(["    1  needs program tc  * apt install iproute2"])
    result.stdout.fnmatch_lines(["    1  this Python is old"])
    lines = (pytester.path / "skips").read_text().splitlines()
    assert lines == [f"{number}\t{reason}" for reason, number in sorted(REASONS.items())]


@pytest.mark.check
def test_what_is_installed_in_ci_may_not_be_missing_there(
    inner: Inner, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest(CONFTEST + "needs.PEERS = {'no-such-program'}")
    monkeypatch.setenv("CI", "true")
    assert inner().parseoutcomes()["errors"] == 1


@pytest.mark.check
def test_unknown_words_are_refused(inner: Inner, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_typo="import pytest\n@pytest.mark.needs('fifi')\ndef test(): ...")
    result = inner()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_typo.py::test: unknown needs ?'fifi'?"])


@pytest.mark.parametrize("word", [word for word, need in needs.NEEDS.items() if need.tried])
def test_every_word_can_be_tried(word: str) -> None:
    assert needs.lacking(word) in (True, False)
    assert needs.enabled_by(f"needs {word}")


@pytest.mark.skipif(not C_TESTS.is_dir(), reason="no C tests around these tests")
def test_c_tests_use_the_same_words() -> None:
    texts = [path.read_text() for path in C_TESTS.rglob("*.[ch]")]
    words = set(re.findall(r'\bTEST_(?:NEEDS|HAS)\(\s*"([^"]+)"', "".join(texts)))
    assert {"netns", "qdisc tbf"} <= words
    assert [word for word in words if not needs.enabled_by(f"needs {word}")] == []
