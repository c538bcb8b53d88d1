"""Privileges: what a worker that this user starts may do."""

from __future__ import annotations

import json
import os
import re
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from rtworkers import affinity
from rtworkers.examine import PRIORITY, Examination
from rtworkers.launch import worker_binary
from shmring_doctor.container import Surroundings
from shmring_doctor.finding import (
    Check,
    Finding,
    Fix,
    command,
    container,
    file_line,
    hint,
    unit,
)
from shmring_doctor.host import Host

PROGRAM = Check(
    "privileges.program",
    "worker program",
    "Workers run this program. A build with sanitizers is several times slower. Without a program "
    "that runs, no channel is served.",
)
REALTIME = Check(
    "privileges.realtime",
    "SCHED_FIFO",
    "Without SCHED_FIFO a worker is an ordinary process: any other process may run instead of it "
    "for milliseconds, and packets miss deadlines under load.",
)
MEMLOCK = Check(
    "privileges.memlock",
    "locked memory",
    "A page that is not locked may have to be loaded when it is used. Such a fault takes between "
    "some microseconds and the time of a disk access, and a deadline may be missed.",
)
NET_ADMIN = Check(
    "privileges.net_admin",
    "CAP_NET_ADMIN",
    "It lets a worker turn on a card's timestamps, use socket buffers above the system's limit, "
    "launch times in TAI, and priorities above 6.",
)
FILE_CAPABILITIES = Check(
    "privileges.file_capabilities",
    "file capabilities",
    "Capabilities of the worker's file give the worker what it needs, and nothing to Python. They "
    "have no effect on a file system mounted nosuid, or with no_new_privs. All users who may run "
    "the file have them, so a worker does not use them if every user may run it.",
)
NOFILE = Check(
    "privileges.nofile",
    "open files",
    "A channel needs three descriptors in its worker and a few in its pool.",
)
RTTIME = Check(
    "privileges.rttime",
    "real-time CPU time",
    "RLIMIT_RTTIME kills a real-time process that runs this long without sleeping, and a worker "
    "spins before deadlines.",
)
CONFINEMENT = Check(
    "privileges.confinement",
    "confined workers",
    "If a fault ever lets an attacker run code in a worker, that code can make only the system "
    "calls of a list (seccomp), and remove files only below /dev/shm and in the pool's own folder "
    "(Landlock).",
)
CHECKS = (PROGRAM, REALTIME, MEMLOCK, NET_ADMIN, FILE_CAPABILITIES, NOFILE, RTTIME, CONFINEMENT)

NOFILE_LEAST = 256
NOFILE_ENOUGH = 4096
RTTIME_ENOUGH_US = 1_000_000
LIMITS_FILE = "/etc/security/limits.d/shmring.conf"

