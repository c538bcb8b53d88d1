"""The scheduler: throttling of real-time processes, groups, quotas, core sets, preemption."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shmring_doctor.container import Surroundings
from shmring_doctor.finding import (
    Check,
    Finding,
    boot,
    command,
    container,
    hint,
    sysctl,
    unit,
    write_to,
)
from shmring_doctor.host import Host, cores, format_cpus, parse_cpus

THROTTLING = Check(
    "scheduler.rt_throttling",
    "real-time throttling",
    "Real-time processes may use sched_rt_runtime_us of each sched_rt_period_us. A process that "
    "uses more is stopped for the rest. Workers rest and stay below 92.5 %.",
)
GROUP = Check(
    "scheduler.rt_group",
    "real-time groups",
    "With CONFIG_RT_GROUP_SCHED each group has its own budget for real-time processes, and a "
    "group without one refuses SCHED_FIFO, whatever the privileges.",
)
QUOTA = Check(
    "scheduler.cpu_quota",
    "CPU quota",
    "A group that has used up its quota stops until the next period, by default 100 ms. This does "
    "not affect workers under SCHED_FIFO, but all Python processes and other workers.",
)
CPUSET = Check(
    "scheduler.cpuset",
    "core set",
    "A worker that may not run on its core runs on any free core, and moves.",
)
TIMER_SLACK = Check(
    "scheduler.timer_slack",
    "timer slack",
    "To save power, the kernel may wake ordinary processes later than requested, by up to this "
    "time. Workers set theirs to 1 ns. Python processes inherit this one.",
)
PREEMPTION = Check(
    "scheduler.preemption",
    "preemption",
    "How long a process in the kernel may delay one of higher priority: milliseconds with none or "
    "voluntary preemption, less than one with full, microseconds with PREEMPT_RT.",
)
CHECKS = (THROTTLING, GROUP, QUOTA, CPUSET, TIMER_SLACK, PREEMPTION)

DEFAULT_RUNTIME_US = 950_000
LEAST_SHARE = 0.93
DEFAULT_SLACK_NS = 50_000


@dataclass(frozen=True, slots=True)
class Facts:
    """Values from /proc, the cgroups and the kernel's configuration. None: hidden."""

    cpus: tuple[int, ...]
    """The workers' cores."""
    surroundings: Surroundings
    rt_runtime_us: int | None = None
    rt_period_us: int | None = None
    rt_group_built: bool | None = None
    rt_group_off: bool = False
    """By the boot option rt_group_sched=0, or the kernel's default."""
    group_folder: str | None = None
    """Folder of the cpu controller of cgroup version 1, which has group_runtime_us."""
    group_runtime_us: int | None = None
    unified_root: bool | None = None
    """Whether this process is in the root group of cgroup version 2. None: there is none."""
    quota_file: str | None = None
    quota_us: int | None = None
    """None: no quota."""
    quota_period_us: int | None = None
    allowed: frozenset[int] | None = None
    """The core set of this process's group."""
    online: frozenset[int] | None = None
    pinned: frozenset[int] | None = None
    """Those of `cpus` that a worker could be pinned to. None: unknown."""
    slack_ns: int | None = None
    version: str = ""
    realtime_kernel: bool = False
    preempt_mode: str | None = None
    """The current mode of a kernel that can change it: none, voluntary, full, lazy."""
    preempt_built: str | None = None


def gather(
    host: Host, cpus: tuple[int, ...], surroundings: Surroundings, pinned: frozenset[int] | None
) -> Facts:
    """Read the values."""
    config = host.kernel_config()
    words = host.boot_words() or {}
    version_one = host.cgroup_path("cpu")
    unified = host.cgroup_path("")
    quota_file, quota_us, period_us = _quota(host, version_one, unified)
    version = host.read("/proc/version") or ""
    return Facts(
        cpus=cpus,
        surroundings=surroundings,
        rt_runtime_us=host.number("/proc/sys/kernel/sched_rt_runtime_us"),
        rt_period_us=host.number("/proc/sys/kernel/sched_rt_period_us"),
        rt_group_built=None if config is None else config.get("RT_GROUP_SCHED") == "y",
        rt_group_off=words.get(
            "rt_group_sched",
            "0" if config and config.get("RT_GROUP_SCHED_DEFAULT_DISABLED") == "y" else "1",
        )
        in ("0", "off"),
        group_folder=version_one,
        group_runtime_us=host.number(f"{version_one}/cpu.rt_runtime_us") if version_one else None,
        # The root group alone has no cgroup.type.
        unified_root=None if unified is None else not host.exists(f"{unified}/cgroup.type"),
        quota_file=quota_file,
        quota_us=quota_us,
        quota_period_us=period_us,
        allowed=_allowed(host, unified),
        online=host.cpus("/sys/devices/system/cpu/online"),
        pinned=pinned,
        slack_ns=host.number("/proc/self/timerslack_ns"),
        version=version,
        realtime_kernel=host.number("/sys/kernel/realtime") == 1 or "PREEMPT_RT" in version,
        preempt_mode=_mode(host.read("/sys/kernel/debug/sched/preempt"), words),
        preempt_built=_built(config, version),
    )


