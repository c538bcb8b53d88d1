"""What a trouble of a channel rests on: since when, its counters, its events. Pure functions.

`rtstat.troubles` judges. This module adds to a trouble what a person or a program can check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rtstat.frozen import Frozen
from rtstat.numbers import NS_PER_S
from rtstat.table import values
from rtstat.targets import Clocks
from rtstat.timeline import event_text
from rtstat.troubles import RECENT_S, Trouble, rcvbuf_holds_ns, reader_text
from rtstat.views import ChannelView, WorkerView
from rtworkers.verdicts import LATE
from shmring_cli.output import duration

if TYPE_CHECKING:
    from rtworkers.history import Event

RECEIVING = (
    *("kernel_drops", "ring_overrun", "receive_failed", "arrivals_lost", "socket_reopened"),
    *("netflux_timeout", "rtp_late", "udt_broken"),
)
"""Kinds of events that tell of losses in receiving."""

# Events of one trouble follow each other within this time: bursts merge within a second.
_GAP_NS = 2 * NS_PER_S
_READERS = 3


class Evidence(Frozen):
    """A trouble with what it rests on."""

    trouble: Trouble
    since_mono_ns: int | None
    """When it began, CLOCK_MONOTONIC. None: nobody recorded that."""
    seen: tuple[str, ...]
    """What can be checked, in words."""
    counters: dict[str, int]
    """The counters and gauges behind it. Those of an engine have its name: ``rtp.lost``."""
    grown: dict[str, int]
    """How much those grew between the two snapshots. Empty without a previous snapshot."""
    events: tuple[Event, ...]
    """The recorded events behind it, oldest first."""


class Basis(NamedTuple):
    """A row of `BASES`: what the trouble of a name rests on."""

    counters: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    since: Callable[[Trouble, ChannelView], int] | None = None
    """Returns when it began, or 0. None: with the latest unbroken row of its events."""
    say: Callable[[ChannelView, Clocks], Iterator[str]] | None = None


def of(trouble: Trouble, channel: ChannelView, events: Sequence[Event], clocks: Clocks) -> Evidence:
    """Return what a trouble of a channel, or of its worker or pool, rests on.

    events: those of all workers of its pool.
    """
    basis = BASES.get(trouble.name, Basis())
    counted = {name: _numbers(channel, name) for name in basis.counters}
    behind = _behind(basis.kinds, channel, events)
    said = [
        *(_counter_text(channel, name) for name, (now, _) in counted.items() if now),
        *(basis.say(channel, clocks) if basis.say else ()),
        *(f"recorded at {clocks.wall(e.mono_ns)}: {event_text(e)}" for e in behind[-1:]),
    ]
    return Evidence(
        trouble,
        _since(basis, trouble, channel, behind) or None,
        tuple(said),
        {name: now for name, (now, _) in counted.items()},
        {name: grown for name, (_, grown) in counted.items() if grown is not None},
        behind,
    )


def earlier(
    channel: ChannelView, events: Sequence[Event], found: Sequence[Evidence]
) -> tuple[Event, ...]:
    """Return the recorded losses in receiving that are not part of a trouble now, oldest first."""
    now = [event for evidence in found for event in evidence.events]
    return tuple(e for e in _of_channel(RECEIVING, channel, events) if e not in now)


# --- counters -------------------------------------------------------------------------------------


def _numbers(channel: ChannelView, name: str) -> tuple[int, int | None]:
    """Return a number of the channel, or of its engine's part, and how much it grew."""
    engine, dot, own = name.partition(".")
    view = channel.part if dot and channel.engine == engine else channel
    if view is None or (own or name) not in view:
        return 0, None
    return view[own or name], view.delta(own or name)


def _counter_text(channel: ChannelView, name: str) -> str:
    now, grown = _numbers(channel, name)
    if name.endswith("_ns"):
        return f"{name} {duration(now)}"
    if not grown or not channel.seconds:
        return f"{name} {now}"
    return f"{name} {now}, of which {grown} in {duration(channel.seconds * NS_PER_S)}"


# --- events ---------------------------------------------------------------------------------------


