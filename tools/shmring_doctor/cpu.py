"""The workers' cores: isolation, frequency, sleep states, SMT."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from rtworkers import page
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import (
    Check,
    Finding,
    Fix,
    boot,
    command,
    hint,
    write_to,
)
from shmring_doctor.host import Host, cores, format_cpus, parse_cpus

COUNT = Check(
    "cpu.count",
    "cores",
    "A worker needs a core that nothing else uses, and Python and the system need another one.",
)
ISOLATION = Check(
    "cpu.isolation",
    "isolation",
    "On a core that is not isolated, the scheduler also runs other processes and kernel threads. "
    "SCHED_FIFO has priority, but their work in the kernel delays it.",
)
NOHZ = Check(
    "cpu.nohz_full",
    "tick on workers' cores",
    "The kernel's tick interrupts a core 100 to 1000 times a second, for 5 to 40 us in all. With "
    "nohz_full it stops while a process runs alone.",
)
RCU = Check(
    "cpu.rcu_nocbs",
    "RCU callbacks",
    "The kernel cleans up data in softirqs on the core that requested it, unless rcu_nocbs moves "
    "this work to threads on other cores.",
)
GOVERNOR = Check(
    "cpu.governor",
    "frequency governor",
    "A core that reduces its frequency while it sleeps needs tens of microseconds to speed up, and "
    "runs slowly until then.",
)
CSTATES = Check(
    "cpu.cstates",
    "sleep states",
    "The deeper a core sleeps, the longer it takes to wake: 1 us from C1, 50 to 200 us and more "
    "from C6.",
)
SMT = Check(
    "cpu.smt",
    "SMT siblings",
    "Two hardware threads share the units of one core: a process on the sibling slows the worker "
    "by a third, and unevenly.",
)
CHECKS = (COUNT, ISOLATION, NOHZ, RCU, GOVERNOR, CSTATES, SMT)

EXIT_LATENCY_MOST_US = 20
NO_LATENCY_WISH_US = 2_000_000_000
_CPU = "/sys/devices/system/cpu"


@dataclass(frozen=True, slots=True)
class IdleState:
    """A sleep state of a core."""

    index: int
    name: str
    exit_latency_us: int
    disabled: bool


@dataclass(frozen=True, slots=True)
class Core:
    """Values of sysfs about one core. None: unknown."""

    number: int
    governor: str | None = None
    min_khz: int | None = None
    max_khz: int | None = None
    idle_states: tuple[IdleState, ...] | None = None
    siblings: frozenset[int] = frozenset()
    """The other hardware threads of the same core."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The workers' cores, and values for all cores."""

    cores: tuple[Core, ...]
    surroundings: Surroundings
    online: frozenset[int] | None = None
    isolated: frozenset[int] | None = None
    """By isolcpus= or by a cpuset partition."""
    partitions: bool = False
    """Whether cgroup version 2 has cpuset partitions."""
    nohz_full: frozenset[int] | None = None
    rcu_nocbs: frozenset[int] | None = None
    latency_wish_us: int | None = None
    """Value of /dev/cpu_dma_latency: no core may sleep deeper. None: it cannot be read."""
    idle_driver: str | None = None
    spinning: tuple[page.PageFacts, ...] = ()
    """Workers that never sleep."""

    @property
    def cpus(self) -> frozenset[int]:
        return frozenset(core.number for core in self.cores)


def gather(
    host: Host,
    cpus: tuple[int, ...],
    surroundings: Surroundings,
    spinning: Iterable[page.PageFacts] = (),
) -> Facts:
    """Read sysfs and the kernel's command line."""
    words = host.boot_words()
    nohz = host.cpus(f"{_CPU}/nohz_full")
    return Facts(
        cores=tuple(_core(host, cpu) for cpu in cpus),
        surroundings=surroundings,
        online=host.cpus(f"{_CPU}/online"),
        isolated=_isolated(host),
        partitions="cpuset" in (host.read("/sys/fs/cgroup/cgroup.controllers") or "").split(),
        nohz_full=nohz if nohz is not None else frozenset() if words is not None else None,
        # nohz_full= implies rcu_nocbs= for the same cores.
        rcu_nocbs=None if words is None else _listed(words.get("rcu_nocbs")) | (nohz or set()),
        latency_wish_us=_latency_wish(host),
        idle_driver=host.read(f"{_CPU}/cpuidle/current_driver"),
        spinning=tuple(spinning),
    )


def _listed(text: str | None) -> frozenset[int]:
    return parse_cpus(text or "") or frozenset()


