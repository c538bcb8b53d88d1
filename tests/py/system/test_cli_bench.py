"""`shmring bench`: the rows it prints, and that it cleans up. The figures are not judged."""

import json
import os
import subprocess
import sys

import pytest

from rtworkers import paths

COMMAND = [sys.executable, "-P", "-m", "shmring.cli", "bench"]
UNITS = {"ns", "pps", "bps", "bytes", "percent"}


def command(*words, **environment):
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, **environment},
    )


def bench(name, *words):
    done = command(name, "--seconds", "0.1", "--runs", "1", *words)
    assert done.returncode == 0, done.stderr
    left = [name for name in paths.shm_names() if name.namespace.startswith("bench-")]
    assert left == []
    return done.stdout


def rows_of(text, name):
    """The rows of some JSON lines, each checked."""
    rows = [json.loads(line) for line in text.splitlines()]
    for row in rows:
        assert list(row) == ["bench", "case", "system", "metric", "value", "unit"]
        assert row["bench"] == name
        assert row["unit"] in UNITS
        assert isinstance(row["value"], (int, float))
    keys = [(row["case"], row["system"], row["metric"]) for row in rows]
    assert len(keys) == len(set(keys))
    return rows


@pytest.mark.parametrize(
    ("name", "systems"),
    [
        ("timed", {"shmring", "floor", "rtudp-dropin", "time.sleep", "asyncio"}),
        ("bulk", {"shmring", "floor", "socket"}),
        ("rtt", {"shmring", "floor", "socket"}),
        ("ipc", {"shmring", "floor"}),
    ],
)
def test_each_row_is_one_figure_of_one_system(name, systems):
    rows = rows_of(bench(name, "--json"), name)
    assert systems <= {row["system"] for row in rows}
    assert all(row["value"] == 0 for row in rows if row["metric"] == "lost")


def test_people_get_the_ratio_to_bare_c():
    text = bench("rtt")
    assert "floor" in text
    assert " x)" in text


def test_cases_can_be_chosen_among_the_options():
    done = command("ipc", "--quick", "ring-32B", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["case"] for row in rows_of(done.stdout, "ipc")} == {"ring-32B"}


def test_a_case_that_does_not_exist_is_wrong_usage():
    done = command("rtt", "65B")
    assert done.returncode == 1
    assert "no case 65B; there are: 64B" in done.stderr


@pytest.mark.parametrize("words", [("--runs", "0"), ("--seconds", "0"), ("--seconds", "soon")])
def test_nonsense_is_wrong_usage(words):
    done = command("rtt", *words)
    assert done.returncode == 1
    assert words[0] in done.stderr
