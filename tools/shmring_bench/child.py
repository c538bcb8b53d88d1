"""Runs a part of a measurement in a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence


def output(words: Sequence[str], name: str, namespace: str, timeout_s: float) -> str:
    """Run a command line to its end. Return what it printed.

    name: of the part. namespace: where it opens channels. Raises `OSError` with the last line that
    it wrote to standard error.
    """
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, "SHMRING_NAMESPACE": namespace},
        )
    except subprocess.TimeoutExpired:
        raise OSError(None, f"{name} did not end within {timeout_s:.0f} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise OSError(None, f"{name}: {lines[-1]}")
    return done.stdout
