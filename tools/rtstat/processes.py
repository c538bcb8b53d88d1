"""The processes of workers and clients, as /proc shows them. Asks no process."""

from __future__ import annotations

import os
import time

from rtstat.frozen import Frozen
from rtstat.numbers import NS_PER_S
from rtworkers.foreign_text import printable

_TICK_NS = NS_PER_S // os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat, counted from the one after the name (proc_pid_stat(5): field 3).
_STATE, _PARENT, _STARTED = 0, 1, 19


class Process(Frozen):
    """A process at one snapshot."""

    pid: int
    name: str
    state: str
    """The letter of proc_pid_stat(5): ``R`` runs, ``S`` and ``D`` wait, ``T`` and ``t`` are
    stopped, ``Z`` is dead."""
    parent_pid: int
    started_mono_ns: int
    """When it started, CLOCK_MONOTONIC, to one tick of 10 ms."""

    @property
    def alive(self) -> bool:
        return self.state not in ("Z", "X")

    @property
    def stopped(self) -> bool:
        """Whether a signal or a debugger stopped it."""
        return self.state in ("T", "t")

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


class Processes(dict[int, "Process | None"]):
    """Processes by id. Each is read when it is asked for, once. None: /proc shows no such one."""

    def __missing__(self, pid: int) -> Process | None:
        found = self[pid] = _read(pid)
        return found


def _read(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
    except OSError:
        return None
    words = rest.split()
    asleep_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    started_mono_ns = int(words[_STARTED]) * _TICK_NS - asleep_ns
    return Process(pid, printable(name), words[_STATE], int(words[_PARENT]), started_mono_ns)
