"""The scheduler's findings on made-up machines."""

import dataclasses
import gzip

import pytest

from shmring_doctor import scheduler
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import Status

_PREEMPT = "/sys/kernel/debug/sched/preempt"
FIT = {
    "/proc/sys/kernel/sched_rt_runtime_us": "950000\n",
    "/proc/sys/kernel/sched_rt_period_us": "1000000\n",
    "/proc/cmdline": "root=/dev/sda1 preempt=full\n",
    "/proc/version": "Linux version 6.12.0 (x) #1 SMP PREEMPT_DYNAMIC Debian\n",
    "/proc/config.gz": gzip.compress(b"CONFIG_PREEMPT_VOLUNTARY=y\nCONFIG_PREEMPT_DYNAMIC=y\n"),
    "/proc/self/timerslack_ns": "50000\n",
    "/proc/self/cgroup": "0::/system.slice/plc.service\n",
    "/proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n",
    "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu\n",
    "/sys/fs/cgroup/system.slice/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/system.slice/plc.service/cpu.max": "max 100000\n",
    "/sys/fs/cgroup/system.slice/plc.service/cgroup.type": "domain\n",
    "/sys/fs/cgroup/system.slice/plc.service/cpuset.cpus.effective": "0-3\n",
    "/sys/devices/system/cpu/online": "0-3\n",
}


@pytest.fixture
def judged(machine, by_id):
    """Findings on the fit machine with some files changed; None takes one away."""

    def judge(changes=(), *, cpus=(2, 3), pinned=frozenset({2, 3}), around=None, **facts):
        files = {name: text for name, text in {**FIT, **dict(changes)}.items() if text is not None}
        found = scheduler.gather(machine(files), cpus, around or Surroundings(), pinned)
        return by_id(scheduler.judge(dataclasses.replace(found, **facts)))

    return judge


def test_a_fit_machine(judged):
    found = judged()
    assert {name: f.status for name, f in found.items()} == {
        check.id: Status.OK for check in scheduler.CHECKS
    }


RUNTIME = "/proc/sys/kernel/sched_rt_runtime_us"
SLACK = "/proc/self/timerslack_ns"
GROUPS = {"/proc/config.gz": gzip.compress(b"CONFIG_RT_GROUP_SCHED=y\n")}
V1 = {
    "/proc/self/cgroup": "1:cpu:/plant\n",
    "/proc/self/mounts": "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n",
}
V1_BUDGET = "/sys/fs/cgroup/cpu/plant/cpu.rt_runtime_us"
V1_QUOTA = "/sys/fs/cgroup/cpu/plant/cpu.cfs_quota_us"
V1_PERIOD = "/sys/fs/cgroup/cpu/plant/cpu.cfs_period_us"
ABOVE = "/sys/fs/cgroup/system.slice/cpu.max"
OWN = "/sys/fs/cgroup/system.slice/plc.service/cpu.max"
CLOSED = {"/sys/fs/cgroup/system.slice/plc.service/cpuset.cpus.effective": "0-1\n"}
DOCKER = {"around": Surroundings(container="docker")}
APART = {"around": Surroundings(container="docker", cgroup_namespace=True)}
NOT_ASKED = {"pinned": None}
NO_GROUP = {"/proc/self/cgroup": None}
FULL = ("preempt=full", f"echo full | sudo tee {_PREEMPT}")
UNKNOWN = {"/proc/cmdline": None, "/proc/config.gz": None}

# A finding, its status, what is otherwise on the machine and of the facts, and what is said.
FINDINGS = [
    ("rt_throttling", "ok", {RUNTIME: "-1"}, {}),
    ("rt_throttling", "unfit", {RUNTIME: "0"}, {}, "sysctl -w kernel.sched_rt_runtime_us=950000"),
    ("rt_throttling", "limits", {RUNTIME: "500000"}, {}, "sched_rt_runtime_us=950000"),
    ("rt_throttling", "hidden", {RUNTIME: None}, {}),
    ("rt_group", "unfit", V1 | {V1_BUDGET: "0\n"}, {}, f"echo 900000 | sudo tee {V1_BUDGET}"),
    ("rt_group", "ok", V1 | {V1_BUDGET: "900000\n"}, {}),
    ("rt_group", "unfit", GROUPS, {}, "rt_group_sched=0"),  # groups of version 2 have no budget
    ("rt_group", "ok", GROUPS | {"/proc/cmdline": "rt_group_sched=0"}, {}),
    ("rt_group", "ok", GROUPS | {"/proc/self/cgroup": "0::/\n"}, {}),  # the root group has one
    ("rt_group", "hidden", GROUPS, APART),
    ("rt_group", "hidden", {"/proc/config.gz": None}, {}),
    (
        "cpu_quota", "limits", {ABOVE: "50000 100000\n", OWN: "80000 100000\n"}, {},
        f"echo max | sudo tee {ABOVE}",
    ),
    (
        "cpu_quota", "limits", V1 | {V1_QUOTA: "20000\n", V1_PERIOD: "100000\n"}, {},
        f"echo -1 | sudo tee {V1_QUOTA}",
    ),
    ("cpu_quota", "hidden", NO_GROUP, DOCKER),
    (
        "cpuset", "unfit", {}, {"cpus": (3, 9), "pinned": frozenset({3})}, "core 9 is not there",
        "echo 1 | sudo tee /sys/devices/system/cpu/cpu9/online",
    ),
    ("cpuset", "unfit", CLOSED, {"pinned": frozenset()}, "cores 2-3 are closed", "AllowedCPUs=2-3"),
    ("cpuset", "unfit", CLOSED, NOT_ASKED),  # the core set alone speaks
    ("cpuset", "hidden", NO_GROUP | {"/sys/devices/system/cpu/online": None}, NOT_ASKED),
    ("timer_slack", "ok", {SLACK: "1\n"}, {}),
    ("timer_slack", "limits", {SLACK: "4000000\n"}, {}),
    ("timer_slack", "hidden", {SLACK: None}, {}),
    ("preemption", "limits", {_PREEMPT: "none (voluntary) full\n"}, {}, "voluntary", *FULL),
    ("preemption", "ok", {_PREEMPT: "none voluntary (full)\n"}, {}, "full"),
    ("preemption", "limits", {"/proc/cmdline": "quiet"}, {}, "voluntary", *FULL),
    ("preemption", "ok", {"/sys/kernel/realtime": "1\n"}, {}),
    ("preemption", "hidden", UNKNOWN, {}),
]


@pytest.mark.parametrize("row", FINDINGS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_findings(judged, expect, row):
    check, status, changes, how, *says = row
    expect(judged(changes, **how)[f"scheduler.{check}"], status, says)


def test_the_tightest_quota_is_measured(judged):
    finding = judged({ABOVE: "50000 100000\n", OWN: "80000 100000\n"})["scheduler.cpu_quota"]
    assert finding.values == {"quota_us": 50000, "period_us": 100000}


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({_PREEMPT: "none (voluntary) full\n"}, "voluntary"),
        ({"/sys/kernel/realtime": "1\n"}, "rt"),
        (UNKNOWN, None),
    ],
)
def test_the_mode_of_preemption(judged, changes, mode):
    assert judged(changes)["scheduler.preemption"].values.get("mode") == mode