def _isolated(host: Host) -> frozenset[int] | None:
    """Return the isolated cores: isolcpus= is in sysfs, partitions of cpusets are in the root group
    (Linux 6.7) or in the groups themselves."""
    booted = host.cpus(f"{_CPU}/isolated")
    folder = host.cgroup_path("")
    partitions = host.cpus("/sys/fs/cgroup/cpuset.cpus.isolated") or frozenset()
    while folder and folder.startswith("/sys/fs/cgroup"):
        if host.read(f"{folder}/cpuset.cpus.partition") == "isolated":
            partitions |= host.cpus(f"{folder}/cpuset.cpus.effective") or frozenset()
        folder = folder.rpartition("/")[0]
    if booted is None:
        return partitions or None
    return booted | partitions


def _core(host: Host, cpu: int) -> Core:
    folder = f"{_CPU}/cpu{cpu}"
    states = [name for name in host.names(f"{folder}/cpuidle") if name.startswith("state")]
    siblings = host.cpus(f"{folder}/topology/thread_siblings_list") or frozenset()
    return Core(
        number=cpu,
        governor=host.read(f"{folder}/cpufreq/scaling_governor"),
        min_khz=host.number(f"{folder}/cpufreq/scaling_min_freq"),
        max_khz=host.number(f"{folder}/cpufreq/scaling_max_freq"),
        idle_states=tuple(
            IdleState(
                index=int(state.removeprefix("state")),
                name=host.read(f"{folder}/cpuidle/{state}/name") or state,
                exit_latency_us=host.number(f"{folder}/cpuidle/{state}/latency") or 0,
                disabled=host.number(f"{folder}/cpuidle/{state}/disable") == 1,
            )
            for state in states
        )
        or None,
        siblings=siblings - {cpu},
    )


def _latency_wish(host: Host) -> int | None:
    try:
        with host.path("/dev/cpu_dma_latency").open("rb") as file:
            (wish,) = struct.unpack("=i", file.read(4))
    except (OSError, struct.error):
        return None
    return int(wish)


def judge(facts: Facts) -> list[Finding]:
    """All findings of this room."""
    return [
        _count(facts),
        _isolation(facts),
        _nohz(facts),
        _rcu(facts),
        *(_governor(facts, core) for core in facts.cores),
        *(_cstates(facts, core) for core in facts.cores),
        *(_smt(facts, core) for core in facts.cores),
    ]


def _count(facts: Facts) -> Finding:
    if facts.online is None:
        return COUNT.hidden(f"{_CPU}/online cannot be read")
    text = f"{len(facts.online)} online ({format_cpus(facts.online)})"
    text += f", {cores(facts.cpus)} for workers"
    left = facts.online - facts.cpus
    check = COUNT.about({"online": sorted(facts.online), "spinning": len(facts.spinning)})
    if facts.spinning and page.cores_left(facts.spinning, facts.online) <= 0:
        return check.unfit(
            f"{text}: workers of the profile latency, which never sleep, take all",
            hint('use the profile "balanced", or leave a core without such a worker'),
        )
    if left:
        return check.ok(text)
    more = "more virtual cores for this machine" if facts.surroundings.virtual else "a second core"
    return check.limits(
        f"{text}: none is left for Python",
        hint(f"leave a core free of workers (Pool(cpus=...)), or get {more}"),
    )


def _isolation(facts: Facts) -> Finding:
    if facts.isolated is None:
        return ISOLATION.hidden(f"{_CPU}/isolated cannot be read")
    check = ISOLATION.about({"isolated": sorted(facts.isolated)})
    open_ones = facts.cpus - facts.isolated
    if not open_ones:
        return check.ok(f"{cores(facts.cpus)}: isolated")
    cpus = format_cpus(facts.cpus)
    return check.limits(
        f"{cores(open_ones)}: not isolated",
        boot(f"isolcpus=managed_irq,domain,{cpus}"),
        *(_partition(cpus) if facts.partitions else ()),
    )


def _partition(cpus: str) -> tuple[Fix, ...]:
    """Return the fix without a restart: a cpuset partition of cgroup version 2 (Linux 6.7)."""
    group = "/sys/fs/cgroup/shmring"
    return (
        command(f"sudo mkdir -p {group}"),
        write_to("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset"),
        write_to(f"{group}/cpuset.cpus.exclusive", cpus),
        write_to(f"{group}/cpuset.cpus", cpus),
        write_to(f"{group}/cpuset.cpus.partition", "isolated"),
    )


