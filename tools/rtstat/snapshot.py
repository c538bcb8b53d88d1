"""Reads every pool, worker and channel of this host, any number of times, without side effects.

    with Watch() as watch:              # every namespace; Watch("plant"): that one
        while True:
            shot = watch.read()
            for channel in shot.channels:
                print(channel.name, channel.health, channel.tx_pps, channel.lateness.p99_ns)
            time.sleep(1)

`Watch.read` returns a `Snapshot`: `pools`, `workers`, `channels`, `unreadable` files, the workers'
distinct `errors`, the `troubles` of all with their `verdict`, and `events`. Events say what is new,
gone, reborn, taken over by another worker or reset since the previous snapshot. The first snapshot
has no rates (None) and no intervals.
`rtstat.views` describes the views, `rtstat.table` the name, meaning and format of each number.

This module never writes to shared memory, wakes a process, takes a lock or opens a socket: it opens
and maps segments for reading only. A watch that is stopped or killed leaves nothing behind.

`Watch.rebase` makes counters and histograms of this watch start again at the last snapshot. The
channels' own counters are not changed.

Views belong to one snapshot and do not change, except `ChannelView.buckets` and
`WorkerView.buckets`, which return the histograms of the last snapshot. Only one thread at a time
may use a watch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rtstat.frozen import Frozen
from rtstat.numbers import CHANNEL_WORDS, NS_PER_S, WORKER_WORDS
from rtstat.processes import Processes
from rtstat.progress import Stood, advance
from rtstat.troubles import Recent, Trouble, Verdict, concerns, judge, verdict
from rtstat.views import (
    ChannelView,
    OwnerState,
    PoolView,
    Unreadable,
    WorkerView,
)
from rtworkers import liveness, paths
from shmring.observe.monitor import ChannelMonitor, WorkerMonitor
from shmring.observe.reading import ChannelFacts, check_words

if TYPE_CHECKING:
    from rtworkers.history import DistinctError

_EPOCH = CHANNEL_WORDS["epoch"]
_STATE = CHANNEL_WORDS["state"]
_RESET = CHANNEL_WORDS["reset_mono_ns"]
_READ = CHANNEL_WORDS["read_mono_ns"]
_WORKER_READ = WORKER_WORDS["read_mono_ns"]
_WORKER_PID = WORKER_WORDS["pid"]
_WORKER_STARTED = WORKER_WORDS["started_mono_ns"]

_PREFIX = "shmring:"
# A worker names its page shortly before the page is complete.
_NEWBORN_S = 1.0


class Event(Frozen):
    """What happened to a channel or a worker between two snapshots."""

    kind: str
    """``new``, ``gone``, ``reborn`` (another segment under the name), ``epoch`` (another worker
    serves it, or the worker was started again), ``reset`` (its counters were set to 0)."""
    what: str
    """``"channel"`` or ``"worker"``."""
    namespace: str
    name: str
    """Name of the channel, or ``pool:slot`` of a worker."""


class Snapshot(Frozen):
    """Everything on this host, or in one namespace, at one snapshot."""

    real_ns: int
    """Time of the snapshot, CLOCK_REALTIME."""
    mono_ns: int
    """Time of the snapshot, CLOCK_MONOTONIC."""
    seconds: float | None
    """Time since the previous snapshot. None: this was the first."""
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
    troubles: tuple[Trouble, ...]
    """What is wrong, the worst first: what stands still, and what grew since the previous snapshot
    or grew in the last minute."""

    @property
    def verdict(self) -> Verdict:
        """``ok``, ``troubled`` or ``broken``: the worst severity of the troubles."""
        return verdict(self.troubles)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is open, so that there is nothing to judge."""
        return not (self.channels or self.pools or self.unreadable)

    def troubles_of(self, channel: ChannelView) -> tuple[Trouble, ...]:
        """Return the troubles of a channel, its worker and its pool, the worst first."""
        return tuple(trouble for trouble in self.troubles if concerns(trouble, channel))

    def channel(self, name: str, namespace: str | None = None) -> ChannelView | None:
        """Return the channel of that name, without a namespace the first one. None: there
        is none."""
        for channel in self.channels:
            if channel.name == name and namespace in (None, channel.namespace):
                return channel
        return None


