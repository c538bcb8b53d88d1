"""Looks at every pool, worker and channel of this host, any number of times, without side effects.

    with Watch() as watch:              # every namespace; Watch("plant"): that one
        while True:
            shot = watch.look()
            for channel in shot.channels:
                print(channel.name, channel.health, channel.tx_pps, channel.lateness.p99_ns)
            time.sleep(1)

`Watch.look` returns a `Snapshot`: `pools`, `workers`, `channels`, `unreadable` files, the workers'
distinct `errors`, and `events`. Events say what is new, gone, reborn, taken over by another worker
or reset since the previous look. The first look has no rates (None) and no intervals.
`rtstat.views` describes the views, `rtstat.table` the name, meaning and format of each number.

This module never writes to shared memory, wakes a process, takes a lock or opens a socket: it opens
and maps segments for reading only. A watch that is stopped or killed leaves nothing behind.

`Watch.rebase` makes counters and histograms of this watch start again at the last look. The
channels' own counters are not changed.

Views belong to one look and do not change, except `ChannelView.buckets` and `WorkerView.buckets`,
which return the histograms of the last look. Only one thread at a time may use a watch.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rtstat import _look
from rtstat.frozen import Frozen
from rtstat.numbers import CHANNEL_WORDS, NS_PER_S, WORKER_WORDS, name_of
from rtstat.views import (
    DIRECTIONS,
    ChannelFacts,
    ChannelView,
    PoolView,
    Unreadable,
    WorkerView,
)
from rtworkers import layout, paths

if TYPE_CHECKING:
    from rtworkers.history import DistinctError

_EPOCH = CHANNEL_WORDS["epoch"]
_STATE = CHANNEL_WORDS["state"]
_RESET = CHANNEL_WORDS["reset_mono_ns"]
_LOOKED = CHANNEL_WORDS["looked_mono_ns"]
_WORKER_LOOKED = WORKER_WORDS["looked_mono_ns"]
_WORKER_PID = WORKER_WORDS["pid"]
_ERRORS = WORKER_WORDS["errors"]
_ERROR_TIMES = WORKER_WORDS["error_times"]
_WORKER_STARTED = WORKER_WORDS["started_mono_ns"]

_READ_MODES, _OVERFLOWS = tuple(layout.READ_MODE), tuple(layout.OVERFLOW)
_LATES, _CLOCKS = tuple(layout.LATE), tuple(layout.CLOCK)
_PREFIX = "shmring:"
# A worker names its page shortly before the page is complete.
_NEWBORN_S = 1.0
_NOT_OURS = (errno.EACCES, errno.EPERM)


class Event(Frozen):
    """What happened to a channel or a worker between two looks."""

    kind: str
    """``new``, ``gone``, ``reborn`` (another segment under the name), ``epoch`` (another worker
    serves it, or the worker was started again), ``reset`` (its counters were set to 0)."""
    what: str
    """``"channel"`` or ``"worker"``."""
    namespace: str
    name: str
    """Name of the channel, or ``pool:slot`` of a worker."""


class Snapshot(Frozen):
    """Everything on this host, or in one namespace, at one look."""

    real_ns: int
    """Time of the look, CLOCK_REALTIME."""
    mono_ns: int
    """Time of the look, CLOCK_MONOTONIC."""
    seconds: float | None
    """Time since the previous look. None: this was the first."""
    namespace: str | None
    """None: all namespaces."""
    pools: tuple[PoolView, ...]
    workers: tuple[WorkerView, ...]
    """Sorted by namespace, pool and slot."""
    channels: tuple[ChannelView, ...]
    """Sorted by namespace and name."""
    unreadable: tuple[Unreadable, ...]
    errors: tuple[DistinctError, ...]
    """The distinct errors of all workers, latest first."""
    events: tuple[Event, ...]

    @property
    def healthy(self) -> bool:
        """Whether every worker has a heartbeat, every channel is served, and every file is
        readable."""
        return (
            all(worker.healthy for worker in self.workers)
            and all(channel.healthy for channel in self.channels)
            and not any(item.permitted for item in self.unreadable)
        )

    def channel(self, name: str, namespace: str | None = None) -> ChannelView | None:
        """Return the channel of that name, without a namespace the first one. None: there
        is none."""
        for channel in self.channels:
            if channel.name == name and namespace in (None, channel.namespace):
                return channel
        return None


class _File:
    """A name of ours in shared memory, with its state between looks."""

    def __init__(self, name: paths.ShmName) -> None:
        self.name = name
        self.inode = -1
        self.size = -1
        self.created_s = 0.0
        self.mapped: Any = None  # _look.Segment or _look.Page; None: could not be read
        self.reason = ""
        self.permitted = True
        self.facts: Any = None
        self.facts_of: tuple[int, ...] = ()
        self.row: memoryview | None = None  # at the last look
        self.based = False  # rebased since then

    @property
    def what(self) -> str:
        return "worker" if self.name.channel is None else "channel"

    @property
    def label(self) -> str:
        return self.name.channel or f"{self.name.pool}:{self.name.slot}"


class Watch:
    """Keeps everything mapped between looks. `namespace`: None for all namespaces.

    Raises ValueError for a malformed namespace.
    """

    def __init__(self, namespace: str | None = None) -> None:
        if namespace is not None:
            paths.check_name("namespace", namespace)
        self._namespace = namespace
        self._files: dict[str, _File] = {}
        self._foreign: set[str] = set()
        self._looked_ns: int | None = None
        self._order: list[str] = []

    @property
    def namespace(self) -> str | None:
        """The namespace that is watched. None: all namespaces."""
        return self._namespace

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap everything that no view refers to any more."""
        self._files.clear()
        self._order.clear()
        self._looked_ns = None

    def rebase(self) -> None:
        """Make the next looks count from the last look on."""
        for file in self._files.values():
            if file.mapped is not None and file.row is not None:
                file.mapped.rebase()
                file.based = True

    # --- looking ----------------------------------------------------------------------------------

    def look(self) -> Snapshot:
        """Read everything once."""
        mono_ns, real_ns = time.monotonic_ns(), time.time_ns()
        first = self._looked_ns is None
        events: list[Event] = []
        self._scan(real_ns / NS_PER_S, events, quiet=first)
        channels: list[ChannelView] = []
        workers: list[WorkerView] = []
        unreadable: list[Unreadable] = []
        for key in self._order:
            file = self._files[key]
            try:
                if file.mapped is None:
                    pass
                elif file.name.channel is None:
                    workers.append(self._look_worker(file, events))
                else:
                    channels.append(self._look_channel(file, real_ns / NS_PER_S, events))
            except OSError as error:  # its file was truncated: mapped again in the next look
                file.mapped, file.reason = None, error.strerror or str(error)
                file.permitted = True
            if file.mapped is None and file.reason:
                unreadable.append(_unreadable(file))
        seconds = None if self._looked_ns is None else (mono_ns - self._looked_ns) / NS_PER_S
        self._looked_ns = mono_ns
        return Snapshot(
            real_ns,
            mono_ns,
            seconds,
            self._namespace,
            tuple(_pools(workers, channels)),
            tuple(workers),
            tuple(channels),
            tuple(unreadable),
            tuple(_latest_first(workers)),
            tuple(events),
        )

    def _scan(self, now_s: float, events: list[Event], quiet: bool) -> None:
        """Update the list of files and of mappings."""
        files = self._files
        seen = set()
        changed = False
        for entry in _entries():
            key = entry.name
            file = files.get(key)
            if file is None:
                if key in self._foreign:
                    continue
                name = paths.parse_shm_name(key)
                if name is None or self._namespace not in (None, name.namespace):
                    self._foreign.add(key)
                    continue
                file = _File(name)
            try:
                facts = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # between the two calls
            seen.add(key)
            if file.mapped is not None:
                if facts.st_ino == file.inode and facts.st_size == file.size:
                    continue
                events.append(_event("reborn", file))
                file = _File(file.name)
                files[key] = file
            if not _open(file, entry.path, facts, now_s):
                seen.discard(key)
                continue
            if key not in files:
                files[key] = file
                changed = True
                if not quiet:
                    events.append(_event("new", file))
        for key in files.keys() - seen:
            events.append(_event("gone", files.pop(key)))
            changed = True
        if changed:
            self._order = sorted(files)

    # --- one file ---------------------------------------------------------------------------------

    def _look_channel(self, file: _File, now_s: float, events: list[Event]) -> ChannelView:
        row = memoryview(file.mapped.look()).cast("q")
        before = file.row
        if before is not None:
            if row[_RESET] != before[_RESET]:
                events.append(_event("reset", file))
                before = None
            elif row[_EPOCH] != before[_EPOCH] and before[_EPOCH]:
                events.append(_event("epoch", file))
        if file.based:
            before = None
            file.based = False
        key = (row[_EPOCH], row[_STATE])
        if key != file.facts_of:
            file.facts = _facts(file.name, file.mapped.facts())
            file.facts_of = key
        file.row = row
        return ChannelView(
            row,
            before,
            CHANNEL_WORDS,
            None if before is None else (row[_LOOKED] - before[_LOOKED]) / NS_PER_S,
            file.facts,
            file.mapped,
            now_s - file.created_s,
        )

    def _look_worker(self, file: _File, events: list[Event]) -> WorkerView:
        row = memoryview(file.mapped.look()).cast("q")
        before = file.row
        if before is not None and (
            row[_WORKER_PID] != before[_WORKER_PID]
            or row[_WORKER_STARTED] != before[_WORKER_STARTED]
        ):
            events.append(_event("epoch", file))
            before = None
        file.row = row
        file.based = False
        key = (row[_ERRORS], row[_ERROR_TIMES])
        if key != file.facts_of:
            file.facts = _errors(file) if any(key) else ()
            file.facts_of = key
        return WorkerView(
            row,
            before,
            WORKER_WORDS,
            None if before is None else (row[_WORKER_LOOKED] - before[_WORKER_LOOKED]) / NS_PER_S,
            file.name.namespace,
            file.name.pool or "",
            file.name.slot or 0,
            file.mapped,
            file.facts,
        )


