"""What is open on this host: find channels, attach to them, and remove what no process owns."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rtworkers import ownership, paths
from shmring import _host, _leftovers
from shmring._ring import lib
from shmring._segment import opener_of, text_of
from shmring.observe.reading import KeptReading, check_words, facts_of, words_of


class ChannelInfo(KeptReading):
    """One channel of this host with its current values."""

    opener_alive: bool | None
    """Whether that process runs. None: unknown. False: the program, started again, opens the
    channel with `exist_ok`, and ``shmring end`` ends it."""
    opened_with: Any
    """The engine with its options, as `Channel.engine`."""
    owner_uid: int
    """The owner of its file. Any user can make a file of any name, so the contents of another
    user's file may be false."""

    def __init__(self, segment: Any) -> None:
        """Read from a mapped segment (``shm_segment_t *``)."""
        self.words = words_of(segment)
        self.facts = facts_of(segment)
        _, self.opener_alive = opener_of(segment)
        self.opened_with = self.facts.opened_with
        self.owner_uid = segment.owner_uid

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.to_dict().items())
        return f"{type(self).__name__}({shown})"

    @property
    def engine(self) -> str:
        """Name of its engine, such as ``"udp"``."""
        return self.facts.engine

    @property
    def waiting(self) -> int:
        """Packets queued to be sent, without a verdict yet."""
        return self.tx_waiting

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        shown = {name: getattr(self, name) for name in _SHOWN}
        return shown | {"opened_with": repr(self.opened_with) if self.opened_with else None}


_SHOWN = (
    *("name", "namespace", "pool", "engine", "direction", "state", "local", "remote"),
    *("worker_pid", "cpu", "epoch", "waiting", "heartbeat_age_ns", "segment_bytes"),
    *("opener_pid", "opener_alive", "producers", "owner_uid"),
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file with the name of a channel that cannot be read as one."""

    name: str
    namespace: str
    owner: str
    """The user who owns the file."""
    reason: str


def channels(namespace: str | None = None) -> list[ChannelInfo]:
    """Return all channels on this host that this user may read, or those of one namespace, by name.

    They include leftovers that no process serves, until `gc` removes these. They do not include
    files that cannot be read as a channel: see `unreadable`.
    """
    return [file for file in _read_all(namespace) if isinstance(file, ChannelInfo)]


def unreadable(namespace: str | None = None) -> list[Unreadable]:
    """Return the files named like a channel that `channels` leaves out although this user may open
    them."""
    return [
        Unreadable(str(file.name.channel), file.name.namespace, _owner_of(file.name), file.reason)
        for file in _read_all(namespace)
        if isinstance(file, paths.Unread) and not file.hidden
    ]


def _read_all(namespace: str | None) -> Iterator[ChannelInfo | paths.Unread]:
    names = (name for name in paths.shm_names(namespace) if name.channel is not None)
    return paths.read_each(names, _look)


def _owner_of(name: paths.ShmName) -> str:
    try:
        return ownership.user_text(paths.shm_file(name.posix_name).lstat().st_uid)
    except OSError:
        return "nobody"


def _look(name: paths.ShmName) -> ChannelInfo:
    with (
        paths.opened_shm(name.posix_name) as fd,
        _host.mapped(fd, writable=False) as segment,
    ):
        if segment is None:
            raise OSError(errno.EPROTO, _host.why_not_mapped())
        if not lib.shm_segment_is(segment, name.namespace.encode(), str(name.channel).encode()):
            raise OSError(errno.EPROTO, f"another name of channel {text_of(segment.config.name)!r}")
        info = ChannelInfo(segment)
        if lib.shm_segment_torn(segment):
            raise OSError(errno.EPROTO, "its file was cut short")
        check_words(info.words)
        return info


@dataclass(frozen=True, slots=True)
class Removed:
    """What `gc` removed or would remove."""

    segments: tuple[str, ...]
    """Names in POSIX shared memory, of channels and of workers' pages."""
    directories: tuple[str, ...]
    """Runtime directories of pools."""
    skipped: tuple[str, ...] = ()
    """Names in shared memory that could not be checked, each with the reason."""


def gc(*, namespace: str | None = None, dry_run: bool = False) -> Removed:
    """Remove what no living pool and no living worker owns, and nothing else.

    Ownership is a lock that ends with its holder, so neither process ids nor age count. Files of
    other users, and files whose state is uncertain, stay. With `dry_run` nothing is removed.
    """
    return Removed(*map(tuple, _leftovers.sweep(namespace, dry_run=dry_run)))


__all__ = ["ChannelInfo", "Removed", "Unreadable", "channels", "gc", "unreadable"]