def _nohz(facts: Facts) -> Finding:
    if facts.nohz_full is None:
        return NOHZ.hidden("the kernel's command line cannot be read")
    check = NOHZ.about({"nohz_full": sorted(facts.nohz_full)})
    if facts.cpus <= facts.nohz_full:
        return check.ok(f"{cores(facts.cpus)}: stopped while a worker is alone")
    return check.limits(
        f"{cores(facts.cpus - facts.nohz_full)}: ticks",
        boot(f"nohz_full={format_cpus(facts.cpus)}"),
    )


def _rcu(facts: Facts) -> Finding:
    if facts.rcu_nocbs is None:
        return RCU.hidden("the kernel's command line cannot be read")
    check = RCU.about({"rcu_nocbs": sorted(facts.rcu_nocbs)})
    if facts.cpus <= facts.rcu_nocbs:
        return check.ok(f"{cores(facts.cpus)}: run on other cores")
    return check.limits(
        f"{cores(facts.cpus - facts.rcu_nocbs)}: run here",
        boot(f"rcu_nocbs={format_cpus(facts.cpus)}"),
    )


def _governor(facts: Facts, core: Core) -> Finding:
    subject = f"cpu{core.number}"
    if core.governor is None:
        decides = "the host decides" if facts.surroundings.virtual else "firmware decides"
        return GOVERNOR.about(subject=subject).hidden(f"no cpufreq: {decides}")
    check = GOVERNOR.about(
        {"governor": core.governor, "min_khz": core.min_khz, "max_khz": core.max_khz}, subject
    )
    fixed = core.min_khz is not None and core.min_khz == core.max_khz
    if core.governor == "performance" or fixed:
        return check.ok(core.governor)
    return check.limits(
        core.governor,
        write_to(f"{_CPU}/cpu{core.number}/cpufreq/scaling_governor", "performance"),
        boot("cpufreq.default_governor=performance"),
    )


def _cstates(facts: Facts, core: Core) -> Finding:
    subject = f"cpu{core.number}"
    if core.idle_states is None:
        decides = "the host decides" if facts.surroundings.virtual else "the kernel shows none"
        return CSTATES.about(subject=subject).hidden(f"no cpuidle: {decides}")
    wish_us = facts.latency_wish_us
    used = [
        state
        for state in core.idle_states
        if not state.disabled and (wish_us is None or state.exit_latency_us <= wish_us)
    ]
    deepest = max(used, key=lambda state: state.exit_latency_us, default=core.idle_states[0])
    text = f"deepest {deepest.name}, {deepest.exit_latency_us} us to wake"
    if wish_us is not None and wish_us < NO_LATENCY_WISH_US:
        text += f"; /dev/cpu_dma_latency {wish_us} us"
    check = CSTATES.about(
        {
            "exit_latency_us": deepest.exit_latency_us,
            "state": deepest.name,
            "cpu_dma_latency_us": wish_us,
        },
        subject,
    )
    if deepest.exit_latency_us <= EXIT_LATENCY_MOST_US:
        if facts.surroundings.virtual:
            text += " in here; the host decides about its own"
        return check.ok(text)
    deep = [state for state in core.idle_states if state.exit_latency_us > EXIT_LATENCY_MOST_US]
    return check.limits(
        text,
        *(
            write_to(f"{_CPU}/cpu{core.number}/cpuidle/state{state.index}/disable", 1)
            for state in deep
            if not state.disabled
        ),
        boot(
            "intel_idle.max_cstate=1 processor.max_cstate=1"
            if facts.idle_driver == "intel_idle"
            else "processor.max_cstate=1"
        ),
    )


def _smt(facts: Facts, core: Core) -> Finding:
    subject = f"cpu{core.number}"
    online = core.siblings if facts.online is None else core.siblings & facts.online
    if not core.siblings:
        return SMT.about({"siblings": []}, subject).ok("no sibling")
    check = SMT.about({"siblings": sorted(core.siblings)}, subject)
    if not online:
        return check.ok(f"{cores(core.siblings)}: offline")
    workers = online & facts.cpus
    if not workers and facts.isolated is not None and online <= facts.isolated:
        return check.ok(f"{cores(online)}: isolated and without a worker")
    what = "carries another worker" if workers else "is open to all processes"
    return check.limits(
        f"{cores(online)} {what}",
        *(write_to(f"{_CPU}/cpu{sibling}/online", 0) for sibling in sorted(online)),
        boot("nosmt"),
    )
