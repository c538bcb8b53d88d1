"""Troubles of receiving."""

from __future__ import annotations

from rtstat.numbers import NS_PER_S
from rtstat.troubles.common import (
    FULL_SHARE,
    STUCK_NS,
    amount,
    grown,
    many,
    packets,
    percentage,
    within,
)
from rtstat.troubles.rule import Found, Rule
from rtstat.views import ChannelView, ReaderView
from shmring_cli.output import duration, quantity

HOLD_S = 0.1
"""How long a buffer should hold what arrives. A worker that was killed is replaced in this time."""


def rcvbuf_bytes(channel: ChannelView) -> int:
    """Return the receive buffer that holds `HOLD_S` at the rate of the last interval."""
    return int(_buffered_rate(channel) * HOLD_S)


def rcvbuf_holds_ns(channel: ChannelView) -> float:
    """Return what the receive buffer holds at the rate of the last interval. 0: no rate."""
    rate = _buffered_rate(channel)
    return channel["rcvbuf_bytes"] / rate * NS_PER_S if rate else 0.0


def _buffered_rate(channel: ChannelView) -> float:
    """Return how many bytes of receive buffer arrivals take per second. The kernel counts about
    1100 bytes of its own with each datagram."""
    received = grown(channel, "rx_received")
    payload = grown(channel, "rx_bytes") / received if received else 1472
    arrived = received + grown(channel, "rx_kernel_drops")
    return arrived / (channel.seconds or 1.0) * (payload + 1100)


def _round_up(number: int) -> int:
    """Return a power of two, so that the advice does not change with each look."""
    return 1 << max(number - 1, 0).bit_length()


def _kernel_drops(channel: ChannelView) -> Found | None:
    dropped = grown(channel, "rx_kernel_drops")
    if not dropped:
        return None
    full = channel.facts.overflow == "wait" and channel.rx_fill >= 0.5
    wanted = _round_up(max(rcvbuf_bytes(channel), 2 * channel["rcvbuf_bytes"]))
    return Found(
        dropped,
        f"the kernel dropped {packets(dropped)} {within(channel)}, because the socket's buffer "
        f"of {quantity(channel['rcvbuf_bytes'], 'bytes')} was full. "
        f"{amount(channel['rx_kernel_drops'])} in total",
        "its readers are too slow, and the worker waits for them: read more often, or open it with "
        'overflow="oldest"'
        if full
        else f"open it with Socket(rcvbuf_bytes={wanted}), which net.core.rmem_max must allow: "
        f"that holds {duration(HOLD_S * NS_PER_S)} at this rate",
    )


def reader_text(reader: ReaderView) -> str:
    """Return its process with its name: ``process 30 (python3)``."""
    if reader.pid is None:
        return "a process in another pid namespace"
    name = reader.process_name
    return f"process {reader.pid} ({name})" if name else f"process {reader.pid}"


def _never_read(channel: ChannelView) -> Found | None:
    never = [r for r in channel.readers if r.never_read and r.lost_delta]
    if not never:
        return None
    worst = max(never, key=lambda r: r.lost_delta or 0)
    others = f", and {many(len(never) - 1, 'other')}" if len(never) > 1 else ""
    return Found(
        worst.lost_delta or 0,
        f"{reader_text(worst)}{others} attached and has never read: {packets(worst.waiting)} wait "
        f"for it, and {packets(worst.lost)} were overwritten",
        "see why that program does not receive, or close its end of the channel",
    )


def _overwritten(channel: ChannelView) -> Found | None:
    lost = grown(channel, "rx_overwritten")
    if not lost:
        return None
    readers = channel.readers
    if any(r.lost_delta for r in readers) and all(r.never_read for r in readers if r.lost_delta):
        return None  # `_never_read`
    reading = [reader for reader in readers if not reader.never_read]
    slow = max(reading, key=lambda r: (r.lost_delta or 0, r.waiting), default=None)
    who = "" if slow is None else f" {reader_text(slow)} is {packets(slow.waiting)} behind."
    return Found(
        lost,
        f"{packets(lost)} overwritten {within(channel)}, before a reader took them.{who} "
        f"{amount(channel['rx_overwritten'])} in total",
        "see whether that program hangs"
        if slow is not None and slow.taken_delta == 0
        else _larger_rx_ring(channel),
    )


def _larger_rx_ring(channel: ChannelView) -> str:
    """Return a ring of at least twice today's size, and of what arrives in `HOLD_S`."""
    facts, rate = channel.facts, channel.rx_pps or 0.0
    size = grown(channel, "rx_bytes") / (grown(channel, "rx_received") or 1) or 1.0
    today = facts.rx_capacity or int(facts.rx_bytes / size)
    wanted = _round_up(max(int(rate * HOLD_S), 2 * today))
    holds = f": that holds {duration(wanted / rate * NS_PER_S)} at this rate" if rate else ""
    return f"read more often, or open it with rx={wanted} (now {today}){holds}"


def _reader_stuck(channel: ChannelView) -> Found | None:
    capacity, unread = channel.facts.rx_capacity, channel["rx_unread"]
    fill = max(channel.rx_fill, unread / capacity if capacity else 0)
    if channel.facts.overflow != "wait" or fill < FULL_SHARE:
        return None
    # In shared reading nothing waits for one of them: all are stuck, or none is.
    slow = min(channel.readers, key=lambda r: (-r.waiting, r.idle_ns), default=None)
    if slow is None or slow.idle_ns < STUCK_NS or not (slow.waiting or unread):
        return None  # a reader that is merely slow slows the senders, as overflow="wait" wants it
    idle = f"has taken nothing for at least {duration(slow.idle_ns)}"
    if slow.never_read:
        idle = "attached and has never read"
    return Found(
        fill,
        f"the receive ring is {percentage(fill)} full, and {reader_text(slow)} {idle}. The worker "
        f"waits, with {packets(unread)}",
        'see whether that program hangs, or open the channel with overflow="oldest"',
    )


RULES = (
    Rule(
        *("kernel_drops", "troubled", "channel", "packets", _kernel_drops),
        "the kernel dropped packets, because the socket's buffer was full",
        grows=True,
    ),
    Rule(
        *("never_read", "troubled", "channel", "packets", _never_read),
        "packets were overwritten, because a process attached to the channel and has never read",
        grows=True,
    ),
    Rule(
        *("overwritten", "troubled", "channel", "packets", _overwritten),
        "packets were overwritten before a reader took them",
        grows=True,
    ),
    Rule(
        *("reader_stuck", "troubled", "channel", "share", _reader_stuck),
        f"the receive ring is at least {FULL_SHARE:.0%} full, and the reader for which the worker "
        f"waits has taken nothing for {STUCK_NS / NS_PER_S:g} s",
    ),
)