def _quota(
    host: Host, version_one: str | None, unified: str | None
) -> tuple[str | None, int | None, int | None]:
    """Return file, quota and period of the tightest group from this one up. A quota of
    None: none."""
    found: tuple[str | None, int | None, int | None] = (None, None, None)
    for folder in _upwards(version_one):
        quota_us = host.number(f"{folder}/cpu.cfs_quota_us")
        period_us = host.number(f"{folder}/cpu.cfs_period_us")
        if quota_us is not None and period_us:
            found = _tighter(
                found, (f"{folder}/cpu.cfs_quota_us", quota_us if quota_us > 0 else None, period_us)
            )
    for folder in _upwards(unified):
        words = (host.read(f"{folder}/cpu.max") or "").split()
        if len(words) == 2 and words[1].isdigit():
            quota = int(words[0]) if words[0].isdigit() else None
            found = _tighter(found, (f"{folder}/cpu.max", quota, int(words[1])))
    return found


def _upwards(folder: str | None) -> list[str]:
    """Return a group's folder and those above it, up to the file system of cgroups."""
    found = []
    while folder and folder.startswith("/sys/fs/cgroup"):
        found.append(folder)
        folder = folder.rpartition("/")[0]
    return found


def _tighter(
    one: tuple[str | None, int | None, int | None], other: tuple[str, int | None, int]
) -> tuple[str | None, int | None, int | None]:
    if one[1] is None or one[2] is None:
        return other if other[1] is not None or one[0] is None else one
    if other[1] is None:
        return one
    return other if other[1] / other[2] < one[1] / one[2] else one


def _allowed(host: Host, unified: str | None) -> frozenset[int] | None:
    version_one = host.cgroup_path("cpuset")
    for name in (
        f"{version_one}/cpuset.effective_cpus",
        f"{version_one}/cpuset.cpus",
        f"{unified}/cpuset.cpus.effective",
    ):
        if cpus := host.cpus(name):
            return cpus
    # taskset narrows it too, but a worker may leave that set.
    return parse_cpus(host.fields("/proc/self/status").get("Cpus_allowed_list", "")) or None


def _mode(debug: str | None, words: dict[str, str]) -> str | None:
    """Return the word in brackets of ``none voluntary (full) lazy``, else the mode set at boot."""
    if debug and (chosen := re.search(r"\((\w+)\)", debug)):
        return chosen[1]
    return words.get("preempt")


def _built(config: dict[str, str] | None, version: str) -> str | None:
    if config is None:
        return "full" if "PREEMPT" in version.split() else None
    for name, word in (
        ("PREEMPT_NONE", "none"),
        ("PREEMPT_VOLUNTARY", "voluntary"),
        ("PREEMPT_LAZY", "lazy"),
        ("PREEMPT", "full"),
    ):
        if config.get(name) == "y":
            return word
    return None


def judge(facts: Facts) -> list[Finding]:
    """All findings of this room."""
    return [
        _throttling(facts),
        _group(facts),
        _quota_finding(facts),
        *_cpuset(facts),
        _slack(facts),
        _preemption(facts),
    ]


def _throttling(facts: Facts) -> Finding:
    runtime_us, period_us = facts.rt_runtime_us, facts.rt_period_us
    if runtime_us is None or not period_us:
        return THROTTLING.hidden("/proc/sys/kernel/sched_rt_runtime_us cannot be read")
    check = THROTTLING.about({"runtime_us": runtime_us, "period_us": period_us})
    fixes = sysctl("kernel.sched_rt_runtime_us", DEFAULT_RUNTIME_US)
    if runtime_us < 0:
        return check.ok("off (-1): a runaway real-time process would take its core")
    text = f"{runtime_us} of {period_us} us"
    if runtime_us == 0:
        return check.unfit(f"{text}: no real-time process may run", *fixes)
    if runtime_us < LEAST_SHARE * period_us:
        return check.limits(f"{text}: a busy worker is stopped", *fixes)
    return check.ok(text)


