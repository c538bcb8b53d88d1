"""Limits on what each user of a named pool may use, and a record of who opened which channel."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

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
    shm_bytes: int = 256 * MIB
    """Shared memory of all channels of the user together, bytes."""
    connections: int = 32
    """Connections to the pool itself. Connections to its workers do not count."""

    def __post_init__(self) -> None:
        _arguments.count(self.channels, "channels", 0, MOST)
        _arguments.count(self.shm_bytes, "shm_bytes", 0, MOST)
        _arguments.count(self.connections, "connections", 1, MOST)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    uid: int
    shm_bytes: int
    before: "_Entry | None" = None
    """The entry of the user from whom it was taken over."""


class Ledger:
    """Records which user opened which channel through a pool, and adds up their use. Any thread may
    call.

    `served` returns the names of the channels that the pool serves. A channel that is not among
    them no longer counts, whoever closed it.
    """

    def __init__(self, pool: str, limits: UserLimits, served: Callable[[], Iterable[str]]) -> None:
        self._pool = pool
        self._limits = limits
        self._served = served
        self._lock = threading.Lock()
        self._opened: dict[str, _Entry] = {}
        self._opening: list[_Entry] = []

    @staticmethod
    def is_trusted(uid: int) -> bool:
        """Return whether this user has no limits: root or the pool's own user."""
        return uid in (0, os.geteuid())

    @contextlib.contextmanager
    def opening(self, name: str, uid: int) -> Iterator[Callable[[int], None]]:
        """Count a channel while `uid` opens it. Yields a function that reserves the bytes of its
        segment, and which raises `NoSpace`."""
        entries: list[_Entry] = []

        def reserve(shm_bytes: int) -> None:
            with self._lock:
                if not self.is_trusted(uid):
                    self._check(name, uid, shm_bytes)
                entries.append(_Entry(uid, shm_bytes))
                self._opening += entries

        try:
            yield reserve
            with self._lock:
                before = self._opened.get(name)
                before = None if before is None else replace(before, before=None)
                self._opened[name] = replace(entries[0], before=before)
        finally:
            with self._lock:
                self._opening = [entry for entry in self._opening if entry not in entries]

    def give_back(self, name: str) -> None:
        """Count a channel again for the user from whom it was taken over."""
        with self._lock:
            entry = self._opened.pop(name, None)
            if entry is not None and entry.before is not None:
                self._opened[name] = entry.before

    def check_may_close(self, name: str, uid: int) -> None:
        """Raise `NoPermission` unless `uid` opened the channel, or is root or the pool's user."""
        if self.is_trusted(uid):
            return
        with self._lock:
            entry = self._opened.get(name)
        if entry is None or entry.uid != uid:
            raise error(
                errno.EPERM,
                f"user {uid} may not close channel {name!r}: only the user that opened it, root "
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

    def _check(self, name: str, uid: int, shm_bytes: int) -> None:
        served = set(self._served())
        self._opened = {name: entry for name, entry in self._opened.items() if name in served}
        # A channel of this name is taken over, or the request is refused.
        others = [entry for known, entry in self._opened.items() if known != name]
        own = [entry for entry in (*others, *self._opening) if entry.uid == uid]
        limits, used = self._limits, sum(entry.shm_bytes for entry in own)
        if len(own) >= limits.channels:
            raise error(
                errno.EDQUOT,
                f"user {uid} has {len(own)} channels open on pool {self._pool!r}, the limit is "
                f"{limits.channels}: close some, or start the pool with --user-channels"
            )
        if used + shm_bytes > limits.shm_bytes:
            raise error(
                errno.EDQUOT,
                f"the channel needs {shm_bytes} bytes of shared memory, user {uid} has {used} in "
                f"use on pool {self._pool!r}, the limit is {limits.shm_bytes}: lower capacity, "
                "close channels, or start the pool with --user-shm"
            )


__all__ = ["Ledger", "UserLimits"]
