"""Other real-time processes on the workers' cores, in made-up trees of /proc."""

import os

import pytest

from shmring_doctor import rivals
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import Status

FIFO, RR, DEADLINE = os.SCHED_FIFO, os.SCHED_RR, 6


def thread(pid, name, policy, priority, *, cpus="0-3", flags=0, tid=None):
    """Files of one thread as proc_pid_stat(5) has them; the name may hold anything."""
    fields = ["0"] * 50
    fields[0], fields[6], fields[37], fields[38] = "S", str(flags), str(priority), str(policy)
    folder = f"/proc/{pid}/task/{tid or pid}"
    return {
        f"{folder}/stat": f"{pid} ({name}) {' '.join(fields)}\n",
        f"{folder}/status": f"Name:\t{name}\nCpus_allowed_list:\t{cpus}\n",
    }


@pytest.fixture
def judged(machine):
    def judge(files, around=None):
        host = machine({"/sys/devices/system/cpu/online": "0-3\n", **files})
        (finding,) = rivals.judge(rivals.gather(host, (2, 3), around or Surroundings()))
        return finding

    return judge


def test_nobody_else(judged):
    quiet = {
        **thread(1, "init", os.SCHED_OTHER, 0),
        **thread(12, "migration/2", FIFO, 99, cpus="2", flags=0x200040),
        **thread(50, "elsewhere", FIFO, 99, cpus="0-1"),
        **thread(60, "rtkit", RR, 20),
    }
    finding = judged(quiet)
    assert finding.status is Status.OK
    assert finding.measured == "none of priority 80 or above; 1 below"


@pytest.mark.parametrize(("policy", "priority"), [(FIFO, 80), (FIFO, 99), (RR, 85), (DEADLINE, 0)])
def test_one_that_goes_first(judged, policy, priority):
    finding = judged(thread(70, "jackd ) x", policy, priority, cpus="1-2", tid=71))
    assert finding.status is Status.LIMITS
    assert "jackd ) x (71)" in finding.measured
    assert [fix.text for fix in finding.fixes] == ["sudo taskset -p -c 0-1 71"]


def test_a_worker_that_runs_there_is_what_the_core_is_for(judged):
    finding = judged(thread(80, "shmring-w2", FIFO, 80, cpus="2"))
    assert finding.status is Status.OK
    assert "shmring-w2 (80)" in finding.measured


def test_two_workers_on_one_core(judged):
    one, two = (thread(pid, "shmring-w2", FIFO, 80, cpus="2") for pid in (80, 81))
    finding = judged(one | two)
    assert finding.status is Status.LIMITS
    assert [fix.kind.value for fix in finding.fixes] == ["hint"]


def test_many_are_summed_up(judged):
    files = {}
    for pid in range(100, 107):
        files |= thread(pid, "loud", FIFO, 90)
    finding = judged(files)
    assert finding.measured.endswith("and 3 more")
    assert len(finding.values["first"]) == 7


def test_what_a_container_hides(judged):
    assert judged({}, Surroundings(container="docker")).status is Status.HIDDEN
    seen = judged(thread(70, "jackd", FIFO, 90), Surroundings(container="docker"))
    assert seen.status is Status.LIMITS
