"""Requests to an open channel of this host, whoever opened it: `end`, `hold`, `release`, `purge`.

The commands ``shmring end``, ``hold``, ``release`` and ``purge`` and the keys of `rtstat` call
these functions. A program that has an end of the channel uses the methods of that end instead.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from rtworkers import liveness, ownership, paths
from rtworkers.control import Connection, ControlError, Request, WorkerGone, channel_body
from rtworkers.layout import SHM_OWNER_ELSEWHERE, Op
from rtworkers.similar import meant_channel
from shmring import _host, _leftovers, errors
from shmring._attachment import Attachment, map_named
from shmring._check import error
from shmring._facts import names
from shmring._moved import moved
from shmring._numbers import ChannelCounters
from shmring._pool_server import RemotePool, socket_path
from shmring._ring import ffi, lib
from shmring._segment import text_of
from shmring.types import State, state_of

# A worker that died is replaced within this time, or its pool has given it up.
REPLACED_S = 3.0
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request did."""

    action: str
    """``"end"``, ``"hold"``, ``"release"`` or ``"purge"``."""
    name: str
    namespace: str
    pool: str
    before: State
    """The state of the channel before the request."""
    waiting: int
    """Packets that waited to be sent when the request was made."""
    dropped: int
    """How many of them were cancelled. 0 for `hold` and `release`."""
    left: int
    """How many still wait after `end`, because the worker did not answer. It may send them before
    it ends the channel. 0 for the other requests."""
    clients: tuple[int, ...]
    """Processes that were attached, without those that the worker cannot see because they are in
    another pid namespace."""


def end(name: str, *, namespace: str | None = None) -> Outcome:
    """End a channel for all processes, and free its name. Packets that wait are cancelled.

    namespace: None: ``$SHMRING_NAMESPACE``, else ``default``.

    Its opener may be alive, dead, or unknown. If the pool of the channel runs, the pool decides
    who may do this: the user who opened the channel, the pool's own user, and root. Otherwise the
    worker decides: its own user and root. Attached processes get `ChannelClosed`.

    Raises `ChannelNotFound`, `NoPermission`, `BadConfig`, and `WorkerFailed` if neither the pool
    nor a worker answers.
    """
    with _found(name, namespace) as channel:
        before = channel.outcome("end")
        removed = channel.end()
        if removed:
            return dataclasses.replace(before, dropped=before.waiting)
        return dataclasses.replace(channel.after(before), left=channel.left())


def hold(name: str, *, namespace: str | None = None) -> Outcome:
    """Halt sending and receiving of a channel, as `Channel.hold` does.

    namespace: None: ``$SHMRING_NAMESPACE``, else ``default``.

    Raises `ChannelNotFound`, `ChannelClosed`, `NoPermission`, `BadConfig`, `WorkerFailed`, and the
    reason why a channel failed.
    """
    return _ask("hold", Op.HOLD, name, namespace)


def release(name: str, *, namespace: str | None = None) -> Outcome:
    """Let a held channel continue, as `Channel.release` does. Arguments and errors: as `hold`."""
    return _ask("release", Op.RELEASE, name, namespace)


def purge(name: str, *, namespace: str | None = None) -> Outcome:
    """Cancel every packet that waits to be sent, and discard unread ones that arrived, as
    `Channel.purge` does. Arguments and errors: as `hold`."""
    return _ask("purge", Op.PURGE, name, namespace)


def _ask(action: str, op: Op, name: str, namespace: str | None) -> Outcome:
    with _found(name, namespace) as channel:
        before = channel.outcome(action)
        channel.ask(op)
        return channel.after(before) if op is Op.PURGE else before


@contextlib.contextmanager
def _found(name: str, namespace: str | None) -> Iterator[_Target]:
    with _host.translated(f"channel {name!r}"):
        space = paths.namespace_of(namespace)
        posix_name = paths.channel_segment(space, paths.check_name("channel name", name))
    fd = _host.open_segment_file(posix_name, writable=False)
    if fd is None:
        raise _absent(name, space, posix_name)
    try:
        yield _Target(name, space, posix_name, fd)
    finally:
        os.close(fd)


def _absent(name: str, namespace: str, posix_name: str) -> Exception:
    """Return why this user cannot open the file of a channel."""
    try:
        owner = ownership.user_text(paths.shm_file(posix_name).lstat().st_uid)
    except FileNotFoundError:
        return error(
            errno.ENOENT,
            f"no channel {name!r} is open in namespace {namespace!r}: see shmring ls"
            + meant_channel(name, namespace),
        )
    return error(
        errno.EACCES,
        f"channel {name!r} in namespace {namespace!r} belongs to {owner}: run this command as that "
        "user, or have the channel opened with Share(group=..., permissions=...)",
    )


