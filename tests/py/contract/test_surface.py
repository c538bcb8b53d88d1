"""Public names, signatures, options of commands and symbols of the libraries change on purpose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_public_surface_is_the_one_that_is_committed(checkout: Path) -> None:
    written = checkout / "tests" / "surface.txt"
    done = subprocess.run(
        [sys.executable, "-P", written.with_suffix(".py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    before, now = ({*text.splitlines()} for text in (written.read_text("utf-8"), done.stdout))
    differing = [*(f"- {line}" for line in before - now), *(f"+ {line}" for line in now - before)]
    differing.sort(key=lambda line: (line[2:], line[0] == "+"))
    assert not differing, "\n".join(["run `make surface` if the change is meant:", *differing])
