"""Channels whose name is in use: who may open them with `exist_ok`, and what all others are told.

A named pool keeps serving the channel of a program that has died. The same program, started again,
opens it with the same options: packets that were queued complete are still sent, sequence numbers
go on, other ends stay attached. The pool decides by its own notes, because clients can write into
the segment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import os
import stat
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, cast

from rtworkers import Holding, Supervisor, affinity, history
from rtworkers.opener import Opener
from shmring import _host
from shmring._check import error
from shmring._options import Prepared
from shmring._ring import ffi, lib
from shmring._segment import opener_of, text_of
from shmring._spec import Spec
from shmring.errors import BadConfig
from shmring.observe.engines import only_opener
from shmring.parts import Queue
from shmring.types import State, state_of

log = logging.getLogger("shmring.pool")

# Fields of a configuration: those of `open`, those of an engine's own of which it has no copy, with
# the names that users give, and those that say nothing about the channel.
_OF_OPEN = {
    **{name: name for name in ("local", "remote", "impair_rx", "profile", "producers", "readers")},
    "impair_tx": "impair",
}
_OF_ENGINE = {"failsafe_crc": "on_stale", "tx_layout": "send", "rx_layout": "receive"}
_IGNORED = (
    *("opener_pid", "held", "engine_bytes", "late_slots"),
    *("given", "tx_packet_bytes", "rx_packet_bytes"),
)

PRIVATE = "private-"
# The workers of a private pool remove its channels within this time after its death.
VANISH_S = 2.0
LOOK_S = 0.01


class Names:
    """A lock for each name, with which one thread at a time opens or ends the channel. A signal
    handler of the thread that has one has it, too. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._locks: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()

    def lock(self, name: str) -> contextlib.AbstractContextManager[object]:
        """Return the lock of a name."""
        with self._lock:
            lock: Any = self._locks.setdefault(name, threading.RLock())
            return cast("contextlib.AbstractContextManager[object]", lock)


def check_engine(prepared: Prepared) -> None:
    """Raise `BadConfig` if the channel cannot be opened with `exist_ok`."""
    engine = _engine_of(prepared.config)
    if reason := only_opener(engine):
        raise BadConfig(
            f"exist_ok cannot be used with the engine {engine!r}: {reason}. Leave it out, and "
            "attach to a channel that is open"
        )


def join(
    supervisor: Supervisor,
    prepared: Prepared,
    asking: Opener,
    access: tuple[int, int | None],
    check_worker: Callable[[int], None] | None,
    *,
    exist_ok: bool,
) -> bool | None:
    """Make `asking` an opener of the open channel of this name. Return whether no other opener of
    it runs. None: there is no such channel.

    access: mode and group of the file that `asking` wants.
    check_worker: raises if the worker of a slot lacks something. None: it may.

    Raises `ChannelExists`, what `check_worker` raises, and the errors of `rtworkers`. Then the
    channel is what it was. After `WorkerGone` there is another worker.
    """
    held = bool(prepared.config.held)
    needs_worker = exist_ok and (held or check_worker is not None)
    with supervisor.locked(prepared.name, running=needs_worker) as found:
        if found is None or not found[1].is_named():
            return None
        slot, holding = found
        _check_may_join(prepared, slot.number, holding, asking, access, exist_ok=exist_ok)
        if check_worker is not None:
            slot.running()
            check_worker(slot.number)
        hold = held and _state(holding) is not State.HELD
        alone = supervisor.join(slot, holding, asking, hold=hold)
        _show_opener(holding)
    log.info("channel %s was opened again by %s", prepared.name, asking)
    return alone


def leave(supervisor: Supervisor, name: str, asking: Opener, *, end: bool) -> bool:
    """Let `asking` have one end of a channel less that it opened. Return whether that ended the
    channel. end: end it if no other opener of it runs."""
    with supervisor.locked(name) as found:
        if found is None:
            return False
        slot, holding = found
        ended = supervisor.leave(slot, holding, asking, end=end)
        if not ended:
            _show_opener(holding)
    return ended


def has_others(supervisor: Supervisor, name: str) -> bool:
    """Return whether a channel was opened through more than one end whose process runs."""
    with supervisor.locked(name) as found:
        if found is None:
            return False
        openers = found[1].openers
        return sum(openers[one] for one in found[1].living()) > 1


def _check_may_join(
    prepared: Prepared,
    slot: int,
    holding: Holding,
    asking: Opener,
    access: tuple[int, int | None],
    *,
    exist_ok: bool,
) -> None:
    """Raise `ChannelExists` unless `asking` may open the channel `holding`, which the worker in
    `slot` serves. The caller holds the slot's lock."""
    opener, namespace = holding.opener, text_of(prepared.config.name_space)
    by = "" if opener is None else f", opened by {_seen(opener, asking)}"
    if opener is not None and opener.is_dead:
        by += f", which has died{_since(opener.pid, namespace, prepared.name)}"
    if not exist_ok:
        alone = only_opener(_engine_of(prepared.config))
        raise _exists(prepared, by, "" if alone else "open it with exist_ok=True")
    if asking.uid not in (0, os.geteuid(), holding.uid):
        raise _exists(prepared, f"{by}, and only user {holding.uid} may open it again")
    if reason := _obstacle(prepared, slot, holding, access):
        raise _exists(prepared, f"{by}, and {reason}")


