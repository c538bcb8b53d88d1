"""`shmring bench`: the rows it prints, and that it cleans up. The figures are not judged."""

import json
import subprocess
import sys

import pytest

from rtworkers import paths

COMMAND = [sys.executable, "-P", "-m", "shmring.cli", "bench"]
UNITS = {"ns", "pps", "bps", "bytes", "percent"}


def bench(name, *words):
    done = subprocess.run(
        [
            *COMMAND,
            name,
            "--seconds",
            "0.1",
            "--runs",
            "1",
            *words,
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left = [name for name in paths.shm_names() if name.namespace.startswith("bench-")]
    assert left == []
    return done.stdout


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
    rows = [json.loads(line) for line in bench(name, "--json").splitlines()]
    for row in rows:
        assert list(row) == ["bench", "case", "system", "metric", "value", "unit"]
        assert row["bench"] == name
        assert row["unit"] in UNITS
        assert isinstance(row["value"], (int, float))
    assert systems <= {row["system"] for row in rows}
    keys = [(row["case"], row["system"], row["metric"]) for row in rows]
    assert len(keys) == len(set(keys))
    assert all(row["value"] == 0 for row in rows if row["metric"] == "lost")


def test_people_get_the_ratio_to_bare_c():
    text = bench("rtt")
    assert "floor" in text
    assert " x)" in text


@pytest.mark.parametrize("words", [("--runs", "0"), ("--seconds", "0"), ("--seconds", "soon")])
def test_nonsense_is_wrong_usage(words):
    done = subprocess.run(
        [*COMMAND, "rtt", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert words[0] in done.stderr
