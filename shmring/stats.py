"""Counters of a channel and its settings in effect: `Channel.stats`.

Counters run since the channel was opened, or since `Channel.reset_stats`. Each counter is read
atomically, but not all at the same time. While packets flow, sums may differ by the packets in
progress.
"""

import errno
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic

from shmring import _realtime
from shmring._attachment import check_whole
from shmring._facts import names
from shmring._moved import moved
from shmring._numbers import ChannelCounters, ChannelHistograms
from shmring._ring import ffi, lib
from shmring.histogram import Histogram
from shmring.observe.reading import (
    CHANNEL_WORDS,
    PLACES,
    ChannelFacts,
    KeptReading,
    ReaderInfo,
    facts_of,
    words_of,
)
from shmring.types import STATES, Stamp, State, stamp_of

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    EngineT_co = TypeVar("EngineT_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    EngineT_co = TypeVar("EngineT_co", covariant=True)

EngineT = TypeVar("EngineT")

_EMPTY = Histogram(ffi.new("rt_hist_t *"))


class ChannelStats(KeptReading, ChannelCounters, ChannelHistograms, Generic[EngineT_co]):
    """Counters, histograms and settings in effect of a channel at one moment."""

    engine: EngineT_co
    """Statistics of its engine: an `rtp.Stats`, `netflux.Stats`, `cyclic.Stats` or `proxy.Stats`.
    None for other engines."""
    lacking: str
    """What the pool asked for and its worker does not have, with the fixes. Empty: nothing, or
    another process runs the pool."""

    def __init__(
        self,
        words: Sequence[int],
        facts: ChannelFacts,
        histograms: dict[str, Histogram],
        engine: EngineT_co,
    ) -> None:
        lacking = _realtime.lacking(facts.namespace, facts.pool, words[PLACES["worker_slot"]])
        vars(self).update(histograms, words=words, facts=facts, engine=engine, lacking=lacking)

    if not TYPE_CHECKING:  # a type checker knows the counters from their class

        def __getattr__(self, name):
            raise moved(self, name, _MOVED)

        def __setattr__(self, name, value):
            raise AttributeError(f"{name} of statistics cannot be changed")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in FIELDS)
        return f"{type(self).__name__}({shown})"

    # --- settings in force ------------------------------------------------------------------------

    @property
    def error(self) -> int:
        """errno of state ``failed``, else 0."""
        return self["error"] if self["state"] < len(STATES) else errno.EPROTO

    @property
    def failure(self) -> str:
        """Why the state is ``failed``, in words, or ``""`` in any other state."""
        return self.facts.failure

    @property
    def opened_ns(self) -> int:
        """When the channel was opened, CLOCK_MONOTONIC."""
        return self["opened_mono_ns"]

    @property
    def reset_ns(self) -> int:
        """When the counters were last set to 0, CLOCK_MONOTONIC. 0: never."""
        return self["reset_mono_ns"]

    @property
    def worker_slot(self) -> int:
        """Slot of the worker in its pool. -1: it has none yet."""
        return self["worker_slot"]

    @property
    def priority(self) -> int:
        """Priority of the worker, 0 for ``"other"``."""
        return self["sched_priority"]

    @property
    def interface(self) -> str:
        """The interface towards `remote`, if it is known."""
        return self.facts.interface

    @property
    def qdisc(self) -> str:
        """Queueing discipline of the interface, if it is known."""
        return self.facts.qdisc

    @property
    def socket_fd(self) -> int:
        """Number of the socket inside the worker, -1 if there is none."""
        return self["socket_fd"]

    @property
    def rcvbuf_bytes(self) -> int:
        """Receive buffer that the kernel really gave."""
        return self["rcvbuf_bytes"]

    @property
    def sndbuf_bytes(self) -> int:
        """Send buffer that the kernel really gave."""
        return self["sndbuf_bytes"]

    @property
    def gso(self) -> bool:
        """Whether packets due within 2 us leave in one call."""
        return self["gso"] != 0

    @property
    def gro(self) -> bool:
        """Whether packets that the kernel coalesced are received in one call."""
        return self["gro"] != 0

    @property
    def txtime(self) -> bool:
        """Whether the queueing discipline or the card launches the packets."""
        return self["txtime"] != 0

    @property
    def txtime_reason(self) -> str:
        """Why it does or does not."""
        return self.facts.txtime_reason

    @property
    def rx_stamp(self) -> Stamp:
        """Best available arrival timestamp."""
        return stamp_of(self["rx_stamp"])

    @property
    def tx_stamp(self) -> Stamp:
        """Best available departure timestamp."""
        return stamp_of(self["tx_stamp"])

    # --- now --------------------------------------------------------------------------------------

    @property
    def scheduled(self) -> int:
        """Packets that wait for their deadline inside the worker."""
        return self["scheduled"]

    @property
    def tx_next_sequence(self) -> int:
        """Sequence number of the next packet to be queued: the number of packets queued so far."""
        return self["tx_next_sequence"]

    @property
    def wake_margin_ns(self) -> int:
        """How long before a deadline the worker wakes."""
        return self["wake_margin_ns"]

    @property
    def wire_offset_ns(self) -> int:
        """How long before the deadline ``align="wire"`` sends."""
        return self["wire_offset_ns"]

    @property
    def shared_lost(self) -> int:
        """Packets that were overwritten before any of the shared readers took them."""
        return self["shared_lost"]

    @property
    def tx_requested(self) -> int:
        """Packets accepted by `send`: those with a verdict, those abandoned, and those
        that wait."""
        return (
            self.tx_on_time
            + self.tx_enqueued_late
            + self.tx_woke_late
            + self.tx_send_slow
            + self.tx_queued_behind
            + self.tx_dropped_late
            + self.tx_cancelled
            + self.tx_failed
            + self.tx_producer_halted
            + self.tx_orphans
            + self.tx_aborted
            + self.tx_corrupt
            + self.tx_waiting
        )

    @property
    def tx_late(self) -> int:
        """Packets sent late, for any reason."""
        return (
            self.tx_enqueued_late
            + self.tx_woke_late
            + self.tx_send_slow
            + self.tx_queued_behind
            + self.tx_producer_halted
        )

    @property
    def tx_started_late(self) -> int:
        """Of those, packets whose send call began later than the tolerance. The others left in
        time, in calls that took long."""
        return self.tx_late - self.tx_call_slow

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        return {name: _plain(getattr(self, name)) for name in FIELDS} | {
            "tx_requested": self.tx_requested,
            "tx_late": self.tx_late,
        }


