"""What the benchmarks share: what to run, the rows they yield, medians over alternating runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shmring import room
from shmring_bench.samples import median
from shmring_cli.output import room_text

if TYPE_CHECKING:
    import shmring

TARGET = "target"
"""The system name of rows with a target."""


MISSING = ("lost", "missing", "unsent")
"""Metrics of packets that did not arrive. One such packet of a system of ours is a failure, so the
worst run counts, not the median."""

_UNDER_LOAD = ("flooded", "tapped")
"""Systems of ours that are named after what disturbs them."""


class Row(NamedTuple):
    """One figure. `unit` is one of ``ns pps bps bytes percent per_s packets verdict``.

    A verdict is 1 if the goal is met, -1 if it is missed, and 0 if this is not decided.
    """

    case: str
    system: str
    metric: str
    value: float
    unit: str

    @property
    def is_failure(self) -> bool:
        """Whether packets that a system of ours sent are missing."""
        ours = self.system.startswith("shmring") or self.system.endswith("-dropin")
        ours = ours or self.system in _UNDER_LOAD
        return ours and self.metric in MISSING and self.value > 0


@dataclass(slots=True)
class Plan:
    """How the benchmarks of one command run."""

    seconds: float | None
    """Length of a run. None: what the case needs."""
    runs: int
    worker_cpu: int | None
    other_cpu: int | None
    namespace: str
    cases: frozenset[str] = frozenset()
    """The cases to run. Empty: all."""
    peer_python: str | None = None
    """An interpreter with the package that `bench rtp` compares with. None: make one."""
    lacking: dict[str, str] = field(default_factory=dict)
    """What is missing: privileges, cores, systems to compare with. In few words: in full."""
    known_cases: dict[str, None] = field(default_factory=dict)
    """The cases of the selected benches, chosen or not, in their order."""
    _sizes: dict[str, int] = field(default_factory=dict)

    @property
    def cpus(self) -> list[int] | None:
        """For `shmring.Pool`."""
        return None if self.worker_cpu is None else [self.worker_cpu]

    def fitting(self, case: str, what: str, wanted: int, bytes_of: Callable[[int], int]) -> int:
        """Return how much of what a case is about fits into the shared memory that is free: as much
        for each system, and each run. If it is less than what is wanted, the plan records that."""
        if case not in self._sizes:
            found = room.fitting(wanted, bytes_of)
            self._sizes[case] = found.count
            if found.count < wanted:
                self.lacks(room_text(f"memory for {case}", found, what))
        return self._sizes[case]

    def lacks(self, what: str, details: str = "") -> None:
        """Note what is missing. details: the long form. Empty: there is no other one."""
        self.lacking[what] = details or what

    def run_s(self, default: float) -> float:
        """Return the length of a run whose default is `default` seconds."""
        return default if self.seconds is None else self.seconds

    def wants(self, case: str) -> bool:
        """Return whether a case was chosen."""
        self.known_cases[case] = None
        return not self.cases or case in self.cases

    @contextlib.contextmanager
    def on_other_core(self) -> Iterator[None]:
        """Keep this process off the worker's core during the block."""
        before = os.sched_getaffinity(0)
        if self.other_cpu is not None:
            os.sched_setaffinity(0, {self.other_cpu})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


class Unavailable(Exception):
    """A system that cannot be measured here, with the reason."""


class NotInstalled(Unavailable):
    """A system that no case can measure with what is installed."""


Figures = Mapping[tuple[str, str], float]
"""(metric, unit): value"""


def alternate(
    plan: Plan,
    case: str,
    systems: Mapping[str, Callable[[], Figures]],
    runs: int | None = None,
) -> Iterator[Row]:
    """Run all systems in turn, `runs` times, and yield the median of every figure. Of `MISSING`:
    the most.

    Cases that were not chosen are not run. A system that turns out to be unavailable is left out,
    and the plan records why.
    """
    if not plan.wants(case):
        return
    found: dict[str, list[Figures]] = {system: [] for system in systems}
    for _ in range(plan.runs if runs is None else runs):
        for system in tuple(found):
            try:
                found[system].append(systems[system]())
            except Unavailable as reason:
                where = "" if isinstance(reason, NotInstalled) else f" in {case}"
                plan.lacks(f"{system}{where}: {reason}")
                del found[system]
    for system, figures in found.items():
        for metric, unit in figures[0]:
            values = [one[metric, unit] for one in figures]
            value = max(values) if metric in MISSING else median(values)
            yield Row(case, system, metric, value, unit)


def worker_pid(pool: shmring.Pool) -> int:
    """Process id of the pool's only worker."""
    (worker,) = pool.workers()
    assert worker.pid is not None, "the worker is being replaced"
    return worker.pid


def cpu_ns(pid: int) -> int:
    """Return the CPU time of a process, exact if the kernel counts it per task."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def stolen_ns(cpu: int | None) -> int:
    """Return the time that the hypervisor took from a core (None: from all), in steps of 10 ms."""
    name = "cpu" if cpu is None else f"cpu{cpu}"
    for line in Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0] == name:
            return int(words[8]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    raise ValueError(f"/proc/stat has no line {name}")


def resident_bytes(pid: int) -> int:
    """Return the memory of a process in RAM. Shared memory counts in proportion."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no Pss line")
