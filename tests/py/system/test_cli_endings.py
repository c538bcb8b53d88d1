"""Every command that runs until it is told ends at a signal, and at two in a row.

All commands run side by side, because most of the time they only start and wait.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import needs
import pytest

import shmring
from rtworkers import paths
from shmring.net import tap
from shmring.testing import captures

pytestmark = pytest.mark.check

PATIENCE_S = 240.0
FINE, FAILED = 0, 2
SHMRING = ("shmring_cli",)
RTSTAT = ("rtstat", "--namespace", "TARGET")
SINK = '{"system": "tcp", "streams": 1, "address": "127.0.0.1", "options": {}}'


@dataclass
class Command:
    """A running command."""

    process: subprocess.Popen[bytes]
    output: Path
    namespace: str
    target: str

    def text(self) -> str:
        return self.output.read_text("utf-8", "replace")

    def stats(self, part: str) -> list[shmring.stats.ChannelStats]:
        """The counters of the channels that it has opened, with names that end in `part`."""
        found = []
        for info in shmring.channels(self.namespace):
            if not info.name.endswith(part):
                continue
            with contextlib.suppress(shmring.ShmringError, OSError):
                ch = shmring.attach(info.name, namespace=self.namespace, readonly=True)
                found.append(ch.stats())
                ch.close()
        return found


Ready = Callable[[Command], bool]


def says(text: str) -> Ready:
    return lambda command: text in command.text()


def counts(name: str, part: str = "") -> Ready:
    return lambda command: any(getattr(stats, name) > 0 for stats in command.stats(part))


def opens(command: Command) -> bool:
    return bool(shmring.channels(command.namespace))


def demonstrates(command: Command) -> bool:
    return bool(shmring.channels(f"demo-{command.process.pid}"))


def looks(command: Command) -> bool:
    return "/dev/shm/" in Path(f"/proc/{command.process.pid}/maps").read_text()


def taps(command: Command) -> bool:
    return tap.trigger("ctl", "is it there?", namespace=command.target) > 0


class Case(NamedTuple):
    """A command, when it can be told to end, and what it then ends with."""

    words: tuple[str, ...]
    ready: Ready
    code: int = FINE
    number: signal.Signals = signal.SIGTERM
    needs: str = "shmring"
    """A package."""


TO = ("--to", "127.0.0.1:SILENT")
PLAY = ("replay", "FOLDER/line.pcap", *TO, "--loop", "forever", "--limit", "late=100%")
LONG = ("--duration", "600", "--limit", "late=100%")
HERE = ("--local", "127.0.0.1:0")
OFFER = ("udt", "send", "--plain", "--keep", "FOLDER/line.pcap", "127.0.0.1:0")
UP = (*SHMRING, "up", "plant", "--policy", "other")
CASES = {
    "reflect": Case((*SHMRING, "reflect", "127.0.0.1:ANSWERS"), says("answering on")),
    "up": Case(UP, says("is ready")),
    "up, SIGHUP": Case(UP, says("is ready"), number=signal.SIGHUP),
    "up, SIGINT": Case(UP, says("is ready"), number=signal.SIGINT),
    "impair": Case((*SHMRING, "impair", "127.0.0.1:0", *TO), says("backward")),
    "clock": Case((*SHMRING, "clock", "127.0.0.1:ANSWERS"), says("round trip")),
    "clock, silence": Case(
        (*SHMRING, "clock", "127.0.0.1:SILENT", "--wait", "600"), opens, FAILED
    ),
    "measure": Case(
        (*SHMRING, "measure", "127.0.0.1:ANSWERS", *LONG), counts("rx_received", "probes")
    ),
    "replay": Case((*SHMRING, *PLAY), counts("tx_sent")),
    "generate": Case((*SHMRING, "generate", "127.0.0.1:SILENT", *LONG), counts("tx_sent")),
    "tap": Case((*SHMRING, "tap", "TARGET/ctl", "-o", "FOLDER/ctl.pcapng"), taps),
    "udt recv": Case((*SHMRING, "udt", "recv", "FOLDER/one", *HERE), says("listening"), FAILED),
    "udt recv --keep": Case(
        (*SHMRING, "udt", "recv", "FOLDER/in", "--keep", *HERE), says("listening")
    ),
    "udt send": Case(
        (*SHMRING, "udt", "send", "FOLDER/line.pcap", "127.0.0.1:SILENT"), opens, FAILED
    ),
    "udt send --plain --keep": Case((*SHMRING, *OFFER), says("listening")),
    "rtstat --plain": Case((*RTSTAT, "--plain", "-i", "1"), says("ctl")),
    "rtstat --json-lines": Case((*RTSTAT, "--json-lines", "-i", "0.2"), says("ctl")),
    "rtstat --csv": Case((*RTSTAT, "--csv", "-i", "0.2"), says("ctl")),
    "rtstat --record": Case((*RTSTAT, "--record", "FOLDER/night.csv"), says("recording")),
    "rtstat --serve-web": Case((*RTSTAT, "--serve-web", "0"), says("page at")),
    "rtstat --serve-metrics": Case(
        (*RTSTAT, "--serve-metrics", "0"), says("metrics at"), needs="prometheus_client"
    ),
    "an end of bench": Case(("shmring_bench.udt_end", "sink", SINK), says("pids")),
    # These end by themselves, so a signal interrupts them.
    "demo": Case((*SHMRING, "demo", "--duration", "600"), demonstrates, FAILED),
    "rtstat show": Case(("rtstat", "show", "TARGET/ctl", "--interval", "600"), looks, FAILED),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Command]]:
    """All commands, after each was told twice to end."""
    folder = tmp_path_factory.mktemp("endings")
    packets = [
        (number * 10_000_000, captures.udp(b"hello", to=("127.0.0.1", 9))) for number in range(100)
    ]
    (folder / "line.pcap").write_bytes(captures.pcap(packets, link=captures.LINK_RAW))
    target = f"endings-{os.getpid()}"
    commands: dict[str, Command] = {}
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free,
        shmring.Pool(namespace=target, policy="other") as pool,
        pool.open("ctl", local=("127.0.0.1", 0)),
    ):
        silent.bind(("127.0.0.1", 0))
        free.bind(("127.0.0.1", 0))
        values = {
            "FOLDER": str(folder),
            "TARGET": target,
            "SILENT": str(silent.getsockname()[1]),
            "ANSWERS": str(free.getsockname()[1]),
        }
        free.close()
        try:
            for name, case in CASES.items():
                if importlib.util.find_spec(case.needs) is not None:
                    commands[name] = start(case, folder / f"{len(commands)}.txt", values)
                    if name == "reflect":  # others need it
                        await_ready({name: commands[name]})
            await_ready(commands)
            for name, command in commands.items():
                command.process.send_signal(CASES[name].number)
                command.process.send_signal(CASES[name].number)
            for command in commands.values():
                command.process.wait(PATIENCE_S)
            yield commands
        finally:
            for command in commands.values():
                command.process.kill()
                command.process.wait()


def start(case: Case, output: Path, values: dict[str, str]) -> Command:
    words = list(case.words)
    for name, value in values.items():
        words = [word.replace(name, value) for word in words]
    namespace = f"{values['TARGET']}-{output.stem}"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", *words],
            env={**os.environ, "SHMRING_NAMESPACE": namespace},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=output.parent,
        )
    return Command(process, output, namespace, values["TARGET"])


def await_ready(commands: dict[str, Command]) -> None:
    until = time.monotonic() + PATIENCE_S
    left = dict(commands)
    while left:
        for name, command in list(left.items()):
            assert command.process.poll() is None, f"{name}: {command.text()}"
            if CASES[name].ready(command):
                del left[name]
        assert time.monotonic() < until, list(left)
        time.sleep(0.05)


@pytest.mark.parametrize("name", CASES)
def test_two_signals_in_a_row_end_it(ended: dict[str, Command], name: str) -> None:
    if name not in ended:
        needs.skip(f"module {CASES[name].needs}")
    command = ended[name]
    text = command.text()
    assert command.process.returncode == CASES[name].code, text
    assert "Traceback" not in text
    assert "Exception ignored" not in text
    assert [found.posix_name for found in paths.shm_names(command.namespace)] == []
