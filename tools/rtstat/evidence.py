"""What a trouble of a channel rests on: since when, its counters, its events. Pure functions.

`rtstat.troubles` judges, and its rules name their evidence. This module reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rtstat.clocks import Clocks
from rtstat.frozen import Frozen
from rtstat.numbers import NS_PER_S
from rtstat.table import values
from rtstat.timeline import event_text
from rtstat.troubles import RECENT_S, RULES, Trouble
from rtstat.views import ChannelView
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
_RULES = {rule.name: rule for rule in RULES}


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


def of(trouble: Trouble, channel: ChannelView, events: Sequence[Event], clocks: Clocks) -> Evidence:
    """Return what a trouble of a channel, or of its worker or pool, rests on.

    events: those of all workers of its pool.
    """
    rule = _RULES[trouble.name]
    counted = {name: _numbers(channel, name) for name in rule.counters}
    behind = _behind(rule.kinds, channel, events)
    said = [
        *(_counter_text(channel, name) for name, (now, _) in counted.items() if now),
        *(rule.say(channel, clocks) if rule.say else ()),
        *(f"recorded at {clocks.wall(e.mono_ns)}: {event_text(e)}" for e in behind[-1:]),
    ]
    began = rule.since(trouble, channel) if rule.since else behind[0].mono_ns if behind else 0
    return Evidence(
        trouble,
        began or None,
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
