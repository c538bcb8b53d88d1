"""Asking the worker program: it has the privileges, so it knows what they give here.

Runs ``shmring-worker --examine``, which prints a JSON object a line (csrc/worker/worker_examine.h).
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
"""Of SCHED_FIFO, as pools have it by default."""
# Beyond what is measured; the machine may be busy.
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
    """What the kernel says about its clocks, and what reading one costs."""

    read_ns: float
    tick_ns: int
    tai_offset_s: int
    synchronised: bool
    max_error_ns: int


@dataclass(frozen=True, slots=True)
class Feature:
    """Something UDP can do here, or why it cannot."""

    name: str
    works: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Latency:
    """Wake-ups of the cyclic test, ns after the deadline."""

    n: int
    min_ns: int
    p50_ns: int
    p99_ns: int
    max_ns: int
    beyond_margin: int
    """Wake-ups so late that a worker's largest margin does not cover them."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What one run of the program told. None and empty: it did not say."""

    cpu: int | None = None
    """The core asked for."""
    setup: Setup | None = None
    clock: Clock | None = None
    features: dict[str, Feature] = field(default_factory=dict)
    between_ticks: Latency | None = None
    on_tick: Latency | None = None
    error: str = ""
    """Why it told nothing."""

    @classmethod
    def parse(cls, cpu: int | None, lines: Iterable[str]) -> Self:
        """From the lines that the program printed. Raises `ValueError`, `KeyError`, `TypeError`."""
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
            elif kind == "latency":
                which = "on_tick" if facts.pop("on_tick") else "between_ticks"
                told[which] = Latency(**facts)
        return cls(cpu=cpu, features=features, **told)


def examine(
    cpus: Sequence[int | None],
    *,
    fifo: bool = True,
    seconds: float = 0.0,
    device: str = "",
) -> list[Examination]:
    """Run the program once per core, all at the same time; None: not pinned."""
    try:
        binary = str(worker_binary())
    except FileNotFoundError as error:
        return [Examination(cpu, error=str(error)) for cpu in cpus]
    with contextlib.ExitStack() as undo:
        started = [_start(binary, cpu, fifo, seconds, device, undo) for cpu in cpus]
        return [
            Examination(cpu, error=process) if isinstance(process, str) else _finish(cpu, process)
            for cpu, process in zip(cpus, started, strict=True)
        ]


def _start(
    binary: str,
    cpu: int | None,
    fifo: bool,
    seconds: float,
    device: str,
    undo: contextlib.ExitStack,
) -> subprocess.Popen[str] | str:
    """The running program, or why there is none. `undo` ends it if it still runs then."""
    words = [binary, "--examine", str(round(seconds * 1000)), "--device", device]
    words += ["--cpu", str(-1 if cpu is None else cpu)]
    words += ["--policy", "fifo", "--priority", str(PRIORITY)] if fifo else ["--policy", "other"]
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
        return Examination(cpu, error="it did not end: is its core kept busy?")
    if process.returncode != 0:
        return Examination(cpu, error=errors.strip() or f"it ended with {process.returncode}")
    try:
        return Examination.parse(cpu, output.splitlines())
    except (ValueError, KeyError, TypeError) as error:
        return Examination(cpu, error=f"it is of another version: {error!r}")
