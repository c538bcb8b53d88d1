"""Other real-time processes that may run on the workers' cores."""

from __future__ import annotations

import os
from dataclasses import dataclass

from rtworkers.examine import PRIORITY
from rtworkers.foreign_text import printable
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import Check, Finding, command, hint
from shmring_doctor.host import Host, format_cpus, parse_cpus

RIVALS = Check(
    "scheduler.rivals",
    "other real-time processes",
    "A process with the same or a higher real-time priority on a worker's core runs first, for as "
    "long as it wants. Measurements on a core where a worker runs wait for that worker, too.",
)
CHECKS = (RIVALS,)

_PF_KTHREAD = 0x200000
_POLICIES = {os.SCHED_FIFO: "fifo", os.SCHED_RR: "rr", 6: "deadline"}
# Fields of /proc/PID/stat, counted from the one after the name (proc_pid_stat(5): field 3).
_FLAGS = 9 - 3
_RT_PRIORITY = 40 - 3
_POLICY = 41 - 3
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Rival:
    """A thread with a real-time class, without the kernel's own threads."""

    tid: int
    name: str
    policy: str
    priority: int
    cpus: frozenset[int]
    """The workers' cores that it may run on."""

    @property
    def worker(self) -> bool:
        return self.name.startswith("shmring-w")

    @property
    def first(self) -> bool:
        """Whether it preempts a worker, or a worker cannot preempt it."""
        return self.policy == "deadline" or self.priority >= PRIORITY


@dataclass(frozen=True, slots=True)
class Facts:
    """The threads found. `hidden`: why processes of others are not visible."""

    cpus: tuple[int, ...]
    rivals: tuple[Rival, ...] = ()
    online: frozenset[int] = frozenset()
    hidden: str = ""


def gather(host: Host, cpus: tuple[int, ...], surroundings: Surroundings) -> Facts:
    """Read every visible thread."""
    rivals = []
    for pid in host.names("/proc"):
        if not pid.isdigit():
            continue
        for tid in host.names(f"/proc/{pid}/task"):
            rival = _rival(host, f"/proc/{pid}/task/{tid}", frozenset(cpus))
            if rival is not None:
                rivals.append(rival)
    return Facts(
        cpus,
        tuple(rivals),
        host.cpus("/sys/devices/system/cpu/online") or frozenset(),
        _hidden(host, surroundings),
    )


def _hidden(host: Host, surroundings: Surroundings) -> str:
    if surroundings.container is not None:
        return "only those of this container are visible"
    for line in (host.read("/proc/self/mounts") or "").splitlines():
        words = line.split()
        if len(words) > 3 and words[1] == "/proc" and "hidepid=" in words[3] and os.geteuid() != 0:
            return "processes of other users are not visible (hidepid)"
    return ""


def _rival(host: Host, folder: str, cpus: frozenset[int]) -> Rival | None:
    text = host.read(f"{folder}/stat") or ""
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _POLICY or not all(
        fields[at].isdigit() for at in (_FLAGS, _RT_PRIORITY, _POLICY)
    ):
        return None
    policy = _POLICIES.get(int(fields[_POLICY]))
    if policy is None or int(fields[_FLAGS]) & _PF_KTHREAD:
        return None
    status = host.fields(f"{folder}/status")
    shared = cpus & (parse_cpus(status.get("Cpus_allowed_list", "")) or frozenset())
    tid = folder.rpartition("/")[2]
    if not shared or not tid.isdigit():
        return None
    return Rival(int(tid), status.get("Name", "?"), policy, int(fields[_RT_PRIORITY]), shared)


def judge(facts: Facts) -> list[Finding]:
    """The one finding of this room."""
    workers = [rival for rival in facts.rivals if rival.worker]
    # One worker on a core is as intended.
    crowded = any(sum(cpu in rival.cpus for rival in workers) > 1 for cpu in facts.cpus)
    first = sorted(
        (rival for rival in facts.rivals if rival.first and (crowded or not rival.worker)),
        key=lambda rival: -rival.priority,
    )
    values = {"first": [f"{r.tid} {r.name} {r.policy} {r.priority}" for r in first]}
    if not first:
        return [_none(facts, workers, values)]
    text = _listed(first[:_SHOWN])
    if len(first) > _SHOWN:
        text += f" and {len(first) - _SHOWN} more"
    elsewhere = facts.online - set(facts.cpus)
    fixes = [
        command(f"sudo taskset -p -c {format_cpus(elsewhere)} {rival.tid}")
        for rival in first[:_SHOWN]
        if elsewhere and not rival.worker
    ]
    if crowded:
        fixes.append(hint("give each worker a core of its own"))
    elif not fixes:
        fixes.append(hint("there is no other core for them: leave one free of workers"))
    return [RIVALS.about(values).limits(text, *fixes)]


def _none(facts: Facts, workers: list[Rival], values: dict[str, list[str]]) -> Finding:
    running = f"; {_listed(workers)} runs there, and affects the measurement" if workers else ""
    if facts.hidden:
        return RIVALS.about(values).hidden(f"none visible; {facts.hidden}{running}")
    behind = len(facts.rivals) - len(workers)
    below = f"; {behind} below" if behind else ""
    return RIVALS.about(values).ok(f"none of priority {PRIORITY} or above{below}{running}")


def _listed(rivals: list[Rival]) -> str:
    return ", ".join(
        f"{printable(r.name)} ({r.tid}) {r.policy} {r.priority} on {format_cpus(r.cpus)}"
        for r in rivals
    )
