"""Troubles of sending."""

from __future__ import annotations

from rtstat.numbers import CHANNEL_WORDS, NS_PER_S
from rtstat.troubles.common import (
    FULL_SHARE,
    STUCK_NS,
    amount,
    full_name,
    grown,
    packets,
    percentage,
    within,
)
from rtstat.troubles.rule import Found, Rule
from rtstat.views import ChannelView
from rtworkers.verdicts import LATE
from shmring_cli.output import duration

LATE_SHARE = 0.01
"""Less is what a machine without tuning does: its p99 is late, not its work."""
LATE_LEAST = 3
"""One packet of a few is no share. Fewer count only if they are at least half of the packets."""

_SCHEDULED, _WAITING = CHANNEL_WORDS["scheduled"], CHANNEL_WORDS["tx_waiting"]

_EARLIER = "queue packets earlier than their deadlines"
_LATE_FIXES = {
    "tx_enqueued_late": _EARLIER,
    "tx_woke_late": 'let the worker spin: profile="latency"',
    "tx_send_slow": "see what slows the kernel's sending: shmring doctor",
    "tx_queued_behind": "spread the channels over more cores: Pool(cpus=[...])",
    "tx_producer_halted": "give the program that sends a core or a priority of its own",
}


def _late_fix(channel: ChannelView, reason: str) -> str:
    if channel.engine in ("cyclic", "netflux") and reason == "tx_enqueued_late":
        reason = "tx_woke_late"  # nothing is queued there
    if reason == "tx_woke_late" and channel.policy != "fifo":
        # Any process may have its core. A worker that spins has used up its share when one does.
        return "give the workers real-time priority: shmring doctor realtime"
    return _LATE_FIXES[reason]


def _late(channel: ChannelView) -> Found | None:
    late, share = channel.late_delta, channel.late_share
    if not late or share is None:
        return None
    if share < LATE_SHARE or (late < LATE_LEAST and share < 0.5):
        return None
    times = channel.lateness_interval
    worst = f", up to {duration(times.max_ns)}" if times is not None and times.count else ""
    whole = "" if channel["tx_immediate"] else f". {amount(channel.late)} in total"
    reason = max(LATE, key=lambda name: grown(channel, name))
    if reason == "tx_dropped_late":
        return None  # dropped_late
    return Found(
        share,
        f"{percentage(share)} of the packets were late {within(channel)}: {packets(late)}{worst}"
        f"{whole}",
        f"{_late_fix(channel, reason)}. For details: rtstat why {full_name(channel)}",
    )


def _dropped_late(channel: ChannelView) -> Found | None:
    dropped = grown(channel, "tx_dropped_late")
    if not dropped:
        return None
    return Found(
        dropped,
        f"{packets(dropped)} dropped {within(channel)}, because they were too late. "
        f"{amount(channel['tx_dropped_late'])} in total",
        f'{_EARLIER}, or open it with late="send". For details: rtstat why {full_name(channel)}',
    )


def _send_failed(channel: ChannelView) -> Found | None:
    failed = grown(channel, "tx_failed")
    if not failed:
        return None
    return Found(
        failed,
        f"the kernel refused {packets(failed)} {within(channel)}. "
        f"{amount(channel['tx_failed'])} in total",
        f"see the error: rtstat why {full_name(channel)}",
    )


def _send_ring_full(channel: ChannelView) -> Found | None:
    capacity, waiting = channel.facts.tx_capacity, channel.tx_waiting
    fill = max(channel.tx_fill, waiting / capacity if capacity else 0)
    if fill < FULL_SHARE or channel.direction == "rx" or not waiting or channel.engine == "udt":
        return None
    full = f"the send ring is {percentage(fill)} full with {packets(waiting)}"
    if channel.state == "held":
        return Found(
            fill,
            f"{full}, and it is held: programs that send wait or are refused",
            f"release it: shmring release {full_name(channel)}",
        )
    if channel.unsent_ns < STUCK_NS or not _blocked(channel):
        return None
    taker = "its readers have" if channel.engine == "local" else "the kernel has"
    return Found(
        fill,
        f"{full}, and {taker} taken none for at least {duration(channel.unsent_ns)}: programs that "
        "send wait or are refused",
        _blocked_fix(channel),
    )


def _blocked(channel: ChannelView) -> bool:
    """Return whether packets wait for room. Those queued ahead wait for their time."""
    if channel.before is None:
        return False
    # The gauge of those that wait for their time lags behind the others by a fraction of a second.
    rows = (channel.before, channel.now)
    unscheduled = all(row[_WAITING] > row[_SCHEDULED] for row in rows)
    return unscheduled or grown(channel, "tx_retries") > 0


def _blocked_fix(channel: ChannelView) -> str:
    if channel.engine == "local":
        return 'see whether its readers hang, or open it with overflow="oldest"'
    device = f" dev {channel.facts.interface}" if channel.facts.interface else ""
    return f"see the queue of the interface, and its link: tc -s qdisc show{device}"


RULES = (
    Rule(
        *("late", "troubled", "channel", "share", _late),
        f"at least {LATE_SHARE:.0%} of the packets with a deadline were late, and at least "
        f"{LATE_LEAST} packets or half of them",
        grows=True,
    ),
    Rule(
        *("dropped_late", "troubled", "channel", "packets", _dropped_late),
        "packets were dropped because they were late",
        grows=True,
    ),
    Rule(
        *("send_failed", "troubled", "channel", "packets", _send_failed),
        "the kernel refused packets",
        grows=True,
    ),
    Rule(
        *("send_ring_full", "troubled", "channel", "share", _send_ring_full),
        f"the send ring is at least {FULL_SHARE:.0%} full, and it is held, or the kernel has taken "
        f"nothing for {STUCK_NS / NS_PER_S:g} s",
    ),
)
