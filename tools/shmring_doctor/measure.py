"""Measured values: how late a sleeping worker wakes, the tick's share of it, stolen time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rtworkers.examine import Examination, Latency
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import Check, Finding, hint
from shmring_doctor.host import Host

WAKEUP = Check(
    "measure.wakeup",
    "wake-up latency",
    "A worker sleeps until up to 200 us before a deadline and spins the rest. Packets of a later "
    "wake-up are sent late (verdict woke_late).",
)
TICK = Check(
    "measure.tick",
    "deadlines on the tick",
    "Sleeps that end together with the kernel's tick end later. A deadline on a whole millisecond "
    "may coincide with it. A deadline half a millisecond later does not.",
)
STEAL = Check(
    "measure.steal",
    "stolen time",
    "While the host runs something else on a virtual core, nothing in here runs on it.",
)
CHECKS = (WAKEUP, TICK, STEAL)

MARGIN_NS = 200_000
"""The largest wake margin of a worker."""
SINGLE_NS = 1_000_000
UNFIT_NS = 1_000_000
TICK_WORSE_NS = 10_000
STEAL_SOME = 0.001
STEAL_MUCH = 0.02
# The eighth count of the lines cpuN in /proc/stat.
_STEAL = 7


@dataclass(frozen=True, slots=True)
class Facts:
    """Results of the cyclic test, one per worker's core, and the cores' time during it."""

    surroundings: Surroundings
    runs: tuple[Examination, ...] = ()
    """As a worker: under SCHED_FIFO if that is permitted. Empty: nothing was measured."""
    steal: Mapping[int, float] | None = None
    """Share of each worker's core that the host took. None: the kernel does not tell."""
    quick: bool = False


def read_times(host: Host) -> dict[int, list[int]]:
    """Return the time of each core by kind, in ticks of USER_HZ, from /proc/stat."""
    found = {}
    for line in (host.read("/proc/stat") or "").splitlines():
        name, *words = line.split() or [""]
        if re.fullmatch(r"cpu\d+", name) and all(word.isdigit() for word in words):
            found[int(name[3:])] = [int(word) for word in words]
    return found


def steal_between(
    before: Mapping[int, list[int]], after: Mapping[int, list[int]], cpus: tuple[int, ...]
) -> dict[int, float] | None:
    """Return the stolen share of each core between two readings, or None if it is unknown."""
    shares = {}
    for cpu in cpus:
        if cpu not in before or cpu not in after or len(after[cpu]) <= _STEAL:
            return None
        # The first two already include the last two, guest time.
        deltas = [b - a for a, b in zip(before[cpu][:8], after[cpu][:8], strict=True)]
        shares[cpu] = deltas[_STEAL] / total if (total := sum(deltas)) > 0 else 0.0
    return shares


def judge(facts: Facts) -> list[Finding]:
    """All findings of this room."""
    if facts.quick:
        left_out = (WAKEUP, TICK)
        return [check.hidden("not measured: --quick") for check in left_out] + _steal(facts)
    findings = [_wakeup(run) for run in facts.runs]
    findings += [_tick(run) for run in facts.runs]
    return findings + _steal(facts)


def _subject(run: Examination) -> str:
    return "" if run.cpu is None else f"cpu{run.cpu}"


def _us(ns: float) -> str:
    return f"{ns / 1000:.0f} us" if ns < 10_000_000 else f"{ns / 1e6:.0f} ms"


def _text(latency: Latency) -> str:
    return (
        f"p50 {_us(latency.p50_ns)}, p99 {_us(latency.p99_ns)}, max {_us(latency.max_ns)} "
        f"({latency.n} sleeps)"
    )


def _values(latency: Latency) -> dict[str, int]:
    return {
        "n": latency.n,
        "p50_ns": latency.p50_ns,
        "p99_ns": latency.p99_ns,
        "max_ns": latency.max_ns,
        "beyond_margin": latency.beyond_margin,
    }


def _wakeup(run: Examination) -> Finding:
    latency, subject = run.wakeups, _subject(run)
    if latency is None or run.setup is None:
        return WAKEUP.about(subject=subject).hidden(run.error or "nothing was measured")
    fifo = run.setup.policy == "fifo"
    text = _text(latency) + ("" if fifo else ", as an ordinary process")
    check = WAKEUP.about({**_values(latency), "policy": run.setup.policy}, subject)
    fixes = [hint("apply the fixes above for this core: isolation, interrupts, sleep states")]
    if not fifo:
        fixes.insert(0, hint("first get SCHED_FIFO: see privileges.realtime"))
    if latency.p99_ns > UNFIT_NS:
        return check.unfit(text, *fixes)
    if latency.p99_ns > MARGIN_NS or latency.max_ns > SINGLE_NS:
        late = 100 * latency.beyond_margin / latency.n
        return check.limits(f"{text}; {late:.2g} % beyond the wake margin", *fixes)
    return check.ok(text)


def _tick(run: Examination) -> Finding:
    on, beside, subject = run.on_tick, run.between_ticks, _subject(run)
    if on is None or beside is None or on.n == 0 or beside.n == 0:
        return TICK.about(subject=subject).hidden(run.error or "nothing was measured")
    check = TICK.about(
        {
            "on_p50_ns": on.p50_ns,
            "on_p99_ns": on.p99_ns,
            "beside_p50_ns": beside.p50_ns,
            "beside_p99_ns": beside.p99_ns,
        },
        subject,
    )
    text = (
        f"on it p50 {_us(on.p50_ns)}, p99 {_us(on.p99_ns)}; off it p50 {_us(beside.p50_ns)}, "
        f"p99 {_us(beside.p99_ns)}"
    )
    if on.p50_ns - beside.p50_ns < TICK_WORSE_NS:
        return check.ok(text)
    return check.limits(
        text,
        hint("choose deadlines off whole milliseconds (+ 500_000 ns), or nohz_full for the core"),
    )


def _steal(facts: Facts) -> list[Finding]:
    if facts.steal is None:
        return [STEAL.hidden("/proc/stat does not tell")]
    findings = []
    for cpu, share in facts.steal.items():
        text, subject = f"{100 * share:.2g} %", f"cpu{cpu}"
        values = {"share": round(share, 4)}
        fix = hint("on the host, give this virtual core its own core (virsh vcpupin)")
        if share > STEAL_MUCH:
            findings.append(STEAL.about(values, subject).unfit(text, fix))
        elif share > STEAL_SOME:
            findings.append(STEAL.about(values, subject).limits(text, fix))
        else:
            findings.append(STEAL.about(values, subject).ok(text))
    return findings
