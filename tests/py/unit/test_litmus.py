"""The checker of memory orders: known results of the classic programs, and that csrc passes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

LITMUS = Path(__file__).resolve().parents[2] / "model" / "litmus"
CSRC = LITMUS.parents[2] / "csrc"


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    sys.path.insert(0, str(LITMUS))
    yield
    sys.path.remove(str(LITMUS))
    for name in ("rc11", "pairs", "check"):
        sys.modules.pop(name, None)


@pytest.fixture
def rc11() -> ModuleType:
    return importlib.import_module("rc11")


def _thread(*accesses, names: str = "") -> Callable:
    """A thread that does these in turn and returns what its reads got, under these names."""

    def body():
        got = []
        for access in accesses:
            got.append((yield access))
        reads = [
            value
            for access, value in zip(accesses, got, strict=True)
            if type(access).__name__ not in ("Store", "Fence")
        ]
        return dict(zip(names, reads, strict=True))

    return body


def _possible(rc11, *threads, **wanted: int) -> bool:
    return any(wanted.items() <= outcome.items() for outcome in rc11.outcomes(list(threads)))


@pytest.mark.parametrize(
    ("store", "load", "possible"),
    [
        ("relaxed", "relaxed", True),
        ("release", "relaxed", True),
        ("relaxed", "acquire", True),
        ("release", "acquire", False),
    ],
)
def test_message_passing(rc11, store, load, possible):
    writer = _thread(rc11.Store("data", 1), rc11.Store("flag", 1, store))
    reader = _thread(rc11.Load("flag", load), rc11.Load("data"), names="fd")
    assert _possible(rc11, writer, reader, f=1, d=0) is possible


@pytest.mark.parametrize(
    ("fence", "possible"), [("release", True), ("acq_rel", True), ("seq_cst", False)]
)
def test_store_buffering(rc11, fence, possible):
    one = _thread(rc11.Store("x", 1), rc11.Fence(fence), rc11.Load("y"), names="a")
    two = _thread(rc11.Store("y", 1), rc11.Fence(fence), rc11.Load("x"), names="b")
    assert _possible(rc11, one, two, a=0, b=0) is possible


def test_load_buffering_is_out_of_thin_air(rc11):
    one = _thread(rc11.Load("x"), rc11.Store("y", 1), names="a")
    two = _thread(rc11.Load("y"), rc11.Store("x", 1), names="b")
    assert not _possible(rc11, one, two, a=1, b=1)


@pytest.mark.parametrize(
    ("store", "load", "possible"), [("release", "acquire", True), ("seq_cst", "seq_cst", False)]
)
def test_independent_reads_of_independent_writes(rc11, store, load, possible):
    threads = [
        _thread(rc11.Store("x", 1, store)),
        _thread(rc11.Store("y", 1, store)),
        _thread(rc11.Load("x", load), rc11.Load("y", load), names="ab"),
        _thread(rc11.Load("y", load), rc11.Load("x", load), names="cd"),
    ]
    assert _possible(rc11, *threads, a=1, b=0, c=1, d=0) is possible


def test_reads_of_one_location_are_coherent(rc11):
    writer = _thread(rc11.Store("x", 1), rc11.Store("x", 2))
    reader = _thread(rc11.Load("x"), rc11.Load("x"), names="ab")
    assert not _possible(rc11, writer, reader, a=2, b=1)


def test_fences_around_relaxed_accesses_pass_messages(rc11):
    writer = _thread(rc11.Store("data", 1), rc11.Fence("release"), rc11.Store("flag", 1))
    reader = _thread(rc11.Load("flag"), rc11.Fence("acquire"), rc11.Load("data"), names="fd")
    assert not _possible(rc11, writer, reader, f=1, d=0)


@pytest.mark.parametrize("relay_by_swap", [True, False])
def test_only_updates_continue_a_release_sequence(rc11, relay_by_swap):
    writer = _thread(rc11.Store("data", 1), rc11.Store("flag", 1, "release"))
    relay = _thread(rc11.Cas("flag", 1, 2, "relaxed", "relaxed"), names="r")
    if not relay_by_swap:
        relay = _thread(rc11.Load("flag"), rc11.Store("flag", 2), names="r")
    reader = _thread(rc11.Load("flag", "acquire"), rc11.Load("data"), names="fd")
    assert _possible(rc11, writer, relay, reader, r=1, f=2, d=0) is not relay_by_swap


def test_two_swaps_do_not_both_win(rc11):
    one = _thread(rc11.Cas("x", 0, 1), names="a")
    two = _thread(rc11.Cas("x", 0, 2), names="b")
    assert not _possible(rc11, one, two, a=0, b=0)


def test_adding_loses_nothing(rc11):
    one = _thread(rc11.Add("x", 1), names="a")
    two = _thread(rc11.Add("x", 1), names="b")
    assert {outcome["x"] for outcome in rc11.outcomes([one, two])} == {2}


@pytest.mark.skipif(not CSRC.is_dir(), reason="the C sources are not here")
def test_the_orders_of_csrc_are_needed_and_enough(capsys):
    assert importlib.import_module("check").main() == 0, capsys.readouterr().out
