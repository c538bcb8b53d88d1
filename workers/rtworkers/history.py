"""The contents of workers' pages: events and distinct errors, of living and dead workers."""

import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rtworkers import layout, page, paths
from rtworkers.foreign_text import printable

_CURSORS = struct.Struct(layout.SLOT_CURSORS)
_EVENT = struct.Struct(layout.EVENT)
_ERROR = struct.Struct(layout.ERROR)
_OTHERS = struct.Struct("<Q")
_VERDICTS = tuple(layout.VERDICT)


@dataclass(frozen=True, slots=True)
class EventKind:
    """A row of the table ``SHM_EVENTS`` in ``csrc/rows/observe.toml``."""

    id: int
    name: str
    text: str
    """The meaning, in words."""
    is_error: bool
    """Whether it is recorded in the log of distinct errors."""
    numbers: tuple[str, str, str]
    """Names of its numbers, with their units. Empty if it has none."""


_KINDS = tuple(EventKind(id, *row) for id, row in enumerate(layout.EVENTS))


def event_kinds() -> tuple[EventKind, ...]:
    """All kinds of events, by number."""
    return _KINDS


@dataclass(frozen=True, slots=True)
class Event:
    """An event that a worker recorded in its flight recorder."""

    kind: str
    """Name in the table, such as ``missed_wake``, or ``event 77`` for one of another version."""
    text: str
    mono_ns: int
    """Time of the event, or of the first one of a burst."""
    last_mono_ns: int
    """Time of the last one of a burst, else the same as `mono_ns`."""
    count: int
    """Packets, calls or times in the burst."""
    numbers: dict[str, int]
    """The numbers that the table names for this kind, with units in the names. In a burst they are
    those of the first event, but durations are the longest."""
    channel: str | None
    """None: the worker itself."""
    channel_id: int
    """Differs for every channel that ever had a name. 0: the worker itself."""
    namespace: str
    pool: str
    slot: int
    pid: int
    """Process id of the worker."""

    @property
    def verdict(self) -> str | None:
        """The verdict of late packets, else None."""
        number = self.numbers.get("verdict", -1)
        return _VERDICTS[number] if 0 <= number < len(_VERDICTS) else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DistinctError:
    """A distinct error of a worker, or of its pool about it: count, first and last time."""

    kind: str
    text: str
    """The meaning, in words."""
    detail: str
    """The text of the first time. Empty if there is no more to say."""
    number_name: str
    """What `number` is, such as ``errno``. Empty: unused."""
    number: int
    count: int
    first_mono_ns: int
    last_mono_ns: int
    channel: str | None
    namespace: str
    pool: str
    slot: int
    source: str
    """Who recorded it: ``"worker"`` or ``"pool"``."""

    @property
    def errno_text(self) -> str:
        """The errno in words. Empty if the number is not an errno."""
        return os.strerror(self.number) if self.number_name == "errno" and self.number else ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        return asdict(self) | {"errno_text": self.errno_text}


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """All contents of the page of one worker slot."""

    namespace: str
    pool: str
    slot: int
    facts: page.PageFacts | None
    """None: its worker is just starting, or died during its start."""
    events: tuple[Event, ...]
    events_overwritten: int
    """Events that were recorded and then overwritten."""
    events_suppressed: int
    """Events that were suppressed because too many came at once."""
    errors: tuple[DistinctError, ...]
    other_errors: int
    """Errors for which the log had no room."""


def workers(pool: str | None = None, namespace: str | None = None) -> list[WorkerRecord]:
    """Return the pages of all workers of a pool, or of all pools, including dead ones.

    `namespace`: None for ``$SHMRING_NAMESPACE``, else ``default``. Pages of other versions of this
    package, and pages that this user may not read, are left out. Raises ValueError for a malformed
    name.
    """
    space = paths.namespace_of(namespace)
    if pool is not None:
        paths.check_name("pool name", pool)
    names = (name for name in paths.shm_names(space) if pool in (None, name.pool))
    pages = (name for name in names if name.pool is not None)
    return [one for one in paths.read_each(pages, record) if isinstance(one, WorkerRecord)]


def events(
    pool: str | None = None, namespace: str | None = None, channel: str | None = None
) -> list[Event]:
    """Return the last events of the workers of a pool, or of all pools, oldest first.

    `channel`: only events about that one, and about the workers themselves. Other arguments as for
    `workers`.
    """
    found = [event for worker in workers(pool, namespace) for event in worker.events]
    if channel is not None:
        found = [event for event in found if event.channel in (None, channel)]
    return sorted(found, key=lambda event: event.mono_ns)


def errors(
    pool: str | None = None, namespace: str | None = None, channel: str | None = None
) -> list[DistinctError]:
    """Return the distinct errors of a pool, or of all pools, latest first. Arguments as for
    `events`."""
    found = [error for worker in workers(pool, namespace) for error in worker.errors]
    if channel is not None:
        found = [error for error in found if error.channel in (None, channel)]
    return sorted(found, key=lambda error: -error.last_mono_ns)