def _kept(name: str, stats: ChannelStats[Any]) -> Any:
    return vars(stats)[name]


def _show(kind: Any, read: Callable[[str], Callable[[Any], Any]]) -> None:
    """Make the fields of a class of numbers properties of `ChannelStats`, for `help`."""
    for item in fields(kind):
        meaning = item.metadata["meaning"]
        shown = property(read(item.name), doc=f"{meaning[0].upper()}{meaning[1:]}.")
        setattr(ChannelStats, item.name, shown)


_show(ChannelCounters, itemgetter)
_show(ChannelHistograms, lambda name: partial(_kept, name))

_MOVED = {"bound": "local"} | dict.fromkeys(("rtp", "netflux", "cyclic", "proxy"), "engine")
FIELDS = (
    *("name", "namespace", "pool", "direction", "state", "error", "epoch", "opened_ns"),
    *("reset_ns", "worker_pid", "worker_slot", "cpu", "policy", "priority", "lacking"),
    *("heartbeat_age_ns", "local", "remote", "interface", "qdisc", "socket_fd", "rcvbuf_bytes"),
    *("sndbuf_bytes", "gso", "gro", "txtime", "txtime_reason", "failure", "rx_stamp", "tx_stamp"),
    *("segment_bytes", "scheduled", "tx_waiting", "tx_next_sequence", "wake_margin_ns"),
    *("wire_offset_ns", "producers", "readers", "shared_lost"),
    *names(ChannelCounters),
    *names(ChannelHistograms),
    "engine",
)
"""What `ChannelStats` has, in the order of `ChannelStats.to_dict`."""


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, ReaderInfo):
        return {item.name: getattr(value, item.name) for item in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return str(value) if isinstance(value, (State, Stamp)) else value


def read_stats(
    segment: Any, of_engine: Callable[[Any, Sequence[int]], EngineT]
) -> ChannelStats[EngineT]:
    """Read from a mapped segment (``shm_segment_t *``), writable or not. of_engine: makes the
    engine's statistics from the segment and the engine's words."""
    words = words_of(segment)
    stats = ChannelStats(
        words,
        facts_of(segment),
        read_histograms(ChannelHistograms, segment, 0),
        of_engine(segment, words[len(CHANNEL_WORDS) :]),
    )
    check_whole(segment)
    return stats


def no_engine(segment: Any, words: Sequence[int]) -> None:
    """Return the statistics of an engine that has none."""


def read_histograms(kind: Any, segment: Any, first: int) -> dict[str, Any]:
    """Return the fields of a class of histograms. first: the number of its first one."""
    return {
        name: _histogram(lib.monitor_hist(segment, first + i)) for i, name in enumerate(names(kind))
    }


def _histogram(source: Any) -> Histogram:
    return Histogram(source) if source.count else _EMPTY
