"""Which cores there are, which worker a channel goes to, and what to say where a wish fails."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence

UNPINNED = -1

# As of import: a thread that pins itself later must not drag along the workers it starts.
_STARTED_WITH = frozenset(os.sched_getaffinity(0))


def allowed_cores() -> frozenset[int]:
    """The cores this process was started with (cpusets and taskset included)."""
    return _STARTED_WITH


def release(pid: int, pinned_to: int) -> None:
    """Let a process that is not on core `pinned_to` use all cores of `allowed_cores`.

    A new process inherits the cores of the thread that started it.
    """
    with contextlib.suppress(OSError):  # it has ended, or the cpuset has shrunk: it stays as it is
        if os.sched_getaffinity(pid) not in ({pinned_to}, _STARTED_WITH):
            os.sched_setaffinity(pid, _STARTED_WITH)


def check_cores(cpus: object) -> tuple[int, ...] | None:
    """The cores asked for, without repetition, in the order given; None: unpinned.

    That a core exists is not asked here: the worker tries, and shows what is in force.
    """
    if cpus is None:
        return None
    if isinstance(cpus, (str, bytes)) or not isinstance(cpus, Sequence):
        raise TypeError(f"cpus must be a list of core numbers or None, not {cpus!r}")
    for cpu in cpus:
        if isinstance(cpu, bool) or not isinstance(cpu, int):
            raise TypeError(f"cpus: core numbers are integers, not {cpu!r}")
        if not 0 <= cpu <= 4095:
            raise ValueError(f"cpus: core {cpu} is not in 0 .. 4095; use one of {describe_cores()}")
    if not cpus:
        raise ValueError("cpus is empty: name at least one core, or None for no pinning")
    return tuple(dict.fromkeys(cpus))


def can_pin(cpu: int) -> bool:
    """Whether a thread of this process may run on core `cpu`. The cores that this process was
    started with are not the answer: ``taskset`` narrows them, and a worker may leave them."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:
        return False
    os.sched_setaffinity(0, before)
    return True


def describe_cores() -> str:
    """The usable cores in short form: ``0-3,6``."""
    runs: list[list[int]] = []
    for core in sorted(allowed_cores()):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def slots_of(cpus: tuple[int, ...] | None) -> tuple[int, ...]:
    """The worker slots of a pool: its cores, or slot 0 alone where nothing is pinned."""
    return (0,) if cpus is None else cpus


def place(cpus: tuple[int, ...] | None, wanted: int | None, load: Mapping[int, int]) -> int:
    """The slot for a new channel: the wanted core, or the one with the fewest channels.

    `load` holds the number of channels per slot that has a worker. Among equals the first of
    `cpus` wins, so that a pool fills its cores in the order the user named them.
    """
    if wanted is None:
        return min(slots_of(cpus), key=lambda slot: load.get(slot, 0))
    if isinstance(wanted, bool) or not isinstance(wanted, int):
        raise TypeError(f"cpu must be a core number or None, not {wanted!r}")
    if cpus is None:
        raise ValueError(
            f"cpu {wanted}: this pool pins nothing; make it with Pool(cpus=[{wanted}])"
        )
    if wanted not in cpus:
        raise ValueError(
            f"cpu {wanted} is not among the cores of this pool, {list(cpus)}: use one of them, or "
            f"make the pool with Pool(cpus={[*cpus, wanted]})"
        )
    return wanted


def explain_cpu(wanted: int) -> str:
    """Why a worker does not run on the core it should, and what helps."""
    allowed = allowed_cores()
    if wanted not in allowed:
        return (
            f"core {wanted} does not exist or is closed to this process (usable: "
            f"{describe_cores()}); its worker runs unpinned. Choose a usable core in "
            "Pool(cpus=...), or widen the cpuset"
        )
    return f"the worker could not be pinned to core {wanted}; it runs unpinned"


FILE_CAPABILITIES = "cap_sys_nice,cap_net_admin,cap_ipc_lock"
GROUP = "realtime"


def grant_command(binary: str) -> str:
    """The commands that give a worker program its capabilities, for one group and nobody else.

    The order matters: chgrp removes capabilities.
    """
    file = shlex.quote(binary)
    return (
        f"sudo groupadd -f {GROUP} && sudo chgrp {GROUP} {file} && sudo chmod 0750 {file} && "
        f"sudo setcap {FILE_CAPABILITIES}+ep {file}"
    )


def explain_unrunnable(binary: str, reason: str) -> str:
    """Why a worker program cannot be run, and what helps."""
    with contextlib.suppress(OSError):
        facts = os.stat(binary)
        if facts.st_mode & 0o111 and not os.access(binary, os.X_OK):
            return (
                f"worker program {binary} may be run only by user {facts.st_uid} and members of "
                f"group {facts.st_gid} ({reason}): join the group (sudo usermod -aG GROUP USER, "
                "then log in again), or install shmring for yourself"
            )
    return f"worker program {binary} cannot be run ({reason}): install shmring again"


def explain_policy(wanted_priority: int, binary: str) -> str:
    """Why a worker has no SCHED_FIFO, and what helps."""
    return (
        f"no permission for SCHED_FIFO priority {wanted_priority}: the worker runs as an ordinary "
        f"process and its deadlines will be missed under load. Run `{grant_command(binary)}` and "
        f"be a member of that group, or raise `ulimit -r` (RLIMIT_RTPRIO, "
        "/etc/security/limits.conf: rtprio), or ask for Pool(policy='other')"
    )


def explain_priority(wanted: int, given: int) -> str:
    """Why a worker has a lower priority than asked for, and what helps."""
    return (
        f"the worker runs at SCHED_FIFO priority {given}, not {wanted}: that is the most that file "
        f"capabilities give. Raise `ulimit -r` (RLIMIT_RTPRIO) to {wanted}, or ask for "
        f"Pool(priority={given})"
    )


def explain_memory() -> str:
    """Why a worker's memory is not locked, and what helps."""
    return (
        "the worker's memory is not locked, a page fault may cost a deadline: raise `ulimit -l` to "
        "unlimited (RLIMIT_MEMLOCK, LimitMEMLOCK= of the service), or give it cap_ipc_lock"
    )
