"""`shmring bench observe`: the cost of observing, and how much it disturbs.

Tools run as separate processes, because shmring does not build on them.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pty
import resource
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import shmring
from shmring_bench import floor, senders
from shmring_bench.measure import Figures, Plan, Row, Unavailable, alternate, cpu_ns
from shmring_bench.samples import median

RATE_HZ = 10_000
PAYLOAD_BYTES = 64
TOOLS = 100
"""Tools that are started and killed, over all runs of a case."""
CHANNELS = 1000
CHANNEL_HZ = 10
JSON_CHANNELS = 100
JSON_RUNS = 15
CPU_S = 5.0
PATIENCE_S = 30.0

_TOOL = [sys.executable, "-P", "-m", "rtstat"]
_TAP = [sys.executable, "-P", "-m", "shmring_cli", "tap"]
_ROWS, _COLUMNS = 50, 200


def run(plan: Plan) -> Iterator[Row]:
    rows = list(
        alternate(
            plan,
            "10kpps-tools",
            {
                "unwatched": lambda: _timed(plan, None),
                "watched": lambda: _timed(plan, _looking(plan.namespace)),
                "tapped": lambda: _timed(plan, _tapping(plan.namespace)),
                "bystanders": lambda: _timed(plan, _looking(f"{plan.namespace}-empty")),
            },
        )
    )
    yield from rows
    yield from _ratios(rows)
    yield from alternate(
        plan,
        f"{CHANNELS}-channels",
        {
            "rtstat-plain": lambda: _monitor(plan, "--plain", "-i", "1"),
            "rtstat-screen": lambda: _screen(plan),
            "rtstat-json": lambda: _monitor(plan, "--json", "-i", "1"),
        },
        1,
    )
    yield from alternate(
        plan,
        f"json-{JSON_CHANNELS}-channels",
        {"rtstat": lambda: _one_shots(plan), "python": _interpreter},
        1,
    )


def _ratios(rows: list[Row]) -> Iterator[Row]:
    p99 = {row.system: row.value for row in rows if row.metric == "error_p99"}
    for system in ("watched", "tapped", "bystanders"):
        if p99.get("unwatched") and system in p99:
            share = 100 * p99[system] / p99["unwatched"]
            yield Row(rows[0].case, system, "error_p99_of_unwatched", share, "percent")


# --- tools that start and are killed during a timed channel ---------------------------------------


def _looking(namespace: str) -> list[str]:
    return [*_TOOL, "--json", "-i", "0.01", "--namespace", namespace]


def _tapping(namespace: str) -> list[str]:
    """Wait for the end of the first line that it writes."""
    return [*_TAP, senders.CHANNEL, "--namespace", namespace]


def _timed(plan: Plan, tool: list[str] | None) -> Figures:
    """Send packets on a schedule, while such tools start and are killed. None: without tools."""
    count = max(1000, round(plan.run_s(6) * RATE_HZ))
    with plan.on_other_core(), floor.Receiver(count, cpu=plan.other_cpu) as receiver:
        job = senders.Job(
            receiver.port, count, round(1e9 / RATE_HZ), PAYLOAD_BYTES, plan.worker_cpu
        )
        warnings: list[str] = []

        def send() -> None:
            warnings.extend(senders.run("shmring", job, plan.namespace)["warnings"])

        sender = threading.Thread(target=send)
        sender.start()
        if tool is not None:
            _come_and_go(tool, round(TOOLS / plan.runs), job.duration_s, sender)
        sender.join()
        received = receiver.result(10)
    plan.lacking.update(warnings)
    late = received.lateness
    return {
        ("error_p50", "ns"): late.error_ns(0.5),
        ("error_p99", "ns"): late.error_ns(0.99),
        ("error_max", "ns"): late.max_ns,
        ("lost", "percent"): 100 * (count - received.packets) / count,
    }


def _come_and_go(words: list[str], tools: int, seconds: float, until: threading.Thread) -> None:
    """Run one tool after the other: each looks at least once, and is then killed while it runs or
    after it was stopped. The times are evenly spaced, as far as the machine keeps up."""
    begun = time.monotonic()
    for i in range(tools):
        while until.is_alive() and time.monotonic() < begun + i * seconds / tools:
            time.sleep(0.001)
        if not until.is_alive():
            return
        tool = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert tool.stdout is not None
            tool.stdout.readline()
            if i % 2:
                tool.send_signal(signal.SIGSTOP)
                time.sleep(0.01)
        finally:
            tool.kill()
            tool.communicate()


# --- many channels --------------------------------------------------------------------------------


@contextlib.contextmanager
def _channels(plan: Plan, count: int, seconds: float) -> Iterator[None]:
    """Open this many channels. Each sends some packets a second."""
    packets = max(1, round(seconds * CHANNEL_HZ))
    with shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool, plan.on_other_core():
        opened = [
            pool.open(
                f"c{i:04}",
                remote=("127.0.0.1", 9),
                direction="tx",
                capacity=packets,
                packet_bytes=PAYLOAD_BYTES,
                report_capacity=64,
            )
            for i in range(count)
        ]
        begin_ns = time.monotonic_ns() + 500_000_000
        for i, channel in enumerate(opened):
            channel.send_many(
                bytes(packets * PAYLOAD_BYTES),
                size=PAYLOAD_BYTES,
                at=begin_ns + i * 10_000,
                interval_ns=round(1e9 / CHANNEL_HZ),
            )
        yield


@dataclass(slots=True)
class _Output:
    """Reads the output of a tool on a thread, so that the tool never waits for this process."""

    fd: int
    wanted: bytes
    seen_at: float | None = None

    def read(self) -> None:
        tail = b""
        while True:
            with contextlib.suppress(OSError):
                data = os.read(self.fd, 1 << 16)
                if data:
                    if self.seen_at is None and self.wanted in tail + data:
                        self.seen_at = time.monotonic()
                    tail = data[-len(self.wanted) :]
                    continue
            return


def _monitor(plan: Plan, *words: str) -> Figures:
    with _channels(plan, CHANNELS, _monitored_s(plan)):
        read_fd, write_fd = os.pipe()
        return _measure(plan, read_fd, write_fd, words)


def _screen(plan: Plan) -> Figures:
    if importlib.util.find_spec("textual") is None:
        raise Unavailable('textual is not installed: pip install "shmring[screen]"')
    with _channels(plan, CHANNELS, _monitored_s(plan)):
        read_fd, write_fd = pty.openpty()
        size = struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0)
        fcntl.ioctl(write_fd, termios.TIOCSWINSZ, size)
        return _measure(plan, read_fd, write_fd, ("-i", "1"))


def _monitored_s(plan: Plan) -> float:
    return plan.run_s(CPU_S) + 4


def _measure(plan: Plan, read_fd: int, write_fd: int, words: tuple[str, ...]) -> Figures:
    """Measure the time from the start of the process to the first channel it shows, and its share
    of a core from a second later on."""
    output = _Output(read_fd, b"c0000")
    begun = time.monotonic()
    tool = subprocess.Popen(
        [*_TOOL, "--namespace", plan.namespace, *words],
        stdin=write_fd,
        stdout=write_fd,
        stderr=write_fd,  # Textual draws there
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(write_fd)
    reader = threading.Thread(target=output.read)
    reader.start()
    try:
        while output.seen_at is None:
            if time.monotonic() > begun + PATIENCE_S or tool.poll() is not None:
                raise TimeoutError(f"rtstat {' '.join(words)} showed no channel")
            time.sleep(0.001)
        time.sleep(1)
        before_ns, before = cpu_ns(tool.pid), time.monotonic()
        time.sleep(plan.run_s(CPU_S))
        share = (cpu_ns(tool.pid) - before_ns) / 1e9 / (time.monotonic() - before)
    finally:
        tool.kill()
        tool.wait()
        reader.join()
        os.close(read_fd)
    return {("first_screen", "ns"): (output.seen_at - begun) * 1e9, ("cpu", "percent"): 100 * share}


# --- one shot -------------------------------------------------------------------------------------


def _one_shots(plan: Plan) -> Figures:
    with _channels(plan, JSON_CHANNELS, 10):
        time.sleep(1)
        return _commands([*_TOOL, "--json", "--namespace", plan.namespace])


def _interpreter() -> Figures:
    """Measure the start of an interpreter that does nothing."""
    return _commands([sys.executable, "-P", "-c", "pass"])


def _commands(words: list[str]) -> Figures:
    """Run a whole command repeatedly: the time until it has ended, and its CPU time."""
    wall, busy = [], []
    for _ in range(JSON_RUNS):
        used = _children_s()
        begun = time.monotonic()
        subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
        wall.append((time.monotonic() - begun) * 1e9)
        busy.append((_children_s() - used) * 1e9)
    return {("command", "ns"): median(wall), ("command_cpu", "ns"): median(busy)}


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
