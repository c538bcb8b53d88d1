"""Which cores exist, which worker a channel goes to, and the texts for settings that fail."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence

UNPINNED = -1

CORES = 4096
"""Cores are numbered below this. With a worker for each user, each of them has so many slots."""

MOST_USERS = 4095

# Read at import: a thread that pins itself later must not pin the workers it starts.
_STARTED_WITH = frozenset(os.sched_getaffinity(0))


def allowed_cores() -> frozenset[int]:
    """Return the cores this process was started with (cpusets and taskset included)."""
    return _STARTED_WITH


def release(pid: int, pinned_to: int) -> None:
    """Let a process that is not on core `pinned_to` use all cores of `allowed_cores`.

    A new process inherits the cores of the thread that started it.
    """
    with contextlib.suppress(OSError):  # it has ended, or the cpuset has shrunk: leave it unchanged
        if os.sched_getaffinity(pid) not in ({pinned_to}, _STARTED_WITH):
            os.sched_setaffinity(pid, _STARTED_WITH)


def check_cores(cpus: object) -> tuple[int, ...] | None:
    """Return the requested cores, without repetition, in the given order. None: unpinned.

    This function does not check whether a core exists: the worker tries, and shows the result.
    """
    if cpus is None:
        return None
    if isinstance(cpus, (str, bytes)) or not isinstance(cpus, Sequence):
        raise TypeError(f"cpus must be a list of core numbers or None, not {cpus!r}")
    cores: list[int] = list(cpus)  # pyright: ignore[reportUnknownArgumentType]
    for cpu in cores:
        if isinstance(cpu, bool) or not isinstance(cpu, int):
            raise TypeError(f"cpus: core numbers are integers, not {cpu!r}")
        if not 0 <= cpu < CORES:
            raise ValueError(
                f"cpus: core {cpu} is not in 0 .. {CORES - 1}: use one of {describe_cores()}"
            )
    if not cores:
        raise ValueError("cpus is empty: name at least one core, or use None for no pinning")
    return tuple(dict.fromkeys(cores))


def can_pin(cpu: int) -> bool:
    """Return whether a thread of this process may run on core `cpu`. The cores at the start of this
    process do not tell: ``taskset`` narrows them, but a worker may leave that set."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:
        return False
    os.sched_setaffinity(0, before)
    return True


def describe_cores() -> str:
    """Return the usable cores in short form: ``0-3,6``."""
    runs: list[list[int]] = []
    for core in sorted(allowed_cores()):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def slots_of(cpus: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the worker slots of a pool: its cores, or only slot 0 without pinning."""
    return (0,) if cpus is None else cpus


def place(cpus: tuple[int, ...] | None, wanted: int | None, load: Mapping[int, int]) -> int:
    """Return the slot for a new channel: the requested core, or the one with the fewest channels.

    `load` has the number of channels per slot that has a worker. Among equals the first of `cpus`
    wins, so a pool fills its cores in the order of the user.
    """
    if wanted is None:
        return min(slots_of(cpus), key=lambda slot: load.get(slot, 0))
    if isinstance(wanted, bool) or not isinstance(wanted, int):
        raise TypeError(f"cpu must be a core number or None, not {wanted!r}")
    if cpus is None:
        raise ValueError(
            f"cpu is {wanted}: this pool has no pinned workers, make it with Pool(cpus=[{wanted}])"
        )
    if wanted not in cpus:
        raise ValueError(
            f"cpu is {wanted}: it must be a core of this pool, {list(cpus)}. Use one of them, or "
            f"make the pool with Pool(cpus={[*cpus, wanted]})"
        )
    return wanted


def explain_spinning() -> str:
    """Return what programs suffer if each core has a worker that spins, and the fix."""
    return (
        "workers of the profile latency never sleep, and they take all cores (usable: "
        f"{describe_cores()}): programs wait until a worker rests, often for milliseconds. Use the "
        'profile "balanced", or leave a core without such a worker'
    )


def explain_cpu(wanted: int) -> str:
    """Return why a worker does not run on its core, and the fix."""
    allowed = allowed_cores()
    if wanted not in allowed:
        return (
            f"core {wanted} does not exist or this process may not use it (usable: "
            f"{describe_cores()}), so its worker runs unpinned. Choose a usable core in "
            "Pool(cpus=...), or widen the cpuset"
        )
    return f"the worker could not be pinned to core {wanted}, so it runs unpinned"


FILE_CAPABILITIES = "cap_sys_nice,cap_net_admin,cap_ipc_lock"
GROUP = "realtime"


def grant_command(binary: str) -> str:
    """Return the commands that give a worker program its capabilities, for one group only.

    The order matters: chgrp removes capabilities.
    """
    file = shlex.quote(binary)
    return (
        f"sudo groupadd -f {GROUP} && sudo chgrp {GROUP} {file} && sudo chmod 0750 {file} && "
        f"sudo setcap {FILE_CAPABILITIES}+ep {file}"
    )


def explain_unrunnable(binary: str, reason: str) -> str:
    """Return why a worker program cannot be run, and the fix."""
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
    """Return why a worker has no SCHED_FIFO, and the fix."""
    return (
        f"no permission for SCHED_FIFO priority {wanted_priority}: the worker runs as an ordinary "
        f"process and packets will miss deadlines under load. Run `{grant_command(binary)}` and "
        f'join that group (`sudo usermod -aG {GROUP} "$USER"`, then log in again), or raise '
        "`ulimit -r` (RLIMIT_RTPRIO, /etc/security/limits.conf: rtprio), or use "
        "Pool(policy='other')"
    )


def explain_priority(wanted: int, given: int) -> str:
    """Return why a worker has a lower priority than requested, and the fix."""
    return (
        f"the worker runs at SCHED_FIFO priority {given}, not {wanted}: file capabilities allow no "
        f"more. Raise `ulimit -r` (RLIMIT_RTPRIO) to {wanted}, or use "
        f"Pool(priority={given})"
    )


def explain_memory() -> str:
    """Return why a worker's memory is not locked, and the fix."""
    return (
        "the worker's memory is not locked, so a page fault may delay it: raise `ulimit -l` to "
        "unlimited (RLIMIT_MEMLOCK, LimitMEMLOCK= of the service), or give it cap_ipc_lock"
    )