def _entries() -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(paths.SHM_DIRECTORY) as entries:
            for entry in entries:
                if entry.name.startswith(_PREFIX):
                    yield entry
    except FileNotFoundError:
        return


def _open(file: _File, path: str, facts: os.stat_result, now_s: float) -> bool:
    """Map the file at `path`, or record why not. False: it is gone, or is a page being made."""
    if (
        file.reason
        and (facts.st_ino, facts.st_size) == (file.inode, file.size)
        and not file.permitted
    ):
        return True
    kind = _look.Page if file.name.channel is None else _look.Segment
    file.inode, file.size, file.created_s = facts.st_ino, facts.st_size, facts.st_ctime
    try:
        file.mapped = kind(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        file.permitted = error.errno not in _NOT_OURS
        file.reason = error.strerror or str(error)
        is_young = kind is _look.Page and now_s - facts.st_ctime < _NEWBORN_S
        return not (file.permitted and is_young)
    file.reason = ""
    return True


def _event(kind: str, file: _File) -> Event:
    return Event(kind, file.what, file.name.namespace, file.label)


def _unreadable(file: _File) -> Unreadable:
    return Unreadable(file.name.namespace, file.label, file.what, file.reason, file.permitted)


def _facts(name: paths.ShmName, raw: dict[str, Any]) -> ChannelFacts:
    return ChannelFacts(
        name=name.channel or "",
        namespace=name.namespace,
        pool=raw["pool"],
        engine=raw["engine"],
        device=raw["device"],
        direction=DIRECTIONS.get(raw["direction"], "?"),
        reading=name_of(_READ_MODES, raw["read_mode"]),
        overflow=name_of(_OVERFLOWS, raw["overflow"]),
        late=name_of(_LATES, raw["late"]),
        clock=name_of(_CLOCKS, raw["clock"]),
        local=raw["local"],
        remote=raw["remote"],
        interface=raw["interface"],
        qdisc=raw["qdisc"],
        txtime_reason=raw["txtime_reason"],
        failure=raw["failure"],
        tx_bytes=raw["tx_bytes"],
        rx_bytes=raw["rx_bytes"],
        tx_capacity=raw["tx_capacity"],
        rx_capacity=raw["rx_capacity"],
        producer_slots=raw["producers"],
        reader_slots=raw["readers"],
        tolerance_ns=raw["tolerance_ns"],
        segment_bytes=raw["segment_bytes"],
        segment_id=raw["segment_id"],
        engine_config=raw["engine_config"],
    )


# --- errors ---------------------------------------------------------------------------------------


def _errors(file: _File) -> tuple[DistinctError, ...]:
    from rtworkers import history  # slow to import, and seldom needed

    record = history.record(file.name)
    return record.errors if record else ()


def _latest_first(workers: list[WorkerView]) -> list[DistinctError]:
    found = [error for worker in workers for error in worker.errors]
    return sorted(found, key=lambda error: -error.last_mono_ns)


# --- pools ----------------------------------------------------------------------------------------


def _pools(workers: list[WorkerView], channels: list[ChannelView]) -> Iterator[PoolView]:
    of_workers: dict[tuple[str, str], list[WorkerView]] = {}
    of_channels: dict[tuple[str, str], list[ChannelView]] = {}
    for worker in workers:
        of_workers.setdefault((worker.namespace, worker.pool), []).append(worker)
    for channel in channels:
        of_channels.setdefault((channel.namespace, channel.pool), []).append(channel)
    for key in sorted(of_workers.keys() | of_channels.keys()):
        yield PoolView(
            *key,
            _owner(*key),
            tuple(of_workers.get(key, ())),
            tuple(of_channels.get(key, ())),
        )


def _owner(namespace: str, pool: str) -> int | None:
    try:
        with open(paths.pool_directory(namespace, pool) / "owner", encoding="ascii") as file:
            pid = int(file.read(32))
    except (OSError, ValueError):
        return None
    return pid if os.path.exists(f"/proc/{pid}") else None
