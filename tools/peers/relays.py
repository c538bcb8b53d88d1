"""A relay of another author, for `shmring bench impair`."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

from shmring_bench.measure import Plan, Unavailable

_START_S = 5.0


@contextlib.contextmanager
def socat(plan: Plan, port: int, delay_ns: int) -> Iterator[int]:
    """A general relay, which has no impairments."""
    assert not delay_ns
    if shutil.which("socat") is None:
        raise Unavailable("socat is not installed")
    pin = [] if plan.worker_cpu is None else ["taskset", "--cpu-list", str(plan.worker_cpu)]
    listen = _free_port()
    ends = [f"UDP4-LISTEN:{listen},bind=127.0.0.1", f"UDP4:127.0.0.1:{port}"]
    with subprocess.Popen([*pin, "socat", *ends], stderr=subprocess.DEVNULL) as relay:
        try:
            _await_listener(listen)
            yield listen
        finally:
            relay.kill()


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_listener(port: int) -> None:
    """Wait until a socket is bound to the port. A datagram before would be socat's first."""
    until_s = time.monotonic() + _START_S
    wanted = f"0100007F:{port:04X}"
    while True:
        with open("/proc/net/udp") as table:
            if any(line.split()[1:2] == [wanted] for line in table):
                return
        if time.monotonic() > until_s:
            raise Unavailable(f"socat did not listen within {_START_S:.0f} s")
        time.sleep(0.01)
