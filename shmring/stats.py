"""What a channel has counted and how it is really set: `Channel.stats`.

Counters run since the channel was opened, or since `Channel.reset_stats`. Each is read whole, but
not all at one instant: while packets flow, sums may be off by those under way.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field, fields
from typing import Any

from rtworkers.owner import process_id
from shmring import _address
from shmring._ring import ffi, lib
from shmring.types import STAMPS, STATES, Stamp, State

NO_CPU = 2**32 - 1
_POLICIES = {
    os.SCHED_OTHER: "SCHED_OTHER",
    os.SCHED_FIFO: "SCHED_FIFO",
    os.SCHED_RR: "SCHED_RR",
    os.SCHED_BATCH: "SCHED_BATCH",
    os.SCHED_IDLE: "SCHED_IDLE",
}
_PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)


class Histogram:
    """A copy of a histogram of durations, 1 ns to 137 s, with an error of 1.6 % at most."""

    __slots__ = ("_hist",)

    def __init__(self, source: Any) -> None:
        """source: a cdata ``rt_hist_t *``; it is copied."""
        self._hist = ffi.new("rt_hist_t *")
        lib.channel_copy_hist(self._hist, source)

    @property
    def count(self) -> int:
        return int(self._hist.count)

    @property
    def sum(self) -> int:
        """Sum of all values, ns."""
        return int(self._hist.sum_ns)

    @property
    def min(self) -> int:
        """Lowest value, ns; 0 while there is none."""
        return int(self._hist.min_ns)

    @property
    def max(self) -> int:
        """Highest value, ns; 0 while there is none."""
        return int(self._hist.max_ns)

    @property
    def mean(self) -> float:
        """ns; 0.0 while there is no value."""
        return self.sum / self.count if self.count else 0.0

    def percentile(self, percent: float) -> int:
        """Return the value, in ns, below which `percent` (0 to 100) of the values lie.

        0 for an empty histogram. Raises ValueError outside of 0 to 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"percentile {percent!r}: must be 0 to 100")
        return int(lib.rt_hist_quantile_ns(self._hist, percent / 100))

    def buckets(self) -> list[tuple[int, int]]:
        """Return (largest value of the bucket in ns, entries in it), empty ones left out."""
        counts = ((i, lib.channel_hist_bucket(self._hist, i)) for i in range(lib.RT_HIST_BUCKETS))
        return [(lib.rt_hist_lower_ns(i + 1) - 1, n) for i, n in counts if n]

    def to_dict(self) -> dict[str, float]:
        """Return count, min, max, mean and some percentiles, in ns."""
        facts: dict[str, float] = {
            "count": self.count,
            "min_ns": self.min,
            "max_ns": self.max,
            "mean_ns": self.mean,
        }
        for percent in _PERCENTILES:
            facts[f"p{percent:g}_ns"] = self.percentile(percent)
        return facts

    def __reduce__(self) -> tuple[Any, ...]:
        return _histogram, (bytes(ffi.buffer(self._hist)),)

    def __repr__(self) -> str:
        if not self.count:
            return "<Histogram, empty>"
        return (
            f"<Histogram of {self.count}: p50 {self.percentile(50)} ns, "
            f"p99 {self.percentile(99)} ns, max {self.max} ns>"
        )


def _histogram(raw: bytes) -> Histogram:
    """What a pickled histogram is made of again."""
    return Histogram(ffi.from_buffer("rt_hist_t *", bytearray(raw)))


@dataclass(frozen=True, slots=True)
class ReaderInfo:
    """One attached reader of a channel."""

    pid: int | None
    """None: its process is in another pid namespace, in which the worker cannot see it."""
    taken: int
    """Packets it took."""
    lost: int
    """Packets overwritten before it came to them."""
    waiting: int
    """Packets it has before it; in shared reading 0."""


