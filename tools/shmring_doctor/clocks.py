"""Clocks: the source of time, the resolution of sleeps, and the accuracy of the time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rtworkers.examine import Clock
from shmring_doctor.finding import Check, Finding, boot, command, file_line, hint, write_to
from shmring_doctor.host import Host

SOURCE = Check(
    "clocks.source",
    "clock source",
    "Workers read the clock before and after everything they do. The processor's counter takes 20 "
    "to 50 ns, a chip on the bus takes a system call and a microsecond or more.",
)
TIMERS = Check(
    "clocks.timers",
    "high-resolution timers",
    "Without them, sleeps only end at ticks of 1 to 10 ms.",
)
TICK = Check(
    "clocks.tick",
    "kernel tick",
    "The tick's own work sometimes takes 20 to 40 us. It runs on every core at multiples of its "
    "period, so it delays deadlines on whole milliseconds: choose them half a millisecond later.",
)
TAI = Check(
    "clocks.tai",
    "TAI offset",
    'Channels with clock="tai" are refused while the kernel\'s TAI offset is 0: their times would '
    "be wrong by the number of leap seconds.",
)
SYNCHRONISED = Check(
    "clocks.synchronised",
    "time of day",
    "Deadlines in CLOCK_MONOTONIC do not need it. TAI and comparisons between hosts do.",
)
CHECKS = (SOURCE, TIMERS, TICK, TAI, SYNCHRONISED)

READ_QUICK_NS = 100.0
READ_SLOW_NS = 1000.0
_FOLDER = "/sys/devices/system/clocksource/clocksource0"
_MONOTONIC_COARSE = 6  # linux/time.h


@dataclass(frozen=True, slots=True)
class Facts:
    """Values from sysfs and the kernel. None: hidden."""

    source: str | None = None
    available: tuple[str, ...] = ()
    resolution_ns: int = 1
    tick_ns: int = 4_000_000
    clock: Clock | None = None
    """The clock values from a worker."""


def gather(host: Host, clock: Clock | None) -> Facts:
    """Read the clock source and the clocks."""
    return Facts(
        source=host.read(f"{_FOLDER}/current_clocksource"),
        available=tuple((host.read(f"{_FOLDER}/available_clocksource") or "").split()),
        resolution_ns=round(time.clock_getres(time.CLOCK_MONOTONIC) * 1e9),
        tick_ns=round(time.clock_getres(_MONOTONIC_COARSE) * 1e9),
        clock=clock,
    )


def judge(facts: Facts) -> list[Finding]:
    """Return all findings of this room."""
    return [_source(facts), _timers(facts), _tick(facts), *_of_day(facts)]


def _source(facts: Facts) -> Finding:
    read_ns = None if facts.clock is None else facts.clock.read_ns
    name = facts.source or "unknown"
    text = name if read_ns is None else f"{name}, {read_ns:.0f} ns to read"
    check = SOURCE.about({"source": facts.source, "read_ns": read_ns})
    if facts.source is None and read_ns is None:
        return check.hidden(f"{_FOLDER} cannot be read, and no worker could be asked")
    slow = facts.source in ("hpet", "acpi_pm", "jiffies", "refined-jiffies")
    better = [
        write_to(f"{_FOLDER}/current_clocksource", other)
        for other in ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")
        if other in facts.available and other != facts.source
    ][:1] or [boot("clocksource=tsc tsc=reliable"), command("sudo dmesg | grep -i clocksource")]
    if (read_ns is not None and read_ns > READ_SLOW_NS) or facts.source in (
        "jiffies",
        "refined-jiffies",
    ):
        return check.unfit(text, *better)
    if slow or (read_ns is not None and read_ns > READ_QUICK_NS):
        return check.limits(text, *better)
    return check.ok(text)


def _timers(facts: Facts) -> Finding:
    check = TIMERS.about({"resolution_ns": facts.resolution_ns})
    if facts.resolution_ns <= 1:
        return check.ok("on")
    return check.unfit(
        f"off: sleeps end on a grid of {facts.resolution_ns / 1e6:g} ms",
        boot("highres=on"),
        hint("a kernel with CONFIG_HIGH_RES_TIMERS=y"),
    )


def _tick(facts: Facts) -> Finding:
    hz = round(1e9 / facts.tick_ns)
    text = f"{hz} Hz, every {facts.tick_ns / 1e6:g} ms"
    return TICK.about({"tick_ns": facts.tick_ns, "hz": hz}).ok(text)


def _of_day(facts: Facts) -> list[Finding]:
    clock = facts.clock
    if clock is None:
        return [check.hidden("no worker could be asked") for check in (TAI, SYNCHRONISED)]
    return [_tai(clock), _synchronised(clock)]


def _tai(clock: Clock) -> Finding:
    check = TAI.about({"tai_offset_s": clock.tai_offset_s})
    if clock.tai_offset_s != 0:
        return check.ok(f"{clock.tai_offset_s} s")
    return check.limits(
        "0: not set",
        file_line("/etc/chrony/chrony.conf", "leapsectz right/UTC"),
        command("sudo systemctl restart chrony"),
        command("sudo pmc -u -b 0 'GET TIME_PROPERTIES_DATA_SET'"),
    )


def _synchronised(clock: Clock) -> Finding:
    check = SYNCHRONISED.about(
        {"synchronised": clock.synchronised, "max_error_ns": clock.max_error_ns}
    )
    if clock.synchronised:
        return check.ok(f"synchronised, estimated error {clock.max_error_ns / 1e6:g} ms")
    return check.limits("not synchronised", command("sudo systemctl enable --now chrony"))
