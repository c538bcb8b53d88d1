"""The short forms of `make chaos` and `make soak`: 500 kills, one minute of churn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Some 100 s on a quiet machine, all together.
pytestmark = pytest.mark.timeout(900)

HERE = Path(__file__).parent
KILLS = {"udp": 300, "rtp": 60, "netflux": 60, "mux": 20, "udt": 20, "owners": 40}


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
    return done


def test_there_are_500_kills() -> None:
    assert sum(KILLS.values()) >= 500


@pytest.mark.shm_mb(64)
@pytest.mark.parametrize("engine", KILLS)
def test_the_ledger_balances_whoever_is_killed(engine: str) -> None:
    done = run("run.py", "--engines", engine, "--kills", str(KILLS[engine]))
    print(done.stdout)


@pytest.mark.shm_mb(256)
def test_a_minute_of_churn_leaves_memory_and_descriptors_flat() -> None:
    result = json.loads(run("soak.py", "--seconds", "60", "--json").stdout)
    assert result["crossed_2_32"]
    assert result["workers_killed"] >= 5
    assert result["channels_opened_and_closed"] > 100
