"""The demo's second process: it attaches to a channel by name and reads what arrives."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import time
from typing import Any, Self

import shmring
from shmring_bench.samples import Lateness

REPORT_EVERY_S = 0.1
# Longer than the demo's first packet needs, and than any pause in its schedule.
PATIENCE_S = 5.0

_HEAD = struct.Struct("=q")


class Reader:
    """Runs the second process. `count` is the number of packets that it has read."""

    def __init__(self, name: str, namespace: str, expected: int) -> None:
        self.count = 0
        self._last: dict[str, Any] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "shmring_demo.reader", name, namespace, str(expected)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._follower = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise OSError(None, f"the reading process did not start: {self._errors()}")
        self._follower.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._follower.ident is not None:
            self._follower.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def result(self, timeout_s: float) -> dict[str, Any]:
        """Return everything it read. Raises `OSError`, `subprocess.TimeoutExpired`."""
        if self._process.wait(timeout_s + PATIENCE_S) != 0:
            raise OSError(None, f"the reading process failed: {self._errors()}")
        self._follower.join()
        return self._last

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._last = json.loads(line)
            self.count = self._last["read"]

    def _errors(self) -> str:
        assert self._process.stderr is not None
        self._process.wait()
        lines = self._process.stderr.read().strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"


def main() -> int:
    """Read until `expected` packets came, or none for `PATIENCE_S`. Print one JSON object
    per line."""
    name, namespace, expected = sys.argv[1], sys.argv[2], int(sys.argv[3])
    after_deadline_ns: list[int] = []
    with shmring.attach(name, namespace=namespace) as channel:
        _say({"attached": name})
        reported = time.monotonic()
        while len(after_deadline_ns) < expected:
            try:
                packet = channel.recv(timeout=PATIENCE_S)
            except TimeoutError:
                break
            (due,) = _HEAD.unpack_from(packet.data)
            after_deadline_ns.append(packet.timestamp_ns - due)
            if time.monotonic() - reported > REPORT_EVERY_S:
                _say({"read": len(after_deadline_ns)})
                reported = time.monotonic()
    late = Lateness(after_deadline_ns)
    _say(
        {
            "read": len(late),
            "p50_ns": late.signed_ns(0.5),
            "p99_ns": late.signed_ns(0.99),
            "pid": os.getpid(),
        }
    )
    return 0


def _say(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    sys.exit(main())
