"""Channels of programs that died: who may take one over, and what all others are told.

A named pool keeps serving the channel of a program that has died. The same program, started again,
opens it with the same options and takes it over: packets that were queued complete are still sent,
sequence numbers go on, other ends stay attached. The pool decides by its own notes, because clients
can write into the segment.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from rtworkers import Holding, history
from rtworkers.opener import Opener
from shmring import _host
from shmring._check import error
from shmring._options import Prepared
from shmring._ring import ffi, lib
from shmring._segment import opener_of, text_of
from shmring.types import State, state_of

# Others keep what belongs to one run of a program: the source of an RTP stream, connections, ports.
_ENGINES = frozenset(("udp", "cyclic", "local", "netflux"))
PRIVATE = "private-"
# The workers of a private pool remove its channels within this time after its death.
VANISH_S = 2.0
LOOK_S = 0.01


def check_may_take_over(
    prepared: Prepared, slot: int, holding: Holding, asking: Opener, access: tuple[int, int | None]
) -> None:
    """Raise `ChannelExists` unless `asking` may take over the channel `holding`, which the worker
    in `slot` serves.

    access: mode and group of the file that `asking` wants.
    """
    config = prepared.config
    name, namespace = prepared.name, text_of(config.name_space)
    was = holding.opener
    if was is None or not was.is_dead:
        raise _exists(name, namespace, "" if was is None else f", opened by {was}")
    died = f", opened by {was}, which has died{_since(was.pid, namespace, name)}"
    if asking.uid not in (0, os.geteuid(), was.uid):
        raise _exists(name, namespace, f"{died}, and only user {was.uid} may take it over")
    reason = _obstacle(prepared, slot, holding, access)
    if reason:
        raise _exists(name, namespace, f"{died}. It cannot be taken over, because {reason}")


def _exists(name: str, namespace: str, what: str) -> Exception:
    return error(
        errno.EEXIST,
        f"channel {name!r} is open already in namespace {namespace!r}{what}: choose another name, "
        f"attach to it with shmring.attach(), or close it: shmring close {namespace}/{name}",
    )


def _since(pid: int, namespace: str, name: str) -> str:
    """Return how long ago a process hung up, as the worker recorded it."""
    hung_up = [
        event.last_mono_ns
        for event in history.events(namespace=namespace, channel=name)
        if event.kind == "client_hung_up" and event.numbers.get("pid") == pid
    ]
    if not hung_up:
        return ""
    return f" {max(0, time.monotonic_ns() - max(hung_up)) / 1e9:.1f} s ago"


def _obstacle(
    prepared: Prepared, slot: int, holding: Holding, access: tuple[int, int | None]
) -> str:
    """Return why a channel is another one than that which is asked for. Empty: it is the same."""
    engine = text_of(prepared.config.engine) or "udp"
    if engine not in _ENGINES:
        return f"the engine {engine} keeps what belongs to the dead program"
    with _host.mapped(holding.segment_fd, writable=False) as segment:
        if segment is None or state_of(segment.status.state) is State.FAILED:
            return "it has failed"
    if prepared.socket_fd is not None:
        return "a socket is given"
    differing = _differing(prepared.config_bytes(), holding.config)
    if prepared.cpu is not None and prepared.cpu != slot:
        differing.append("cpu")
    file = os.fstat(holding.segment_fd)
    if stat.S_IMODE(file.st_mode) != access[0] or access[1] not in (None, file.st_gid):
        differing.append("permissions or group")
    return f"the options differ in {', '.join(differing)}" if differing else ""


def _differing(asked: bytes, open_: bytes) -> list[str]:
    """Return the names of the fields in which two configurations differ."""
    found: list[str] = []
    for name, field in ffi.typeof("shm_config_t").fields:
        part = slice(field.offset, field.offset + ffi.sizeof(field.type))
        if name != "opener_pid" and asked[part] != open_[part]:
            found.append(name)
    return found


def show_opener(holding: Holding, asking: Opener) -> None:
    """Write the new opener into the segment, for observers."""
    with _host.mapped(holding.segment_fd, writable=True) as segment:
        if segment is not None:
            lib.shm_segment_change_opener(segment, asking.pid)


def free_name(posix_name: str, name: str, namespace: str) -> None:
    """Free the name for a new channel: remove the segment of a dead channel, or wait until the
    workers of a dead program's private pool have removed it.

    Raises `ChannelExists`.
    """
    give_up = time.monotonic() + VANISH_S
    while not _host.name_is_free(posix_name):
        pool, pid, alive = _opened_by(posix_name)
        if pool.startswith(PRIVATE) and alive is not True and time.monotonic() < give_up:
            time.sleep(LOOK_S)
            continue
        who = "" if pid is None else f" by process {pid}"
        died = f", which has died{_since(pid, namespace, name)}" if pid and alive is False else ""
        raise _exists(name, namespace, f", opened on pool {pool!r}{who}{died}" if pool else "")


def _opened_by(posix_name: str) -> tuple[str, int | None, bool | None]:
    """Return pool and opener of a channel, as its file says, and whether the opener is alive."""
    fd = _host.open_segment_file(posix_name, writable=False)
    if fd is None:
        return "", None, None
    try:
        with _host.mapped(fd, writable=False) as segment:
            if segment is None:
                return "", None, None
            return text_of(segment.config.pool), *opener_of(segment)
    finally:
        os.close(fd)
