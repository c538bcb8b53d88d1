"""Clocks and memory on made-up machines."""

import dataclasses

import pytest

from shmring_doctor import clocks, memory
from shmring_doctor.finding import Status

CLOCKS = "/sys/devices/system/clocksource/clocksource0"
MIB = 1 << 20


@pytest.fixture
def clock_facts(machine, fit_worker):
    host = machine(
        {
            f"{CLOCKS}/current_clocksource": "tsc\n",
            f"{CLOCKS}/available_clocksource": "tsc hpet acpi_pm\n",
        }
    )
    return dataclasses.replace(clocks.gather(host, fit_worker.clock), resolution_ns=1)


def with_clock(facts, **changes):
    return dataclasses.replace(facts, clock=dataclasses.replace(facts.clock, **changes))


def test_fit_clocks(clock_facts, by_id):
    found = by_id(clocks.judge(clock_facts))
    assert {name: f.status for name, f in found.items()} == {
        check.id: Status.OK for check in clocks.CHECKS
    }
    assert found["clocks.source"].measured == "tsc, 21 ns to read"


@pytest.mark.parametrize(
    ("source", "read_ns", "status"),
    [
        ("kvm-clock", 40.0, Status.OK),
        ("tsc", 250.0, Status.LIMITS),
        ("hpet", 700.0, Status.LIMITS),
        ("hpet", 1500.0, Status.UNFIT),
        ("jiffies", 30.0, Status.UNFIT),
    ],
)
def test_clock_sources(clock_facts, by_id, source, read_ns, status):
    facts = dataclasses.replace(with_clock(clock_facts, read_ns=read_ns), source=source)
    finding = by_id(clocks.judge(facts))["clocks.source"]
    assert finding.status is status
    if status is not Status.OK and source != "tsc":
        assert [fix.text for fix in finding.fixes] == [
            f"echo tsc | sudo tee {CLOCKS}/current_clocksource"
        ]


def test_hidden_clocks(machine, by_id):
    facts = dataclasses.replace(clocks.gather(machine({}), None), resolution_ns=1)
    found = by_id(clocks.judge(facts))
    hidden = {name for name, finding in found.items() if finding.status is Status.HIDDEN}
    assert hidden == {"clocks.source", "clocks.tai", "clocks.synchronised"}


def test_no_high_resolution_timers(clock_facts, by_id):
    coarse = dataclasses.replace(clock_facts, resolution_ns=4_000_000)
    finding = by_id(clocks.judge(coarse))["clocks.timers"]
    assert finding.status is Status.UNFIT
    assert finding.fixes[0].text == "highres=on"


def test_the_tick_is_a_hint(clock_facts, by_id):
    finding = by_id(clocks.judge(clock_facts))["clocks.tick"]
    assert finding.values["hz"] == round(1e9 / finding.values["tick_ns"])
    assert "whole milliseconds" in finding.why


def test_time_of_day_that_nobody_keeps(clock_facts, by_id):
    lost = with_clock(clock_facts, tai_offset_s=0, synchronised=False)
    found = by_id(clocks.judge(lost))
    for name in ("tai", "synchronised"):
        assert found[f"clocks.{name}"].status is Status.LIMITS
    assert found["clocks.tai"].fixes[0].text == "/etc/chrony/chrony.conf: leapsectz right/UTC"


FIT_MEMORY = memory.Facts(
    shm_bytes=1024 * MIB, shm_free_bytes=1000 * MIB, shm_kind="tmpfs", swap_bytes=0
)


def test_fit_memory(by_id):
    found = by_id(memory.judge(FIT_MEMORY))
    assert {name: f.status for name, f in found.items()} == {
        check.id: Status.OK for check in memory.CHECKS
    }


@pytest.mark.parametrize(
    ("changes", "status", "first"),
    [
        (
            {"shm_bytes": 64 * MIB, "shm_free_bytes": 60 * MIB},
            Status.LIMITS,
            "sudo mount -o remount,size=1g /dev/shm",
        ),
        ({"shm_free_bytes": 4 * MIB}, Status.UNFIT, "shmring gc"),
        ({"shm_kind": "ext4"}, Status.LIMITS, "sudo mount -o remount,size=1g /dev/shm"),
        (
            {"shm_bytes": None},
            Status.UNFIT,
            "sudo mount -t tmpfs -o mode=1777,size=1g tmpfs /dev/shm",
        ),
    ],
)
def test_shared_memory(by_id, changes, status, first):
    finding = by_id(memory.judge(dataclasses.replace(FIT_MEMORY, **changes)))["memory.shm"]
    assert finding.status is status
    assert finding.fixes[0].text == first
    assert "--shm-size=1g" in [fix.text for fix in finding.fixes]


def test_the_limit_of_a_group(machine, by_id):
    host = machine(
        {
            "/proc/self/cgroup": "0::/plc\n",
            "/proc/self/mounts": (
                "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n"
            ),
            "/sys/fs/cgroup/plc/memory.max": f"{600 * MIB}\n",
            "/sys/fs/cgroup/plc/memory.current": f"{200 * MIB}\n",
            "/proc/meminfo": "MemTotal: 100 kB\nSwapTotal:      2048 kB\n",
            "/proc/sys/vm/swappiness": "60\n",
            "/dev/shm/x": "",
        }
    )
    facts = memory.gather(host)
    assert facts.shm_bytes is not None
    assert facts.shm_kind == "tmpfs"
    found = by_id(memory.judge(facts))
    group = found["memory.cgroup"]
    assert group.status is Status.LIMITS
    assert group.fixes[0].text == "echo max | sudo tee /sys/fs/cgroup/plc/memory.max"
    swap = found["memory.swap"]
    assert swap.status is Status.LIMITS
    assert swap.values == {"swap_bytes": 2 * MIB, "swappiness": 60}
    assert by_id(memory.judge(dataclasses.replace(facts, swappiness=1)))["memory.swap"].status is (
        Status.OK
    )


def test_memory_that_is_not_shown(machine, by_id):
    found = by_id(memory.judge(memory.gather(machine({}))))
    assert found["memory.swap"].status is Status.HIDDEN
    assert found["memory.shm"].status is Status.UNFIT