def _engine_of(config: Any) -> str:
    return text_of(config.engine) or "udp"


def _seen(opener: Opener, asking: Opener) -> str:
    return f"this process ({opener.pid})" if opener.is_same(asking) else str(opener)


def _exists(prepared: Prepared, what: str, again: str = "") -> Exception:
    name, namespace = prepared.name, text_of(prepared.config.name_space)
    return error(
        errno.EEXIST,
        f"channel {name!r} is open already in namespace {namespace!r}{what}: choose another name, "
        f"attach to it with shmring.attach(), {again and again + ', '}or end it: shmring end "
        f"{namespace}/{name}",
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
    if _state(holding) is State.FAILED:
        return "has failed"
    differing = _differing(prepared.config_bytes(), holding.asked)
    if prepared.socket_fd is not None:
        differing.append("existing")
    if prepared.cpu is not None and prepared.cpu != slot % affinity.CORES:
        differing.append("cpu")
    file = os.fstat(holding.segment_fd)
    if stat.S_IMODE(file.st_mode) != access[0]:
        differing.append("permissions")
    if access[1] not in (None, file.st_gid):
        differing.append("group")
    return f"differs in {', '.join(differing)}" if differing else ""


def _state(holding: Holding) -> State:
    with _host.mapped(holding.segment_fd, writable=False) as segment:
        return State.FAILED if segment is None else state_of(segment.status.state)


def _differing(asked: bytes, open_: bytes) -> list[str]:
    """Return the options in which two configurations differ, as users call them."""
    from shmring import _way_back

    wanted, found = _config_of(asked), _config_of(open_)
    engine, other = (cast("Spec", _way_back.engine_of(each[0])) for each in (wanted, found))
    if type(engine) is not type(other):
        return ["engine"]
    if wanted.local.port == 0 and wanted.local.family:
        wanted.local.port = found.local.port
    names = _fields_that_differ(_OF_OPEN, wanted, found)
    own = [_way_back.Words(type(engine), each[0]).own for each in (wanted, found)]
    for field in _IGNORED:
        setattr(wanted, field, getattr(found, field))
    if bytes(ffi.buffer(wanted)) != bytes(ffi.buffer(found)):
        names += _values_that_differ(engine, other)
        names += _fields_that_differ(_OF_ENGINE, *own) if own[0] else []
        names = list(dict.fromkeys(names)) or ["engine"]
    return names


def _config_of(raw: bytes) -> Any:
    config = ffi.new("shm_config_t *")
    space = ffi.buffer(config)
    space[:] = raw[: len(space)].ljust(len(space), b"\0")
    return config


def _fields_that_differ(options: dict[str, str], one: Any, other: Any) -> list[str]:
    """Return the options of those fields of two structs that differ."""
    names: list[str] = []
    for name, field in ffi.typeof(one).item.fields:
        part = slice(field.offset, field.offset + ffi.sizeof(field.type))
        if name in options and ffi.buffer(one)[part] != ffi.buffer(other)[part]:
            names.append(options[name])
    return names


def _values_that_differ(one: Spec, other: Spec) -> list[str]:
    """Return the fields of two engines, and of their parts, that differ."""
    names: list[str] = []
    for field in dataclasses.fields(one):  # type: ignore[arg-type]
        values = getattr(one, field.name), getattr(other, field.name)
        if values[0] == values[1]:
            continue
        parts = [value for value in values if isinstance(value, Spec)]
        if len(parts) == 2 and not isinstance(parts[0], Queue) and type(parts[0]) is type(parts[1]):
            names += _values_that_differ(*parts)
        else:
            names.append(field.name)
    return names


def _show_opener(holding: Holding) -> None:
    """Write the opener into the segment, for observers."""
    opener = holding.opener
    with _host.mapped(holding.segment_fd, writable=True) as segment:
        if segment is not None and opener is not None:
            lib.shm_segment_change_opener(segment, opener.pid)


def free_name(posix_name: str, prepared: Prepared, asking: Opener) -> None:
    """Free the name for a new channel of `asking`: remove the segment of a dead channel, or wait
    until the workers of a dead program's private pool have removed it.

    Raises `ChannelExists`.
    """
    give_up = time.monotonic() + VANISH_S
    namespace = text_of(prepared.config.name_space)
    while not _host.name_is_free(posix_name):
        pool, pid, alive = _opened_by(posix_name)
        private = pool.startswith(PRIVATE)
        if private and alive is False and time.monotonic() < give_up:
            time.sleep(LOOK_S)
            continue
        who = "" if pid is None else f" by process {pid}"
        if pid and pid == asking.pid:
            who = f" by this process ({pid})"
        if pid and alive is False:
            who += f", which has died{_since(pid, namespace, prepared.name)}"
        again = f"open it with pool={pool!r} and exist_ok=True"
        if private or not pool or only_opener(_engine_of(prepared.config)):
            again = ""
        raise _exists(prepared, f", opened on pool {pool!r}{who}" if pool else "", again)


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
