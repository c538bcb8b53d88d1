"""The commands as child processes, of the interpreter that runs the tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from kit.waiting import PATIENCE_S

SHMRING = [sys.executable, "-P", "-m", "shmring_cli"]
RTSTAT = [sys.executable, "-P", "-m", "rtstat"]


def run(
    command: Sequence[str], *words: str, code: int | None = 0, **how: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its exit code must be `code`, where that is not None."""
    how = {"timeout": PATIENCE_S, **how}
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, **how)
    assert code in (None, done.returncode), (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    return done
