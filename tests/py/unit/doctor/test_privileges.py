"""Privileges and limits of a worker, on made-up machines."""

import dataclasses
import struct

import pytest

from rtworkers.examine import Confinement, Examination
from shmring_doctor import privileges
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import FixKind, Status

LIMITS = "".join(
    f"{name:<25} {soft:<20} {hard:<20} {unit:<10}\n"
    for name, soft, hard, unit in (
        ("Limit", "Soft Limit", "Hard Limit", "Units"),
        ("Max locked memory", "8388608", "8388608", "bytes"),
        ("Max open files", "1024", "524288", "files"),
        ("Max realtime priority", "0", "0", ""),
        ("Max realtime timeout", "unlimited", "unlimited", "us"),
    )
)


@pytest.fixture
def facts(fit_worker):
    return privileges.Facts("/opt/bin/shmring-worker", fit_worker, Surroundings())


def with_setup(facts, **changes):
    setup = dataclasses.replace(facts.examination.setup, **changes)
    examination = dataclasses.replace(facts.examination, setup=setup)
    return dataclasses.replace(facts, examination=examination)


def texts(finding, kind):
    return [fix.text for fix in finding.fixes if fix.kind is kind]


def test_limits_are_read_as_the_kernel_uses_them(machine, fit_worker):
    host = machine(
        {
            "/proc/self/limits": LIMITS,
            "/proc/self/status": (
                "Uid:\t1000\t1000\t1000\t1000\nNoNewPrivs:\t1\nCapBnd:\t0000000000805000\n"
            ),
        }
    )
    found = privileges.gather(host, fit_worker, Surroundings())
    assert found.rtprio == 0
    assert found.rttime_us is None
    assert found.memlock_bytes == 8388608
    assert found.nofile == 524288  # raised to the hard one
    assert found.no_new_privs
    assert found.bounding == set(privileges.WANTED.values())
    assert not found.root


def test_a_worker_that_gets_everything(facts, by_id):
    found = by_id(privileges.judge(dataclasses.replace(facts, root=True)))
    assert [f.status for f in found.values()] == [Status.OK] * 8
    assert "CAP_SYS_NICE" in found["privileges.realtime"].measured
    assert found["privileges.realtime"].values["priority"] == 80


def test_a_worker_that_gets_nothing(facts, by_id):
    poor = with_setup(
        facts, policy="other", priority=0, memory_locked=False, capabilities=frozenset()
    )
    found = by_id(privileges.judge(dataclasses.replace(poor, memlock_bytes=8388608)))
    realtime = found["privileges.realtime"]
    assert realtime.status is Status.UNFIT
    assert texts(realtime, FixKind.COMMAND) == [
        "sudo groupadd -f realtime && sudo chgrp realtime /opt/bin/shmring-worker && "
        "sudo chmod 0750 /opt/bin/shmring-worker && "
        "sudo setcap cap_sys_nice,cap_net_admin,cap_ipc_lock+ep /opt/bin/shmring-worker"
    ]
    assert texts(realtime, FixKind.UNIT) == ["LimitRTPRIO=90"]
    assert texts(realtime, FixKind.FILE) == [
        "/etc/security/limits.d/shmring.conf: @realtime - rtprio 90"
    ]
    assert found["privileges.memlock"].status is Status.LIMITS
    assert "8388608" in found["privileges.memlock"].measured
    assert found["privileges.net_admin"].status is Status.LIMITS
    assert found["privileges.file_capabilities"].status is Status.LIMITS


def test_file_capabilities_for_everybody(facts, by_id):
    names = frozenset(privileges.WANTED.values())
    for root in (False, True):
        held = dataclasses.replace(facts, file_capabilities=names, root=root)
        closed = by_id(privileges.judge(held))["privileges.file_capabilities"]
        assert closed.status is Status.OK
        opened = dataclasses.replace(held, mode=0o755)
        finding = by_id(privileges.judge(opened))["privileges.file_capabilities"]
        assert finding.status is Status.UNFIT
        assert "every user may run the program (mode 0755)" in finding.measured
        (fix,) = texts(finding, FixKind.COMMAND)
        assert fix.index("chgrp") < fix.index("chmod 0750") < fix.index("setcap")
    bare = dataclasses.replace(facts, mode=0o755, root=True)
    assert by_id(privileges.judge(bare))["privileges.file_capabilities"].status is Status.OK


def poor(**facts):
    """A worker without privileges, with these facts."""
    return {"policy": "other", "capabilities": frozenset()}, facts


