"""What the benchmarks share: what to run, the rows they yield, medians over alternating runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from shmring_bench.samples import median

TARGET = "target"
"""The system of rows that say what to reach."""


class Row(NamedTuple):
    """One figure. `unit` is one of ``ns pps bps bytes percent``."""

    bench: str
    case: str
    system: str
    metric: str
    value: float
    unit: str


@dataclass(slots=True)
class Plan:
    """How the benchmarks of one command run."""

    seconds: float | None
    """Length of a run; None: what the case needs."""
    runs: int
    worker_cpu: int | None
    other_cpu: int | None
    namespace: str
    cases: frozenset[str] = frozenset()
    """The cases to run; empty: all."""
    peer_python: str | None = None
    """An interpreter that has the package which `bench rtp` compares with; None: it makes one."""
    lacking: set[str] = field(default_factory=set)
    """What is missing: privileges, cores, systems to compare with."""
    known_cases: dict[str, None] = field(default_factory=dict)
    """Those of the benches that were run, whether chosen or not, in their order."""

    @property
    def cpus(self) -> list[int] | None:
        """For `shmring.Pool`."""
        return None if self.worker_cpu is None else [self.worker_cpu]

    def run_s(self, default: float) -> float:
        """Length of a run of a case that by itself takes `default` seconds."""
        return default if self.seconds is None else self.seconds

    def wants(self, case: str) -> bool:
        """Whether a case was chosen."""
        self.known_cases[case] = None
        return not self.cases or case in self.cases

    @contextlib.contextmanager
    def on_other_core(self) -> Iterator[None]:
        """Keep this process off the worker's core meanwhile."""
        before = os.sched_getaffinity(0)
        if self.other_cpu is not None:
            os.sched_setaffinity(0, {self.other_cpu})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


class Unavailable(Exception):
    """A system that cannot be measured here, and why."""


Figures = Mapping[tuple[str, str], float]
"""(metric, unit): value"""


def alternate(
    plan: Plan,
    bench: str,
    case: str,
    systems: Mapping[str, Callable[[], Figures]],
    runs: int | None = None,
) -> Iterator[Row]:
    """Run all systems in turn, `runs` times, and yield the median of every figure.

    Nothing is run of a case that was not chosen. A system that turns out to be unavailable is left
    out, and the plan told why.
    """
    if not plan.wants(case):
        return
    found: dict[str, list[Figures]] = {system: [] for system in systems}
    for _ in range(plan.runs if runs is None else runs):
        for system in tuple(found):
            try:
                found[system].append(systems[system]())
            except Unavailable as reason:
                plan.lacking.add(f"{system} in {case}: {reason}")
                del found[system]
    for system, figures in found.items():
        for metric, unit in figures[0]:
            value = median([one[metric, unit] for one in figures])
            yield Row(bench, case, system, metric, value, unit)


def cpu_ns(pid: int) -> int:
    """CPU time that a process has used, exact where the kernel counts it per task."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def resident_bytes(pid: int) -> int:
    """Memory of a process in RAM; what it shares counts in proportion."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no Pss line")