CAP_NET_ADMIN = 12
CAP_IPC_LOCK = 14
CAP_SYS_NICE = 23
WANTED = {
    CAP_SYS_NICE: "cap_sys_nice",
    CAP_NET_ADMIN: "cap_net_admin",
    CAP_IPC_LOCK: "cap_ipc_lock",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """The limits, the program's file, and what a worker got with them."""

    binary: str | None
    """Path of the worker program. None: it is missing, and `binary_error` says why."""
    examination: Examination
    surroundings: Surroundings
    binary_error: str = ""
    sanitizers: str = ""
    file_capabilities: frozenset[str] = frozenset()
    mode: int = 0o750
    """Permissions of the program's file."""
    bounding: frozenset[str] = frozenset(WANTED.values())
    """The needed capabilities that a file can give to a child of this process."""
    nosuid: bool = False
    no_new_privs: bool = False
    root: bool = False
    rtprio: int | None = 0
    """The limits in effect, which are the soft ones. None: unlimited."""
    rttime_us: int | None = None
    memlock_bytes: int | None = 0
    nofile: int | None = NOFILE_ENOUGH
    """The hard limit: pools and workers raise the soft limit to it."""


def gather(host: Host, examination: Examination, surroundings: Surroundings) -> Facts:
    """Read the limits of this process and the facts about the worker program."""
    status = host.fields("/proc/self/status")
    limits = _limits(host)
    binary: str | None = None
    error = ""
    try:
        binary = str(worker_binary())
    except FileNotFoundError as missing:
        error = str(missing)
    return Facts(
        binary=binary,
        examination=examination,
        surroundings=surroundings,
        binary_error=error,
        sanitizers=_sanitizers(binary),
        file_capabilities=_file_capabilities(binary),
        mode=0 if binary is None else stat.S_IMODE(os.stat(binary).st_mode),
        bounding=_named(_hexadecimal(status.get("CapBnd", ""))),
        nosuid=binary is not None and bool(os.statvfs(binary).f_flag & os.ST_NOSUID),
        no_new_privs=status.get("NoNewPrivs") == "1",
        root=status.get("Uid", "").split()[1:2] == ["0"],
        rtprio=limits.get("Max realtime priority", (0, 0))[0],
        rttime_us=limits.get("Max realtime timeout", (None, None))[0],
        memlock_bytes=limits.get("Max locked memory", (0, 0))[0],
        nofile=limits.get("Max open files", (0, 0))[1],
    )


def _limits(host: Host) -> dict[str, tuple[int | None, int | None]]:
    """Return soft and hard limits by their names in /proc/self/limits."""
    found: dict[str, tuple[int | None, int | None]] = {}
    for line in (host.read("/proc/self/limits") or "").splitlines()[1:]:
        words = line[26:].split()
        if len(words) >= 2 and all(word == "unlimited" or word.isdigit() for word in words[:2]):
            soft, hard = (None if word == "unlimited" else int(word) for word in words[:2])
            found[line[:26].strip()] = (soft, hard)
    return found


def _file_capabilities(binary: str | None) -> frozenset[str]:
    """Return the needed capabilities that are permitted and effective."""
    try:
        value = os.getxattr(binary or "", "security.capability")
    except OSError:
        return frozenset()
    return parse_file_capabilities(value)


def parse_file_capabilities(value: bytes) -> frozenset[str]:
    """Parse the attribute security.capability (struct vfs_cap_data of linux/capability.h)."""
    if len(value) < 12:
        return frozenset()
    magic, permitted = struct.unpack_from("<II", value)
    if not magic & 1:
        return frozenset()  # without +e a program must raise them itself, and the worker does not
    return _named(permitted)


def _hexadecimal(text: str) -> int:
    return int(text, 16) if re.fullmatch(r"[0-9a-f]+", text) else 0


def _named(bits: int) -> frozenset[str]:
    return frozenset(name for number, name in WANTED.items() if bits >> number & 1)


def _sanitizers(binary: str | None) -> str:
    try:
        facts = json.loads(Path(binary or "").with_name("build.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(facts.get("sanitizers", ""))


def judge(facts: Facts) -> list[Finding]:
    """All findings of this room."""
    return [
        _program(facts),
        _realtime(facts),
        _memlock(facts),
        _net_admin(facts),
        _on_file(facts),
        _nofile(facts),
        _rttime(facts),
        _confinement(facts),
    ]


def setcap(binary: str | None) -> Fix:
    """Return the commands that give the worker its capabilities."""
    return command(affinity.grant_command(binary or "shmring-worker"))


def _give(facts: Facts, *others: Fix, contained: str) -> tuple[Fix, ...]:
    """Return how a worker gets a capability here, or an alternative."""
    fixes: list[Fix] = []
    if facts.surroundings.container is not None:
        fixes.append(container(contained))
    without_effect = facts.nosuid or facts.no_new_privs or facts.surroundings.user_namespace
    if not without_effect and facts.bounding >= set(WANTED.values()):
        fixes.append(setcap(facts.binary))
    elif not facts.bounding >= set(WANTED.values()) and facts.surroundings.container is None:
        names = " ".join(sorted(name.upper() for name in WANTED.values()))
        fixes.append(unit(f"CapabilityBoundingSet={names}"))
    return (*fixes, *others)


def _program(facts: Facts) -> Finding:
    again = command("pip install --force-reinstall shmring")
    if facts.binary is None:
        return PROGRAM.unfit(facts.binary_error or "it is missing", again)
    check = PROGRAM.about({"path": facts.binary, "sanitizers": facts.sanitizers})
    if facts.examination.error:
        return check.unfit(facts.examination.error, again)
    if facts.sanitizers:
        return check.limits(f"{facts.binary}, built with {facts.sanitizers}", again)
    return check.ok(facts.binary)


def _realtime(facts: Facts) -> Finding:
    setup = facts.examination.setup
    rtprio = limit_text(facts.rtprio)
    fixes = _give(
        facts,
        file_line(LIMITS_FILE, "@realtime - rtprio 90"),
        unit("LimitRTPRIO=90"),
        contained="--cap-add SYS_NICE --ulimit rtprio=90",
    )
    if setup is None:
        return REALTIME.hidden(f"no worker could be asked; RLIMIT_RTPRIO {rtprio}", *fixes)
    check = REALTIME.about(
        {"policy": setup.policy, "priority": setup.priority, "rtprio": facts.rtprio}
    )
    if setup.policy == "fifo":
        by = "CAP_SYS_NICE" if "cap_sys_nice" in setup.capabilities else f"RLIMIT_RTPRIO {rtprio}"
        return check.ok(f"a worker gets priority {setup.priority}, by {by}")
    outside = facts.surroundings.user_namespace
    if ("cap_sys_nice" in setup.capabilities and not outside) or _reaches(facts.rtprio, PRIORITY):
        return check.unfit(
            "refused although privileges suffice: see scheduler.rt_group and "
            "scheduler.rt_throttling",
            hint("fix those findings"),
        )
    return check.unfit(
        f"refused: {_no_capability('CAP_SYS_NICE', facts)}, and RLIMIT_RTPRIO {rtprio} is below "
        f"{PRIORITY}",
        *fixes,
    )


def _no_capability(name: str, facts: Facts) -> str:
    if facts.surroundings.user_namespace:
        return "capabilities of a user namespace do not count here"
    return f"no {name}"


def _reaches(limit: int | None, wanted: int) -> bool:
    return limit is None or limit >= wanted


def limit_text(limit: int | None) -> str:
    return "unlimited" if limit is None else str(limit)


def _memlock(facts: Facts) -> Finding:
    setup = facts.examination.setup
    limit = limit_text(facts.memlock_bytes)
    fixes = _give(
        facts,
        file_line(LIMITS_FILE, "@realtime - memlock unlimited"),
        unit("LimitMEMLOCK=infinity"),
        contained="--cap-add IPC_LOCK --ulimit memlock=-1",
    )
    if setup is None:
        return MEMLOCK.hidden(f"no worker could be asked; RLIMIT_MEMLOCK {limit}", *fixes)
    check = MEMLOCK.about({"locked": setup.memory_locked, "memlock_bytes": facts.memlock_bytes})
    # A capability that only counts in its namespace deceives the worker's check.
    fooled = facts.surroundings.user_namespace and facts.memlock_bytes is not None
    if setup.memory_locked and not fooled:
        by = "CAP_IPC_LOCK" if "cap_ipc_lock" in setup.capabilities else f"RLIMIT_MEMLOCK {limit}"
        return check.ok(f"a worker locks its memory, by {by}")
    refused = "locked, and later mappings fail" if setup.memory_locked else "refused"
    return check.limits(
        f"{refused}: {_no_capability('CAP_IPC_LOCK', facts)}, and RLIMIT_MEMLOCK is {limit} bytes",
        *fixes,
    )


def _net_admin(facts: Facts) -> Finding:
    setup = facts.examination.setup
    fixes = _give(facts, unit("AmbientCapabilities=CAP_NET_ADMIN"), contained="--cap-add NET_ADMIN")
    if setup is None:
        return NET_ADMIN.hidden("no worker could be asked", *fixes)
    if "cap_net_admin" in setup.capabilities:
        return NET_ADMIN.ok("a worker has it")
    return NET_ADMIN.limits("a worker does not have it", *fixes)


def _on_file(facts: Facts) -> Finding:
    names = ", ".join(sorted(facts.file_capabilities)) or "none"
    if facts.binary is None:
        return FILE_CAPABILITIES.hidden("there is no worker program")
    check = FILE_CAPABILITIES.about({"capabilities": sorted(facts.file_capabilities)})
    useless = (
        "its file system is mounted nosuid"
        if facts.nosuid
        else "no_new_privs is set"
        if facts.no_new_privs
        else ""
    )
    if useless and facts.file_capabilities:
        fix = (
            hint("install shmring on a file system without nosuid")
            if facts.nosuid
            else unit("NoNewPrivileges=no")
        )
        return check.limits(f"{names}, without effect: {useless}", fix)
    if facts.file_capabilities and facts.mode & 0o001:
        return check.unfit(
            f"{names}, and every user may run the program (mode {facts.mode:04o}): workers of "
            "ordinary users do not use them",
            setcap(facts.binary),
        )
    if facts.root:
        return check.ok(f"{names}; not needed, workers start as root")
    missing = set(WANTED.values()) - facts.file_capabilities
    setup = facts.examination.setup
    given = setup is not None and setup.policy == "fifo" and setup.memory_locked
    if not missing or given:
        return check.ok(names if not missing else f"{names}; limits replace them")
    return check.limits(
        f"{names}; without: {', '.join(sorted(missing))}",
        *_give(facts, contained="--cap-add SYS_NICE --cap-add NET_ADMIN --cap-add IPC_LOCK"),
    )


def _nofile(facts: Facts) -> Finding:
    check = NOFILE.about({"nofile": facts.nofile})
    text = f"{limit_text(facts.nofile)} at most"
    fixes = (
        file_line(LIMITS_FILE, "@realtime - nofile 65536"),
        unit("LimitNOFILE=65536"),
        container("--ulimit nofile=65536"),
    )
    if _reaches(facts.nofile, NOFILE_ENOUGH):
        return check.ok(text)
    channels = (facts.nofile or 0) // 4
    text += f": enough for some {channels} channels"
    if _reaches(facts.nofile, NOFILE_LEAST):
        return check.limits(text, *fixes)
    return check.unfit(text, *fixes)


def _rttime(facts: Facts) -> Finding:
    check = RTTIME.about({"rttime_us": facts.rttime_us})
    if _reaches(facts.rttime_us, RTTIME_ENOUGH_US):
        return check.ok(limit_text(facts.rttime_us))
    return check.limits(
        f"killed after {facts.rttime_us} us without a sleep",
        unit("LimitRTTIME=infinity"),
        command("sudo prlimit --rttime=unlimited:unlimited --pid $$"),
    )


def _confinement(facts: Facts) -> Finding:
    found = facts.examination.confinement
    if found is None:
        return CONFINEMENT.hidden("no worker could be asked")
    missing = [
        *([f"its system calls are not filtered: {found.calls}"] if found.calls else []),
        *([f"it may remove any file of its user: {found.files}"] if found.files else []),
    ]
    check = CONFINEMENT.about({"files": not found.files, "calls": not found.calls})
    if not missing:
        return check.ok("its system calls and the files that it may remove are limited")
    return check.limits(
        "; ".join(missing),
        hint(
            "use a kernel with Landlock (5.13), and let a container's filter allow seccomp and "
            "landlock_* (--security-opt seccomp=FILE)"
        ),
    )