def _of_channel(kinds: Sequence[str], channel: ChannelView, events: Sequence[Event]) -> list[Event]:
    """Return the events of these kinds about the channel, or about its worker, oldest first."""
    found = [
        event
        for event in events
        if event.kind in kinds
        and (
            event.channel_id == channel.facts.segment_id
            if event.channel is not None
            else event.slot == channel["worker_slot"]
        )
    ]
    return sorted(found, key=lambda event: event.mono_ns)


def _behind(
    kinds: Sequence[str], channel: ChannelView, events: Sequence[Event]
) -> tuple[Event, ...]:
    """Return the latest unbroken row of events. None if the latest is not recent."""
    found = _of_channel(kinds, channel, events)
    oldest_ns = channel["read_mono_ns"] - int(RECENT_S * NS_PER_S)
    if not found or found[-1].last_mono_ns < oldest_ns:
        return ()
    first = len(found) - 1
    while first and found[first].mono_ns - found[first - 1].last_mono_ns <= _GAP_NS:
        first -= 1
    return tuple(found[first:])


def _since(basis: Basis, trouble: Trouble, channel: ChannelView, behind: Sequence[Event]) -> int:
    if basis.since is not None:
        return basis.since(trouble, channel)
    return behind[0].mono_ns if behind else 0


# --- since when -----------------------------------------------------------------------------------


def _unknown(trouble: Trouble, channel: ChannelView) -> int:
    return 0


def _heartbeat(trouble: Trouble, channel: ChannelView) -> int:
    view: WorkerView | ChannelView = trouble.view
    return view["heartbeat_mono_ns"]


def _worker_started(trouble: Trouble, channel: ChannelView) -> int:
    return int(trouble.view["started_mono_ns"])


def _last_accepted(trouble: Trouble, channel: ChannelView) -> int:
    return 0 if channel.netflux is None else channel.netflux["last_accepted_mono_ns"]


def _acknowledged(trouble: Trouble, channel: ChannelView) -> int:
    return 0 if channel.udt is None else channel["read_mono_ns"] - channel.udt["data_ns"]


def _last_update(trouble: Trouble, channel: ChannelView) -> int:
    part = channel.part
    return 0 if part is None or "updated_mono_ns" not in part else part["updated_mono_ns"]


# --- in words -------------------------------------------------------------------------------------


def _unsent(channel: ChannelView, clocks: Clocks) -> Iterator[str]:
    if channel.tx_waiting:
        beat_ns = channel["heartbeat_mono_ns"]
        yield (
            f"{channel.tx_waiting} packets wait: those due since {clocks.wall(beat_ns)} are overdue"
        )


def _socket_buffer(channel: ChannelView, clocks: Clocks) -> Iterator[str]:
    holds_ns = rcvbuf_holds_ns(channel)
    if holds_ns:
        yield f"the socket's buffer holds {duration(holds_ns)} at this rate"


def _attached(channel: ChannelView, clocks: Clocks) -> Iterator[str]:
    behind = sorted(channel.readers, key=lambda r: (-(r.lost_delta or 0), -r.waiting, -r.lost))
    for reader in behind[:_READERS]:
        rate = channel.rx_pps
        span = f" ({duration(reader.waiting / rate * NS_PER_S)})" if rate else ""
        yield (
            f"reader {reader.slot}, {reader_text(reader)}, is {reader.waiting} packets behind"
            f"{span}. It has taken {reader.taken} and missed {reader.lost}"
        )
    if len(behind) > _READERS:
        yield f"{len(behind) - _READERS} more readers"


def _partner(channel: ChannelView, clocks: Clocks) -> Iterator[str]:
    link = channel.netflux
    if link is None:
        return
    last_ns = link["last_accepted_mono_ns"]
    if last_ns:
        number = link["received_number"]
        yield f"the last accepted datagram has number {number}: {_at(last_ns, clocks)}"
    if channel.delta("rx_received"):
        yield "datagrams arrive, and none is accepted: see the counters netflux.rejected_*"
    else:
        yield "nothing arrives at its port"


def _at(mono_ns: int, clocks: Clocks) -> str:
    return f"{clocks.wall(mono_ns)}, {clocks.ago(mono_ns)}"


