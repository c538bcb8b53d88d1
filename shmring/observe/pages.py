"""Workers' pages: events and distinct errors, of workers alive and dead."""

from __future__ import annotations

import functools
import os
from dataclasses import asdict, dataclass
from typing import Any

from rtworkers import page, paths
from shmring._ring import ffi, lib
from shmring.types import VERDICTS

_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class EventKind:
    """A row of the table ``SHM_EVENTS`` in ``csrc/shm/observe_layout.h``."""

    id: int
    name: str
    text: str
    """What it means, in words."""
    is_error: bool
    """Whether it goes into the log of distinct errors."""
    numbers: tuple[str, str, str]
    """Names of its numbers, with their units; empty where it has none."""


@functools.cache
def event_kinds() -> tuple[EventKind, ...]:
    """All kinds of events, by their number."""
    return tuple(
        EventKind(
            id,
            _c_text(lib.shm_event_name(id)),
            _c_text(lib.shm_event_text(id)),
            lib.shm_event_kind(id) == lib.SHM_EVENT_KIND_ERROR,
            (_number(id, 0), _number(id, 1), _number(id, 2)),
        )
        for id in range(lib.SHM_EVENT_TOTAL)
    )


def _c_text(text: Any) -> str:
    return str(ffi.string(text), "utf-8", "replace")


