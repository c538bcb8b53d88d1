"""A channel, a worker, a pool at one snapshot: the contents of a `rtstat.snapshot.Snapshot`.

A view keeps the row of numbers that `shmring.observe.monitor` read, and the row of the previous
snapshot. It converts only the numbers that are used. Every counter and gauge can be read by its
name:

    view["tx_sent"]           since the channel was opened, or reset, or `Watch.rebase`
    view.delta("tx_sent")     between the last two snapshots; None: there was only one
    view.rate("tx_sent")      the same per second
    view.times("lateness")    a histogram summed up; interval=True: between two snapshots
    view.rtp["lost"]          the same of the engine's part; None for channels of other engines
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from rtstat.frozen import Frozen
from rtstat.numbers import (
    CHANNEL_HISTOGRAMS,
    CHANNEL_WORDS,
    ENGINE_WORDS,
    NETFLUX_HISTOGRAMS,
    NS_PER_S,
    WORKER_WORDS,
    Numbers,
    Times,
    name_of,
)
from rtstat.parts import (
    ENGINE_VIEWS,
    NetfluxView,
    RtpView,
    UdtView,
)
from rtstat.processes import Process, Processes
from rtstat.progress import SENT, Key, Stood, reader_rows
from rtworkers import health, layout
from rtworkers.owner import process_id
from rtworkers.page import policy_name
from rtworkers.verdicts import LATE, VERDICTS
from shmring.observe.reading import ChannelFacts, ChannelReading

if TYPE_CHECKING:
    from rtworkers.history import DistinctError
    from shmring.observe.monitor import ChannelMonitor, WorkerMonitor

_WORKER_NAME = "shmring-w"

PROFILES = tuple(layout.PROFILE)
STAMPS = tuple(layout.STAMP)

LOST = ("tx_failed", "rx_kernel_drops", "rx_overwritten")
"""Counters of packets that were lost on this host."""

# Positions of the numbers that every snapshot needs.
_HEARTBEAT = CHANNEL_WORDS["heartbeat_mono_ns"]
_READ = CHANNEL_WORDS["read_mono_ns"]
_WORKER_READ = WORKER_WORDS["read_mono_ns"]
_LATE_AT = tuple(CHANNEL_WORDS[name] for name in LATE)


def _sum(values: Iterator[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


# --- channels -------------------------------------------------------------------------------------


class ReaderView(Frozen):
    """A reader attached to a channel."""

    slot: int
    pid: int | None
    """None: in another pid namespace, where the worker cannot see it."""
    taken: int
    """Packets."""
    lost: int
    """Packets that were overwritten before it read them."""
    waiting: int
    """Packets that it can read now: its lag. In shared reading 0."""
    taken_delta: int | None
    """Packets it took since the previous snapshot. None: it was not attached then."""
    lost_delta: int | None
    """Packets it lost since then."""
    idle_ns: int
    """How long it has taken nothing, as far as the watch has seen. 0 if its channel loses the
    oldest packets, because then no reader can hold it up."""
    processes: Processes

    @property
    def never_read(self) -> bool:
        """Whether packets came for it, and it has taken none. In shared reading False."""
        return not self.taken and bool(self.lost or self.waiting)

    @property
    def process_name(self) -> str | None:
        """Name of its process. None: this host does not show it."""
        found = None if self.pid is None else self.processes[self.pid]
        return None if found is None else found.name


def _reader(
    row: tuple[int, ...], before: tuple[int, ...] | None, idle_ns: int, processes: Processes
) -> ReaderView:
    slot, owner, taken, lost, waiting = row
    grown: tuple[int | None, int | None] = (None, None)
    if before is not None:
        grown = (max(0, taken - before[2]), max(0, lost - before[3]))
    return ReaderView(slot, process_id(owner), taken, lost, waiting, *grown, idle_ns, processes)


class ChannelView(Numbers, ChannelReading):
    """A channel at one snapshot. Rates and intervals are None at a watch's first snapshot."""

    facts: ChannelFacts
    monitor: ChannelMonitor
    created_age_s: float
    """Time since its file was made or renamed."""
    stood: Stood
    processes: Processes

    # --- what it is -------------------------------------------------------------------------------

    @property
    def engine(self) -> str:
        return self.facts.engine

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name, unique on the host."""
        return self.facts.namespace, self.facts.name

    # --- is it well -------------------------------------------------------------------------------

    @property
    def heartbeat_age_ns(self) -> int | None:
        """Time since the last heartbeat of its worker for it. All other values are as old as that.
        None: never."""
        beat: int = self.now[_HEARTBEAT]
        read_ns: int = self.now[_READ]
        return max(0, read_ns - beat) if beat > 0 else None

    @property
    def health(self) -> str:
        """``ok``, ``new`` (at most a second old and not served yet), ``stale`` (no heartbeat for a
        second, or never a worker), ``failed``, ``closed`` (and its file still exists)."""
        return health.of_channel(self.state, self.heartbeat_age_ns, self.created_age_s)

    @property
    def figures_stale(self) -> bool:
        """Whether no worker updates its figures and those of its engine: they are of the past, as
        old as `heartbeat_age_ns`."""
        return self.health == "stale"

    @property
    def served(self) -> bool:
        """Whether a worker serves it, or it is new or closed."""
        return health.served(self.health)

    @property
    def worker_key(self) -> tuple[str, str, int]:
        """`WorkerView.key` of its worker. The slot is -1 if it has none yet."""
        return self.facts.namespace, self.facts.pool, self["worker_slot"]

    @property
    def opener_alive(self) -> bool | None:
        """Whether the process that opened it still runs. None: this process cannot see that."""
        worker = self.processes[self.worker_pid]
        if self.opener_pid is None or worker is None or not worker.name.startswith(_WORKER_NAME):
            return None  # a /proc without the worker is another pid namespace's
        opener = self.processes[self.opener_pid]
        if opener is None or not opener.alive:
            return False
        return opener.started_mono_ns < self.facts.opener_mono_ns + NS_PER_S  # else another one

    @property
    def producer_pids(self) -> tuple[int | None, ...]:
        """The processes attached to send, now. None: in another pid namespace."""
        return tuple(map(process_id, self.monitor.producers()))

    @property
    def age_s(self) -> float:
        """Time since it was opened."""
        return max(0, self["read_mono_ns"] - self["opened_mono_ns"]) / NS_PER_S

    # --- how much ---------------------------------------------------------------------------------

    @property
    def tx_pps(self) -> float | None:
        return self.rate("tx_sent")

    @property
    def rx_pps(self) -> float | None:
        return self.rate("rx_received")

    @property
    def tx_bps(self) -> float | None:
        """Bits of payload per second."""
        rate = self.rate("tx_bytes")
        return None if rate is None else rate * 8

    @property
    def rx_bps(self) -> float | None:
        rate = self.rate("rx_bytes")
        return None if rate is None else rate * 8

    # --- how late ---------------------------------------------------------------------------------

    @property
    def late(self) -> int:
        """Packets with one of the verdicts that mean late."""
        return sum(self.now[place] for place in _LATE_AT)

    @property
    def late_delta(self) -> int | None:
        """Packets with a deadline that were late since the previous snapshot. Others never count as
        late, whatever their verdict: a bulk sender's packets wait for each other."""
        found = self._late_of_timed()
        return None if found is None else found[0]

    @property
    def late_pps(self) -> float | None:
        """The same per second."""
        late = self.late_delta
        return late / self.seconds if late is not None and self.seconds else None

    @property
    def late_share(self) -> float | None:
        """Share (0 to 1) of the packets with a deadline that were late since the previous snapshot.
        None: there were none."""
        late, timed = self._late_of_timed() or (0, 0)
        return late / timed if timed else None

    def _late_of_timed(self) -> tuple[int, int] | None:
        """Return how many packets were late in the interval, and how many had a deadline."""
        before = self.before
        if before is None:
            return None
        late = max(0, self.late - sum(before[place] for place in _LATE_AT))
        timed = late + (self.delta("tx_on_time") or 0)
        if not self.delta("tx_immediate"):
            return late, timed
        if not late:
            return 0, max(0, timed - (self.delta("tx_immediate") or 0))
        # Verdicts do not tell who had a deadline. The histogram has only those that had one.
        dropped = self.delta("tx_dropped_late") or 0
        sent = self.buckets("lateness", interval=True)
        over = sum(count for upper_ns, count in sent if upper_ns > self.facts.tolerance_ns)
        return min(late, over + dropped), sum(count for _, count in sent) + dropped

    @property
    def verdicts(self) -> dict[str, int]:
        """Packets by verdict: ``on_time``, ``enqueued_late``, ..."""
        return {name.removeprefix("tx_"): self[name] for name in VERDICTS}

    @property
    def lateness(self) -> Times:
        """Time from the deadline to the start of the send call, accumulated."""
        times = self.times("lateness")
        assert times is not None
        return times

    @property
    def lateness_interval(self) -> Times | None:
        """The same for the packets sent between the last two snapshots."""
        return self.times("lateness", interval=True)

    def buckets(self, name: str, *, interval: bool = False) -> list[tuple[int, int]]:
        """Return a whole histogram of the channel or of its engine: (largest value of the bucket in
        ns, entries in it), without empty buckets.

        It has the values of the *last* snapshot of the watch to which this view belongs.
        """
        if name in CHANNEL_HISTOGRAMS:
            place = CHANNEL_HISTOGRAMS.index(name)
        else:
            place = len(CHANNEL_HISTOGRAMS) + NETFLUX_HISTOGRAMS.index(name)
        return self.monitor.buckets(place, interval)

    # --- rings and readers ------------------------------------------------------------------------

    @property
    def unsent_ns(self) -> int:
        """How long packets wait and none has left the send ring, as far as the watch has seen."""
        return self._still_ns(SENT)

    def _still_ns(self, key: Key) -> int:
        seen = self.stood.get(key)
        read_ns: int = self.now[_READ]
        return 0 if seen is None else read_ns - seen[1]

    @property
    def tx_fill(self) -> float:
        """Share (0 to 1) of the tx ring in use."""
        return self["tx_used_bytes"] / self.facts.tx_bytes

    @property
    def rx_fill(self) -> float:
        """Share (0 to 1) of the rx ring that the slowest reader has not read yet."""
        return self["rx_unread_bytes"] / self.facts.rx_bytes

    @property
    def readers(self) -> tuple[ReaderView, ...]:
        before = {row[:2]: row for row in reader_rows(self.before, self.engine)}
        return tuple(
            _reader(row, before.get(row[:2]), self._still_ns(row[:2]), self.processes)
            for row in reader_rows(self.now, self.engine)
        )

    @property
    def lag(self) -> int:
        """Packets that wait for the slowest reader."""
        return max((reader.waiting for reader in self.readers), default=0)

    @property
    def lost(self) -> int:
        """Packets that were lost: kernel drops, ring overwrites, and those that the send call
        refused."""
        return sum(self[name] for name in LOST)

    @property
    def lost_pps(self) -> float | None:
        """The same per second."""
        return _sum(self.rate(name) for name in LOST)

    # --- engines ----------------------------------------------------------------------------------

    @property
    def part(self) -> Numbers | None:
        """The engine's part for any engine. None: plain UDP."""
        kind = ENGINE_VIEWS.get(self.engine)
        if kind is None:
            return None
        return kind(self.now, self.before, ENGINE_WORDS[self.engine], self.seconds)

    @property
    def opened_with(self) -> str | None:
        """Its engine and options, as in Python. None: an engine of another package."""
        found = self.facts.opened_with
        return None if found is None else repr(found)

    def part_of(self, engine: str) -> Numbers | None:
        """The engine's part of a channel of this engine. None: it has another one."""
        return self.part if self.engine == engine else None

    @property
    def rtp(self) -> RtpView | None:
        part = self.part
        return part if isinstance(part, RtpView) else None

    @property
    def udt(self) -> UdtView | None:
        part = self.part
        return part if isinstance(part, UdtView) else None

    @property
    def netflux(self) -> NetfluxView | None:
        part = self.part
        return part if isinstance(part, NetfluxView) else None