NICE = frozenset({"cap_sys_nice"})
BARE = {"capabilities": frozenset()}
LIMITS_DO = BARE, {"rtprio": 90, "memlock_bytes": None}
DOCKER = Surroundings(container="docker")
MAPPED = Surroundings(container="podman", user_namespace=True)
OF_A_NAMESPACE = {"policy": "other"}, {"surroundings": MAPPED, "memlock_bytes": 8388608}
IN_DOCKER = poor(surroundings=DOCKER, bounding=frozenset({"cap_ipc_lock"}))
GIVE_NICE = "--cap-add SYS_NICE --ulimit rtprio=90"
BOUND = "CapabilityBoundingSet=CAP_IPC_LOCK CAP_NET_ADMIN CAP_SYS_NICE"
MISSING = Examination(error="missing")
GONE = {}, {"binary": None, "binary_error": "it is missing", "examination": MISSING}
BROKEN = {}, {"examination": Examination(error="Exec format error")}

# A finding, its status, the worker's setup and the facts that differ, and what is said.
FINDINGS = [
    ("realtime", "unfit", {"policy": "other"}, {"rtprio": 90}, "scheduler.rt_group"),
    ("realtime", "ok", *LIMITS_DO, "RLIMIT_RTPRIO 90"),
    ("memlock", "ok", *LIMITS_DO, "RLIMIT_MEMLOCK unlimited"),
    ("file_capabilities", "ok", *LIMITS_DO),
    ("net_admin", "limits", *LIMITS_DO),
    ("realtime", "unfit", *IN_DOCKER, GIVE_NICE, "!setcap"),
    ("realtime", "unfit", *poor(bounding=frozenset()), BOUND, "!sudo"),
    ("realtime", "unfit", *OF_A_NAMESPACE, "user namespace", GIVE_NICE),
    ("memlock", "limits", *OF_A_NAMESPACE, "later mappings fail"),
    ("memlock", "ok", {"policy": "other"}, {"surroundings": MAPPED, "memlock_bytes": None}),
    (
        "file_capabilities", "limits", {}, {"file_capabilities": NICE, "nosuid": True},
        "without effect",
    ),
    (
        "file_capabilities", "limits", {}, {"file_capabilities": NICE, "no_new_privs": True},
        "without effect",
    ),
    ("realtime", "unfit", *poor(file_capabilities=NICE, nosuid=True), "!setcap"),
    ("realtime", "unfit", *poor(file_capabilities=NICE, no_new_privs=True), "!setcap"),
    ("program", "unfit", *GONE, "it is missing"),
    *((name, "hidden", *GONE) for name in ("realtime", "memlock", "net_admin")),
    *((name, "hidden", *GONE) for name in ("file_capabilities", "confinement")),
    ("program", "unfit", *BROKEN, "Exec format error"),
    ("program", "limits", {}, {"sanitizers": "address"}),
    ("nofile", "ok", {}, {"nofile": None}),
    ("nofile", "ok", {}, {"nofile": 4096}),
    ("nofile", "limits", {}, {"nofile": 1024}),
    ("nofile", "unfit", {}, {"nofile": 64}),
    ("rttime", "limits", {}, {"rttime_us": 200_000}, "LimitRTTIME=infinity"),
]


@pytest.mark.parametrize("row", FINDINGS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_findings(facts, by_id, expect, row):
    check, status, setup, differing, *says = row
    found = privileges.judge(dataclasses.replace(with_setup(facts, **setup), **differing))
    expect(by_id(found)[f"privileges.{check}"], status, says)


def test_where_workers_are_not_confined(facts, by_id):
    old = dataclasses.replace(facts.examination, confinement=Confinement("no Landlock", ""))
    found = by_id(privileges.judge(dataclasses.replace(facts, examination=old)))
    finding = found["privileges.confinement"]
    assert finding.status is Status.LIMITS
    assert finding.measured == "it may remove any file of its user: no Landlock"
    assert finding.values == {"files": False, "calls": True}


def test_capabilities_of_a_file():
    def attribute(permitted, effective=True):
        return struct.pack("<IIIII", 0x02000000 | effective, permitted, 0, 0, 0)

    nice, admin, lock = 1 << 23, 1 << 12, 1 << 14
    parse = privileges.parse_file_capabilities
    assert parse(attribute(nice | admin | lock)) == frozenset(privileges.WANTED.values())
    assert parse(attribute(nice)) == {"cap_sys_nice"}
    assert parse(attribute(nice, effective=False)) == frozenset()
    assert parse(b"") == frozenset()
