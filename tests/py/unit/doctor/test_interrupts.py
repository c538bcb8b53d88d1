"""Interrupts between two readings of made-up tables."""

import pytest

from shmring_doctor import interrupts
from shmring_doctor.finding import FixKind, Status

TABLE = """\
           CPU0       CPU2       CPU3
  8:          1          0          0  IO-APIC   8-edge      rtc0
 41:       1000          0       {eth}  PCI-MSIX-0000:00:03.0   1-edge      eth0-rx-0
 42:          0          0       {nvme}  PCI-MSIX-0000:00:04.0   1-edge      nvme0q1
NMI:          0          0          0   Non-maskable interrupts
LOC:     500000          7       {loc}   Local timer interrupts
RES:        100          0       {res}   Rescheduling interrupts
ERR:          0
"""
QUIET = {"eth": 0, "nvme": 0, "loc": 1000, "res": 0}
SECOND = 1_000_000_000
HOST = {
    "/sys/devices/system/cpu/online": "0,2-3\n",
    "/proc/irq/default_smp_affinity": "00000001\n",
    "/proc/irq/41/smp_affinity_list": "3\n",
    "/proc/irq/42/smp_affinity_list": "3\n",
    "/proc/irq/8/smp_affinity_list": "0-3\n",
}


@pytest.fixture
def judged(machine, by_id):
    """Findings for cores 2 and 3, two seconds after the first reading."""

    def judge(after, files=()):
        host = machine({**HOST, **dict(files)})
        first = interrupts.parse(TABLE.format(**QUIET), 0)
        second = interrupts.parse(TABLE.format(**{**QUIET, **after}), 2 * SECOND)
        facts = interrupts.gather(host, (3,), first, second)
        return by_id(interrupts.judge(facts))

    return judge


def test_the_table_is_read():
    counts = interrupts.parse(TABLE.format(eth=5, nvme=6, loc=7, res=8), 0)
    assert counts.per_cpu["41"] == {0: 1000, 2: 0, 3: 5}
    assert counts.labels["41"] == "eth0-rx-0"
    assert "ERR" not in counts.per_cpu


def test_a_quiet_core(judged):
    found = judged({"loc": 3000})
    assert [f.status for f in found.values()] == [Status.OK] * 2


def test_a_device_on_a_workers_core(judged):
    finding = judged({"eth": 4000, "nvme": 100})["cpu.irqs"]
    assert finding.status is Status.LIMITS
    assert "41 (eth0-rx-0) 2000 a second on core 3" in finding.measured
    assert [fix.text for fix in finding.fixes] == [
        "echo 0,2 | sudo tee /proc/irq/41/smp_affinity_list",
        "echo 0,2 | sudo tee /proc/irq/42/smp_affinity_list",
    ]


def test_what_irqbalance_would_undo(judged):
    balanced = {"/proc/77/comm": "irqbalance\n"}
    finding = judged({"eth": 4000}, balanced)["cpu.irqs"]
    assert [m.text for m in finding.fixes if m.kind is FixKind.FILE] == [
        "/etc/default/irqbalance: IRQBALANCE_BANNED_CPULIST=3"
    ]


def test_what_the_kernel_does_not_move(judged, tmp_path):
    tmp_path.joinpath("proc/irq/41").mkdir(parents=True)
    managed = tmp_path / "proc/irq/41/smp_affinity_list"
    managed.write_text("3\n")
    facts = interrupts.Facts(
        cpus=(3,),
        irqs=(interrupts.Irq(41, "eth0-rx-0", 3, 2000.0, managed=True),),
        online=frozenset({0, 3}),
    )
    (finding,) = [f for f in interrupts.judge(facts) if f.id == "cpu.irqs"]
    assert [fix.kind for fix in finding.fixes] == [FixKind.HINT]


def test_new_interrupts_would_come_here(judged):
    finding = judged({}, {"/proc/irq/default_smp_affinity": "f\n"})["cpu.irq_default"]
    assert finding.status is Status.LIMITS
    assert finding.values["cpus"] == [0, 2, 3]
    assert [m.text for m in finding.fixes] == [
        "echo 5 | sudo tee /proc/irq/default_smp_affinity",
        "irqaffinity=0,2",
    ]


def test_hidden_interrupts(machine, by_id):
    host = machine({"/proc/interrupts": ""})
    assert interrupts.read(host, 0) is None
    found = by_id(interrupts.judge(interrupts.gather(host, (3,), None, None)))
    assert {f.status for f in found.values()} == {Status.HIDDEN}


@pytest.mark.parametrize(
    ("mask", "cpus"), [("5", {0, 2}), ("00000001,00000000", {32}), ("ff", set(range(8)))]
)
def test_masks(mask, cpus):
    assert interrupts.parse_mask(mask) == cpus
    assert interrupts.parse_mask(interrupts.format_mask(frozenset(cpus))) == cpus
