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


def commands(finding):
    return [fix.text for fix in finding.fixes]


def test_a_fit_machine(judged):
    found = judged()
    assert {name: f.status for name, f in found.items()} == {
        check.id: Status.OK for check in scheduler.CHECKS
    }


@pytest.mark.parametrize(
    ("runtime", "status"),
    [("-1", Status.OK), ("0", Status.UNFIT), ("500000", Status.LIMITS), (None, Status.HIDDEN)],
)
def test_throttling(judged, runtime, status):
    finding = judged({"/proc/sys/kernel/sched_rt_runtime_us": runtime})["scheduler.rt_throttling"]
    assert finding.status is status
    if status in (Status.LIMITS, Status.UNFIT):
        assert "sudo sysctl -w kernel.sched_rt_runtime_us=950000" in commands(finding)


def test_a_group_of_version_one_without_a_budget(judged):
    version_one = {
        "/proc/self/cgroup": "1:cpu:/plant\n",
        "/proc/self/mounts": "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n",
        "/sys/fs/cgroup/cpu/plant/cpu.rt_runtime_us": "0\n",
    }
    finding = judged(version_one)["scheduler.rt_group"]
    assert finding.status is Status.UNFIT
    assert "echo 900000 | sudo tee /sys/fs/cgroup/cpu/plant/cpu.rt_runtime_us" in commands(finding)
    given = {**version_one, "/sys/fs/cgroup/cpu/plant/cpu.rt_runtime_us": "900000\n"}
    assert judged(given)["scheduler.rt_group"].status is Status.OK


def test_groups_of_version_two_have_no_budget(judged):
    built = {"/proc/config.gz": gzip.compress(b"CONFIG_RT_GROUP_SCHED=y\n")}
    finding = judged(built)["scheduler.rt_group"]
    assert finding.status is Status.UNFIT
    assert "rt_group_sched=0" in commands(finding)
    switched_off = {**built, "/proc/cmdline": "rt_group_sched=0"}
    assert judged(switched_off)["scheduler.rt_group"].status is Status.OK


def test_in_the_root_group_there_is_a_budget(judged):
    built = {"/proc/config.gz": gzip.compress(b"CONFIG_RT_GROUP_SCHED=y\n")}
    assert judged({**built, "/proc/self/cgroup": "0::/\n"})["scheduler.rt_group"].status is (
        Status.OK
    )


def test_in_a_cgroup_namespace_the_group_is_out_of_sight(judged):
    built = {"/proc/config.gz": gzip.compress(b"CONFIG_RT_GROUP_SCHED=y\n")}
    found = judged(built, around=Surroundings(container="docker", cgroup_namespace=True))
    assert found["scheduler.rt_group"].status is Status.HIDDEN


def test_groups_are_hidden_with_the_configuration(judged):
    assert judged({"/proc/config.gz": None})["scheduler.rt_group"].status is Status.HIDDEN


def test_a_quota_of_a_group_above(judged):
    changes = {
        "/sys/fs/cgroup/system.slice/cpu.max": "50000 100000\n",
        "/sys/fs/cgroup/system.slice/plc.service/cpu.max": "80000 100000\n",
    }
    finding = judged(changes)["scheduler.cpu_quota"]
    assert finding.status is Status.LIMITS
    assert finding.values == {"quota_us": 50000, "period_us": 100000}
    assert "echo max | sudo tee /sys/fs/cgroup/system.slice/cpu.max" in commands(finding)


def test_a_quota_of_version_one(judged):
    changes = {
        "/proc/self/cgroup": "1:cpu:/\n",
        "/proc/self/mounts": "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "20000\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    finding = judged(changes)["scheduler.cpu_quota"]
    assert finding.status is Status.LIMITS
    assert "echo -1 | sudo tee /sys/fs/cgroup/cpu/cpu.cfs_quota_us" in commands(finding)


def test_a_container_may_hide_its_quota(judged):
    found = judged({"/proc/self/cgroup": None}, around=Surroundings(container="docker"))
    assert found["scheduler.cpu_quota"].status is Status.HIDDEN


def test_cores_that_are_not_there(judged):
    finding = judged(cpus=(3, 9), pinned=frozenset({3}))["scheduler.cpuset"]
    assert finding.status is Status.UNFIT
    assert "core 9 is not there" in finding.measured
    assert "echo 1 | sudo tee /sys/devices/system/cpu/cpu9/online" in commands(finding)


def test_cores_that_are_closed(judged):
    changes = {"/sys/fs/cgroup/system.slice/plc.service/cpuset.cpus.effective": "0-1\n"}
    finding = judged(changes, pinned=frozenset())["scheduler.cpuset"]
    assert finding.status is Status.UNFIT
    assert "cores 2-3 are closed" in finding.measured
    assert "AllowedCPUs=2-3" in commands(finding)
    # Where no worker could be asked, the core set alone speaks.
    assert judged(changes, pinned=None)["scheduler.cpuset"].status is Status.UNFIT


def test_core_sets_may_be_hidden(judged):
    hidden = judged(
        {"/proc/self/cgroup": None, "/sys/devices/system/cpu/online": None}, pinned=None
    )
    assert hidden["scheduler.cpuset"].status is Status.HIDDEN


@pytest.mark.parametrize(
    ("slack", "status"),
    [("1\n", Status.OK), ("4000000\n", Status.LIMITS), (None, Status.HIDDEN)],
)
def test_timer_slack(judged, slack, status):
    found = judged({"/proc/self/timerslack_ns": slack})
    assert found["scheduler.timer_slack"].status is status


@pytest.mark.parametrize(
    ("changes", "status", "mode"),
    [
        ({_PREEMPT: "none (voluntary) full\n"}, Status.LIMITS, "voluntary"),
        ({_PREEMPT: "none voluntary (full)\n"}, Status.OK, "full"),
        ({"/proc/cmdline": "quiet"}, Status.LIMITS, "voluntary"),
        ({"/sys/kernel/realtime": "1\n"}, Status.OK, "rt"),
        ({"/proc/cmdline": None, "/proc/config.gz": None}, Status.HIDDEN, None),
    ],
)
def test_preemption(judged, changes, status, mode):
    finding = judged(changes)["scheduler.preemption"]
    assert finding.status is status
    assert finding.values.get("mode") == mode
    if status is Status.LIMITS:
        assert "preempt=full" in commands(finding)
        assert "echo full | sudo tee /sys/kernel/debug/sched/preempt" in commands(finding)
