"""What the tests of `shmring bench` share: running it, and reading its rows."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from kit.commands import SHMRING

from rtworkers import paths
from shmring_bench.measure import Row

COMMAND = [*SHMRING, "bench"]
CHECKOUT = Path(__file__).parents[4]
"""Only there are comparisons with programs of other authors found."""
UNITS = {"ns", "pps", "bps", "bytes", "percent", "per_s", "packets", "verdict"}


def command(*words, cwd=CHECKOUT, **environment):
    with subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    ) as process:
        try:
            out, err = process.communicate(timeout=250)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    left = [name for name in paths.shm_names() if name.namespace == f"bench-{process.pid}"]
    assert left == []
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def bench(name, *words):
    done = command(name, "--duration", "0.1", "--runs", "1", *words)
    rows = json.loads(done.stdout) if "--json" in words else []
    figures = ({key: row[key] for key in Row._fields} for row in rows)
    # A receiver on a busy machine may lose packets.
    code = 2 if any(Row(**figure).is_failure for figure in figures) else 0
    assert done.returncode == code, done.stderr
    return done.stdout


def rows_of(text, name):
    rows = json.loads(text)
    for row in rows:
        keys = ["bench", "case", "system", "metric", "value", "unit", "lacking"]
        assert list(row) == keys
        assert row["bench"] == name
        assert row["unit"] in UNITS
        assert isinstance(row["value"], (int, float))
    keys = [(row["case"], row["system"], row["metric"]) for row in rows]
    assert len(keys) == len(set(keys))
    return rows


@pytest.fixture(name="command", scope="session")
def _command():
    """Run `shmring bench` with some words, and return the completed process."""
    return command


@pytest.fixture(name="bench", scope="session")
def _bench():
    """Run a bench once, for a short time, and return its output."""
    return bench


@pytest.fixture(name="rows_of", scope="session")
def _rows_of():
    """Return the checked rows of the JSON lines of a bench."""
    return rows_of