def _group(facts: Facts) -> Finding:
    if facts.group_runtime_us is not None:
        values = {"runtime_us": facts.group_runtime_us, "group": facts.group_folder}
        if facts.group_runtime_us > 0:
            return GROUP.about(values).ok(f"this group has {facts.group_runtime_us} us")
        return GROUP.about(values).unfit(
            f"{facts.group_folder} has no budget",
            write_to(f"{facts.group_folder}/cpu.rt_runtime_us", 900_000),
            boot("rt_group_sched=0"),
            container("--cpu-rt-runtime=900000"),
        )
    if facts.rt_group_built is None:
        return GROUP.hidden("the kernel's configuration is not shown, no group has a budget file")
    if not facts.rt_group_built or facts.rt_group_off:
        return GROUP.ok("the kernel has none")
    if facts.surroundings.cgroup_namespace:
        return GROUP.hidden("the kernel has them; the group of this process is not visible")
    if facts.unified_root is False:
        return GROUP.unfit(
            "the kernel has them, and in cgroup version 2 only the root group has a budget",
            boot("rt_group_sched=0"),
            command("echo $$ | sudo tee /sys/fs/cgroup/cgroup.procs"),
        )
    return GROUP.ok("the kernel has them; this process is in the root group")


def _quota_finding(facts: Facts) -> Finding:
    if facts.quota_us is None or facts.quota_period_us is None:
        if facts.quota_file is None and facts.surroundings.container is not None:
            return QUOTA.hidden("no group of this container shows its quota")
        return QUOTA.about({"quota_us": None}).ok("none visible")
    text = f"{facts.quota_us} of {facts.quota_period_us} us ({facts.quota_file})"
    values = {"quota_us": facts.quota_us, "period_us": facts.quota_period_us}
    file = facts.quota_file or ""
    return QUOTA.about(values).limits(
        text,
        write_to(file, "max" if file.endswith("cpu.max") else -1),
        unit("CPUQuota="),
        container("--cpus=0"),
    )


def _cpuset(facts: Facts) -> list[Finding]:
    wanted = frozenset(facts.cpus)
    check = CPUSET.about(
        {
            "cpus": sorted(wanted),
            "allowed": sorted(facts.allowed) if facts.allowed is not None else None,
            "online": sorted(facts.online) if facts.online is not None else None,
        }
    )
    usable = "" if facts.allowed is None else f"; open to this group: {format_cpus(facts.allowed)}"
    absent = wanted - facts.online if facts.online is not None else frozenset()
    if absent:
        return [
            check.unfit(
                f"{cores(absent)} {_is(absent)} not there or offline{usable}",
                *(
                    write_to(f"/sys/devices/system/cpu/cpu{cpu}/online", 1)
                    for cpu in sorted(absent)
                ),
                hint("choose others with --cpus, and in Pool(cpus=...)"),
            )
        ]
    if facts.pinned is None:
        closed = wanted - facts.allowed if facts.allowed is not None else frozenset()
    else:
        closed = wanted - facts.pinned
    if closed:
        return [
            check.unfit(
                f"{cores(closed)} {_is(closed)} closed to workers{usable}",
                unit(f"AllowedCPUs={format_cpus(wanted)}"),
                container(f"--cpuset-cpus={format_cpus(wanted)}"),
                hint("choose others with --cpus, and in Pool(cpus=...)"),
            )
        ]
    if facts.pinned is None and facts.allowed is None:
        return [check.hidden("which cores are open to this process cannot be read")]
    return [check.ok(f"{cores(wanted)} {_is(wanted)} open to workers{usable}")]


def _is(cpus: frozenset[int]) -> str:
    return "is" if len(cpus) == 1 else "are"


def _slack(facts: Facts) -> Finding:
    if facts.slack_ns is None:
        return TIMER_SLACK.hidden("/proc/self/timerslack_ns cannot be read")
    text = f"{facts.slack_ns / 1000:g} us for Python, 1 ns for workers"
    check = TIMER_SLACK.about({"slack_ns": facts.slack_ns})
    if facts.slack_ns <= DEFAULT_SLACK_NS:
        return check.ok(text)
    return check.limits(text, unit("TimerSlackNSec=50us"))


def _preemption(facts: Facts) -> Finding:
    if facts.realtime_kernel:
        return PREEMPTION.about({"mode": "rt"}).ok("PREEMPT_RT")
    # A kernel that can change it starts with its build option.
    mode = facts.preempt_mode or facts.preempt_built
    if mode is None:
        return PREEMPTION.hidden(
            "neither the kernel's configuration nor debugfs is shown",
            command("sudo cat /sys/kernel/debug/sched/preempt"),
        )
    if mode == "full":
        return PREEMPTION.about({"mode": mode}).ok(mode)
    fixes = [boot("preempt=full")]
    if "PREEMPT_DYNAMIC" in facts.version.split():
        fixes.append(write_to("/sys/kernel/debug/sched/preempt", "full"))
    return PREEMPTION.about({"mode": mode}).limits(mode, *fixes)
