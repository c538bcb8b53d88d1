"""What `shmring up` tells systemd, and the unit that listens."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE_S = 60.0


def test_ready_alive_and_stopping(shmring_namespace: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE_S)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        up = subprocess.Popen(
            [sys.executable, "-P", "-m", "shmring_cli", "up", "plant"],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
        )
        try:
            assert systemd.recv(4096).startswith(b"READY=1\nSTATUS=pool plant in namespace ")
            assert [systemd.recv(4096) for _ in range(2)] == [b"WATCHDOG=1", b"WATCHDOG=1"]
            up.send_signal(signal.SIGTERM)
            told = systemd.recv(4096)
            while told == b"WATCHDOG=1":
                told = systemd.recv(4096)
            assert told == b"STOPPING=1"
            assert up.wait(PATIENCE_S) == 0
        finally:
            up.kill()
            up.wait()


def test_nothing_is_told_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    from shmring_cli import notify

    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.tell("READY=1")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert notify.watchdog_s() is None
    for nothing in ("0", "", "soon"):
        monkeypatch.setenv("WATCHDOG_USEC", nothing)
        assert notify.watchdog_s() is None
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify.watchdog_s() is None
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert notify.watchdog_s() == 0.5


@pytest.mark.program("systemd-analyze")
def test_systemd_accepts_the_unit(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    unit = request.config.rootpath / "docs" / "packaging" / "shmring@.service"
    if not unit.is_file():
        pytest.skip("no sources around these tests")
    instance = tmp_path / "shmring@plant.service"
    shutil.copy(unit, instance)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(instance)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "shmring@" in line] == []
