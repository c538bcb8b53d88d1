"""Draws docs/pictures/rtstat-web*.png: the page of rtstat --serve-web when much is wrong.

    PYTHONPATH=tests/py/models python docs/pictures/make_web.py

Needs Chromium.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from headless import Browser
from rtstat_scene import Scene

FOLDER = Path(__file__).parent
NAMESPACE = "factory"
SECONDS = 20
PICTURES = (("rtstat-web", 1000, 2080, False), ("rtstat-web-phone", 390, 1300, True))


def main() -> None:
    """Build the scene, and take the pictures of one channel in it."""
    os.environ["SHMRING_NAMESPACE"] = NAMESPACE
    command = [sys.executable, "-m", "rtstat", "--serve-web", "0"]
    with Scene(NAMESPACE), subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            url = server.stderr.readline().split()[-1]
            for name, width, height, dark in PICTURES:
                take(url, name, width, height, dark)
        finally:
            server.terminate()


def take(url: str, name: str, width: int, height: int, dark: bool) -> None:
    """Take one picture."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Browser(Path(folder), url, width=width, height=height, dark=dark) as browser,
    ):
        axis = "[...document.querySelectorAll('#channels button')]"
        axis += f".find((b) => b.textContent === '{NAMESPACE}/axis')"
        browser.wait_for(f"!!{axis}")
        if not dark:
            browser.value(f"{axis}.click()")
            time.sleep(SECONDS)
            browser.value("window.scrollTo(0, 0)")
        (FOLDER / f"{name}.png").write_bytes(browser.picture())


if __name__ == "__main__":
    main()