class _Target:
    """The channel that a request is about."""

    def __init__(self, name: str, namespace: str, posix_name: str, fd: int) -> None:
        self._name = name
        self._namespace = namespace
        self._posix_name = posix_name
        self._fd = fd
        # Its owner need not be trusted: a forged file only names a pool, which knows its channels.
        owner = os.fstat(fd).st_uid
        self._segment = map_named(name, namespace, writable=False, trusted=owner)

    # --- what it is -------------------------------------------------------------------------------

    def outcome(self, action: str) -> Outcome:
        """Return the facts before the request."""
        segment = self._segment
        self._cancelled = _cancelled(segment)
        return Outcome(
            action,
            self._name,
            self._namespace,
            text_of(segment.config.pool),
            state_of(segment.status.state),
            int(lib.tx_ring_waiting(segment)),
            0,
            0,
            tuple(_clients(segment)),
        )

    def after(self, before: Outcome) -> Outcome:
        """Return the outcome with the packets that were cancelled since."""
        dropped = max(0, _cancelled(self._segment) - self._cancelled)
        return dataclasses.replace(before, dropped=dropped)

    def left(self) -> int:
        """Return the packets that wait while no worker has ended the channel."""
        if state_of(self._segment.status.state) in (State.CLOSED, State.FAILED):
            return 0
        return int(lib.tx_ring_waiting(self._segment))

    def _gone(self) -> bool:
        """Whether the name no longer belongs to this channel."""
        return not liveness.is_same_file(self._fd, paths.shm_file(self._posix_name))

    # --- requests ---------------------------------------------------------------------------------

    def ask(self, op: Op) -> None:
        """Send a request that names the channel to the worker that serves it."""
        attachment = Attachment(self._segment)
        try:
            attachment.request(op)
        finally:
            attachment.close()

    def end(self) -> bool:
        """End the channel. Return whether it was only removed, because nobody served it."""
        pool = self._pool()
        give_up = time.monotonic() + REPLACED_S
        while not self._gone():
            if _host.remove_deserted_segment(self._posix_name):
                return True
            self._ask_pool(pool)
            if self._gone():
                break
            if self._ask_workers(pool):
                liveness.remove_own(self._posix_name, self._fd)  # the worker answers before it does
                break
            if time.monotonic() > give_up:
                raise self._unanswered(pool)
            time.sleep(LOOK_S)
        return False

    def _pool(self) -> str:
        """Return the name of its pool: from the pool's notes, because clients can write into the
        segment, which also names it."""
        own = paths.ShmName(self._posix_name, self._namespace, channel=self._name)
        found = _leftovers.pool_of(own)
        return text_of(self._segment.config.pool) if found is None else found[1]

    def _ask_pool(self, pool: str) -> None:
        """Have the pool end the channel, if another process runs it as a named pool."""
        if not os.path.exists(socket_path(self._namespace, pool)):
            return  # a private pool, or none any more
        with contextlib.suppress(errors.ChannelNotFound, errors.BadConfig):
            RemotePool(self._namespace, pool).end(self._name)

    def _ask_workers(self, pool: str) -> bool:
        """Have a worker end the channel. Return whether one did. It is a private pool's, or the
        process of its pool has died."""
        with _host.translated(f"channel {self._name!r}"):
            directory = paths.pool_directory(self._namespace, pool)
            return any(self._ask_worker(path) for path in paths.listed(directory, "worker-*.sock"))

    def _ask_worker(self, path: Path) -> bool:
        try:
            with contextlib.closing(Connection.connect(path)) as connection:
                connection.request(Request(Op.CLOSE, channel_body(self._name)))
        except (FileNotFoundError, ConnectionRefusedError, WorkerGone):
            return False
        except ControlError as refused:
            if refused.errno == errno.ENOENT:
                return False  # another worker has it
            raise
        return True

    def _unanswered(self, pool: str) -> Exception:
        folder = paths.pool_directory(self._namespace, pool)
        text = f"channel {self._name!r}: no process of pool {pool!r} answers in {folder}"
        uid = os.fstat(self._fd).st_uid
        if uid != os.geteuid():
            owner = ownership.user_text(uid)
            text += f". It belongs to {owner}: run this command as that user"
        return error(
            errno.ECONNRESET, f"{text}, or set SHMRING_RUNTIME_DIR to the folder of its pool"
        )


def _cancelled(segment: Any) -> int:
    counters = ffi.new("uint64_t[]", lib.SHM_COUNTER_TOTAL)
    lib.channel_read_counters(segment.stats, counters)
    return int(counters[names(ChannelCounters).index("tx_cancelled")])


def _clients(segment: Any) -> Iterator[int]:
    """The processes that are attached, in order. A worker that died before a client did could not
    note that the client is dead."""
    config = segment.config
    owners = {int(segment.producers[slot].owner) for slot in range(1, config.producers)}
    owners |= {int(segment.readers[slot].owner) for slot in range(config.readers)}
    known = (pid for pid in owners if 0 < pid < SHM_OWNER_ELSEWHERE)  # above: known dead
    yield from sorted(pid for pid in known if psutil.pid_exists(pid))


_MOVED = {"close": "end"}

if not TYPE_CHECKING:  # for a type checker, a module with __getattr__ has every name

    def __getattr__(name):
        raise moved(sys.modules[__name__], name, _MOVED)


__all__ = ["Outcome", "end", "hold", "purge", "release"]
