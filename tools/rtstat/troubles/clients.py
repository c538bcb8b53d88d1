"""Troubles of channels: who serves them, who opened them, and who sends."""

from __future__ import annotations

from rtstat.numbers import NS_PER_S
from rtstat.troubles.common import full_name, packets
from rtstat.troubles.rule import Found, Rule
from rtstat.views import ChannelView
from shmring_cli.output import duration


def _failed(channel: ChannelView) -> Found | None:
    if channel.health != "failed":
        return None
    reason = channel.facts.failure or f"errno {channel['error']}"
    return Found(channel["error"], f"it failed: {reason}", "close it, and open it again")


def _unserved(channel: ChannelView) -> Found | None:
    if channel.health != "stale":
        return None
    age_ns = channel.heartbeat_age_ns
    since = "since it was opened" if age_ns is None else f"for {duration(age_ns)}"
    return Found(
        channel.created_age_s if age_ns is None else age_ns / NS_PER_S,
        f"no worker has served it {since}",
        "if its pool is dead, remove it: shmring gc",
    )


def _opener(channel: ChannelView) -> str:
    return f"process {channel.opener_pid}, which opened it,"


def _repeats(channel: ChannelView) -> bool:
    """Return whether it sends values again and again, also those of a dead program."""
    return channel.engine in ("cyclic", "netflux")


def _was_fed(channel: ChannelView) -> bool:
    """Return whether a process ever gave it something to send. A grid of ticks needs none."""
    part = channel.part
    if part is None or not _repeats(channel):
        return channel["tx_next_sequence"] > 0
    return part["updates" if channel.engine == "cyclic" else "sent"] > 0


def _deserted(channel: ChannelView) -> bool:
    """Return whether its opener is dead, and no process is attached to send."""
    return channel.opener_alive is False and not channel["producers"]


def _no_producer(channel: ChannelView) -> Found | None:
    if not _repeats(channel) or not _deserted(channel) or not _was_fed(channel):
        return None
    return Found(
        1,
        f"{_opener(channel)} is dead, and no process is attached to send. It sends its last or "
        "fail-safe values",
        f"start its program again, or close it: shmring close {full_name(channel)}",
    )


def _orphaned(channel: ChannelView) -> Found | None:
    sent = channel.direction != "rx" and _was_fed(channel)
    if not _deserted(channel) or _no_producer(channel) or (channel["readers"] and not sent):
        return None
    what = ""
    if channel["readers"]:
        what = " to send. Nothing is sent on it"
    if sent and channel.tx_waiting:  # it may have queued them and ended, as a program may
        what = f" to send. {packets(channel.tx_waiting)} still to be sent"
    return Found(
        1,
        f"{_opener(channel)} is dead, and no process is attached{what}",
        f"start its program again, or close it: shmring close {full_name(channel)}",
    )


RULES = (
    Rule(
        *("channel_failed", "broken", "channel", "errno", _failed),
        "the channel failed",
        own=True,
    ),
    Rule(
        *("channel_unserved", "broken", "channel", "s", _unserved),
        "no worker serves the channel",
        own=True,
    ),
    Rule(
        *("no_producer", "broken", "channel", "", _no_producer),
        "it sends the values of its opener, which is dead, and no process is attached to send",
        own=True,
    ),
    Rule(
        *("orphaned", "troubled", "channel", "", _orphaned),
        "the process that opened the channel is dead, and none is attached, or none that sends",
        own=True,
    ),
)