def _counter(unit: str, meaning: str) -> Any:
    return field(metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStats:
    """Counters, histograms and effective settings of a channel at one moment.

    The counters bear the names of the table in ``csrc/shm/shm_layout.h``.
    """

    # --- what it is ---------------------------------------------------------------------------
    name: str
    namespace: str
    pool: str
    direction: str
    state: State
    error: int
    """errno behind state ``failed``, else 0."""
    epoch: int
    """How many workers have served the channel."""
    opened_ns: int
    """When it was opened, CLOCK_MONOTONIC."""
    reset_ns: int
    """When the counters were set to 0, CLOCK_MONOTONIC; 0: never."""

    # --- settings in force --------------------------------------------------------------------
    worker_pid: int
    worker_slot: int
    cpu: int
    """Core of the worker; -1: not pinned."""
    policy: str
    """Scheduling policy of the worker, such as ``SCHED_FIFO``."""
    priority: int
    """Real-time priority of the worker; 0 without a real-time policy."""
    heartbeat_age_ns: int
    """Time since the worker last showed that it runs. All else is as old as that."""
    bound: tuple[str, int] | None
    """Local address in force."""
    remote: tuple[str, int] | None
    interface: str
    qdisc: str
    """Queueing discipline of the interface, if it could be asked for."""
    socket_fd: int
    """Number of the socket inside the worker; -1: none."""
    rcvbuf_bytes: int
    sndbuf_bytes: int
    gso: bool
    """Packets due together leave in one call."""
    gro: bool
    """Packets that the kernel coalesced are received in one call."""
    txtime: bool
    """The queueing discipline or the card launches the packets."""
    txtime_reason: str
    """Why it does or does not."""
    failure: str
    """Why the state is ``failed``, in words; ``""`` in every other state."""
    rx_stamp: Stamp
    """Best arrival stamp to be had."""
    tx_stamp: Stamp
    """Best departure stamp to be had."""
    segment_bytes: int
    """Shared memory the channel takes."""

    # --- now ----------------------------------------------------------------------------------
    scheduled: int
    """Packets the worker has taken in that wait for their deadline."""
    tx_waiting: int
    """Packets queued and without a verdict."""
    tx_next_sequence: int
    """Sequence of the next packet to be queued; so many were, since the channel was opened."""
    wake_margin_ns: int
    """How long before a deadline the worker wakes up."""
    wire_offset_ns: int
    """How much ahead of the deadline ``align="wire"`` sends."""
    producers: int
    """Processes and threads attached to send."""
    readers: tuple[ReaderInfo, ...]
    shared_lost: int
    """Packets overwritten before any of the shared readers took them."""

    # --- counters -----------------------------------------------------------------------------
    tx_sent: int = _counter("packets", "handed to the kernel")
    tx_bytes: int = _counter("bytes", "payload handed to the kernel")
    tx_calls: int = _counter("calls", "send calls")
    tx_immediate: int = _counter("packets", "sent without a deadline")
    tx_on_time: int = _counter("packets", "verdict on_time")
    tx_enqueued_late: int = _counter("packets", "verdict enqueued_late")
    tx_woke_late: int = _counter("packets", "verdict woke_late")
    tx_send_slow: int = _counter("packets", "verdict send_slow")
    tx_queued_behind: int = _counter("packets", "verdict queued_behind")
    tx_dropped_late: int = _counter("packets", "verdict dropped_late")
    tx_cancelled: int = _counter("packets", "verdict cancelled")
    tx_failed: int = _counter("packets", "verdict failed")
    tx_producer_halted: int = _counter("packets", "verdict producer_halted")
    tx_retries: int = _counter(
        "calls", "send calls refused for the moment (EAGAIN, ENOBUFS) and repeated"
    )
    tx_orphans: int = _counter(
        "packets", "claimed by a process that died before it finished writing"
    )
    tx_aborted: int = _counter("packets", "claimed and given up by their producer")
    tx_corrupt: int = _counter("packets", "records refused because their header made no sense")
    tx_relocated: int = _counter("packets", "moved inside the ring to make room")
    tx_stamped: int = _counter("packets", "got a stamp from the kernel or the card")
    tx_stamps_lost: int = _counter("packets", "asked for a stamp that never came")
    rx_received: int = _counter("packets", "read from the socket")
    rx_bytes: int = _counter("bytes", "payload read from the socket")
    rx_calls: int = _counter("calls", "receive calls")
    rx_kernel_drops: int = _counter(
        "packets", "dropped by the kernel, socket buffer full (SO_RXQ_OVFL)"
    )
    rx_overwritten: int = _counter(
        "packets", "removed from the ring before an attached reader had taken them"
    )
    rx_truncated: int = _counter("packets", "longer than the ring takes")
    rx_filtered: int = _counter("packets", "not from the remote of a connected channel")
    rx_errors: int = _counter("calls", "receive calls that failed")
    rx_lost_takeover: int = _counter("packets", "received and lost with a worker that died")
    rx_sockets_reopened: int = _counter(
        "sockets", "reopened after a worker died: what waited in the old one is lost"
    )
    impair_tx_offered: int = _counter("packets", "offered to the emulated link, sending side")
    impair_tx_lost: int = _counter("packets", "lost by it")
    impair_tx_burst_lost: int = _counter("packets", "lost by it in a burst")
    impair_tx_duplicated: int = _counter("packets", "duplicated by it")
    impair_tx_reordered: int = _counter("packets", "reordered by it")
    impair_tx_corrupted: int = _counter("packets", "corrupted by it")
    impair_tx_queue_dropped: int = _counter("packets", "dropped by its full queue")
    impair_rx_offered: int = _counter("packets", "offered to the emulated link, receiving side")
    impair_rx_lost: int = _counter("packets", "lost by it")
    impair_rx_burst_lost: int = _counter("packets", "lost by it in a burst")
    impair_rx_duplicated: int = _counter("packets", "duplicated by it")
    impair_rx_reordered: int = _counter("packets", "reordered by it")
    impair_rx_corrupted: int = _counter("packets", "corrupted by it")
    impair_rx_queue_dropped: int = _counter("packets", "dropped by its full queue")

    # --- histograms ---------------------------------------------------------------------------
    lateness: Histogram
    """Start of the send call after the deadline."""
    wire_late: Histogram
    """Kernel's or card's stamp after the deadline."""
    wire_early: Histogram
    """Kernel's or card's stamp before the deadline."""
    immediate: Histogram
    """Call of `send` to start of sending, packets without a deadline."""
    send_call: Histogram
    """Time one send call took."""
    rx_delivery: Histogram
    """Arrival stamp to publication in the ring."""

    @property
    def tx_requested(self) -> int:
        """Packets accepted by `send`: those with a verdict, those given up, and those that wait."""
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
        """Packets that were sent late, whatever the reason."""
        return (
            self.tx_enqueued_late
            + self.tx_woke_late
            + self.tx_send_slow
            + self.tx_queued_behind
            + self.tx_producer_halted
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` takes."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)} | {
            "tx_requested": self.tx_requested,
            "tx_late": self.tx_late,
        }


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, ReaderInfo):
        return {item.name: getattr(value, item.name) for item in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, (State, Stamp)) else value


def counter_names() -> list[str]:
    """Return the names of the counters, in the order of the C table."""
    return [text_of(lib.ring_counter_names[i]) for i in range(lib.SHM_COUNTER_TOTAL)]


def histogram_names() -> list[str]:
    """Return the names of the histograms, in the order of the C table."""
    return [text_of(lib.ring_hist_names[i]) for i in range(lib.SHM_HIST_TOTAL)]


def text_of(raw: Any) -> str:
    """Return a C string (``char *`` or ``char[]``) as text."""
    text: bytes = ffi.string(raw)
    return text.decode("utf-8", "replace")


_COUNTERS = counter_names()
_HISTOGRAMS = histogram_names()
_DIRECTIONS = {lib.SHM_TX: "tx", lib.SHM_RX: "rx", lib.SHM_DUPLEX: "duplex"}


def direction_of(config: Any) -> str:
    """Return ``"tx"``, ``"rx"`` or ``"duplex"``."""
    return _DIRECTIONS[config.direction]


def read_stats(segment: Any) -> ChannelStats:
    """Read everything from a mapped segment (``shm_segment_t *``), writable or not."""
    return ChannelStats(**read_values(segment))


def read_values(segment: Any) -> dict[str, Any]:
    """The fields of `ChannelStats`, as `read_stats` reads them."""
    counters = ffi.new("uint64_t[]", lib.SHM_COUNTER_TOTAL)
    lib.channel_read_counters(segment.stats, counters)
    histograms = [Histogram(segment.stats.hists + i) for i in range(len(_HISTOGRAMS))]
    return {
        **_identity(segment),
        **_settings(segment),
        **_gauges(segment),
        **dict(zip(_COUNTERS, counters, strict=True)),
        **dict(zip(_HISTOGRAMS, histograms, strict=True)),
    }


def _identity(segment: Any) -> dict[str, Any]:
    config, status = segment.config, segment.status
    return {
        "name": text_of(config.name),
        "namespace": text_of(config.name_space),
        "pool": text_of(config.pool),
        "direction": direction_of(config),
        "state": STATES[status.state] if status.state < len(STATES) else State.FAILED,
        "error": status.error if status.state < len(STATES) else errno.EPROTO,
        "epoch": status.epoch,
        "opened_ns": status.opened_mono_ns,
        "reset_ns": segment.stats.reset_mono_ns,
    }


def _settings(segment: Any) -> dict[str, Any]:
    config, status = segment.config, segment.status
    return {
        "worker_pid": status.worker_pid,
        "worker_slot": -1 if status.worker_slot == NO_CPU else status.worker_slot,
        "cpu": -1 if status.cpu == NO_CPU else status.cpu,
        "policy": _POLICIES.get(status.sched_policy, f"policy {status.sched_policy}"),
        "priority": status.sched_priority,
        "heartbeat_age_ns": max(0, lib.rt_mono_ns() - status.heartbeat_mono_ns),
        "bound": _address.unpack(status.bound),
        "remote": _address.unpack(config.remote),
        "interface": text_of(status.interface),
        "qdisc": text_of(status.qdisc),
        "socket_fd": -1 if status.socket_fd == NO_CPU else status.socket_fd,
        "rcvbuf_bytes": status.rcvbuf_bytes,
        "sndbuf_bytes": status.sndbuf_bytes,
        "gso": bool(status.gso),
        "gro": bool(status.gro),
        "txtime": bool(status.txtime),
        "txtime_reason": text_of(status.txtime_reason),
        "failure": text_of(status.reason),
        "rx_stamp": STAMPS[status.rx_stamp] if status.rx_stamp < len(STAMPS) else Stamp.NONE,
        "tx_stamp": STAMPS[status.tx_stamp] if status.tx_stamp < len(STAMPS) else Stamp.NONE,
        "segment_bytes": segment.bytes,
    }


def _gauges(segment: Any) -> dict[str, Any]:
    config, stats = segment.config, segment.stats
    return {
        "scheduled": stats.scheduled,
        "tx_waiting": lib.tx_ring_waiting(segment),
        "tx_next_sequence": lib.tx_ring_next_sequence(segment),
        "wake_margin_ns": stats.wake_margin_ns,
        "wire_offset_ns": stats.wire_offset_ns,
        # Slot 0 is the worker's own.
        "producers": sum(1 for i in range(1, config.producers) if segment.producers[i].owner),
        "readers": tuple(_readers(segment)),
        "shared_lost": lib.channel_shared_lost(segment),
    }


def _readers(segment: Any) -> Any:
    shared = segment.config.read_mode == lib.SHM_READ_SHARED
    for slot in range(segment.config.readers):
        reader = segment.readers[slot]
        pid = reader.owner
        if pid:
            waiting = 0 if shared else lib.channel_reader_waiting(segment, slot)
            yield ReaderInfo(process_id(pid), reader.taken, reader.lost, waiting)
