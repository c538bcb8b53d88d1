"""Channels of programs that died: who may take one over, and what all others are told.

A named pool keeps serving the channel of a program that has died. The same program, started again,
opens it with the same options and takes it over: packets that were queued complete are still sent,
sequence numbers go on, other ends stay attached. The pool decides by its own notes, because clients
can write into the segment.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from collections.abc import Callable
from typing import Any

from rtworkers import Holding, Supervisor, history
from rtworkers.control import WorkerGone
from rtworkers.opener import Opener
from shmring import _host
from shmring._check import error
from shmring._option_rows import OPTIONS
from shmring._options import Prepared
from shmring._ring import ffi, lib
from shmring._segment import opener_of, text_of
from shmring.types import State, state_of

log = logging.getLogger("shmring.pool")

# Others keep what belongs to one run of a program: the source of an RTP stream, connections, ports.
_ENGINES = {
    "udp": None,
    "local": None,
    "cyclic": "shm_cyclic_config_t",
    "proxy": "shm_proxy_config_t",
    "netflux": "shm_netflux_config_t",
}
"""The struct of each engine's own configuration."""
_FIELD_NAMES = {row.field: option for option, row in OPTIONS.items()} | {
    "failsafe_crc": "the payload of on_stale"
}
# These do not change what the worker does.
_NOT_COMPARED = ("opener_pid", "given", "tx_packet_bytes", "rx_packet_bytes")
PRIVATE = "private-"
# The workers of a private pool remove its channels within this time after its death.
VANISH_S = 2.0
LOOK_S = 0.01


def take_over(
    supervisor: Supervisor,
    prepared: Prepared,
    asking: Opener,
    access: tuple[int, int | None],
    check_worker: Callable[[int], None] | None,
) -> bool:
    """Give a channel of a program that has died to `asking`, which opens it again. Return whether
    there was one.

    access: mode and group of the file that `asking` wants.
    check_worker: raises if the worker of a slot lacks something. None: it may.

    Raises `ChannelExists`, what `check_worker` raises, and the errors of `rtworkers`. Then the
    channel is what it was.
    """
    try:
        taken_over = _take_over(supervisor, prepared, asking, access, check_worker)
    except WorkerGone:  # and was replaced: all is decided again
        taken_over = _take_over(supervisor, prepared, asking, access, check_worker)
    if taken_over:
        log.info("channel %s was taken over by %s", prepared.name, asking)
    return taken_over


def _take_over(
    supervisor: Supervisor,
    prepared: Prepared,
    asking: Opener,
    access: tuple[int, int | None],
    check_worker: Callable[[int], None] | None,
) -> bool:
    held = bool(prepared.config.held)
    needs_worker = held or check_worker is not None
    with supervisor.locked(prepared.name, running=needs_worker) as found:
        if found is None or not found[1].is_named():
            return False
        slot, holding = found
        _check_may_take_over(prepared, slot.number, holding, asking, access)
        if check_worker is not None:
            slot.running()
            check_worker(slot.number)
        hold = held and _state(holding) is not State.HELD
        supervisor.take_over(slot, holding, asking, hold=hold)
        _show_opener(holding)
    return True


def give_back(supervisor: Supervisor, name: str, asking: Opener) -> bool:
    """Undo a takeover by `asking`, whose open has failed after it. Return whether there was one."""
    with supervisor.locked(name) as found:
        if found is None:
            return False
        slot, holding = found
        opener = holding.opener
        if opener is None or not opener.is_same(asking) or holding.former is None:
            return False
        supervisor.give_back(slot, holding)
        _show_opener(holding)
    log.info("channel %s was given back by %s", name, asking)
    return True


def _check_may_take_over(
    prepared: Prepared, slot: int, holding: Holding, asking: Opener, access: tuple[int, int | None]
) -> None:
    """Raise `ChannelExists` unless `asking` may take over the channel `holding`, which the worker
    in `slot` serves. The caller holds the slot's lock."""
    config = prepared.config
    name, namespace = prepared.name, text_of(config.name_space)
    was = holding.opener
    if was is None or not was.is_dead:
        raise _exists(name, namespace, "" if was is None else f", opened by {_seen(was, asking)}")
    died = f", opened by {was}, which has died{_since(was.pid, namespace, name)}"
    if asking.uid not in (0, os.geteuid(), was.uid):
        raise _exists(name, namespace, f"{died}, and only user {was.uid} may take it over")
    reason = _obstacle(prepared, slot, holding, access)
    if reason:
        raise _exists(name, namespace, f"{died}. It cannot be taken over, because {reason}")


def _seen(opener: Opener, asking: Opener) -> str:
    return f"this process ({opener.pid})" if opener.is_same(asking) else str(opener)


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
    if _state(holding) is State.FAILED:
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


def _state(holding: Holding) -> State:
    with _host.mapped(holding.segment_fd, writable=False) as segment:
        return State.FAILED if segment is None else state_of(segment.status.state)


def _differing(asked: bytes, open_: bytes) -> list[str]:
    """Return the names of the fields in which two configurations differ."""
    wanted, found = _config_of(asked), _config_of(open_)
    # A channel whose worker died together with its pool has the address that its socket had.
    if wanted.local.family == 0:
        wanted.local = found.local
    elif wanted.local.port == 0:
        wanted.local.port = found.local.port
    names = _fields_that_differ("shm_config_t", wanted, found)
    engine = _ENGINES.get(text_of(wanted.engine))
    if "engine_config" in names and engine is not None:
        own = _fields_that_differ(engine, wanted.engine_config, found.engine_config)
        place = names.index("engine_config")
        names[place : place + 1] = own
    return [_FIELD_NAMES.get(name, name) for name in names]


def _config_of(raw: bytes) -> Any:
    config = ffi.new("shm_config_t *")
    space = ffi.buffer(config)
    space[:] = raw[: len(space)].ljust(len(space), b"\0")
    return config


def _fields_that_differ(struct: str, one: Any, other: Any) -> list[str]:
    names: list[str] = []
    one, other = (bytes(ffi.buffer(each, ffi.sizeof(struct))) for each in (one, other))
    for name, field in ffi.typeof(struct).fields:
        part = slice(field.offset, field.offset + ffi.sizeof(field.type))
        if name not in _NOT_COMPARED and one[part] != other[part]:
            names.append(name)
    return names


def _show_opener(holding: Holding) -> None:
    """Write the opener into the segment, for observers."""
    with _host.mapped(holding.segment_fd, writable=True) as segment:
        if segment is not None and holding.opener is not None:
            lib.shm_segment_change_opener(segment, holding.opener.pid)


def free_name(posix_name: str, name: str, namespace: str, asking: Opener) -> None:
    """Free the name for a new channel of `asking`: remove the segment of a dead channel, or wait
    until the workers of a dead program's private pool have removed it.

    Raises `ChannelExists`.
    """
    give_up = time.monotonic() + VANISH_S
    while not _host.name_is_free(posix_name):
        pool, pid, alive = _opened_by(posix_name)
        if pool.startswith(PRIVATE) and alive is False and time.monotonic() < give_up:
            time.sleep(LOOK_S)
            continue
        who = "" if pid is None else f" by process {pid}"
        if pid and pid == asking.pid:
            who = f" by this process ({pid})"
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
