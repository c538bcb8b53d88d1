"""Limits on what each user of a named pool may use, and a record of who opened which channel."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from rtworkers.leavings import Leavings
from shmring import _arguments
from shmring._check import error

MIB = 1 << 20
MOST = 1 << 48


@dataclass(frozen=True, slots=True)
class UserLimits:
    """What one user may use of a named pool at the same time. Root and the pool's own user have no
    limit.

    Raises `BadConfig`, `TypeError`.
    """

    channels: int = 64
    shm_bytes: int = 512 * MIB
    """Memory of all channels of the user together, bytes: their shared memory, and what the workers
    take for them beside it."""
    connections: int = 32
    """Connections to the pool itself. Connections to its workers do not count."""
    channel_bytes: int = 24 * MIB
    """Shared memory of one channel, bytes. A client that makes holes in it can make its worker wait
    once for about 0.2 ms a MiB, and with it all channels of that worker."""
    socket_bytes: int = 4 * MIB
    """Each of the two kernel buffers of a channel's socket."""
    priority: int = 6
    """The highest `Socket.priority` of a channel."""

    def __post_init__(self) -> None:
        _arguments.count(self.channels, "channels", 0, MOST)
        _arguments.count(self.shm_bytes, "shm_bytes", 0, MOST)
        _arguments.count(self.connections, "connections", 1, MOST)
        _arguments.count(self.channel_bytes, "channel_bytes", 0, MOST)
        _arguments.count(self.socket_bytes, "socket_bytes", 0, MOST)
        _arguments.count(self.priority, "priority", 0, 15)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    uid: int
    bytes: int


class Budget(Protocol):
    """The memory of a channel that is being opened."""

    def reserve(self, segment_bytes: int) -> int:
        """Count its segment. Return how many bytes the worker may take beside it. 0: no limit.
        Raises `NoSpace`."""
        ...

    def settle(self, memory_bytes: int) -> None:
        """The worker took so much."""
        ...


class NoLimit:
    """The budget of a channel that counts for nobody."""

    def reserve(self, segment_bytes: int) -> int:
        return 0

    def settle(self, memory_bytes: int) -> None:
        pass


NO_LIMIT = NoLimit()


@dataclass(slots=True, eq=False)
class _Counted:
    """The budget of a channel of one user."""

    ledger: "Ledger"
    uid: int
    segment_bytes: int = 0
    entry: _Entry | None = None

    def reserve(self, segment_bytes: int) -> int:
        self.segment_bytes = segment_bytes
        return self.ledger.admit(self.uid, segment_bytes)

    def settle(self, memory_bytes: int) -> None:
        self.entry = _Entry(self.uid, self.segment_bytes + memory_bytes)


class Ledger:
    """Records which user opened which channel through a pool, and adds up their use. Any thread may
    call.

    `served` returns the names of the channels that the pool serves. A channel that is not among
    them no longer counts, whoever closed it, except for the memory that is not given back yet.
    """

    def __init__(
        self,
        pool: str,
        limits: UserLimits,
        served: Callable[[], Iterable[str]],
        leavings: Leavings,
    ) -> None:
        self._pool = pool
        self._limits = limits
        self._served = served
        self._leavings = leavings
        self._lock = threading.Lock()
        self._opened: dict[str, _Entry] = {}
        self._turns: dict[int, threading.Lock] = {}

    @staticmethod
    def is_trusted(uid: int) -> bool:
        """Return whether this user has no limits: root or the pool's own user."""
        return uid in (0, os.geteuid())

    @contextlib.contextmanager
    def opening(self, name: str, uid: int) -> Iterator[Budget]:
        """Count a channel which `uid` opens during the block. A user with limits opens one at a
        time: a worker may take what is left of them, and what it took is known afterwards."""
        budget = _Counted(self, uid)
        with self._turn(uid):
            yield budget
            if budget.entry is not None:  # None: it was open
                with self._lock:
                    self._opened[name] = budget.entry

    def _turn(self, uid: int) -> contextlib.AbstractContextManager[object]:
        if self.is_trusted(uid):
            return contextlib.nullcontext()
        with self._lock:
            return self._turns.setdefault(uid, threading.Lock())

    def admit(self, uid: int, segment_bytes: int) -> int:
        """Return how many bytes the worker of a new channel may take beside its segment. 0: no
        limit. Raises `NoSpace`."""
        with self._lock:
            return 0 if self.is_trusted(uid) else self._check(uid, segment_bytes)

    def check_socket(self, uid: int, options: dict[str, Any]) -> None:
        """Raise `NoSpace` if the socket that `uid` asks for is beyond the limits."""
        if self.is_trusted(uid):
            return
        buffer, priority = self._limits.socket_bytes, self._limits.priority
        mosts = {"rcvbuf_bytes": buffer, "sndbuf_bytes": buffer, "so_priority": priority}
        for option, most in mosts.items():
            asked = options.get(option)
            if isinstance(asked, int) and asked > most:
                name = option.removeprefix("so_")
                raise error(
                    errno.EDQUOT,
                    f"user {uid} asks pool {self._pool!r} for {name}={asked}, the limit is "
                    f"{most}: lower it, or start the pool with other user_limits",
                )

    def check_may_end(self, name: str, uid: int) -> None:
        """Raise `NoPermission` unless `uid` opened the channel, or is root or the pool's user."""
        if self.is_trusted(uid):
            return
        with self._lock:
            entry = self._opened.get(name)
        if entry is None or entry.uid != uid:
            raise error(
                errno.EPERM,
                f"user {uid} may not end channel {name!r}: only the user that opened it, root "
                f"and the owner of pool {self._pool!r} may",
            )

    def check_may_stop(self, uid: int) -> None:
        """Raise `NoPermission` unless `uid` is root or the pool's user."""
        if not self.is_trusted(uid):
            raise error(
                errno.EPERM,
                f"user {uid} may not stop pool {self._pool!r}: only root and its owner, user "
                f"{os.geteuid()}, may",
            )

    def _check(self, uid: int, segment_bytes: int) -> int:
        served = set(self._served())
        self._opened = {name: entry for name, entry in self._opened.items() if name in served}
        own = [entry for entry in self._opened.values() if entry.uid == uid]
        limits, used = self._limits, sum(entry.bytes for entry in own)
        if len(own) >= limits.channels:
            raise error(
                errno.EDQUOT,
                f"user {uid} has {len(own)} channels open on pool {self._pool!r}, the limit is "
                f"{limits.channels}: close some, or start the pool with --user-limits channels="
            )
        if segment_bytes > limits.channel_bytes:
            raise error(
                errno.EDQUOT,
                f"the channel needs {segment_bytes} bytes of shared memory, one channel of user "
                f"{uid} may have {limits.channel_bytes} on pool {self._pool!r}: lower tx or rx, or "
                "start the pool with --user-limits channel-shm=",
            )
        left = limits.shm_bytes - used - segment_bytes
        if self._leavings.bytes_of(uid) > left // 2:  # the worker needs some of it, too
            self._leavings.give_back_of(uid)
        left -= self._leavings.bytes_of(uid)
        if left <= 0:
            raise error(
                errno.EDQUOT,
                f"the channel needs {segment_bytes} bytes of shared memory, user {uid} has {used} "
                f"in use on pool {self._pool!r}, the limit is {limits.shm_bytes}: lower tx or rx, "
                "close channels, or start the pool with --user-limits shm=",
            )
        return left


__all__ = ["NO_LIMIT", "Budget", "Ledger", "UserLimits"]