def _number(id: int, which: int) -> str:
    return _c_text(lib.shm_event_number(id, which))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a worker noted in its flight recorder."""

    kind: str
    """Name in the table, such as ``missed_wake``; ``event 77``: of another version."""
    text: str
    mono_ns: int
    """When; the first of a burst."""
    last_mono_ns: int
    """The last of a burst, else as `mono_ns`."""
    count: int
    """Packets, calls or times in the burst."""
    numbers: dict[str, int]
    """What the table says of this kind, units in the names: the first's, of durations the longest.
    """
    channel: str | None
    """None: the worker itself."""
    channel_id: int
    """Differs for every channel ever opened under a name; 0: the worker itself."""
    namespace: str
    pool: str
    slot: int
    pid: int
    """Of the worker's process."""

    @property
    def verdict(self) -> str | None:
        """Of late packets, else None."""
        number = self.numbers.get("verdict", -1)
        return VERDICTS[number].value if 0 <= number < len(VERDICTS) else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` takes."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DistinctError:
    """A problem of a worker, or of its pool with it: once, with how often, first and last time."""

    kind: str
    text: str
    """What it means, in words."""
    detail: str
    """What was said the first time; empty: nothing more than that."""
    number_name: str
    """What `number` is, such as ``errno``; empty: nothing."""
    number: int
    count: int
    first_mono_ns: int
    last_mono_ns: int
    channel: str | None
    namespace: str
    pool: str
    slot: int
    source: str
    """Who noted it: ``"worker"`` or ``"pool"``."""

    @property
    def errno_text(self) -> str:
        """The errno in words; empty where the number is none."""
        return os.strerror(self.number) if self.number_name == "errno" and self.number else ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` takes."""
        return asdict(self) | {"errno_text": self.errno_text}


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """All that the page of one worker slot tells."""

    namespace: str
    pool: str
    slot: int
    facts: page.PageFacts | None
    """None: its worker is just starting, or died doing so."""
    events: tuple[Event, ...]
    events_overwritten: int
    """Events that were there once."""
    events_suppressed: int
    """Events left out because too many came at once."""
    errors: tuple[DistinctError, ...]
    other_errors: int
    """Times that something went wrong for which the log had no room."""


def workers(pool: str | None = None, namespace: str | None = None) -> list[WorkerRecord]:
    """The pages of all workers of a pool, or of all pools, dead ones too.

    `namespace`: None for ``$SHMRING_NAMESPACE``, else ``default``. Pages of other versions of this
    package, and those that this user may not read, are left out. Raises ValueError for a name that
    is none.
    """
    space = paths.default_namespace() if namespace is None else namespace
    paths.check_name("namespace", space)
    if pool is not None:
        paths.check_name("pool name", pool)
    found = (_record(n) for n in paths.shm_names(space) if n.pool is not None)
    return [r for r in found if r is not None and (pool is None or r.pool == pool)]


def events(
    pool: str | None = None, namespace: str | None = None, channel: str | None = None
) -> list[Event]:
    """What the workers of a pool, or of all pools, noted last; the oldest first.

    `channel`: only what is about that one, and about the workers themselves. Else as `workers`.
    """
    found = [event for record in workers(pool, namespace) for event in record.events]
    if channel is not None:
        found = [event for event in found if event.channel in (None, channel)]
    return sorted(found, key=lambda event: event.mono_ns)


def errors(
    pool: str | None = None, namespace: str | None = None, channel: str | None = None
) -> list[DistinctError]:
    """The distinct problems of a pool, or of all pools; the latest first. Else as `events`."""
    found = [error for record in workers(pool, namespace) for error in record.errors]
    if channel is not None:
        found = [error for error in found if error.channel in (None, channel)]
    return sorted(found, key=lambda error: -error.last_mono_ns)


# --- reading --------------------------------------------------------------------------------------


def _record(name: paths.ShmName) -> WorkerRecord | None:
    try:
        fd = paths.open_shm(name.posix_name)
    except OSError:
        return None  # gone, for another user, or no file at all
    try:
        return _read(name, page.copy(fd))
    except ValueError:
        return None  # of another version, or cut short
    finally:
        os.close(fd)


def _read(name: paths.ShmName, raw: bytes) -> WorkerRecord | None:
    """Of a worker that starts the version is 0, and what its predecessor noted is there."""
    magic, version = page.HEAD.unpack_from(raw)
    if magic != page.MAGIC or version not in (0, page.VERSION):
        return None
    with ffi.from_buffer("shm_worker_segment_t *", raw) as segment:
        found, lost = _events(name, segment.recorder)
        problems = _errors(name, segment.errors, "worker")
        problems += _errors(name, segment.pool_errors, "pool")
        others = lib.error_log_others(ffi.addressof(segment, "errors"))
        others += lib.error_log_others(ffi.addressof(segment, "pool_errors"))
        suppressed = lib.recorder_suppressed(ffi.addressof(segment, "recorder"))
        return WorkerRecord(
            name.namespace,
            str(name.pool),
            int(name.slot or 0),
            page.read(raw),
            tuple(found),
            int(lost),
            int(suppressed),
            tuple(problems),
            int(others),
        )


def _events(name: paths.ShmName, recorder: Any) -> tuple[list[Event], int]:
    reader = ffi.new("slot_reader_t *")
    lib.recorder_reader_init(reader, ffi.addressof(recorder))
    before = int(reader.next)
    out = ffi.new("shm_event_t[]", _AT_ONCE)
    found: list[Event] = []
    while len(found) < lib.SHM_RECORDER_EVENTS:
        count = lib.slot_reader_next(reader, out, _AT_ONCE)
        if not count:
            break
        found += [_event(name, out[i]) for i in range(count)]
    return found, before + int(reader.lost)


def _event(name: paths.ShmName, raw: Any) -> Event:
    kind, text, labels = _kind(raw.id)
    return Event(
        kind=kind,
        text=text,
        mono_ns=raw.mono_ns,
        last_mono_ns=raw.last_mono_ns,
        count=raw.count,
        numbers={
            label: value
            for label, value in zip(labels, (raw.a, raw.b, raw.c), strict=True)
            if label
        },
        channel=_name(raw.channel),
        channel_id=raw.channel_id,
        namespace=name.namespace,
        pool=str(name.pool),
        slot=int(name.slot or 0),
        pid=raw.pid,
    )


def _errors(name: paths.ShmName, log: Any, source: str) -> list[DistinctError]:
    out = ffi.new("shm_error_t[]", lib.SHM_ERRORS)
    count = lib.error_log_read(ffi.addressof(log), out)
    return [_error(name, out[i], source) for i in range(count)]


def _error(name: paths.ShmName, raw: Any, source: str) -> DistinctError:
    kind, text, labels = _kind(raw.id)
    return DistinctError(
        kind=kind,
        text=text,
        detail=printable(bytes(ffi.string(raw.text)).decode("utf-8", "replace")),
        number_name=labels[0],
        number=raw.a,
        count=raw.count,
        first_mono_ns=raw.first_mono_ns,
        last_mono_ns=raw.last_mono_ns,
        channel=_name(raw.channel),
        namespace=name.namespace,
        pool=str(name.pool),
        slot=int(name.slot or 0),
        source=source,
    )


def _kind(id: int) -> tuple[str, str, tuple[str, str, str]]:
    kinds = event_kinds()
    if 0 < id < len(kinds):
        return kinds[id].name, kinds[id].text, kinds[id].numbers
    return f"event {id}", "of another version of shmring, or damaged", ("a", "b", "c")


def _name(field: Any) -> str | None:
    """A name fills its field when it is the longest; all zero: none."""
    raw = bytes(ffi.buffer(field)).split(b"\0", 1)[0]
    return printable(raw.decode("ascii", "replace")) or None


def printable(text: str) -> str:
    """Text from shared memory without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
