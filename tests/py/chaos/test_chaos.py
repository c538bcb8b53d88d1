"""The short form of `make chaos`: CHAOS_KILLS kills, 500 if nothing else is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# 500 kills take about 100 s on a quiet machine.
pytestmark = [pytest.mark.check, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
KILLS = int(os.environ.get("CHAOS_KILLS", "500"))
PERCENT = {"udp": 60, "rtp": 12, "netflux": 12, "cyclic": 4, "mux": 4, "udt": 4, "owners": 8}


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.mark.shm_mb(64)
@pytest.mark.parametrize("engine", PERCENT)
def test_the_ledger_balances_whoever_is_killed(engine: str) -> None:
    kills = max(2, KILLS * PERCENT[engine] // 100)
    done = run("run.py", "--engines", engine, "--kills", str(kills))
    print(done.stdout)
