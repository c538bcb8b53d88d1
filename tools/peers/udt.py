"""Streams over libudt and libsrt, for `shmring bench udt`: programs that are built at first use."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from shmring_bench.measure import Unavailable

_SOURCE = Path(__file__).with_name("udt_end.cpp")
_LIBRARIES = {
    "libudt": ("WITH_UDT", "udt", "libudt-dev"),
    "libsrt": ("WITH_SRT", "srt", "libsrt-openssl-dev"),
}
_COMPILE_TIMEOUT_S = 120


def program(library: str) -> Path:
    """Return the program for a library, built at the first call, below the user's cache folder.
    Raises `Unavailable`."""
    macro, name, package = _LIBRARIES[library]
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made_once = cache / "shmring" / "peers" / f"{library}-{platform.machine()}-{digest}"
    if made_once.is_file():
        return made_once
    print(f"shmring bench: building {made_once}, once", file=sys.stderr)
    try:
        made_once.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made_once.parent) as folder:
            made = Path(folder) / library
            words = ["g++", "-std=c++17", "-O2", f"-D{macro}", "-o", str(made), str(_SOURCE)]
            _compile([*words, f"-l{name}", "-pthread"], package)
            made.rename(made_once)
    except OSError as error:
        raise Unavailable(f"it cannot be stored: {error}") from error
    return made_once


def _compile(words: list[str], package: str) -> None:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise Unavailable(f"there is no g++: install g++ and {package}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"g++ did not end within {_COMPILE_TIMEOUT_S} s") from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line or "cannot" in line]
        reason = (lines or ["g++ gave no reason"])[0]
        raise Unavailable(f"it does not build ({reason}): install {package}")
