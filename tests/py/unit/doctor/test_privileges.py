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


def test_limits_do_instead_of_capabilities(facts, by_id):
    bare = with_setup(facts, capabilities=frozenset())
    found = by_id(privileges.judge(dataclasses.replace(bare, rtprio=90, memlock_bytes=None)))
    assert "RLIMIT_RTPRIO 90" in found["privileges.realtime"].measured
    assert "RLIMIT_MEMLOCK unlimited" in found["privileges.memlock"].measured
    assert found["privileges.file_capabilities"].status is Status.OK
    assert found["privileges.net_admin"].status is Status.LIMITS


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


def test_privileges_that_suffice_and_are_refused_point_elsewhere(facts, by_id):
    refused = dataclasses.replace(with_setup(facts, policy="other"), rtprio=90)
    realtime = by_id(privileges.judge(refused))["privileges.realtime"]
    assert realtime.status is Status.UNFIT
    assert "scheduler.rt_group" in realtime.measured


def test_in_a_container_the_container_is_told(facts, by_id):
    poor = with_setup(facts, policy="other", capabilities=frozenset())
    inside = dataclasses.replace(
        poor, surroundings=Surroundings(container="docker"), bounding=frozenset({"cap_ipc_lock"})
    )
    realtime = by_id(privileges.judge(inside))["privileges.realtime"]
    assert texts(realtime, FixKind.CONTAINER) == ["--cap-add SYS_NICE --ulimit rtprio=90"]
    assert not [text for text in texts(realtime, FixKind.COMMAND) if "setcap" in text]


def test_a_bounding_set_that_is_too_small_for_file_capabilities(facts, by_id):
    poor = with_setup(facts, policy="other", capabilities=frozenset())
    bound = dataclasses.replace(poor, bounding=frozenset())
    realtime = by_id(privileges.judge(bound))["privileges.realtime"]
    assert "CapabilityBoundingSet=CAP_IPC_LOCK CAP_NET_ADMIN CAP_SYS_NICE" in texts(
        realtime, FixKind.UNIT
    )
    assert texts(realtime, FixKind.COMMAND) == []


def test_capabilities_of_a_user_namespace_do_not_count(facts, by_id):
    mapped = dataclasses.replace(
        with_setup(facts, policy="other"),
        surroundings=Surroundings(container="podman", user_namespace=True),
        memlock_bytes=8388608,
    )
    found = by_id(privileges.judge(mapped))
    realtime, memlock = found["privileges.realtime"], found["privileges.memlock"]
    assert realtime.status is Status.UNFIT
    assert "user namespace" in realtime.measured
    assert "--cap-add SYS_NICE --ulimit rtprio=90" in texts(realtime, FixKind.CONTAINER)
    assert memlock.status is Status.LIMITS
    assert "later mappings fail" in memlock.measured
    limits = dataclasses.replace(mapped, memlock_bytes=None)
    assert by_id(privileges.judge(limits))["privileges.memlock"].status is Status.OK


@pytest.mark.parametrize("why", ["nosuid", "no_new_privs"])
def test_file_capabilities_without_effect(facts, by_id, why):
    held = dataclasses.replace(facts, file_capabilities=frozenset({"cap_sys_nice"}), **{why: True})
    finding = by_id(privileges.judge(held))["privileges.file_capabilities"]
    assert finding.status is Status.LIMITS
    assert "without effect" in finding.measured
    poor = with_setup(held, policy="other", capabilities=frozenset())
    realtime = by_id(privileges.judge(poor))["privileges.realtime"]
    assert not [text for text in texts(realtime, FixKind.COMMAND) if "setcap" in text]


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


def test_where_workers_are_not_confined(facts, by_id):
    old = dataclasses.replace(facts.examination, confinement=Confinement("no Landlock", ""))
    finding = by_id(privileges.judge(dataclasses.replace(facts, examination=old)))[
        "privileges.confinement"
    ]
    assert finding.status is Status.LIMITS
    assert finding.measured == "it may remove any file of its user: no Landlock"
    assert finding.values == {"files": False, "calls": True}


def test_no_worker_at_all(facts, by_id):
    gone = dataclasses.replace(
        facts, binary=None, binary_error="it is missing", examination=Examination(error="missing")
    )
    found = by_id(privileges.judge(gone))
    assert found["privileges.program"].status is Status.UNFIT
    for name in ("realtime", "memlock", "net_admin", "file_capabilities", "confinement"):
        assert found[f"privileges.{name}"].status is Status.HIDDEN


def test_a_worker_that_cannot_run_and_one_with_sanitizers(facts, by_id):
    broken = dataclasses.replace(facts, examination=Examination(error="Exec format error"))
    finding = by_id(privileges.judge(broken))["privileges.program"]
    assert (finding.status, finding.measured) == (Status.UNFIT, "Exec format error")
    slow = dataclasses.replace(facts, sanitizers="address")
    assert by_id(privileges.judge(slow))["privileges.program"].status is Status.LIMITS


@pytest.mark.parametrize(
    ("nofile", "status"),
    [(None, Status.OK), (4096, Status.OK), (1024, Status.LIMITS), (64, Status.UNFIT)],
)
def test_open_files(facts, by_id, nofile, status):
    found = by_id(privileges.judge(dataclasses.replace(facts, nofile=nofile)))
    assert found["privileges.nofile"].status is status


def test_a_limit_that_kills_whoever_spins(facts, by_id):
    found = by_id(privileges.judge(dataclasses.replace(facts, rttime_us=200_000)))
    finding = found["privileges.rttime"]
    assert finding.status is Status.LIMITS
    assert texts(finding, FixKind.UNIT) == ["LimitRTTIME=infinity"]


def test_capabilities_of_a_file():
    def attribute(permitted, effective=True):
        return struct.pack("<IIIII", 0x02000000 | effective, permitted, 0, 0, 0)

    nice, admin, lock = 1 << 23, 1 << 12, 1 << 14
    parse = privileges.parse_file_capabilities
    assert parse(attribute(nice | admin | lock)) == frozenset(privileges.WANTED.values())
    assert parse(attribute(nice)) == {"cap_sys_nice"}
    assert parse(attribute(nice, effective=False)) == frozenset()
    assert parse(b"") == frozenset()