# --- workers and pools ----------------------------------------------------------------------------


class WorkerView(Numbers):
    """A worker at one snapshot."""

    namespace: str
    pool: str
    slot: int
    monitor: WorkerMonitor
    errors: tuple[DistinctError, ...]
    """Distinct errors that the worker, or its pool about it, recorded."""
    processes: Processes

    @property
    def key(self) -> tuple[str, str, int]:
        return self.namespace, self.pool, self.slot

    @property
    def pid(self) -> int:
        return self["pid"]

    @property
    def cpu(self) -> int | None:
        """Core in effect. None: not pinned."""
        return self["cpu"] if self["cpu"] >= 0 else None

    @property
    def policy(self) -> str:
        """Scheduling policy in effect: ``fifo`` or ``other``."""
        return policy_name(self["sched_policy"])

    @property
    def priority(self) -> int:
        return self["sched_priority"]

    @property
    def memory_locked(self) -> bool:
        return self["memory_locked"] != 0

    @property
    def calls_filtered(self) -> bool:
        return self["calls_filtered"] != 0

    @property
    def profile(self) -> str:
        """``balanced``, ``latency`` or ``power``."""
        return name_of(PROFILES, self["profile"])

    @property
    def heartbeat_age_ns(self) -> int:
        """Time since its last heartbeat. All other values are as old as that."""
        read_ns: int = self.now[_WORKER_READ]
        return max(0, read_ns - self["heartbeat_mono_ns"])

    @property
    def alive(self) -> bool:
        """Whether it had a heartbeat within the last second."""
        return self.health == "ok"

    @property
    def health(self) -> str:
        """``ok`` or ``stale``."""
        return health.of_worker(self.heartbeat_age_ns)

    @property
    def process(self) -> Process | None:
        """Its process. None: this process cannot see it, because it is gone or in another pid
        namespace."""
        found = self.processes[self.pid]
        return found if found is not None and found.name.startswith(_WORKER_NAME) else None

    @property
    def process_state(self) -> str | None:
        """``running``, ``stopped`` (by a signal or a debugger) or ``dead``. None: this process
        cannot see it, because it is gone or in another pid namespace."""
        found = self.process
        if found is None:
            return None
        return "stopped" if found.stopped else "running" if found.alive else "dead"

    @property
    def age_s(self) -> float:
        return max(0, self["read_mono_ns"] - self["started_mono_ns"]) / NS_PER_S

    @property
    def cpu_share(self) -> float:
        """Share of its core (0 to 1) between the last two snapshots. At the first one: since it
        started."""
        return self._share("cpu_ns")

    @property
    def spin_share(self) -> float:
        """The share of its core that it spent spinning for a deadline, in the same time."""
        return self._share("spun_ns")

    def _share(self, name: str) -> float:
        rate = self.rate(name)
        if rate is not None:
            return rate / NS_PER_S
        return self[name] / (self.age_s * NS_PER_S) if self.age_s else 0.0

    @property
    def wake_latency(self) -> Times:
        """Time from the requested wake-up to running."""
        times = self.times("wake_latency")
        assert times is not None
        return times

    def buckets(self, *, interval: bool = False) -> list[tuple[int, int]]:
        """The whole histogram of `wake_latency`, like `ChannelView.buckets`."""
        return self.monitor.buckets(interval)


OwnerState = Literal["running", "stopped", "dead"]


class PoolView(Frozen):
    """A pool with its owner, workers and channels."""

    namespace: str
    name: str
    owner_pid: int | None
    """The process of the pool. None: there is none, or this user may not see it."""
    owner_state: OwnerState | None
    """Whether its process runs, is stopped by a signal or a debugger, or is dead. None:
    unknown."""
    workers: tuple[WorkerView, ...]
    channels: tuple[ChannelView, ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


class Unreadable(Frozen):
    """A file with one of our names that could not be read."""

    namespace: str
    name: str
    """Name of the channel, or ``pool:slot`` of a worker."""
    kind: str
    """``"channel"`` or ``"worker"``."""
    reason: str
    permitted: bool
    """False: the file belongs to another user, and this user may not read it."""

    @property
    def health(self) -> str:
        return "unreadable" if self.permitted else "hidden"
