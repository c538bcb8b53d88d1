"""Counters of a channel and its settings in effect: `Channel.stats`.

Counters run since the channel was opened, or since `Channel.reset_stats`. Each counter is read
atomically, but not all at the same time. While packets flow, sums may differ by the packets in
progress.
"""

import errno
from dataclasses import dataclass, fields
from typing import Any

from rtworkers import page
from rtworkers.owner import process_id
from shmring import _address, _realtime
from shmring._facts import names, values
from shmring._numbers import ChannelCounters, ChannelHistograms
from shmring._ring import ffi, lib
from shmring._segment import count_producers, direction_of, text_of
from shmring.histogram import Histogram
from shmring.types import STATES, Stamp, State, stamp_of, state_of

_NONE = 2**32 - 1


@dataclass(frozen=True, slots=True)
class ReaderInfo:
    """One attached reader of a channel."""

    pid: int | None
    """None: its process is in another pid namespace, where the worker cannot see it."""
    taken: int
    """Packets it has read."""
    lost: int
    """Packets that were overwritten before it read them."""
    waiting: int
    """Packets that it can read now. In shared reading 0."""

    @property
    def never_read(self) -> bool:
        """Whether packets came for it, and it has taken none. In shared reading False."""
        return not self.taken and bool(self.lost or self.waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStats(ChannelCounters, ChannelHistograms):
    """Counters, histograms and settings in effect of a channel at one moment."""

    # --- what it is ---------------------------------------------------------------------------
    name: str
    namespace: str
    pool: str
    direction: str
    state: State
    error: int
    """errno of state ``failed``, else 0."""
    epoch: int
    """The number of workers that have served the channel so far."""
    opened_ns: int
    """When the channel was opened, CLOCK_MONOTONIC."""
    reset_ns: int
    """When the counters were last set to 0, CLOCK_MONOTONIC. 0: never."""

    # --- settings in force --------------------------------------------------------------------
    worker_pid: int
    worker_slot: int
    cpu: int | None
    """Core of the worker. None: not pinned."""
    policy: str
    """Scheduling class of the worker: ``"fifo"`` or ``"other"``."""
    priority: int
    """Priority of the worker, 0 for ``"other"``."""
    lacking: str
    """What the pool asked for and its worker does not have, with the fixes. Empty: nothing, or
    another process runs the pool."""
    heartbeat_age_ns: int
    """Time since the last heartbeat of the worker. All other values are as old as that."""
    bound: tuple[str, int] | None
    """The bound local address."""
    remote: tuple[str, int] | None
    interface: str
    qdisc: str
    """Queueing discipline of the interface, if it is known."""
    socket_fd: int
    """Number of the socket inside the worker, -1 if there is none."""
    rcvbuf_bytes: int
    sndbuf_bytes: int
    gso: bool
    """Whether packets due within 2 us leave in one call."""
    gro: bool
    """Whether packets that the kernel coalesced are received in one call."""
    txtime: bool
    """Whether the queueing discipline or the card launches the packets."""
    txtime_reason: str
    """Why it does or does not."""
    failure: str
    """Why the state is ``failed``, in words, or ``""`` in any other state."""
    rx_stamp: Stamp
    """Best available arrival timestamp."""
    tx_stamp: Stamp
    """Best available departure timestamp."""
    segment_bytes: int
    """Shared memory of the channel."""

    # --- now ----------------------------------------------------------------------------------
    scheduled: int
    """Packets that wait for their deadline inside the worker."""
    tx_waiting: int
    """Packets queued and without a verdict."""
    tx_next_sequence: int
    """Sequence number of the next packet to be queued: the number of packets queued so far."""
    wake_margin_ns: int
    """How long before a deadline the worker wakes."""
    wire_offset_ns: int
    """How long before the deadline ``align="wire"`` sends."""
    producers: int
    """Processes and threads attached to send."""
    readers: tuple[ReaderInfo, ...]
    shared_lost: int
    """Packets that were overwritten before any of the shared readers took them."""

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
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return str(value) if isinstance(value, (State, Stamp)) else value


def read_stats(segment: Any) -> ChannelStats:
    """Read all values from a mapped segment (``shm_segment_t *``), writable or not."""
    return ChannelStats(**read_values(segment))


def read_values(segment: Any) -> dict[str, Any]:
    """Return the fields of `ChannelStats` from a segment."""
    counters = ffi.new("uint64_t[]", lib.SHM_COUNTER_TOTAL)
    lib.channel_read_counters(segment.stats, counters)
    return {
        **_identity(segment),
        **_settings(segment),
        **_gauges(segment),
        **values(ChannelCounters, counters),
        **read_histograms(ChannelHistograms, segment.stats.hists),
    }


def read_histograms(kind: type[Any], hists: Any) -> dict[str, Any]:
    """Return the fields of a class of histograms from their C array (``rt_hist_t *``)."""
    return {name: Histogram(hists + i) for i, name in enumerate(names(kind))}


def _identity(segment: Any) -> dict[str, Any]:
    config, status = segment.config, segment.status
    return {
        "name": text_of(config.name),
        "namespace": text_of(config.name_space),
        "pool": text_of(config.pool),
        "direction": direction_of(config),
        "state": state_of(status.state),
        "error": status.error if status.state < len(STATES) else errno.EPROTO,
        "epoch": status.epoch,
        "opened_ns": status.opened_mono_ns,
        "reset_ns": segment.stats.reset_mono_ns,
    }


def _settings(segment: Any) -> dict[str, Any]:
    config, status = segment.config, segment.status
    return {
        "worker_pid": status.worker_pid,
        "worker_slot": -1 if status.worker_slot == _NONE else status.worker_slot,
        "cpu": page.core(status.cpu),
        "policy": page.policy_name(status.sched_policy),
        "priority": status.sched_priority,
        "lacking": _realtime.lacking(
            text_of(config.name_space), text_of(config.pool), status.worker_slot
        ),
        "heartbeat_age_ns": max(0, lib.rt_mono_ns() - status.heartbeat_mono_ns),
        "bound": _address.unpack(status.bound),
        "remote": _address.unpack(config.remote),
        "interface": text_of(status.interface),
        "qdisc": text_of(status.qdisc),
        "socket_fd": -1 if status.socket_fd == _NONE else status.socket_fd,
        "rcvbuf_bytes": status.rcvbuf_bytes,
        "sndbuf_bytes": status.sndbuf_bytes,
        "gso": bool(status.gso),
        "gro": bool(status.gro),
        "txtime": bool(status.txtime),
        "txtime_reason": text_of(status.txtime_reason),
        "failure": text_of(status.reason),
        "rx_stamp": stamp_of(status.rx_stamp),
        "tx_stamp": stamp_of(status.tx_stamp),
        "segment_bytes": segment.bytes,
    }


def _gauges(segment: Any) -> dict[str, Any]:
    stats = segment.stats
    return {
        "scheduled": stats.scheduled,
        "tx_waiting": lib.tx_ring_waiting(segment),
        "tx_next_sequence": lib.tx_ring_next_sequence(segment),
        "wake_margin_ns": stats.wake_margin_ns,
        "wire_offset_ns": stats.wire_offset_ns,
        "producers": count_producers(segment),
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
