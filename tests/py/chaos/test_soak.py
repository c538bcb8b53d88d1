"""The short form of `make soak`: SOAK_SECONDS of churn, 60 if nothing else is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.check

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))


@pytest.mark.shm_mb(256)
@pytest.mark.timeout(SECONDS + 840)
def test_churn_leaves_memory_and_descriptors_flat() -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    script = Path(__file__).with_name("soak.py")
    done = subprocess.run(
        [sys.executable, str(script), "--seconds", str(SECONDS), "--json"],
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS + 800,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
    result = json.loads(done.stdout)
    assert result["crossed_2_32"]
    assert result["workers_killed"] >= SECONDS // 12  # one every 4 to 8 s
    assert result["channels_opened_and_closed"] > 1.5 * SECONDS
