"""Containers and virtual machines: what they hide, so that the doctor does not guess about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shmring_doctor.finding import Check, Finding, container, hint
from shmring_doctor.host import Host

KIND = Check(
    "container.kind",
    "container",
    "Inside a container you cannot see the host's interrupts, boot options, cards and the limits "
    "above this container: check findings marked hidden on the host.",
)
VIRTUAL = Check(
    "container.virtual",
    "virtual machine",
    "The host may take a virtual core away at any time. Its governor, C-states, SMT and interrupts "
    "decide and are not visible here. Pin the virtual cores and isolate them on the host.",
)
SETTINGS = Check(
    "container.settings",
    "kernel settings",
    "If /sys or /proc/sys is read-only, commands that change it have to run on the host.",
)
CGROUP = Check(
    "container.cgroup",
    "cgroup namespace",
    "Quotas and core sets of the groups above this one also apply, but are not visible from inside "
    "a cgroup namespace.",
)
USERS = Check(
    "container.users",
    "user namespace",
    "Capabilities of a user namespace do not count for scheduling and locked memory: the scheduler "
    "treats a worker that is root in here as an ordinary user.",
)
CHECKS = (KIND, VIRTUAL, SETTINGS, CGROUP, USERS)

# The initial namespaces have fixed numbers (include/linux/proc_ns.h).
_INITIAL_CGROUP_NAMESPACE = "cgroup:[4026531835]"
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"
_INITIAL_USER_NAMESPACE = "user:[4026531837]"

_MARKS = (("/run/.containerenv", "podman"), ("/.dockerenv", "docker"))
_ENGINES = ("kubepods", "docker", "podman", "libpod", "lxc", "machine.slice")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment of this process."""

    container: str | None = None
    """The engine's name, or "unknown kind". None: no container."""
    virtual: bool | None = None
    """Whether this is a virtual machine. None: unknown."""
    hypervisor: str | None = None
    settings_read_only: tuple[str, ...] = ()
    """Those of /sys and /proc/sys that are mounted read-only."""
    cgroup_namespace: bool = False
    user_namespace: bool = False
    interrupts_hidden: bool = False


def gather(host: Host) -> Surroundings:
    """Read the environment."""
    read_only = _read_only_mounts(host)
    flags = host.fields("/proc/cpuinfo").get("flags", "").split()
    hypervisor = _hypervisor(host)
    return Surroundings(
        container=_engine(host),
        virtual=True if hypervisor or "hypervisor" in flags else None if not flags else False,
        hypervisor=hypervisor,
        settings_read_only=tuple(name for name in ("/sys", "/proc/sys") if name in read_only),
        cgroup_namespace=host.link("/proc/self/ns/cgroup") not in (None, _INITIAL_CGROUP_NAMESPACE),
        user_namespace=host.link("/proc/self/ns/user") not in (None, _INITIAL_USER_NAMESPACE),
        interrupts_hidden=not host.read("/proc/interrupts"),
    )


def _engine(host: Host) -> str | None:
    for mark, engine in _MARKS:
        if host.exists(mark):
            return engine
    if told := host.read("/run/systemd/container"):
        return told
    groups = host.read("/proc/1/cgroup") or ""
    for engine in _ENGINES:
        if re.search(rf"/{re.escape(engine)}[-./]", groups):
            return {"kubepods": "kubernetes", "libpod": "podman"}.get(engine, engine)
    if host.link("/proc/self/ns/pid") not in (None, _INITIAL_PID_NAMESPACE):
        return "unknown kind"
    return None


def _hypervisor(host: Host) -> str | None:
    if name := host.read("/sys/hypervisor/type"):
        return name
    vendor = host.read("/sys/class/dmi/id/sys_vendor") or ""
    product = host.read("/sys/class/dmi/id/product_name") or ""
    for mark in ("QEMU", "VMware", "VirtualBox", "KVM", "Amazon EC2", "Google Compute", "Bochs"):
        if mark in vendor or mark in product:
            return mark
    if "Virtual Machine" in product:
        return "Hyper-V"
    driver = host.read("/sys/devices/system/clocksource/clocksource0/available_clocksource") or ""
    return "KVM" if "kvm-clock" in driver else None


def _read_only_mounts(host: Host) -> set[str]:
    """Return what is mounted read-only at the end: later mounts cover earlier ones."""
    last: dict[str, bool] = {}
    for line in (host.read("/proc/self/mounts") or "").splitlines():
        words = line.split()
        if len(words) >= 4:
            last[words[1]] = "ro" in words[3].split(",")
    return {name for name, read_only in last.items() if read_only}


def judge(facts: Surroundings) -> list[Finding]:
    """Return the findings about what is hidden here."""
    return [
        _kind(facts),
        _virtual(facts),
        _settings(facts),
        CGROUP.hidden(
            "in a cgroup namespace: limits of the groups above are not visible",
            container("--cgroupns=host"),
        )
        if facts.cgroup_namespace
        else CGROUP.ok("none: all groups are visible"),
        USERS.limits(
            "in a user namespace: only limits give SCHED_FIFO and locked memory",
            container("--ulimit rtprio=90 --ulimit memlock=-1"),
            container("--userns=host"),
        )
        if facts.user_namespace
        else USERS.ok("none: capabilities count in full"),
    ]


def _kind(facts: Surroundings) -> Finding:
    if facts.container is None:
        return KIND.about({"container": None}).ok("none")
    hidden = ["what else runs on its host"]
    if facts.cgroup_namespace:
        hidden.append("limits above its own")
    if facts.interrupts_hidden:
        hidden.append("interrupts")
    if facts.settings_read_only:
        hidden.append(f"{' and '.join(facts.settings_read_only)} from writing")
    return KIND.about({"container": facts.container}).hidden(
        f"{facts.container}: hides {', '.join(hidden)}",
        hint("run shmring doctor on the host as well"),
    )


def _virtual(facts: Surroundings) -> Finding:
    if facts.virtual is None:
        return VIRTUAL.hidden("it is unknown whether this machine is virtual")
    if not facts.virtual:
        return VIRTUAL.about({"virtual": False}).ok("no: this is a physical machine")
    name = facts.hypervisor or "unknown kind"
    return VIRTUAL.about({"virtual": True, "hypervisor": facts.hypervisor}).hidden(
        f"yes ({name}): the host's cores, power saving and interrupts are not visible",
        hint("on the host, give each virtual core its own core (virsh vcpupin)"),
    )


def _settings(facts: Surroundings) -> Finding:
    if not facts.settings_read_only:
        return SETTINGS.ok("can be written (with the privilege)")
    return SETTINGS.about({"read_only": list(facts.settings_read_only)}).hidden(
        f"{' and '.join(facts.settings_read_only)} mounted read-only: commands that write there "
        "must run on the host"
    )
