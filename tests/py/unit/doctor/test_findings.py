"""Findings as JSON, the verdict, and whether what fixes things are lines that exist."""

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import shmring_doctor as doctor
from rtworkers.examine import Confinement, Examination, Feature, Latency
from shmring_cli import COMMANDS
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
from shmring_doctor.command import worst_first
from shmring_doctor.container import Surroundings
from shmring_doctor.ethtool import Coalescing, PhcReading, Stamps
from shmring_doctor.finding import Check, Finding, FixKind, Status, Verdict, verdict
from shmring_doctor.netlink import Link, Qdisc

KEYS = ["id", "group", "subject", "title", "status", "measured", "why", "fixes", "values"]
CHECK = Check("room.thing", "a thing", "It matters.")


def test_a_finding_as_json():
    finding = CHECK.about({"x_ns": 2000}).limits("2 us", doctor.Fix(FixKind.BOOT, "x=1"))
    facts = finding.to_dict()
    assert list(facts) == KEYS
    assert json.loads(json.dumps(facts)) == {
        "id": "room.thing",
        "group": "room",
        "subject": None,
        "title": "a thing",
        "status": "limits",
        "measured": "2 us",
        "why": "It matters.",
        "fixes": [{"kind": "boot", "text": "x=1"}],
        "values": {"x_ns": 2000},
    }


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ("", Verdict.FIT),
        ("ok hidden", Verdict.FIT),
        ("ok limits hidden", Verdict.LIMITED),
        ("limits unfit ok", Verdict.UNFIT),
    ],
)
def test_the_verdict_is_the_worst(statuses, expected):
    findings = [CHECK.finding(Status(status), "") for status in statuses.split()]
    assert verdict(findings) is expected


