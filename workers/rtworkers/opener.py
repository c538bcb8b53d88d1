"""Processes as /proc shows them: who opened a channel, told apart from a later process with the
same id, and whether a process is dead or stopped."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

_NS_PER_S = 1_000_000_000
_TICK_NS = _NS_PER_S // os.sysconf("SC_CLK_TCK")
_DEAD = ("Z", "X")
_STOPPED = ("T", "t")
_WORKER_NAME = "shmring-w"
# Fields of /proc/PID/stat, counted from the one after the name (proc_pid_stat(5): field 3).
_STATE, _STARTED = 0, 19


class Opener(NamedTuple):
    """A process that opened a channel."""

    pid: int
    """0: it is in another pid namespace."""
    started: int
    """When it started, in clock ticks since boot."""
    uid: int
    name: str

    @classmethod
    def this_process(cls) -> Opener:
        return cls.of(os.getpid(), os.geteuid())

    @classmethod
    def of(cls, pid: int, uid: int) -> Opener:
        """Return a process that is alive now. `pid` is 0 if it cannot be seen."""
        seen = _look(pid)
        if seen is not None:
            return cls(pid, seen.started, uid, seen.name)
        return cls(pid if _is_gone(pid) else 0, 0, uid, "")  # gone meanwhile, or hidden

    @property
    def is_dead(self) -> bool:
        """Whether it certainly no longer runs."""
        if self.pid == 0:
            return False
        seen = _look(self.pid)
        if seen is None:
            return _is_gone(self.pid)
        return seen.dead or seen.started != self.started

    def is_same(self, other: Opener) -> bool:
        """Whether both are the same process, which may have changed its name and user. Those of
        one user that cannot be seen count as one."""
        return self[:2] == other[:2] and (self.pid > 0 or self.uid == other.uid)

    def __str__(self) -> str:
        if self.pid == 0:
            return "a process in another pid namespace"
        return f"process {self.pid} ({self.name})"


def ran_at(pid: int, mono_ns: int) -> bool:
    """Return whether a process runs that ran at a time of CLOCK_MONOTONIC, to about a second."""
    seen = _look(pid)
    if seen is None:
        return pid > 0 and not _is_gone(pid)
    asleep_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return not seen.dead and seen.started * _TICK_NS - asleep_ns < mono_ns + _NS_PER_S


def sees_worker(pid: int) -> bool:
    """Return whether /proc shows this worker. Otherwise it is that of another pid namespace, or the
    worker is dead."""
    seen = _look(pid)
    return seen is not None and not seen.dead and seen.name.startswith(_WORKER_NAME)


def is_dead(pid: int) -> bool:
    """Return whether no process has this id, or only a zombie."""
    seen = _look(pid)
    return _is_gone(pid) if seen is None else seen.dead


def is_stopped(pid: int) -> bool:
    """Return whether a signal or a debugger stopped the process, as far as /proc shows it."""
    seen = _look(pid)
    return seen is not None and seen.state in _STOPPED


class _Seen(NamedTuple):
    name: str
    started: int
    state: str
    """The letter of proc_pid_stat(5)."""

    @property
    def dead(self) -> bool:
        """Whether only its zombie is left."""
        return self.state in _DEAD


def _look(pid: int) -> _Seen | None:
    """Return a process as /proc shows it. None: it does not, or this process has no descriptor
    left to look."""
    if pid <= 0:
        return None
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
    except OSError:
        return None
    words = rest.split()
    return _Seen(name, int(words[_STARTED]), words[_STATE])


def _is_gone(pid: int) -> bool:
    """Return whether no process has this id. One that /proc hides is not gone."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # the latter: the number is no process's
        return True
    except PermissionError:
        pass
    return False
