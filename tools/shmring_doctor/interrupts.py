"""Interrupts of devices that reach the workers' cores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shmring_doctor.finding import Check, Finding, boot, command, file_line, hint, write_to
from shmring_doctor.host import Host, cores, format_cpus

DEVICES = Check(
    "cpu.irqs",
    "device interrupts",
    "An interrupt runs before any process, also before SCHED_FIFO: 2 to 20 us each. The work that "
    "it leaves to a softirq is added to that.",
)
NEW_IRQS = Check(
    "cpu.irq_default",
    "default of new interrupts",
    "Interrupts of drivers that start later go to these cores.",
)
CHECKS = (DEVICES, NEW_IRQS)

QUIET_HZ = 1.0


@dataclass(frozen=True, slots=True)
class Counts:
    """One reading of /proc/interrupts."""

    per_cpu: Mapping[str, Mapping[int, int]]
    """Interrupts so far, by name (a number, or letters such as LOC) and core."""
    labels: Mapping[str, str]
    time_ns: int


@dataclass(frozen=True, slots=True)
class Irq:
    """An interrupt of a device, and how often it occurred on one worker's core."""

    number: int
    label: str
    cpu: int
    rate_hz: float
    managed: bool
    """Whether the kernel placed it and refuses to move it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What happened between two readings. `irqs` None: /proc/interrupts is hidden."""

    cpus: tuple[int, ...]
    irqs: tuple[Irq, ...] | None = None
    window_ns: int = 0
    online: frozenset[int] = frozenset()
    default_cpus: frozenset[int] | None = None
    balancer: bool = False
    """irqbalance runs, and would undo manual settings."""


def read(host: Host, now_ns: int) -> Counts | None:
    """Return one reading, or None if it is hidden."""
    text = host.read("/proc/interrupts")
    return None if not text else parse(text, now_ns)


def parse(text: str, now_ns: int) -> Counts | None:
    """Parse the table of /proc/interrupts. None if the text is not such a table."""
    lines = text.splitlines()
    heads = lines[0].split()
    if not all(re.fullmatch(r"CPU\d+", head) for head in heads):
        return None
    columns = [int(head.removeprefix("CPU")) for head in heads]
    per_cpu: dict[str, dict[int, int]] = {}
    labels: dict[str, str] = {}
    for line in lines[1:]:
        name, _, rest = line.partition(":")
        words = rest.split()
        counts = words[: len(columns)]
        if len(counts) < len(columns) or not all(word.isdigit() for word in counts):
            continue  # ERR and MIS have one count for all cores
        name = name.strip()
        per_cpu[name] = dict(zip(columns, map(int, counts), strict=True))
        labels[name] = words[-1] if len(words) > len(columns) else name
    return Counts(per_cpu, labels, now_ns)


def gather(host: Host, cpus: tuple[int, ...], before: Counts | None, after: Counts | None) -> Facts:
    """Return the rates between two readings, and where interrupts may run."""
    online = host.cpus("/sys/devices/system/cpu/online") or frozenset()
    default = host.read("/proc/irq/default_smp_affinity")
    common = {
        "cpus": cpus,
        "online": online,
        "default_cpus": None if default is None else parse_mask(default),
        "balancer": _runs(host, "irqbalance"),
    }
    if before is None or after is None or after.time_ns <= before.time_ns:
        return Facts(**common)  # type: ignore[arg-type]
    seconds = (after.time_ns - before.time_ns) / 1e9

    def rate(name: str, cpu: int) -> float:
        first = before.per_cpu.get(name, {}).get(cpu, 0)
        return max(0, after.per_cpu[name].get(cpu, 0) - first) / seconds

    irqs = [
        Irq(int(name), after.labels[name], cpu, rate(name, cpu), _managed(host, int(name)))
        for name in after.per_cpu
        if name.isdigit()
        for cpu in cpus
        if rate(name, cpu) > 0
    ]
    return Facts(
        irqs=tuple(irqs),
        window_ns=after.time_ns - before.time_ns,
        **common,  # type: ignore[arg-type]
    )


