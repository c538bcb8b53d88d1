"""The workers' cores on made-up machines."""

import struct
import types

import pytest

from shmring_doctor import cpu
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import FixKind, Status

CPU = "/sys/devices/system/cpu"


def idle(number, state, name, latency, disabled=0):
    folder = f"{CPU}/cpu{number}/cpuidle/state{state}"
    return {
        f"{folder}/name": f"{name}\n",
        f"{folder}/latency": f"{latency}\n",
        f"{folder}/disable": f"{disabled}\n",
    }


FIT = {
    "/proc/cmdline": "isolcpus=managed_irq,domain,3 nohz_full=3 rcu_nocbs=3\n",
    f"{CPU}/online": "0-3\n",
    f"{CPU}/isolated": "3\n",
    f"{CPU}/nohz_full": "3\n",
    f"{CPU}/cpu3/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/cpu3/topology/thread_siblings_list": "3\n",
    f"{CPU}/cpuidle/current_driver": "intel_idle\n",
    **idle(3, 0, "POLL", 0),
    **idle(3, 1, "C1", 1),
    **idle(3, 2, "C6", 133, disabled=1),
}


@pytest.fixture
def judged(machine, by_id):
    def judge(changes=(), *, cpus=(3,), around=None, spinning=()):
        files = {name: text for name, text in {**FIT, **dict(changes)}.items() if text is not None}
        facts = cpu.gather(machine(files), cpus, around or Surroundings(), spinning)
        return by_id(cpu.judge(facts))

    return judge


def commands(finding):
    return [fix.text for fix in finding.fixes if fix.kind is FixKind.COMMAND]


def boots(finding):
    return [fix.text for fix in finding.fixes if fix.kind is FixKind.BOOT]


def test_a_fit_machine(judged):
    assert {name: f.status for name, f in judged().items()} == {
        check.id: Status.OK for check in cpu.CHECKS
    }


def test_a_machine_without_anything(judged):
    bare = {"/proc/cmdline": "quiet\n", f"{CPU}/isolated": "\n", f"{CPU}/nohz_full": "(null)\n"}
    found = judged(bare)
    assert boots(found["cpu.isolation"]) == ["isolcpus=managed_irq,domain,3"]
    assert commands(found["cpu.isolation"]) == []  # there are no cpuset partitions
    assert boots(found["cpu.nohz_full"]) == ["nohz_full=3"]
    assert boots(found["cpu.rcu_nocbs"]) == ["rcu_nocbs=3"]
    for name in ("isolation", "nohz_full", "rcu_nocbs"):
        assert found[f"cpu.{name}"].status is Status.LIMITS


def test_a_kernel_that_shows_nothing(judged, machine, by_id):
    hidden = by_id(cpu.judge(cpu.gather(machine({}), (3,), Surroundings(virtual=True))))
    assert {f.status for name, f in hidden.items() if name != "cpu.smt"} == {Status.HIDDEN}
    assert "the host decides" in hidden["cpu.governor"].measured
    assert "the host decides" in hidden["cpu.cstates"].measured


def test_a_cpuset_partition_isolates_as_well(judged):
    partition = {
        "/proc/self/cgroup": "0::/rt/plc\n",
        "/proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
        "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu\n",
        "/sys/fs/cgroup/rt/cpuset.cpus.partition": "isolated\n",
        "/sys/fs/cgroup/rt/cpuset.cpus.effective": "2-3\n",
        "/sys/fs/cgroup/rt/plc/cgroup.procs": "",
        f"{CPU}/isolated": "\n",
    }
    assert judged(partition)["cpu.isolation"].status is Status.OK
    partition["/sys/fs/cgroup/rt/cpuset.cpus.partition"] = "member\n"
    finding = judged(partition)["cpu.isolation"]
    assert finding.status is Status.LIMITS
    assert "echo isolated | sudo tee /sys/fs/cgroup/shmring/cpuset.cpus.partition" in (
        commands(finding)
    )


def test_nohz_full_takes_the_callbacks_away_too(judged):
    assert judged({"/proc/cmdline": "nohz_full=3"})["cpu.rcu_nocbs"].status is Status.OK


def test_no_core_is_left(judged):
    finding = judged({f"{CPU}/online": "3\n"})["cpu.count"]
    assert finding.status is Status.LIMITS


def test_workers_that_spin_on_all_cores(judged):
    pinned, free = (types.SimpleNamespace(cpu=core) for core in (3, None))
    assert judged(spinning=[pinned, free, free])["cpu.count"].status is Status.OK
    finding = judged(spinning=[pinned, free, free, free])["cpu.count"]
    assert finding.status is Status.UNFIT
    assert "take all" in finding.measured


def test_a_governor_that_saves(judged):
    governor = f"{CPU}/cpu3/cpufreq/scaling_governor"
    finding = judged({governor: "schedutil\n"})["cpu.governor"]
    assert finding.status is Status.LIMITS
    assert commands(finding) == [f"echo performance | sudo tee {governor}"]
    fixed = {
        governor: "userspace\n",
        f"{CPU}/cpu3/cpufreq/scaling_min_freq": "3000000\n",
        f"{CPU}/cpu3/cpufreq/scaling_max_freq": "3000000\n",
    }
    assert judged(fixed)["cpu.governor"].status is Status.OK


def test_deep_sleep(judged):
    finding = judged(idle(3, 2, "C6", 133))["cpu.cstates"]
    assert finding.status is Status.LIMITS
    assert finding.values["exit_latency_us"] == 133
    assert commands(finding) == [f"echo 1 | sudo tee {CPU}/cpu3/cpuidle/state2/disable"]
    assert boots(finding) == ["intel_idle.max_cstate=1 processor.max_cstate=1"]


def test_a_wish_for_short_latency_keeps_the_core_awake(judged):
    awake = {**idle(3, 2, "C6", 133), "/dev/cpu_dma_latency": struct.pack("=i", 10)}
    finding = judged(awake)["cpu.cstates"]
    assert finding.status is Status.OK
    assert finding.values == {
        "exit_latency_us": 1,
        "state": "C1",
        "cpu_dma_latency_us": 10,
    }


@pytest.mark.parametrize(
    ("siblings", "changes", "cpus", "status"),
    [
        ("2-3", {}, (3,), Status.LIMITS),
        ("2-3", {f"{CPU}/online": "0-1,3\n"}, (3,), Status.OK),
        ("2-3", {f"{CPU}/isolated": "2-3\n"}, (3,), Status.OK),
    ],
)
def test_siblings(judged, siblings, changes, cpus, status):
    found = judged(
        {f"{CPU}/cpu3/topology/thread_siblings_list": f"{siblings}\n", **changes}, cpus=cpus
    )
    finding = found["cpu.smt"]
    assert finding.status is status
    assert finding.subject == "cpu3"
    if status is Status.LIMITS:
        assert commands(finding) == [f"echo 0 | sudo tee {CPU}/cpu2/online"]


def test_two_workers_on_one_core(machine):
    files = {
        **FIT,
        f"{CPU}/isolated": "2-3\n",
        f"{CPU}/cpu2/topology/thread_siblings_list": "2-3\n",
        f"{CPU}/cpu3/topology/thread_siblings_list": "2-3\n",
    }
    findings = cpu.judge(cpu.gather(machine(files), (2, 3), Surroundings()))
    smt = [f for f in findings if f.id == "cpu.smt"]
    assert [(f.subject, f.status) for f in smt] == [
        ("cpu2", Status.LIMITS),
        ("cpu3", Status.LIMITS),
    ]
    assert "another worker" in smt[0].measured
