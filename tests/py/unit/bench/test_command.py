"""The exit code of `shmring bench`: packets of ours that are missing are a failure."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from shmring.errors import RealtimeWarning
from shmring_bench import command, peers
from shmring_bench.measure import Figures, Plan, Row, alternate
from shmring_cli import main

CHECKOUT = Path(__file__).parents[4]


def exit_code(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> int:
    monkeypatch.setitem(command.BENCHES, "timed", lambda _: iter(rows))
    return main(["bench", "timed", "--json"])


@pytest.mark.parametrize(
    ("system", "metric", "value", "code"),
    [
        ("shmring", "lost", 0.5, 2),
        ("shmring", "missing", 1.0, 2),
        ("shmring-catch-up", "missing", 0.1, 2),
        ("shmring", "unsent", 0.1, 2),
        ("flooded", "lost", 0.1, 2),
        ("tapped", "lost", 0.1, 2),
        ("rtudp-dropin", "lost", 0.1, 2),
        ("shmring", "missing", 0.0, 0),
        ("iperf3", "missing", 9.0, 0),
        ("shmring", "error_p99", 9.0, 0),
    ],
)
def test_missing_packets_of_ours_are_a_failure(
    system: str, metric: str, value: float, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = Row("1kHz", "shmring", "lost", 0.0, "percent")
    assert exit_code(monkeypatch, fine, Row("1kHz", system, metric, value, "percent")) == code


def test_json_has_the_long_form_of_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(plan: Plan) -> Iterator[Row]:
        plan.lacks("no mgen")
        warnings.warn(RealtimeWarning("few words", "the long form"), stacklevel=1)
        yield Row("1kHz", "shmring", "rate", 1.0, "pps")

    monkeypatch.setitem(command.BENCHES, "timed", run)
    assert main(["bench", "timed", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)[0]["lacking"] == ["the long form", "no mgen"]
    assert "few words" in shown.err
    assert "long form" not in shown.err


def test_the_worst_run_tells_what_is_missing() -> None:
    """Also if most runs lost nothing."""

    def figures() -> Iterator[Figures]:
        for lost, late in ((0.0, 3.0), (5.0, 1.0), (0.0, 2.0)):
            yield {("lost", "percent"): lost, ("error_p50", "ns"): late}

    runs = figures()
    rows = alternate(Plan(None, 3, None, None, "bench"), "case", {"shmring": lambda: next(runs)})
    assert {row.metric: row.value for row in rows} == {"lost": 5.0, "error_p50": 2.0}


def test_peers_are_found_in_the_source_tree_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(CHECKOUT)
    assert peers.folder() == CHECKOUT / "tools" / "peers"
    monkeypatch.chdir(tmp_path)
    plan = Plan(None, 1, None, None, "bench")
    systems = {"mgen": peers.part("generate", "mgen"), "shmring": lambda: {("rate", "pps"): 1.0}}
    assert [row.system for row in alternate(plan, "case", systems)] == ["shmring"]
    assert list(plan.lacking) == ["mgen: peer: needs the source tree"]


def test_peers_of_another_user_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A command that is run in a strange folder must not run what lies there."""
    (tmp_path / "tools" / "peers").mkdir(parents=True)
    (tmp_path / "tools" / "peers" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    assert peers.folder() is not None
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert (peers.folder() is None) == (os.getuid() != 0)
