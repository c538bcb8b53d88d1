"""What hides things, and what was measured."""

import dataclasses

import pytest

from rtworkers.examine import Examination, Latency
from shmring_doctor import container, measure
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import Status

INITIAL = {
    "/proc/self/ns/cgroup": "-> cgroup:[4026531835]",
    "/proc/self/ns/pid": "-> pid:[4026531836]",
    "/proc/self/ns/user": "-> user:[4026531837]",
    "/proc/interrupts": "   CPU0\n",
    "/proc/self/mounts": "sysfs /sys sysfs rw 0 0\nproc /proc proc rw 0 0\n",
    "/proc/cpuinfo": "processor: 0\nflags\t\t: fpu vme\n",
}


def test_the_machine_itself(machine, by_id):
    found = by_id(container.judge(container.gather(machine(INITIAL))))
    assert {name: f.status for name, f in found.items()} == {
        check.id: Status.OK for check in container.CHECKS
    }


def test_a_container_that_hides_all_it_can(machine, by_id):
    inside = {
        **INITIAL,
        "/.dockerenv": "",
        "/proc/self/ns/cgroup": "-> cgroup:[4026532500]",
        "/proc/self/ns/user": "-> user:[4026532600]",
        "/proc/self/mounts": (
            "sysfs /sys sysfs ro,nosuid 0 0\nproc /proc/sys proc ro,nosuid 0 0\n"
        ),
    }
    del inside["/proc/interrupts"]
    facts = container.gather(machine(inside))
    assert facts == Surroundings(
        container="docker",
        virtual=False,
        settings_read_only=("/sys", "/proc/sys"),
        cgroup_namespace=True,
        user_namespace=True,
        interrupts_hidden=True,
    )
    found = by_id(container.judge(facts))
    for name in ("kind", "settings", "cgroup"):
        assert found[f"container.{name}"].status is Status.HIDDEN
    assert found["container.users"].status is Status.LIMITS
    assert "/sys and /proc/sys" in found["container.settings"].measured
    for word in ("interrupts", "limits above its own", "writing"):
        assert word in found["container.kind"].measured


@pytest.mark.parametrize(
    ("files", "engine"),
    [
        ({"/run/.containerenv": ""}, "podman"),
        ({"/run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn"),
        ({"/proc/1/cgroup": "0::/kubepods.slice/pod1/x\n"}, "kubernetes"),
        ({"/proc/1/cgroup": "1:cpu:/lxc/one\n"}, "lxc"),
        ({"/proc/self/ns/pid": "-> pid:[4026532001]"}, "unknown kind"),
        ({"/proc/1/cgroup": "0::/init.scope\n"}, None),
    ],
)
def test_engines_by_what_they_leave(machine, files, engine):
    assert container.gather(machine({**INITIAL, **files})).container == engine


@pytest.mark.parametrize(
    ("files", "virtual", "name"),
    [
        ({"/proc/cpuinfo": "flags : fpu hypervisor\n"}, True, None),
        ({"/sys/class/dmi/id/sys_vendor": "QEMU\n"}, True, "QEMU"),
        ({"/sys/hypervisor/type": "xen\n"}, True, "xen"),
        ({"/proc/cpuinfo": "Features : fp\n"}, None, None),
    ],
)
def test_virtual_machines(machine, by_id, files, virtual, name):
    facts = container.gather(machine({**INITIAL, **files}))
    assert (facts.virtual, facts.hypervisor) == (virtual, name)
    assert by_id(container.judge(facts))["container.virtual"].status is Status.HIDDEN


# --- measure --------------------------------------------------------------------------------------


def latency(**changes):
    fit = Latency(n=1000, min_ns=900, p50_ns=2000, p99_ns=9000, max_ns=14_000, beyond_margin=0)
    return dataclasses.replace(fit, **changes)


@pytest.fixture
def judged(by_id, fit_worker):
    def judge(*, policy="fifo", steal=0.0, **parts):
        setup = dataclasses.replace(fit_worker.setup, policy=policy)
        run = dataclasses.replace(fit_worker, setup=setup, **parts)
        facts = measure.Facts(Surroundings(), (run,), {3: steal})
        return by_id(measure.judge(facts))

    return judge


def test_a_fit_machine(judged):
    found = judged()
    assert {name: f.status for name, f in found.items()} == {
        check.id: Status.OK for check in measure.CHECKS
    }
    assert {f.subject for f in found.values()} == {"cpu3"}
    wakeup = found["measure.wakeup"]
    assert wakeup.values["n"] == 2000
    assert wakeup.values["policy"] == "fifo"
    assert "p50 3 us, p99 9 us, max 14 us (2000 sleeps)" in wakeup.measured


SLOW = {"p99_ns": 300_000, "max_ns": 900_000, "beyond_margin": 20}
LATE = {"p99_ns": 2_000_000, "max_ns": 9_000_000, "beyond_margin": 50}

# A finding, its status, what was measured, and what is said.
FINDINGS = [
    ("wakeup", "ok", {"between_ticks": latency(p99_ns=199_000, max_ns=900_000)}),
    ("wakeup", "limits", {"between_ticks": latency(**SLOW)}),
    ("wakeup", "limits", {"between_ticks": latency(max_ns=3_000_000, beyond_margin=1)}),
    ("wakeup", "unfit", {"between_ticks": latency(**LATE)}),
    (
        "wakeup", "limits", {"policy": "other", "between_ticks": latency(p99_ns=400_000)},
        "as an ordinary process", "privileges.realtime",
    ),
    ("tick", "limits", {"between_ticks": latency(), "on_tick": latency(p50_ns=25_000)}, "500_000"),
    ("steal", "ok", {"steal": 0.0005}),
    ("steal", "limits", {"steal": 0.01}),
    ("steal", "unfit", {"steal": 0.3}),
]


@pytest.mark.parametrize("row", FINDINGS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_findings(judged, expect, row):
    check, status, how, *says = row
    expect(judged(**how)[f"measure.{check}"], status, says)


def test_the_figures_of_deadlines_on_the_tick(judged):
    finding = judged(between_ticks=latency(), on_tick=latency(p50_ns=25_000))["measure.tick"]
    assert (finding.values["on_p50_ns"], finding.values["beside_p50_ns"]) == (25_000, 2000)


def test_nothing_measured(by_id):
    quick = by_id(measure.judge(measure.Facts(Surroundings(), quick=True)))
    assert {f.status for f in quick.values()} == {Status.HIDDEN}
    failed = measure.Facts(Surroundings(), (Examination(3, error="it ended with -9"),))
    found = by_id(measure.judge(failed))
    assert found["measure.wakeup"].status is Status.HIDDEN
    assert "-9" in found["measure.wakeup"].measured
    assert found["measure.tick"].status is Status.HIDDEN


def test_stolen_time_between_two_readings(machine):
    def reading(steal, idle):
        text = f"cpu  1 2 3\ncpu3 10 0 5 {idle} 0 0 0 {steal} 0 0\nintr 5\n"
        return measure.read_times(machine({"/proc/stat": text}))

    before, after = reading(0, 100), reading(20, 180)
    assert measure.steal_between(before, after, (3,)) == {3: 0.2}
    assert measure.steal_between(before, before, (3,)) == {3: 0.0}
    assert measure.steal_between(before, after, (4,)) is None
