"""Checks whether this machine is fit for real-time UDP. Each finding has its fix.

Each room (a module) has ``CHECKS``, ``gather`` (reads the machine) and ``judge`` (a pure function
from the facts to findings). `examine` runs them all, and ``shmring doctor`` prints the result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rtworkers import affinity, page
from rtworkers import examine as worker
from rtworkers.examine import SECONDS
from shmring_doctor import (
    clocks,
    container,
    cpu,
    installation,
    interfaces,
    interrupts,
    measure,
    memory,
    network,
    privileges,
    rivals,
    scheduler,
)
from shmring_doctor.finding import Check, Finding, Fix, FixKind, Status, Verdict, verdict
from shmring_doctor.host import Host

__all__ = [
    "CHECKS",
    "GROUPS",
    "SECONDS",
    "Check",
    "Finding",
    "Fix",
    "FixKind",
    "Status",
    "Verdict",
    "choose_cpus",
    "examine",
    "examine_realtime",
    "verdict",
]

CHECKS: tuple[Check, ...] = tuple(
    check
    for room in (
        privileges,
        scheduler,
        rivals,
        cpu,
        interrupts,
        clocks,
        memory,
        network,
        interfaces,
        container,
        installation,
        measure,
    )
    for check in room.CHECKS
)
"""All checks, in the order of the output."""

GROUPS = tuple(dict.fromkeys(check.id.partition(".")[0] for check in CHECKS))

_QUICK_WINDOW_S = 0.2


def choose_cpus() -> tuple[tuple[int, ...], str]:
    """Return the cores to check if the user named none, and why these.

    They are those of the workers that run on this host, else the last core that this process may
    use, where benchmarks and demos put their workers.
    """
    most = os.sysconf("SC_NPROCESSORS_CONF")  # a forged page may name any other core
    cores = (facts.cpu for facts in page.listed(None))
    pinned = {core for core in cores if core is not None and core < most}
    if pinned:
        return tuple(sorted(pinned)), "those of the workers that run here"
    return (max(affinity.allowed_cores()),), "no worker is pinned; choose with --cpus"


def examine_realtime(cpu: int) -> list[Finding]:
    """Check what a `RealtimeWarning` is about: the scheduling class and the memory of a worker."""
    machine = Host()
    around = container.gather(machine)
    facts = privileges.gather(machine, worker.examine((cpu,))[0], around)
    wanted = {privileges.PROGRAM.id, privileges.REALTIME.id, privileges.MEMLOCK.id}
    return [finding for finding in privileges.judge(facts) if finding.id in wanted]


def examine(
    cpus: Sequence[int],
    interface_names: Sequence[str] = (),
    *,
    seconds: float = SECONDS,
    host: Host | None = None,
) -> list[Finding]:
    """Check everything and measure for `seconds` (0 to 60). 0 skips the measurement, which is fast.

    `cpus`: the workers' cores, at least one. `interface_names`: empty for all that matter.
    """
    machine = host or Host()
    cores = tuple(cpus)
    around = container.gather(machine)
    seen = rivals.gather(machine, cores, around)
    before = interrupts.read(machine, time.monotonic_ns())
    times = measure.read_times(machine)
    runs = worker.examine(cores, seconds=seconds)
    if seconds <= 0:
        time.sleep(_QUICK_WINDOW_S)
    after = interrupts.read(machine, time.monotonic_ns())
    steal = measure.steal_between(times, measure.read_times(machine), cores)

    first = runs[0]
    pinned = {run.setup.cpu for run in runs if run.setup is not None and run.setup.cpu is not None}
    return [
        *privileges.judge(privileges.gather(machine, first, around)),
        *scheduler.judge(
            scheduler.gather(
                machine, cores, around, None if first.setup is None else frozenset(pinned)
            )
        ),
        *rivals.judge(seen),
        *cpu.judge(cpu.gather(machine, cores, around, page.spinning())),
        *interrupts.judge(interrupts.gather(machine, cores, before, after)),
        *clocks.judge(clocks.gather(machine, first.clock)),
        *memory.judge(memory.gather(machine)),
        *network.judge(network.gather(machine, first)),
        *interfaces.judge(interfaces.gather(interface_names, first, around)),
        *container.judge(around),
        *installation.judge(installation.gather()),
        *measure.judge(measure.Facts(around, tuple(runs), steal, quick=seconds <= 0)),
    ]