def _jitter_buffer(channel: ChannelView, clocks: Clocks) -> Iterator[str]:
    stream = channel.rtp
    if stream is not None:
        yield (
            f"the jitter buffer delays frames by {duration(stream['delay_ns'])}, and arrivals vary "
            f"by {duration(stream['jitter_ns'])}"
        )


def _peer(channel: ChannelView, clocks: Clocks) -> Iterator[str]:
    connection = channel.udt
    if connection is not None and not connection["flow_window_packets"]:
        yield "the peer's receive buffer is full: its program does not read"


# --- the table ------------------------------------------------------------------------------------

_STANDSTILL = Basis(
    ("tx_waiting", "tx_on_time"), ("worker_stalled", "worker_died"), _heartbeat, _unsent
)
_LEFT = Basis(("producers", "readers"), ("client_hung_up", "client_detached"))
_UDT = ("udt.flight_packets", "udt.unsent_bytes", "udt.flow_window_packets", "udt.timeouts")
_REJECTED = tuple(f"netflux.rejected_{why}" for why in ("short", "repeated", "old", "foreign"))

BASES: dict[str, Basis] = {
    "worker_dead": _STANDSTILL,
    "worker_stopped": _STANDSTILL,
    "worker_stalled": _STANDSTILL,
    "channel_unserved": _STANDSTILL,
    "worker_restarted": Basis((), ("worker_died", "channel_taken_over"), _worker_started),
    "channel_failed": Basis(("rx_errors", "tx_failed"), ("channel_failed", "channel_given_up")),
    "connection_lost": Basis(("udt.error", "udt.peer_errors"), ("udt_broken",)),
    "connection_stalled": Basis((*_UDT, "udt.acks_received"), (), _acknowledged, _peer),
    "link_silent": Basis(
        *(("netflux.accepted", "netflux.timeouts", *_REJECTED), ("netflux_timeout",)),
        *(_last_accepted, _partner),
    ),
    "not_heard": Basis(("netflux.sent", "netflux.acknowledged", "netflux.unheard")),
    "values_stale": Basis((), (), _last_update),
    "no_producer": _LEFT,
    "orphaned": _LEFT,
    "kernel_drops": Basis(
        *(("rx_kernel_drops", "rx_received", "rcvbuf_bytes"), ("kernel_drops",)),
        say=_socket_buffer,
    ),
    "overwritten": Basis(("rx_overwritten", "rx_received"), ("ring_overrun",), say=_attached),
    "reader_stuck": Basis(("rx_unread", "rx_kernel_drops"), ("ring_overrun",), say=_attached),
    "rtp_loss": Basis(
        ("rtp.lost", "rtp.late", "rtp.delivered", "rtp.concealed_ns", "rtp.nack_recovered"),
        ("rtp_late",),
        _unknown,
        _jitter_buffer,
    ),
    "rtp_loss_there": Basis(("rtp.reported_lost", "rtp.sent", "rtp.rtt_ns")),
    "late": Basis(("tx_on_time", *LATE), ("late_packets",)),
    "dropped_late": Basis(("tx_on_time", "tx_dropped_late"), ("late_packets",)),
    "send_failed": Basis(("tx_failed", "tx_retries"), ("send_failed", "send_no_room")),
    "send_ring_full": Basis(("tx_waiting", "tx_used_bytes", "tx_retries"), ("send_no_room",)),
    "flows_refused": Basis(
        ("proxy.flows", "proxy.forward_no_flow", "proxy.flows_opened"), ("flow_refused",)
    ),
    "ports_lost": Basis(("mux.open", "mux.lost"), ("channel_taken_over",)),
}
"""By the name of the trouble. One that is not here rests on its text alone."""


# --- JSON -----------------------------------------------------------------------------------------


def facts(evidence: Evidence, clocks: Clocks) -> dict[str, Any]:
    """Return a trouble with its evidence as values that `json` accepts."""
    since = evidence.since_mono_ns
    return values("trouble", evidence.trouble) | {
        "since_real_ns": None if since is None else clocks.real(since),
        "counters": evidence.counters,
        "grown": evidence.grown,
        "seen": list(evidence.seen),
    }
