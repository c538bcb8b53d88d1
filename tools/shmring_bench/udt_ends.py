"""The programs that `shmring bench udt` runs: ends of streams over each system, and the impaired
path between them. Those over other libraries are in `tools/peers`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from shmring_bench import floor, peers
from shmring_bench.measure import Plan, Unavailable, cpu_ns, resident_bytes

_END = "shmring_bench.udt_end"
_LIBRARIES = ("libudt", "libsrt")
_END_TIMEOUT_S = 10
_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class System:
    """The system of an end, and its settings."""

    name: str
    """``"shmring"``, ``"libudt"``, ``"libsrt"`` or ``"tcp"``."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of `shmring.udt.connect` and `listen`. For TCP ``"congestion"``: the kernel name."""


@dataclass(frozen=True, slots=True)
class Link:
    """The impaired path, the same in both directions."""

    delay_s: float
    """One way."""
    rate_bps: int
    """Rate of UDP payload."""
    loss: float = 0.0

    @property
    def queue_bytes(self) -> int:
        """What the path holds on the way there and back."""
        return round(self.rate_bps * 2 * self.delay_s / 8)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the ends of a transfer are."""

    address: str = "127.0.0.1"
    """Address of the sink."""
    source: str | None = None
    """Files of the network namespaces to enter."""
    sink: str | None = None


HERE = Place()


@dataclass(slots=True)
class Samples:
    """Bytes that arrived at a sink, over time."""

    times_ns: list[int] = field(default_factory=list)
    received: list[tuple[int, ...]] = field(default_factory=list)

    def add(self, line: str) -> None:
        now, *each = map(int, line.split())
        self.times_ns.append(now)
        self.received.append(tuple(each))

    def rates_bps(self, start_ns: int, end_ns: int) -> list[float]:
        """Return the rate of each stream between the last samples before these times."""
        first = max(0, bisect_right(self.times_ns, start_ns) - 1)
        last = bisect_right(self.times_ns, end_ns) - 1
        took_ns = max(1, self.times_ns[last] - self.times_ns[first])
        pairs = zip(self.received[last], self.received[first], strict=True)
        return [8 * (after - before) * _NS_PER_S / took_ns for after, before in pairs]


class End:
    """A process that is one end: a sink or a source. If it does not start or ends early, its error
    is raised: `OSError` if it is ours, `Unavailable` if it is another system's."""

    def __init__(
        self,
        plan: Plan,
        system: System,
        role: str,
        streams: int,
        place: Place = HERE,
        port: int = 0,
        cpu: int | None = None,
    ) -> None:
        self._name = system.name
        space = place.source if role == "source" else place.sink
        enter = [] if space is None else ["nsenter", f"--net={space}", "--"]
        self._process = subprocess.Popen(
            [*enter, *_command(plan, system, role, streams, place.address, port, cpu)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            facts = json.loads(self.line())
        except BaseException:
            self.end()
            raise
        self.port: int = facts["port"]
        self.pids: list[int] = facts["pids"]

    def line(self) -> str:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, complaints = self._process.communicate()
            lines = complaints.strip().splitlines() or ["it ended without a message"]
            if self._name == "shmring":
                raise OSError(None, f"{self._process.args!r}: {lines[-1]}")
            raise Unavailable(lines[-1])
        return line

    def cpu_ns(self) -> int:
        return sum(map(cpu_ns, self.pids))

    def resident_bytes(self) -> int:
        return sum(map(resident_bytes, self.pids))

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


@dataclass(slots=True)
class Transfer:
    """Running streams from a source to a sink, and the results so far."""

    sink: End
    source: End
    samples: Samples

    def run_for(self, seconds: float) -> None:
        """Read the sink's samples for this time from now on."""
        end_ns = time.monotonic_ns() + round(seconds * _NS_PER_S)
        while not self.samples.times_ns or self.samples.times_ns[-1] < end_ns:
            self.samples.add(self.sink.line())

    def cpu_ns(self) -> int:
        """Return the memory of all processes of both ends."""
        return self.sink.cpu_ns() + self.source.cpu_ns()

    def resident_bytes(self) -> int:
        return self.sink.resident_bytes() + self.source.resident_bytes()


@contextmanager
def transfer(
    plan: Plan,
    source: System,
    sink: System,
    streams: int = 1,
    *,
    link: Link | None = None,
    place: Place = HERE,
) -> Iterator[Transfer]:
    """Establish streams from one system to another. Raises `Unavailable`, `OSError`."""
    receiving = End(plan, sink, "sink", streams, place, cpu=plan.other_cpu)
    try:
        with _relayed(plan, link, receiving.port) as port:
            sending = End(plan, source, "source", streams, place, port, cpu=plan.worker_cpu)
            try:
                yield Transfer(receiving, sending, Samples())
            finally:
                sending.end()
    finally:
        receiving.end()


@contextmanager
def tunnel(plan: Plan, link: Link) -> Iterator[Place]:
    """Make two network namespaces with the impaired path between them, also for TCP. Raises
    `Unavailable`."""
    if shutil.which("nsenter") is None:
        raise Unavailable("nsenter is missing: install util-linux")
    try:
        with _linked(plan, "tunnel", link) as facts:
            yield Place(facts["address"], facts["near"], facts["far"])
    except _LinkFailed as error:
        raise Unavailable(f"no network namespaces with an impaired path here: {error}") from error


@contextmanager
def _relayed(plan: Plan, link: Link | None, port: int) -> Iterator[int]:
    """Return the port that leads over the path to `port`."""
    if link is None:
        yield port
        return
    with _linked(plan, "relay", link, to=port) as facts:
        yield facts["port"]


class _LinkFailed(OSError):
    """The program of the impaired path did not start."""


@contextmanager
def _linked(plan: Plan, program: str, link: Link, **options: int) -> Iterator[dict[str, Any]]:
    """Run an impaired path. Yield its description."""
    words = floor.command(
        program,
        **options,
        delay_us=round(link.delay_s * 1e6),
        loss_ppm=round(link.loss * 1e6),
        rate_bps=link.rate_bps,
        queue_bytes=link.queue_bytes,
        cpu=plan.other_cpu,
        priority=1,
    )
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        if not line:
            raise _LinkFailed(None, running.communicate()[1].strip())
        yield json.loads(line)
    finally:
        running.kill()
        running.communicate()


def _command(
    plan: Plan,
    system: System,
    role: str,
    streams: int,
    address: str,
    port: int,
    cpu: int | None,
) -> Sequence[str]:
    if system.name in _LIBRARIES:
        program = peers.load("udt").program(system.name)
        words = [str(program), role, str(streams), address]
        return [*words, str(port)] if role == "source" else words
    job = {
        "system": system.name,
        "streams": streams,
        "address": address,
        "port": port,
        "cpu": cpu,
        "namespace": plan.namespace,
        "options": system.options,
    }
    return [sys.executable, "-P", "-m", _END, role, json.dumps(job)]
