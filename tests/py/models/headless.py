"""A headless Chromium that shows one page: what is in it, and a picture of it.

    with Browser(folder, "http://127.0.0.1:9465/", width=390, height=900) as browser:
        browser.value("document.title")

It speaks the DevTools protocol over a pair of pipes, so that it needs no port and no package.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = "chromium"
PATIENCE_S = 60.0


class Browser:
    """A browser with one page, from entering it until leaving it."""

    def __init__(self, folder: Path, url: str, *, width: int, height: int, dark: bool = False):
        """folder: for the files of the browser. width, height: of the window, in pixels."""
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._first = (
            ("Emulation.setDeviceMetricsOverride", size),
            ("Emulation.setEmulatedMedia", {"features": [theme]}),
            ("Page.navigate", {"url": url}),
        )
        self._command = [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu"]
        self._command += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        self._session = ""
        self._number = 0
        self._data = b""

    def __enter__(self) -> Browser:
        here_read, there_write = os.pipe()
        there_read, here_write = os.pipe()
        # It reads commands from descriptor 3, and writes answers to 4.
        script = f'exec 3<&{there_read} 4>&{there_write}; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *self._command],
            pass_fds=(there_read, there_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(there_read)
        os.close(there_write)
        self._read, self._write = here_read, here_write
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript gives."""
        words = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        found = self._call("Runtime.evaluate", words)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return the value of an expression once it is true."""
        give_up = time.monotonic() + PATIENCE_S
        while not (found := self.value(expression)):
            assert time.monotonic() < give_up, expression
            time.sleep(0.1)
        return found

    def press(self, key: str, text: str) -> None:
        """Press a key, such as ``"Enter"``, which writes a text, such as ``"\r"``."""
        words = {"key": key, "code": key, "text": text, "windowsVirtualKeyCode": ord(text)}
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", {"type": kind, **words})

    def picture(self) -> bytes:
        """Return the window as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", {})["data"])

    # --- the protocol ---------------------------------------------------------------------------

    def _open(self) -> None:
        targets = self._call("Target.getTargets", {})["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self._call("Target.attachToTarget", {"targetId": page, "flatten": True})
        self._session = attached["sessionId"]
        for method, words in self._first:
            self._call(method, words)

    def _call(self, method: str, words: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": words}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        give_up = time.monotonic() + PATIENCE_S
        while (answer := self._message(give_up)).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        result = answer["result"]
        assert isinstance(result, dict)
        return result

    def _message(self, give_up: float) -> dict[str, Any]:
        while b"\0" not in self._data:
            left_s = max(0.0, give_up - time.monotonic())
            assert select.select([self._read], [], [], left_s)[0], "the browser does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            self._data += part
        text, _, self._data = self._data.partition(b"\0")
        found = json.loads(text)
        assert isinstance(found, dict)
        return found

    def _close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
