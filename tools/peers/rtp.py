"""The original `rtpsynth`, for `shmring bench rtp`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from shmring_bench.measure import Unavailable

VERSION = "1.3.3"
_INSTALL_TIMEOUT_S = 180


def original(given: str | None) -> list[str]:
    """Return the command that starts an interpreter with the original: the given one, or one in a
    virtual environment that is made once, below the user's cache folder.

    Raises `Unavailable`.
    """
    python = Path(given) if given else _environment() / "bin" / "python"
    words = [str(python), "-I"]
    _check(words)
    return words


def _environment() -> Path:
    """Return a virtual environment with the original. The first call makes it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    tag = sys.implementation.cache_tag or "python"
    folder = cache / "shmring" / "peers" / f"rtpsynth-{VERSION}-{tag}"
    if folder.is_dir():
        return folder
    print(f"shmring bench: installing rtpsynth {VERSION} into {folder}, once", file=sys.stderr)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise Unavailable(f"it cannot be stored: {error}") from error
    try:
        _install(made)
        made.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process made it in the meantime
            raise Unavailable(f"it cannot be stored: {error}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _install(folder: Path) -> None:
    venv.create(folder, with_pip=True)
    command = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--retries=1",
        "--timeout=15",
        f"rtpsynth=={VERSION}",
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"pip did not end within {_INSTALL_TIMEOUT_S} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["pip gave no reason"]
        raise Unavailable(f"rtpsynth {VERSION} could not be installed: {lines[-1]}")


def _check(python: list[str]) -> None:
    try:
        done = subprocess.run(
            [*python, "-c", "import rtpsynth.RtpSynth"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{python[0]}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"{python[0]} has no working rtpsynth")