class _File:
    """A name of ours in shared memory, with its state between snapshots."""

    def __init__(self, name: paths.ShmName) -> None:
        self.name = name
        self.inode = -1
        self.size = -1
        self.created_s = 0.0
        self.channel: ChannelMonitor | None = None
        self.worker: WorkerMonitor | None = None  # both None: could not be read
        self.reason = ""
        self.permitted = True
        self.facts: ChannelFacts | None = None
        self.facts_of: tuple[int, ...] = ()
        self.row: memoryview | None = None  # at the last snapshot
        self.based = False  # rebased since then
        self.stood: Stood = {}

    @property
    def monitor(self) -> ChannelMonitor | WorkerMonitor | None:
        return self.channel or self.worker

    @property
    def what(self) -> str:
        return "worker" if self.name.channel is None else "channel"

    @property
    def label(self) -> str:
        return self.name.channel or f"{self.name.pool}:{self.name.slot}"


class Watch:
    """Keeps everything mapped between snapshots. `namespace`: None for all namespaces.

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
        self._recent = Recent()

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
        """Make the next snapshots count from the last snapshot on."""
        for file in self._files.values():
            if file.monitor is not None and file.row is not None:
                file.monitor.rebase()
                file.based = True

    # --- reading ----------------------------------------------------------------------------------

    def read(self) -> Snapshot:
        """Read everything once."""
        mono_ns, real_ns = time.monotonic_ns(), time.time_ns()
        first = self._looked_ns is None
        events: list[Event] = []
        self._scan(real_ns / NS_PER_S, events, quiet=first)
        channels: list[ChannelView] = []
        workers: list[WorkerView] = []
        unreadable: list[Unreadable] = []
        processes = Processes()
        for key in self._order:
            file = self._files[key]
            try:
                if file.worker is not None:
                    workers.append(_read_worker(file, file.worker, events, processes))
                elif file.channel is not None:
                    now_s = real_ns / NS_PER_S
                    view = _read_channel(file, file.channel, now_s, events, processes)
                    channels.append(view)
            except FileNotFoundError:  # closed since the scan
                continue
            except Exception as caught:  # truncated, or overwritten: opened again next time
                file.channel = file.worker = None
                file.reason, file.permitted = paths.why_unread(caught), True
            if file.monitor is None and file.reason:
                unreadable.append(_unreadable(file))
        seconds = None if self._looked_ns is None else (mono_ns - self._looked_ns) / NS_PER_S
        self._looked_ns = mono_ns
        pools = tuple(_pools(workers, channels, processes))
        found = judge(workers, channels, pools, unreadable)
        return Snapshot(
            real_ns,
            mono_ns,
            seconds,
            self._namespace,
            pools,
            tuple(workers),
            tuple(channels),
            tuple(unreadable),
            tuple(_latest_first(workers)),
            tuple(events),
            self._recent.add(found, mono_ns),
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
            if file.monitor is not None:
                if facts.st_ino == file.inode and facts.st_size == file.size:
                    continue
                events.append(_event("reborn", file))
                file = _File(file.name)
                files[key] = file
            if not _open(file, facts, now_s):
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


# --- one file -------------------------------------------------------------------------------------


def _read_channel(
    file: _File,
    monitor: ChannelMonitor,
    now_s: float,
    events: list[Event],
    processes: Processes,
) -> ChannelView:
    row = monitor.read()
    check_words(row)
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
    key = (row[_EPOCH], row[_STATE], monitor.openers())
    if file.facts is None or key != file.facts_of:
        file.facts = monitor.facts()
        file.facts_of = key
    file.row = row
    file.stood = advance(
        file.stood, row, file.facts.engine, waits=file.facts.overflow == "wait", mono_ns=row[_READ]
    )
    return ChannelView(
        row,
        before,
        CHANNEL_WORDS,
        None if before is None else (row[_READ] - before[_READ]) / NS_PER_S,
        file.facts,
        monitor,
        now_s - file.created_s,
        file.stood,
        processes,
    )


def _read_worker(
    file: _File, monitor: WorkerMonitor, events: list[Event], processes: Processes
) -> WorkerView:
    row, errors = monitor.read()
    before = file.row
    if before is not None and (
        row[_WORKER_PID] != before[_WORKER_PID] or row[_WORKER_STARTED] != before[_WORKER_STARTED]
    ):
        events.append(_event("epoch", file))
        before = None
    file.row = row
    file.based = False
    return WorkerView(
        row,
        before,
        WORKER_WORDS,
        None if before is None else (row[_WORKER_READ] - before[_WORKER_READ]) / NS_PER_S,
        file.name.namespace,
        file.name.pool or "",
        file.name.slot or 0,
        monitor,
        errors,
        processes,
    )


def _entries() -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(paths.SHM_DIRECTORY) as entries:
            for entry in entries:
                if entry.name.startswith(_PREFIX):
                    yield entry
    except FileNotFoundError:
        return


def _open(file: _File, facts: os.stat_result, now_s: float) -> bool:
    """Open the file, or record why not. False: it is gone, or is a page being made."""
    if (
        file.reason
        and (facts.st_ino, facts.st_size) == (file.inode, file.size)
        and not file.permitted
    ):
        return True
    file.inode, file.size, file.created_s = facts.st_ino, facts.st_size, facts.st_ctime
    try:
        if file.name.channel is None:
            file.worker = WorkerMonitor(file.name)
        else:
            file.channel = ChannelMonitor(file.name)
    except FileNotFoundError:
        return False
    except Exception as caught:
        file.permitted = not isinstance(caught, PermissionError)
        file.reason = paths.why_unread(caught)
        is_young = file.name.channel is None and now_s - facts.st_ctime < _NEWBORN_S
        return not (file.permitted and is_young)
    file.reason = ""
    return True


def _event(kind: str, file: _File) -> Event:
    return Event(kind, file.what, file.name.namespace, file.label)


def _unreadable(file: _File) -> Unreadable:
    return Unreadable(file.name.namespace, file.label, file.what, file.reason, file.permitted)


# --- errors ---------------------------------------------------------------------------------------


def _latest_first(workers: list[WorkerView]) -> list[DistinctError]:
    found = [error for worker in workers for error in worker.errors]
    return sorted(found, key=lambda error: -error.last_mono_ns)


# --- pools ----------------------------------------------------------------------------------------


def _pools(
    workers: list[WorkerView], channels: list[ChannelView], processes: Processes
) -> Iterator[PoolView]:
    of_workers: dict[tuple[str, str], list[WorkerView]] = {}
    of_channels: dict[tuple[str, str], list[ChannelView]] = {}
    for worker in workers:
        of_workers.setdefault((worker.namespace, worker.pool), []).append(worker)
    for channel in channels:
        of_channels.setdefault((channel.namespace, channel.pool), []).append(channel)
    for key in sorted(of_workers.keys() | of_channels.keys()):
        yield PoolView(
            *key,
            *_owner(*key, of_workers.get(key, ()), processes),
            tuple(of_workers.get(key, ())),
            tuple(of_channels.get(key, ())),
        )


def _owner(
    namespace: str, pool: str, workers: Iterable[WorkerView], processes: Processes
) -> tuple[int | None, OwnerState | None]:
    """Return the process of a pool, if it runs, and its state. A private pool has no file that
    names it, but its process is the parent of its workers."""
    pid = liveness.owner(paths.pool_directory(namespace, pool))
    if pid is None:
        seen = (worker.process for worker in workers)
        pid = next((process.parent_pid for process in seen if process is not None), 0)
        if pid <= 1:  # the parent of a worker whose pool has just died
            return None, None
    found = processes[pid]
    if found is None or not found.alive:
        return None, "dead"
    return pid, "stopped" if found.stopped else "running"
