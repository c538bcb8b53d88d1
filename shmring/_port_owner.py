"""Who has a UDP port of this host, for the error of a port that is in use."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from rtworkers import ownership
from rtworkers.foreign_text import printable
from shmring import errors, registry
from shmring.types import State

_ANYWHERE = ("0.0.0.0", "::")


def named(refused: errors.ShmringOSError, where: tuple[str, int]) -> errors.ShmringOSError:
    """Return the error of a port that is in use with the name of who has it."""
    owner = who_has(where)
    if not owner:
        return refused
    return type(refused)(
        refused.errno, f"{refused.strerror}. {where[0]}:{where[1]} is in use by {owner}"
    )


def who_has(where: tuple[str, int]) -> str:
    """Return the channel, or the processes, that have a UDP socket at this address, with user and
    start. Empty: none is visible."""
    for channel in registry.channels():
        if channel.state in (State.OPEN, State.HELD) and _overlap(where, channel.local):
            opener = f", opened by process {channel.opener_pid}" if channel.opener_pid else ""
            return f"channel {channel.namespace}/{channel.name}{opener}"
    pids = sorted(_pids(where))
    if pids:
        return "; ".join(map(_process, pids))
    users = ", ".join(map(ownership.user_text, sorted(_uids(where[1]))))
    return f"a process of {users}, which this user cannot see" if users else ""


def _overlap(where: tuple[str, int], bound: tuple[str, int] | None) -> bool:
    if bound is None or bound[1] != where[1]:
        return False
    return where[0] in (bound[0], *_ANYWHERE) or bound[0] in _ANYWHERE


def _pids(where: tuple[str, int]) -> set[int]:
    bound = [(one.pid, one.laddr) for one in psutil.net_connections("udp")]
    return {
        pid
        for pid, address in bound
        if pid is not None and address and _overlap(where, (address.ip, address.port))
    }


def _process(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(process.create_time()))
        name = printable(process.name())
        return f"process {pid} ({name}, user {process.username()}, since {started})"
    except psutil.Error:
        return f"process {pid}"


def _uids(port: int) -> set[int]:
    """Return the users of all UDP sockets at a port."""
    rows: list[list[str]] = []
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        path = Path(table)
        if path.exists():
            rows += [line.split() for line in path.read_text().splitlines()[1:]]
    return {int(row[7]) for row in rows if row[1].rpartition(":")[2] == f"{port:04X}"}
