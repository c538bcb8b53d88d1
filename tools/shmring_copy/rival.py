"""Who listens on a UDP port of this host, for the error of a port that is in use."""

from __future__ import annotations

import pwd
import time
from pathlib import Path

import psutil

from rtworkers.foreign_text import printable

_ANYWHERE = ("0.0.0.0", "::")


def who_listens(where: tuple[str, int]) -> str:
    """Return the processes that have a UDP socket at this address, with user and start. Empty:
    none is visible."""
    pids = sorted(_pids(where))
    if pids:
        return "; ".join(map(_process, pids))
    users = ", ".join(sorted(_user(uid) for uid in _uids(where[1])))
    return f"a process of {users}, which this user cannot see" if users else ""


def _pids(where: tuple[str, int]) -> set[int]:
    host, port = where
    bound = [(one.pid, tuple(one.laddr)) for one in psutil.net_connections("udp") if one.laddr]
    return {
        pid
        for pid, (ip, its_port) in bound
        if pid is not None and its_port == port and (host in _ANYWHERE or ip in (host, *_ANYWHERE))
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


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
