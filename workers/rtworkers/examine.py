"""Runs the worker program to ask what its privileges allow here, because it has them.

``shmring-worker --examine`` prints one JSON object per line (csrc/worker/worker_examine.h).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from rtworkers.launch import worker_binary

SECONDS = 2.0
PRIORITY = 80
"""The default priority of pools under SCHED_FIFO."""
# In addition to the measured time; the machine may be busy.
_PATIENCE_S = 30.0
_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker gets. `cpu` None: not pinned."""

    policy: str
    priority: int
    cpu: int | None
    memory_locked: bool
    capabilities: frozenset[str]


@dataclass(frozen=True, slots=True)
class Clock:
    """The kernel's values of its clocks, and the cost of reading one."""

    read_ns: float
    tick_ns: int
    tai_offset_s: int
    synchronised: bool
    max_error_ns: int


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of UDP here, or why it is missing."""

    name: str
    works: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Confinement:
    """Why a worker is not restricted for the case that it runs foreign code. Empty: it is."""

    files: str
    """To names of its own: Landlock."""
    calls: str
    """To a list of system calls: seccomp."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Wake-ups of the cyclic test, ns after the deadline."""

    n: int
    min_ns: int
    p50_ns: int
    p99_ns: int
    max_ns: int
    beyond_margin: int
    """Wake-ups that were later than a worker's largest wake margin."""


@dataclass(frozen=True, slots=True)
class Examination:
    """The results of one run of the program. None and empty: it did not report them."""

    cpu: int | None = None
    """The requested core."""
    setup: Setup | None = None
    clock: Clock | None = None
    features: dict[str, Feature] = field(default_factory=dict)
    between_ticks: Latency | None = None
    on_tick: Latency | None = None
    confinement: Confinement | None = None
    error: str = ""
    """Why there are no results."""

    @property
    def wakeups(self) -> Latency | None:
        """All sleeps. Quantiles are the worse of those on the tick and between ticks."""
        parts = (self.between_ticks, self.on_tick)
        known = [part for part in parts if part is not None and part.n]
        if len(known) < 2:
            return known[0] if known else None
        one, other = known
        return Latency(
            n=one.n + other.n,
            min_ns=min(one.min_ns, other.min_ns),
            p50_ns=max(one.p50_ns, other.p50_ns),
            p99_ns=max(one.p99_ns, other.p99_ns),
            max_ns=max(one.max_ns, other.max_ns),
            beyond_margin=one.beyond_margin + other.beyond_margin,
        )

    @classmethod
    def parse(cls, cpu: int | None, lines: Iterable[str]) -> Self:
        """Parse the lines that the program printed. Raises `ValueError`,
        `KeyError`, `TypeError`."""
        told: dict[str, Any] = {}
        features: dict[str, Feature] = {}
        for line in lines:
            facts = json.loads(line)
            kind = facts.pop("fact")
            if kind == "setup":
                facts["capabilities"] = frozenset(facts["capabilities"])
                told["setup"] = Setup(**facts)
            elif kind == "clock":
                told["clock"] = Clock(**facts)
            elif kind == "feature":
                features[facts["name"]] = Feature(**facts)
            elif kind == "confinement":
                told["confinement"] = Confinement(**facts)
            elif kind == "latency":
                which = "on_tick" if facts.pop("on_tick") else "between_ticks"
                told[which] = Latency(**facts)
        return cls(cpu=cpu, features=features, **told)


def examine(
    cpus: Sequence[int | None],
    *,
    seconds: float = 0.0,
    device: str = "",
    policy: str = "fifo",
) -> list[Examination]:
    """Run the program once per core, all at the same time. None: not pinned.

    seconds: how long it measures wake-ups, as `policy` ("fifo", where permitted, or "other").
    """
    try:
        binary = str(worker_binary())
    except FileNotFoundError as error:
        return [Examination(cpu, error=str(error)) for cpu in cpus]
    with contextlib.ExitStack() as undo:
        started = [_start(binary, cpu, seconds, device, policy, undo) for cpu in cpus]
        return [
            Examination(cpu, error=process) if isinstance(process, str) else _finish(cpu, process)
            for cpu, process in zip(cpus, started, strict=True)
        ]


def _start(
    binary: str,
    cpu: int | None,
    seconds: float,
    device: str,
    policy: str,
    undo: contextlib.ExitStack,
) -> subprocess.Popen[str] | str:
    """Return the running program, or why there is none. `undo` ends it if it still runs then."""
    words = [binary, "--examine", str(round(seconds * 1000)), "--device", device]
    words += ["--cpu", str(-1 if cpu is None else cpu)]
    words += ["--policy", policy, "--priority", str(PRIORITY)]
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        return f"{binary} cannot be run: {error.strerror}"
    undo.enter_context(process)
    undo.callback(process.kill)
    return process


def _finish(cpu: int | None, process: subprocess.Popen[str]) -> Examination:
    try:
        output, errors = process.communicate(timeout=_LONGEST_S + _PATIENCE_S)
    except subprocess.TimeoutExpired:
        return Examination(cpu, error="it did not end: is its core busy?")
    if process.returncode != 0:
        return Examination(cpu, error=errors.strip() or f"exit code {process.returncode}")
    try:
        return Examination.parse(cpu, output.splitlines())
    except (ValueError, KeyError, TypeError) as error:
        return Examination(cpu, error=f"it is of another version: {error!r}")