def parse_mask(text: str) -> frozenset[int] | None:
    """Parse ``ff,00000003`` as a set of cores: words of 32 bits, the highest first. None:
    malformed."""
    text = text.strip()
    if not re.fullmatch(r"[0-9a-f]+(,[0-9a-f]{8})*", text):
        return None
    value = int(text.replace(",", ""), 16)
    return frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)


def _managed(host: Host, number: int) -> bool:
    """Return whether the affinity is fixed: then its file is not writable (Linux 6.11)."""
    path = host.path(f"/proc/irq/{number}/smp_affinity_list")
    try:
        return path.stat().st_mode & 0o200 == 0
    except OSError:
        return False


def _runs(host: Host, name: str) -> bool:
    return any(
        entry.isdigit() and host.read(f"/proc/{entry}/comm") == name
        for entry in host.names("/proc")
    )


def judge(facts: Facts) -> list[Finding]:
    """All findings of this room."""
    return [_devices(facts), _default(facts)]


def _devices(facts: Facts) -> Finding:
    if facts.irqs is None:
        return DEVICES.hidden("/proc/interrupts shows nothing")
    busy = sorted(
        (irq for irq in facts.irqs if irq.rate_hz >= QUIET_HZ), key=lambda irq: -irq.rate_hz
    )
    total = sum(irq.rate_hz for irq in facts.irqs)
    check = DEVICES.about(
        {
            "rate_hz": round(total, 1),
            "window_ns": facts.window_ns,
            "irqs": [f"{irq.number} {irq.label} cpu{irq.cpu} {irq.rate_hz:.1f}" for irq in busy],
        }
    )
    if not busy:
        return check.ok(f"{cores(facts.cpus)}: {total:.2g} a second")
    text = ", ".join(
        f"{irq.number} ({irq.label}) {irq.rate_hz:.0f} a second on {cores([irq.cpu])}"
        for irq in busy[:4]
    )
    if len(busy) > 4:
        text += f" and {len(busy) - 4} more"
    elsewhere = facts.online - set(facts.cpus)
    if not elsewhere:
        fixes = [hint("there is no other core for them: leave one free of workers")]
    else:
        there = format_cpus(elsewhere)
        numbers = dict.fromkeys(irq.number for irq in busy if not irq.managed)
        fixes = [write_to(f"/proc/irq/{n}/smp_affinity_list", there) for n in numbers]
        if any(irq.managed for irq in busy):
            fixes.append(hint("for those that cannot be moved: boot with isolcpus=managed_irq,..."))
        if facts.balancer:
            fixes += [
                file_line(
                    "/etc/default/irqbalance",
                    f"IRQBALANCE_BANNED_CPULIST={format_cpus(facts.cpus)}",
                ),
                command("sudo systemctl restart irqbalance"),
            ]
    return check.limits(text, *fixes)


def _default(facts: Facts) -> Finding:
    if facts.default_cpus is None:
        return NEW_IRQS.hidden("/proc/irq/default_smp_affinity cannot be read")
    there = facts.default_cpus & facts.online if facts.online else facts.default_cpus
    check = NEW_IRQS.about({"cpus": sorted(there)})
    hit = there & set(facts.cpus)
    elsewhere = facts.online - set(facts.cpus)
    if not hit:
        return check.ok(f"{cores(there)}: not a worker's")
    text = f"{cores(there)}: {cores(hit)} for workers among them"
    if not elsewhere:
        return check.limits(text, hint("leave a core free of workers"))
    return check.limits(
        text,
        write_to("/proc/irq/default_smp_affinity", format_mask(elsewhere)),
        boot(f"irqaffinity={format_cpus(elsewhere)}"),
    )


def format_mask(cpus: frozenset[int]) -> str:
    """Return a set of cores in the kernel's format: ``ff,00000003``."""
    digits = f"{sum(1 << cpu for cpu in cpus):x}"
    words = []
    while digits:
        words.append(digits[-8:])
        digits = digits[:-8]
    return ",".join(reversed(words))