# --- reading --------------------------------------------------------------------------------------


def record(name: paths.ShmName) -> WorkerRecord | None:
    """Return the page of one worker. None: it is of another version, or has just begun. Raises
    `OSError` and `ValueError` if it is gone, truncated, or another user's."""
    with paths.opened_shm(name.posix_name) as fd:
        return _read(name, page.copy(fd))


def _read(name: paths.ShmName, raw: bytes) -> WorkerRecord | None:
    """Check the version. It is 0 while a worker starts, and the page still has its predecessor's
    events."""
    magic, version = page.HEAD.unpack_from(raw)
    if magic != layout.SHM_MAGIC or version not in (0, layout.SHM_LAYOUT_VERSION):
        return None
    tail, writing, suppressed = _CURSORS.unpack_from(raw, layout.SHM_RECORDER_OFFSET)
    oldest = max(0, max(tail, writing) - layout.SHM_RECORDER_EVENTS)
    return WorkerRecord(
        name.namespace,
        str(name.pool),
        int(name.slot or 0),
        page.read(raw),
        tuple(_events(name, raw, oldest, tail)),
        oldest,
        suppressed,
        errors_in(name, raw),
        other_errors_in(raw),
    )


def errors_in(name: paths.ShmName, raw: bytes) -> tuple[DistinctError, ...]:
    """Return the distinct errors in a copy of a page: the worker's, then its pool's about it."""
    return (
        *_errors(name, raw, layout.SHM_ERRORS_OFFSET, "worker"),
        *_errors(name, raw, layout.SHM_POOL_ERRORS_OFFSET, "pool"),
    )


def other_errors_in(raw: bytes) -> int:
    """Return how many errors found no room in the logs of a copy of a page."""
    logs = (layout.SHM_ERRORS_OFFSET, layout.SHM_POOL_ERRORS_OFFSET)
    return sum(_OTHERS.unpack_from(raw, at)[0] for at in logs)


def _events(name: paths.ShmName, raw: bytes, oldest: int, tail: int) -> Iterator[Event]:
    first = layout.SHM_RECORDER_OFFSET + layout.SHM_SLOT_CURSORS_BYTES
    for number in range(oldest, tail):
        at = first + number % layout.SHM_RECORDER_EVENTS * _EVENT.size
        yield _event(name, dict(zip(layout.EVENT_FIELDS, _EVENT.unpack_from(raw, at), strict=True)))


def _event(name: paths.ShmName, now: dict[str, Any]) -> Event:
    kind, text, labels = _kind(now["id"])
    return Event(
        kind=kind,
        text=text,
        numbers={label: now[which] for label, which in zip(labels, "abc", strict=True) if label},
        channel=_name(now["channel"]),
        namespace=name.namespace,
        pool=str(name.pool),
        slot=int(name.slot or 0),
        mono_ns=now["mono_ns"],
        last_mono_ns=now["last_mono_ns"],
        count=now["count"],
        channel_id=now["channel_id"],
        pid=now["pid"],
    )


def _errors(name: paths.ShmName, raw: bytes, at: int, source: str) -> Iterator[DistinctError]:
    at += layout.SHM_SLOT_CURSORS_BYTES
    entries = _ERROR.iter_unpack(raw[at : at + layout.SHM_ERRORS * _ERROR.size])
    for entry in entries:
        now: dict[str, Any] = dict(zip(layout.ERROR_FIELDS, entry, strict=True))
        if now["state"]:
            yield _error(name, now, source)


def _error(name: paths.ShmName, now: dict[str, Any], source: str) -> DistinctError:
    kind, text, labels = _kind(now["id"])
    return DistinctError(
        kind=kind,
        text=text,
        detail=printable(now["text"][:-1].split(b"\0", 1)[0].decode("utf-8", "replace")),
        number_name=labels[0],
        number=now["a"],
        channel=_name(now["channel"]),
        namespace=name.namespace,
        pool=str(name.pool),
        slot=int(name.slot or 0),
        source=source,
        count=now["count"],
        first_mono_ns=now["first_mono_ns"],
        last_mono_ns=now["last_mono_ns"],
    )


def _kind(id: int) -> tuple[str, str, tuple[str, str, str]]:
    if 0 < id < len(_KINDS):
        return _KINDS[id].name, _KINDS[id].text, _KINDS[id].numbers
    return f"event {id}", "of another version of shmring, or damaged", ("a", "b", "c")


def _name(field: bytes) -> str | None:
    """Return a name, which fills its whole field if it has the maximum length. All zero: none."""
    return printable(field.split(b"\0", 1)[0].decode("ascii", "replace")) or None