def test_checks_have_stable_distinct_names():
    ids = [check.id for check in doctor.CHECKS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+\.[a-z_0-9]+", name) for name in ids)
    assert all(check.why.endswith(".") for check in doctor.CHECKS)
    # Groups stand together.
    groups = [name.partition(".")[0] for name in ids]
    assert list(doctor.GROUPS) == [g for i, g in enumerate(groups) if g not in groups[:i]]
    assert sorted(groups, key=doctor.GROUPS.index) == groups


# --- sick machines --------------------------------------------------------------------------------

CORES = frozenset({2, 3})
LATE = Latency(1000, 1000, 500_000, 2_000_000, 9_000_000, 400)


def sick(surroundings: Surroundings, worker: Examination) -> list[Finding]:
    """Findings of machines on which everything is wrong that can be."""
    setup = dataclasses.replace(
        worker.setup, policy="other", memory_locked=False, capabilities=frozenset()
    )
    clock = dataclasses.replace(worker.clock, tai_offset_s=0, synchronised=False, read_ns=1500.0)
    poor = dataclasses.replace(
        worker,
        setup=setup,
        clock=clock,
        between_ticks=LATE,
        on_tick=dataclasses.replace(LATE, p50_ns=900_000),
        features={name: Feature(name, False, "no") for name in worker.features},
        confinement=Confinement("no Landlock", "no seccomp"),
    )
    found: list[Finding] = []
    for facts in (
        privileges.Facts("/opt/shmring-worker", poor, surroundings, nofile=100, rttime_us=200_000),
        privileges.Facts(None, Examination(error="gone"), surroundings, bounding=frozenset()),
        privileges.Facts(
            "/x", poor, surroundings, nosuid=True, file_capabilities=frozenset({"cap_sys_nice"})
        ),
        privileges.Facts(
            "/x",
            poor,
            surroundings,
            no_new_privs=True,
            sanitizers="address",
            file_capabilities=frozenset({"cap_sys_nice"}),
        ),
    ):
        found += privileges.judge(facts)
    groups = {"rt_runtime_us": 0, "rt_period_us": 1_000_000, "slack_ns": 4_000_000}
    for facts in (
        scheduler.Facts(
            (2, 3),
            surroundings,
            **groups,
            group_folder="/sys/fs/cgroup/cpu/plant",
            group_runtime_us=0,
            quota_file="/sys/fs/cgroup/plant/cpu.max",
            quota_us=1000,
            quota_period_us=100_000,
            online=frozenset({2}),
            preempt_mode="none",
            version="SMP PREEMPT_DYNAMIC",
        ),
        scheduler.Facts(
            (2,),
            surroundings,
            rt_group_built=True,
            unified_root=False,
            allowed=frozenset({0}),
            pinned=frozenset(),
        ),
    ):
        found += scheduler.judge(facts)
    deep = cpu.Core(
        2, "powersave", 800_000, 3_000_000, (cpu.IdleState(3, "C6", 133, False),), frozenset({3})
    )
    for driver, online in (("intel_idle", CORES), ("acpi_idle", frozenset({2}))):
        found += cpu.judge(
            cpu.Facts(
                (deep,),
                surroundings,
                online=online,
                isolated=frozenset(),
                partitions=True,
                nohz_full=frozenset(),
                rcu_nocbs=frozenset(),
                idle_driver=driver,
            )
        )
    irqs = (
        interrupts.Irq(41, "eth0", 2, 500.0, managed=False),
        interrupts.Irq(42, "nvme", 2, 500.0, managed=True),
    )
    rival = rivals.Rival(77, "jackd", "fifo", 90, frozenset({2}))
    found += rivals.judge(rivals.Facts((2,), (rival,), CORES))
    found += interrupts.judge(interrupts.Facts((2,), irqs, 1, CORES, CORES, balancer=True))
    found += clocks.judge(clocks.Facts("hpet", ("tsc", "hpet"), 4_000_000, 4_000_000, clock))
    found += clocks.judge(clocks.Facts("jiffies", (), 1, 4_000_000, clock))
    found += memory.judge(memory.Facts(limit_file="/sys/fs/cgroup/p/memory.max", limit_bytes=1))
    found += memory.judge(memory.Facts(1 << 30, 1, "tmpfs", swap_bytes=1, swappiness=60))
    found += network.judge(network.Facts(1, 1, 1, 1, 1, 1, 1, features=poor.features))
    found += network.judge(network.Facts())
    kernel = Stamps(False, False, False, True, True, None)
    card = Stamps(True, True, True, True, True, 0)
    fast, etf = Qdisc(2, 0, 0, "pfifo_fast"), Qdisc(2, 0, 0, "etf", clock="tai")
    down = Link(2, "eth0", up=False, loopback=False, mtu=1400)
    slow = Coalescing(100, 100, adaptive_rx=True)
    found += interfaces.judge(
        interfaces.Facts(
            (
                interfaces.Interface(down, "e1000", kernel, None, slow, (fast,), (fast,)),
                interfaces.Interface(
                    dataclasses.replace(down, kind="veth", up=True), root=(fast,), queues=(fast,)
                ),
                interfaces.Interface(
                    down, "igc", card, PhcReading(5_000_000, 1), slow, (etf,), (etf,)
                ),
                interfaces.Interface(down, "igc", card, PhcReading(error="no")),
            ),
            surroundings,
            missing=("eth7",),
            tai_offset_s=0,
        )
    )
    found += interfaces.judge(interfaces.Facts((), surroundings))
    found += container.judge(
        Surroundings("docker", True, "KVM", ("/sys",), True, True, interrupts_hidden=True)
    )
    found += measure.judge(measure.Facts(surroundings, (poor,), {2: 0.3}))
    return found


@pytest.fixture(params=[None, "docker"])
def sick_findings(request, fit_worker):
    return sick(Surroundings(container=request.param), fit_worker)


def test_every_check_that_can_fail_has_failed_and_is_mended(sick_findings):
    wrong = [f for f in sick_findings if f.status in (Status.LIMITS, Status.UNFIT)]
    never = {"clocks.tick", "container.kind", "container.virtual", "container.settings"}
    never |= {"container.cgroup"}
    never |= {"installation.drop_ins"}  # tests/py/contract/test_drop_ins.py
    never |= {"installation.rtstat"}
    assert {f.id for f in wrong} == {check.id for check in doctor.CHECKS} - never
    assert [f.id for f in wrong if not f.fixes] == []
    assert all(f.measured for f in sick_findings)
    for finding in sick_findings:
        json.dumps(finding.to_dict())


def test_the_worst_come_first_and_of_them_what_a_command_fixes():
    command, hint = (doctor.Fix(kind, "x") for kind in (FixKind.COMMAND, FixKind.HINT))
    one = CHECK.limits("1", hint)
    two = CHECK.unfit("2", hint)
    three = CHECK.limits("3", command)
    four = CHECK.unfit("4", command)
    assert worst_first([CHECK.ok("0"), one, two, three, four]) == [four, two, three, one]


def test_rtstat_of_iproute2_is_named_if_it_comes_first(tmp_path):
    (tmp_path / "lnstat").touch()
    (tmp_path / "rtstat").symlink_to("lnstat")
    theirs = installation.Facts({}, {}, str(tmp_path / "rtstat"), "/venv/bin")
    _, finding = installation.judge(theirs)
    assert finding.status is Status.LIMITS
    assert [fix.text for fix in finding.fixes] == [
        "use shmring top, which is the same command",
        "export PATH=/venv/bin:$PATH",
    ]
    for rtstat in ("/venv/bin/rtstat", None):
        _, finding = installation.judge(installation.Facts({}, {}, rtstat))
        assert finding.status is Status.OK


def fixes(findings, kind):
    return sorted({m.text for f in findings for m in f.fixes if m.kind is kind})


# Programs of the fixes, and the Debian package of those that not every machine has.
PROGRAMS = {
    **dict.fromkeys(("ip", "tc"), "iproute2"),
    **dict.fromkeys(("sysctl",), "procps"),
    **dict.fromkeys(("mount", "swapoff"), "mount"),
    **dict.fromkeys(("chgrp", "chmod", "mkdir", "tee", "echo"), "coreutils"),
    **dict.fromkeys(("ptp4l", "phc2sys", "pmc"), "linuxptp"),
    "dmesg": "util-linux",
    "prlimit": "util-linux",
    "taskset": "util-linux",
    "ethtool": "ethtool",
    "setcap": "libcap2-bin",
    "groupadd": "passwd",
    "systemctl": "systemd",
    "cat": "coreutils",
    "pip": "python3-pip",
}
ESSENTIAL = {"coreutils", "util-linux", "mount"}


def test_commands_are_programs(sick_findings):
    for text in fixes(sick_findings, FixKind.COMMAND):
        for part in re.split(r" \| | && ", text):
            program = part.removeprefix("sudo ").split()[0]
            if program == "shmring":
                assert part.split()[1] in {command.name for command in COMMANDS}
            elif program != "grep":
                assert program in PROGRAMS, text
                if PROGRAMS[program] in ESSENTIAL:
                    assert shutil.which(program), text


def test_keys_of_sysctl_are_keys(sick_findings):
    keys = {
        match[1]
        for text in fixes(sick_findings, FixKind.COMMAND)
        if (match := re.search(r"sysctl (?:-w|-n) ([\w.]+)", text))
    }
    assert len(keys) >= 6
    program = shutil.which("sysctl") or shutil.which("sysctl", path="/usr/sbin:/sbin")
    if not Path("/proc/sys/net/core/netdev_budget").exists():  # not the first network namespace
        keys = {key for key in keys if not key.startswith("net.core.")}
    if not Path("/proc/sys/net/ipv6").exists():
        keys = {key for key in keys if not key.startswith("net.ipv6.")}
    for key in sorted(keys):
        if program is None:  # procps is not there: its files are
            assert Path("/proc/sys", *key.split(".")).read_text()
            continue
        asked = subprocess.run([program, "-n", key], capture_output=True, text=True, check=False)
        assert (asked.returncode, asked.stderr) == (0, ""), key


def test_what_is_written_to_files_of_the_kernel_is_a_number_or_a_word_of_theirs(sick_findings):
    for text in fixes(sick_findings, FixKind.COMMAND):
        if match := re.fullmatch(r"echo (\S+) \| sudo tee (\S+)", text):
            value, path = match.groups()
            assert path.startswith(("/sys/", "/proc/irq/")), text
            assert re.fullmatch(r"-?[\d,-]+|[0-9a-f,]+|\+?\w[\w-]*|\$\$", value), text


# systemd.exec(5) and systemd.resource-control(5).
UNIT_WORDS = {
    *("AllowedCPUs", "AmbientCapabilities", "CPUQuota", "CapabilityBoundingSet", "LimitMEMLOCK"),
    *("LimitNOFILE", "LimitRTPRIO", "LimitRTTIME", "MemoryMax", "MemorySwapMax"),
    *("NoNewPrivileges", "TimerSlackNSec"),
}
# docker-run(1), podman-run(1).
CONTAINER_WORDS = {
    *("--cap-add", "--cgroupns", "--cpu-rt-runtime", "--cpus", "--cpuset-cpus", "--memory"),
    *("--shm-size", "--ulimit", "--userns"),
}
# Documentation/admin-guide/kernel-parameters.txt of Linux.
BOOT_WORDS = {
    *("clocksource", "cpufreq.default_governor", "highres", "intel_idle.max_cstate"),
    *("irqaffinity", "isolcpus", "nohz_full", "nosmt", "preempt", "processor.max_cstate"),
    *("rcu_nocbs", "rt_group_sched", "tsc"),
}


def test_lines_for_units_containers_and_boot_are_known_words(sick_findings):
    assert {text.partition("=")[0] for text in fixes(sick_findings, FixKind.UNIT)} <= UNIT_WORDS
    boot = " ".join(fixes(sick_findings, FixKind.BOOT)).split()
    assert {word.partition("=")[0] for word in boot} <= BOOT_WORDS
    options = " ".join(fixes(sick_findings, FixKind.CONTAINER)).split()
    named = {word.partition("=")[0] for word in options if word.startswith("--")}
    assert named <= CONTAINER_WORDS


def test_lines_of_files_name_their_file(sick_findings):
    for text in fixes(sick_findings, FixKind.FILE):
        assert re.match(r"/etc/\S+: \S", text), text
