"""Files of /proc and /sys that hold nonsense: hidden, perhaps, but never an exception."""

import gzip

import pytest

from shmring_doctor import (
    clocks,
    container,
    cpu,
    interrupts,
    measure,
    memory,
    network,
    privileges,
    rivals,
    scheduler,
)
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import Finding

CPU = "/sys/devices/system/cpu"
CORE = "/proc/sys/net/core"
GROUP = "/sys/fs/cgroup/plant"
FILES = {
    "/boot/config-6": "CONFIG_HZ=250",
    "/dev/cpu_dma_latency": "\0\0\0\0",
    "/proc/1/cgroup": "0::/",
    "/proc/77/task/77/stat": "77 (x) S 1",
    "/proc/77/task/77/status": "Cpus_allowed_list: 0",
    "/proc/cmdline": "quiet",
    "/proc/cpuinfo": "flags : fpu",
    "/proc/interrupts": "  CPU0\n 1: 5 x\n",
    "/proc/irq/default_smp_affinity": "3",
    "/proc/meminfo": "SwapTotal: 0 kB",
    "/proc/net/softnet_stat": "0 0 0",
    "/proc/self/limits": "Limit\nMax open files            1024                 4096     files",
    "/proc/self/status": "Uid: 0 0 0 0",
    "/proc/self/timerslack_ns": "50000",
    "/proc/stat": "cpu0 1 2 3 4 5 6 7 8 9 10",
    "/proc/sys/kernel/osrelease": "6",
    "/proc/sys/kernel/sched_rt_period_us": "1000000",
    "/proc/sys/kernel/sched_rt_runtime_us": "950000",
    "/proc/sys/vm/swappiness": "60",
    "/proc/version": "Linux",
    "/run/systemd/container": "",
    "/sys/class/dmi/id/product_name": "x",
    "/sys/class/dmi/id/sys_vendor": "x",
    "/sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
    "/sys/fs/cgroup/cgroup.controllers": "cpuset",
    "/sys/fs/cgroup/cpuset.cpus.isolated": "0",
    "/sys/kernel/debug/sched/preempt": "(full)",
    "/sys/kernel/realtime": "0",
    f"{CORE}/netdev_budget": "300",
    f"{CORE}/netdev_budget_usecs": "8000",
    f"{CORE}/netdev_max_backlog": "1000",
    f"{CORE}/rmem_max": "212992",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "performance",
    f"{CPU}/cpu0/cpufreq/scaling_max_freq": "1",
    f"{CPU}/cpu0/cpuidle/state0/disable": "0",
    f"{CPU}/cpu0/cpuidle/state0/latency": "0",
    f"{CPU}/cpu0/cpuidle/state0/name": "POLL",
    f"{CPU}/cpu0/topology/thread_siblings_list": "0-1",
    f"{CPU}/isolated": "",
    f"{CPU}/nohz_full": "(null)",
    f"{CPU}/online": "0-1",
    f"{GROUP}/cpu.max": "max 100000",
    f"{GROUP}/cpuset.cpus.effective": "0-1",
    f"{GROUP}/cpuset.cpus.partition": "isolated",
    f"{GROUP}/memory.current": "5",
    f"{GROUP}/memory.max": "max",
}
MOUNTS = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"
NONSENSE = [
    "",
    "\n",
    "x",
    "-1 -1",
    "a: b: c",
    "9 9 9\n9",
    "99999999999999999999",
    "\xff\x80",
    "1-",
    "0-99999999999",
]


def all_findings(host, worker) -> list[Finding]:
    around = container.gather(host)
    before = interrupts.read(host, 0)
    times = measure.read_times(host)
    return [
        *container.judge(around),
        *privileges.judge(privileges.gather(host, worker, around)),
        *scheduler.judge(scheduler.gather(host, (0,), around, None)),
        *rivals.judge(rivals.gather(host, (0,), around)),
        *cpu.judge(cpu.gather(host, (0,), around)),
        *interrupts.judge(interrupts.gather(host, (0,), before, interrupts.read(host, 1))),
        *clocks.judge(clocks.gather(host, worker.clock)),
        *memory.judge(memory.gather(host)),
        *network.judge(network.gather(host, worker)),
        *measure.judge(
            measure.Facts(Surroundings(), (worker,), measure.steal_between(times, times, (0,)))
        ),
    ]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_in_every_file_at_once(machine, fit_worker, nonsense):
    groups = {"/proc/self/cgroup": "0::/plant\n", "/proc/self/mounts": MOUNTS}
    host = machine({**dict.fromkeys(FILES, nonsense), **groups})
    assert len(all_findings(host, fit_worker)) > 30


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("name", ["/proc/self/cgroup", "/proc/self/mounts", "/proc/config.gz"])
def test_nonsense_where_others_are_looked_up(machine, fit_worker, name, nonsense):
    groups = {"/proc/self/cgroup": "0::/plant\n", "/proc/self/mounts": MOUNTS}
    host = machine({**FILES, **groups, name: nonsense})
    assert len(all_findings(host, fit_worker)) > 30


@pytest.mark.parametrize(
    "bad",
    [gzip.compress(b"CONFIG_HZ")[:-4], b"\x1f\x8b\x08" + bytes(7) + b"garbage"],
    ids=["cut short", "garbage"],
)
def test_a_broken_archive(machine, bad):
    assert machine({"/proc/config.gz": bad}).kernel_config() is None


def test_folders_where_files_should_be(machine, fit_worker):
    host = machine({f"{name}/x": "" for name in FILES})
    assert len(all_findings(host, fit_worker)) > 30
