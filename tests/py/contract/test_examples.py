"""docs/examples: each program is short, runs, and does what its page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

pytestmark = pytest.mark.check

PATIENCE_S = 120
# What each prints. Where the machine decides about a number, any will do.
EXAMPLES = {
    "control_loop": r"(?s).*ALARM: set-point 5\d left .* late: enqueued_late\n.*of 100 set-points",
    "jitter_whatif": r"( +\d+ ms +\d+\.\d% #*\n){5}",
    "lighting": r"\d+ frames, from \d+ to \d+ and then 64\n<Histogram of \d+",
    "market_fanout": r"(\w+: \d+ ticks, \d+ lost, best price 100.96\n){4}",
    "media_bridge": r"\d+ of 40 packets lost before the bridge\n80 samples",
    "midi_clock": r"(bar \d+: woken \d+ us .*\n){2}\d+\.\d\d to \d+\.\d\d beats a minute",
    "one_way_delay": r"(below +\d+ us +\d+ #+\n)+",
    "plc_logger": r"\[\{'time_ns': \d+, 'speed': 12\.5, 'parts': \d+\}, ",
}
FILES = {"jitter_whatif": {"jitter.svg"}, "plc_logger": {"press.parquet"}}
ELSEWHERE = {"reader", "processes"}  # tests/py/system


@pytest.fixture
def examples(checkout: Path) -> Path:
    return checkout / "docs" / "examples"


def run(script: Path, folder: Path) -> str:
    """As a user runs it: it asks for real-time priority, which this machine may not give it."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-W", "ignore::RuntimeWarning", str(script)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "SHMRING_POLICY"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.usefixtures("shmring_namespace")
def test_an_example_runs(name: str, examples: Path, tmp_path: Path) -> None:
    assert re.match(EXAMPLES[name], run(examples / f"{name}.py", tmp_path))
    made = {path.name for path in tmp_path.iterdir()}
    assert made == FILES.get(name, set())
    if name == "plc_logger":
        parts = pyarrow.parquet.read_table(tmp_path / "press.parquet")["parts"].to_pylist()
        assert len(parts) == 50
        assert parts == sorted(parts)


def test_examples_are_short_and_known(examples: Path) -> None:
    scripts = {path.stem: path.read_text("utf-8") for path in examples.glob("*.py")}
    assert scripts.keys() == EXAMPLES.keys() | ELSEWHERE
    page = (examples.parent / "index.md").read_text("utf-8")
    for name, text in scripts.items():
        assert text.count("\n") <= 40, name
        assert f"(examples/{name}.py)" in page


def test_the_charts_of_performance_are_drawn_from_their_data(
    checkout: Path, tmp_path: Path
) -> None:
    pictures = checkout / "docs" / "pictures"
    command = [sys.executable, "-P", str(pictures / "make_bench.py")]
    for data in pictures.glob("*.jsonl"):
        subprocess.run([*command, data, tmp_path], check=True)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in pictures.glob("bench-*.svg")}
    assert all("</svg>" in (tmp_path / name).read_text("utf-8") for name in drawn)
