"""The workers' cores on made-up machines."""

import struct
import types

import pytest

from shmring_doctor import cpu
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import Status

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


def test_a_fit_machine(judged):
    assert {name: f.status for name, f in judged().items()} == {
        check.id: Status.OK for check in cpu.CHECKS
    }


def test_a_kernel_that_shows_nothing(judged, machine, by_id):
    hidden = by_id(cpu.judge(cpu.gather(machine({}), (3,), Surroundings(virtual=True))))
    assert {f.status for name, f in hidden.items() if name != "cpu.smt"} == {Status.HIDDEN}
    assert "the host decides" in hidden["cpu.governor"].measured
    assert "the host decides" in hidden["cpu.cstates"].measured


GOVERNOR = f"{CPU}/cpu3/cpufreq/scaling_governor"
BARE = {"/proc/cmdline": "quiet\n", f"{CPU}/isolated": "\n", f"{CPU}/nohz_full": "(null)\n"}
PARTITION = {
    "/proc/self/cgroup": "0::/rt/plc\n",
    "/proc/self/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
    "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu\n",
    "/sys/fs/cgroup/rt/cpuset.cpus.partition": "isolated\n",
    "/sys/fs/cgroup/rt/cpuset.cpus.effective": "2-3\n",
    "/sys/fs/cgroup/rt/plc/cgroup.procs": "",
    f"{CPU}/isolated": "\n",
}
MEMBER = PARTITION | {"/sys/fs/cgroup/rt/cpuset.cpus.partition": "member\n"}
ISOLATE = "echo isolated | sudo tee /sys/fs/cgroup/shmring/cpuset.cpus.partition"
DEEP = idle(3, 2, "C6", 133)
AWAKE = DEEP | {"/dev/cpu_dma_latency": struct.pack("=i", 10)}
SIBLINGS = {f"{CPU}/cpu3/topology/thread_siblings_list": "2-3\n"}
PINNED, FREE = (types.SimpleNamespace(cpu=core) for core in (3, None))
FIXED = {
    GOVERNOR: "userspace\n",
    f"{CPU}/cpu3/cpufreq/scaling_min_freq": "3000000\n",
    f"{CPU}/cpu3/cpufreq/scaling_max_freq": "3000000\n",
}

# A finding, its status, what is otherwise on the machine and how it is asked, and what is said.
FINDINGS = [
    ("isolation", "limits", BARE, {}, "isolcpus=managed_irq,domain,3", "!cpuset.cpus.partition"),
    ("isolation", "ok", PARTITION, {}),
    ("isolation", "limits", MEMBER, {}, ISOLATE),
    ("nohz_full", "limits", BARE, {}, "nohz_full=3"),
    ("rcu_nocbs", "limits", BARE, {}, "rcu_nocbs=3"),
    ("rcu_nocbs", "ok", {"/proc/cmdline": "nohz_full=3"}, {}),  # takes the callbacks away, too
    ("count", "limits", {f"{CPU}/online": "3\n"}, {}),
    ("count", "ok", {}, {"spinning": [PINNED, FREE, FREE]}),
    ("count", "unfit", {}, {"spinning": [PINNED, FREE, FREE, FREE]}, "take all"),
    (
        "governor", "limits", {GOVERNOR: "schedutil\n"}, {},
        f"echo performance | sudo tee {GOVERNOR}",
    ),
    ("governor", "ok", FIXED, {}),
    (
        "cstates", "limits", DEEP, {}, f"echo 1 | sudo tee {CPU}/cpu3/cpuidle/state2/disable",
        "intel_idle.max_cstate=1 processor.max_cstate=1",
    ),
    ("smt", "limits", SIBLINGS, {}, f"echo 0 | sudo tee {CPU}/cpu2/online"),
    ("smt", "ok", SIBLINGS | {f"{CPU}/online": "0-1,3\n"}, {}),
    ("smt", "ok", SIBLINGS | {f"{CPU}/isolated": "2-3\n"}, {}),
]


@pytest.mark.parametrize("row", FINDINGS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_findings(judged, expect, row):
    check, status, changes, how, *says = row
    expect(judged(changes, **how)[f"cpu.{check}"], status, says)


def test_a_wish_for_short_latency_keeps_the_core_awake(judged):
    assert judged(DEEP)["cpu.cstates"].values["exit_latency_us"] == 133
    finding = judged(AWAKE)["cpu.cstates"]
    assert finding.status is Status.OK
    assert finding.values == {"exit_latency_us": 1, "state": "C1", "cpu_dma_latency_us": 10}


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
