"""What is wrong: the one list of troubles that all of rtstat shows, and the verdict of the whole.

`RULES` has a row per trouble. A rule gets one view, and says what grew since the previous snapshot,
or what stands still. `judge` returns the list, the worst first, and `Recent` keeps a trouble that
was seen within the last minute. Nothing else in rtstat judges.

The limits are here, in one place, with their reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import log10
from typing import Any, Literal, NamedTuple

from rtstat.frozen import Frozen
from rtstat.numbers import CHANNEL_WORDS, NS_PER_S
from rtstat.parts import RtpView
from rtstat.views import LATE, ChannelView, PoolView, ReaderView, Unreadable, WorkerView
from shmring_cli.output import NS_PER_MS, duration, quantity

Severity = Literal["broken", "troubled"]
Verdict = Literal["ok", "troubled", "broken"]
Scope = Literal["file", "pool", "worker", "channel"]
SEVERITIES: tuple[Severity, ...] = ("broken", "troubled")

RECENT_S = 60.0
"""How long a trouble that does not grow any more stays in the list. A person who looks once a
minute misses none."""
LATE_SHARE = 0.01
"""Less is what a machine without tuning does: its p99 is late, not its work."""
LATE_LEAST = 3
"""One packet of a few is no share. Fewer count only if they are at least half of the packets."""
LOSS_SHARE = 0.01
"""Codecs conceal less, and nobody hears it."""
REPORT_S = 30.0
"""RTCP reports come every few seconds. An older one says nothing about now."""
FULL_SHARE = 0.95
"""A ring that is fuller has no room for the next burst."""
RESTARTED_S = 60.0
"""As long as a trouble counts as recent."""
STALL_NS = 2 * NS_PER_S
"""A connection with unacknowledged data sends again after less."""
HOLD_S = 0.1
"""How long a buffer should hold what arrives. A worker that was killed is replaced in this time."""


class Trouble(Frozen):
    """One thing that is wrong."""

    name: str
    """One of `RULES`."""
    severity: Severity
    """``broken``: something does not work at all. ``troubled``: it works, with losses or late."""
    subject: str
    """Where: ``namespace/channel``, ``namespace/pool:slot`` of a worker, or ``namespace/pool:`` of
    a pool."""
    figure: float
    """How much, in the unit of its rule."""
    text: str
    """What is wrong, with figures: a sentence about the subject."""
    fix: str
    """What to do about it: a sentence with a number or a command."""
    scope: Scope
    """What the subject is: ``channel``, ``worker``, ``pool`` or ``file``."""
    view: Any
    """Its view."""


class Found(NamedTuple):
    """What a rule says about a view."""

    figure: float
    text: str
    fix: str


class Serving(NamedTuple):
    """A worker with the channels it serves."""

    worker: WorkerView
    channels: tuple[ChannelView, ...]
    pool_alive: bool | None = None
    """None: unknown."""


class Rule(NamedTuple):
    """A row of `RULES`."""

    name: str
    severity: Severity
    scope: Scope
    unit: str
    """Of the figure."""
    find: Callable[[Any], Found | None]
    meaning: str
    grows: bool = False
    """Whether it is about what grew since the previous snapshot. If not, about what stands."""


_NEXT_SEQUENCE, _WAITING = CHANNEL_WORDS["tx_next_sequence"], CHANNEL_WORDS["tx_waiting"]


# --- words ----------------------------------------------------------------------------------------


def _amount(count: float) -> str:
    return str(int(count)) if count < 10_000 else quantity(count, "").strip()


def _many(count: float, what: str) -> str:
    return f"{_amount(count)} {what}{'' if count == 1 else 's'}"


def _packets(count: float) -> str:
    return _many(count, "packet")


def _share(share: float) -> str:
    return quantity(100 * share, "percent")


def _full_name(channel: ChannelView) -> str:
    """Return the name that commands take, whatever the reader's namespace is."""
    return f"{channel.namespace}/{channel.name}"


def _start_pool(namespace: str, pool: str) -> str:
    return f"shmring up {pool} --namespace {namespace}"


def _within(view: ChannelView | WorkerView) -> str:
    return f"in the last {duration((view.seconds or 0) * NS_PER_S)}"


def _grown(view: ChannelView, name: str) -> int:
    return view.delta(name) or 0


# --- files and pools ------------------------------------------------------------------------------


def _unreadable(file: Unreadable) -> Found | None:
    if not file.permitted:
        return None
    return Found(
        1,
        f"its file in shared memory cannot be read: {file.reason}",
        "if its processes are dead, remove it: shmring gc",
    )


def _pool_gone(pool: PoolView) -> Found | None:
    seen = any(worker.process_state in ("running", "stopped") for worker in pool.workers)
    if pool.owner_alive is not False or not seen:
        return None  # a /proc without the workers is another pid namespace's
    count = len(pool.channels)
    return Found(
        count,
        "its process is dead: nobody replaces a worker that dies, and nobody can open a channel. "
        f"{_many(count, 'channel')} of it still open",
        "start it again, and it takes over workers and channels: "
        f"{_start_pool(pool.namespace, pool.name)}",
    )


# --- workers --------------------------------------------------------------------------------------


def _waiting(serving: Serving) -> str:
    waiting = sum(channel.tx_waiting for channel in serving.channels)
    channels = _many(len(serving.channels), "channel")
    return f"{channels} without a worker, {_packets(waiting)} not sent"


def _still_s(worker: WorkerView) -> float:
    return worker.heartbeat_age_ns / NS_PER_S


def _worker_dead(serving: Serving) -> Found | None:
    worker = serving.worker
    if worker.alive or worker.process_state != "dead":
        return None
    return Found(
        _still_s(worker),
        f"process {worker.pid} has been dead for {duration(worker.heartbeat_age_ns)}: "
        f"{_waiting(serving)}",
        "its pool is dead, too. Take the channels over: "
        f"{_start_pool(worker.namespace, worker.pool)}. Or remove them: shmring gc"
        if serving.pool_alive is False
        else "its pool should replace it within 100 ms. See why it does not: rtstat errors",
    )


def _worker_stopped(serving: Serving) -> Found | None:
    worker = serving.worker
    if worker.alive or worker.process_state != "stopped":
        return None
    return Found(
        _still_s(worker),
        f"process {worker.pid} has been stopped, by a signal or a debugger, for "
        f"{duration(worker.heartbeat_age_ns)}: {_waiting(serving)}",
        f"continue it: kill -CONT {worker.pid}",
    )


def _worker_stalled(serving: Serving) -> Found | None:
    worker = serving.worker
    if worker.alive or worker.process_state in ("dead", "stopped"):
        return None
    return Found(
        _still_s(worker),
        f"process {worker.pid} has shown no sign of life for "
        f"{duration(worker.heartbeat_age_ns)}: {_waiting(serving)}",
        "something else has its core, or the machine is out of memory: shmring doctor",
    )


def _worker_restarted(serving: Serving) -> Found | None:
    worker = serving.worker
    if not worker["restarts"] or worker.age_s >= RESTARTED_S:
        return None
    return Found(
        worker["restarts"],
        f"it was restarted {duration(worker.age_s * NS_PER_S)} ago, "
        f"{_many(worker['restarts'], 'time')} in all",
        "see how it ended: rtstat errors",
    )


# --- channels: who serves them --------------------------------------------------------------------


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


# --- channels: who sends --------------------------------------------------------------------------


def _opener(channel: ChannelView) -> str:
    return f"process {channel.opener_pid}, which opened it,"


def _was_fed(channel: ChannelView) -> bool:
    """Return whether a process ever gave it something to send. A grid of ticks needs none."""
    part = channel.part
    if part is None or channel.engine not in ("cyclic", "netflux"):
        return channel["tx_next_sequence"] > 0
    return part["updates" if channel.engine == "cyclic" else "sent"] > 0


def _deserted(channel: ChannelView) -> bool:
    """Return whether its opener is dead, and no process is attached to send."""
    return channel.opener_alive is False and not channel["producers"]


def _no_producer(channel: ChannelView) -> Found | None:
    if channel.direction == "rx" or not _deserted(channel) or not _was_fed(channel):
        return None
    what = "It sends its last or fail-safe values"
    if channel.engine not in ("cyclic", "netflux"):
        what = "Nothing is sent on it"
    return Found(
        1,
        f"{_opener(channel)} is dead, and no process is attached to send. {what}",
        f"start its program again, or close it: shmring close {_full_name(channel)}",
    )


def _orphaned(channel: ChannelView) -> Found | None:
    if not _deserted(channel) or channel["readers"] or _no_producer(channel):
        return None
    return Found(
        1,
        f"{_opener(channel)} is dead, and no process is attached",
        f"start its program again, or close it: shmring close {_full_name(channel)}",
    )


# --- channels: sending ----------------------------------------------------------------------------

_EARLIER = "queue packets earlier than their deadlines"
_LATE_FIXES = {
    "tx_enqueued_late": _EARLIER,
    "tx_woke_late": 'let the worker spin: profile="latency", and see shmring doctor',
    "tx_send_slow": "see what slows the kernel's sending: shmring doctor",
    "tx_queued_behind": "spread the channels over more cores: Pool(cpus=[...])",
    "tx_producer_halted": "give the program that sends a core or a priority of its own",
}


def _late_fix(channel: ChannelView, reason: str) -> str:
    if channel.engine in ("cyclic", "netflux") and reason == "tx_enqueued_late":
        reason = "tx_woke_late"  # nothing is queued there
    return _LATE_FIXES[reason]


def _late_of_timed(channel: ChannelView) -> tuple[int, int]:
    """Return how many packets were late in the interval, and how many had a deadline. Verdicts are
    given to others, too: a bulk sender's packets wait for each other, and that is no trouble."""
    late = channel.late_delta or 0
    if not late or not _grown(channel, "tx_immediate"):
        return late, late + _grown(channel, "tx_on_time")
    timed = channel.buckets("lateness", interval=True)
    late = sum(count for upper_ns, count in timed if upper_ns > channel.facts.tolerance_ns)
    return late, sum(count for _, count in timed)


def _late(channel: ChannelView) -> Found | None:
    late, timed = _late_of_timed(channel)
    if not late:
        return None
    share = late / timed
    if share < LATE_SHARE or (late < LATE_LEAST and share < 0.5):
        return None
    times = channel.lateness_interval
    worst = f", up to {duration(times.max_ns)}" if times is not None and times.count else ""
    whole = "" if channel["tx_immediate"] else f". {_amount(channel.late)} in all"
    reason = max(LATE, key=lambda name: _grown(channel, name))
    if reason == "tx_dropped_late":
        return None  # dropped_late
    return Found(
        share,
        f"{_share(share)} of the packets were late {_within(channel)}: {_packets(late)}{worst}"
        f"{whole}",
        f"{_late_fix(channel, reason)}. For details: rtstat why {_full_name(channel)}",
    )


def _dropped_late(channel: ChannelView) -> Found | None:
    dropped = _grown(channel, "tx_dropped_late")
    if not dropped:
        return None
    return Found(
        dropped,
        f"{_packets(dropped)} dropped {_within(channel)}, because they were too late. "
        f"{_amount(channel['tx_dropped_late'])} in all",
        f'{_EARLIER}, or open it with late="send". For details: rtstat why {_full_name(channel)}',
    )


def _send_failed(channel: ChannelView) -> Found | None:
    failed = _grown(channel, "tx_failed")
    if not failed:
        return None
    return Found(
        failed,
        f"the kernel refused {_packets(failed)} {_within(channel)}. "
        f"{_amount(channel['tx_failed'])} in all",
        f"see the error: rtstat why {_full_name(channel)}",
    )


def _finished(row: memoryview) -> int:
    finished: int = row[_NEXT_SEQUENCE] - row[_WAITING]
    return finished


def _send_ring_full(channel: ChannelView) -> Found | None:
    capacity, waiting = channel.facts.tx_capacity, channel.tx_waiting
    fill = max(channel.tx_fill, waiting / capacity if capacity else 0)
    if fill < FULL_SHARE or channel.direction == "rx" or channel.before is None or not waiting:
        return None
    if channel.engine == "udt" or _finished(channel.now) != _finished(channel.before):
        return None  # a program that sends as fast as it can keeps its ring full
    return Found(
        fill,
        f"the send ring is {_share(fill)} full with {_packets(waiting)}, and none left it "
        f"{_within(channel)}: programs that send wait or are refused",
        f"it is held. Release it: shmring release {_full_name(channel)}"
        if channel.state == "held"
        else f"queue less far ahead, or open it with capacity={2 * waiting}",
    )


# --- channels: receiving --------------------------------------------------------------------------


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
    received = _grown(channel, "rx_received")
    payload = _grown(channel, "rx_bytes") / received if received else 1472
    arrived = received + _grown(channel, "rx_kernel_drops")
    return arrived / (channel.seconds or 1.0) * (payload + 1100)


def _round_up(number: int) -> int:
    """Return a power of two, so that the advice does not change with each look."""
    return 1 << max(number - 1, 0).bit_length()


def _kernel_drops(channel: ChannelView) -> Found | None:
    dropped = _grown(channel, "rx_kernel_drops")
    if not dropped:
        return None
    full = channel.facts.overflow == "wait" and channel.rx_fill >= 0.5
    wanted = _round_up(max(rcvbuf_bytes(channel), 2 * channel["rcvbuf_bytes"]))
    return Found(
        dropped,
        f"the kernel dropped {_packets(dropped)} {_within(channel)}, because the socket's buffer "
        f"of {quantity(channel['rcvbuf_bytes'], 'bytes')} was full. "
        f"{_amount(channel['rx_kernel_drops'])} in all",
        "its readers are too slow, and the worker waits for them: read more often, or open it with "
        'overflow="oldest"'
        if full
        else f"open it with rcvbuf_bytes={wanted}, which net.core.rmem_max must allow: that holds "
        f"{duration(HOLD_S * NS_PER_S)} at this rate",
    )


def reader_text(reader: ReaderView) -> str:
    """Return its process with its name: ``process 30 (python3)``."""
    if reader.pid is None:
        return "a process in another pid namespace"
    name = reader.process_name
    return f"process {reader.pid} ({name})" if name else f"process {reader.pid}"


def _overwritten(channel: ChannelView) -> Found | None:
    lost = _grown(channel, "rx_overwritten")
    if not lost:
        return None
    slow = max(channel.readers, key=lambda r: (r.lost_delta or 0, r.waiting), default=None)
    who = "" if slow is None else f" {reader_text(slow)} is {_packets(slow.waiting)} behind."
    return Found(
        lost,
        f"{_packets(lost)} overwritten {_within(channel)}, before a reader took them.{who} "
        f"{_amount(channel['rx_overwritten'])} in all",
        "see whether that program hangs"
        if slow is not None and slow.taken_delta == 0
        else _larger_rx_ring(channel),
    )


def _larger_rx_ring(channel: ChannelView) -> str:
    """Return a ring of at least twice today's size, and of what arrives in `HOLD_S`."""
    facts, rate = channel.facts, channel.rx_pps or 0.0
    size = _grown(channel, "rx_bytes") / (_grown(channel, "rx_received") or 1) or 1.0
    today = facts.rx_capacity or int(facts.rx_bytes / size)
    wanted = _round_up(max(int(rate * HOLD_S), 2 * today))
    holds = f": that holds {duration(wanted / rate * NS_PER_S)} at this rate" if rate else ""
    return f"read more often, or open it with rx_capacity={wanted} (now {today}){holds}"


def _reader_stuck(channel: ChannelView) -> Found | None:
    if channel.facts.overflow != "wait" or channel.rx_fill < FULL_SHARE:
        return None
    slow = max(channel.readers, key=lambda reader: reader.waiting, default=None)
    if slow is None or slow.taken_delta != 0 or not (slow.waiting or channel["rx_unread"]):
        return None  # a reader that is merely slow slows the senders, as overflow="wait" wants it
    return Found(
        channel.rx_fill,
        f"the receive ring is {_share(channel.rx_fill)} full, and {reader_text(slow)} took "
        f"nothing {_within(channel)}. The worker waits, with {_packets(channel['rx_unread'])}",
        'see whether that program hangs, or open the channel with overflow="oldest"',
    )


# --- channels: engines ----------------------------------------------------------------------------


def _link_silent(channel: ChannelView) -> Found | None:
    link = channel.netflux
    if link is None or link.watch_ns is None or link.alive or channel.direction == "tx":
        return None
    watchdog = f"its watchdog expired after {duration(link.watch_ns)}"
    last_ns = link["last_accepted_mono_ns"]
    if channel.state == "held" or channel.age_s * NS_PER_S < link.watch_ns:
        return None  # not yet
    if not last_ns:
        return Found(
            channel.age_s,
            f"the partner has never been heard: {watchdog}",
            "start the partner, and check address and firewall: shmring tap " + _full_name(channel),
        )
    silent_ns = channel["read_mono_ns"] - last_ns
    return Found(
        silent_ns / NS_PER_S,
        f"the partner has been silent for {duration(silent_ns)}: {watchdog}. "
        f"{_many(link['timeouts'], 'time')} in all",
        "see whether the partner runs and its packets arrive: shmring tap " + _full_name(channel),
    )


def _not_heard(channel: ChannelView) -> Found | None:
    link = channel.netflux
    if link is None or not link["hear_ns"] or not link.alive or link.heard:
        return None
    return Found(
        link["unheard"],
        f"the partner sends, and has not acknowledged our packets for {duration(link['hear_ns'])}. "
        f"{_many(link['unheard'], 'time')} in all",
        f"see whether our packets reach it: shmring tap {_full_name(channel)}",
    )


def _values_stale(channel: ChannelView) -> Found | None:
    part = channel.part
    if part is None or channel.engine not in ("cyclic", "netflux") or channel.direction == "rx":
        return None
    if part["fresh"] or not part["stale"] or not channel["producers"]:
        return None  # no_producer
    sent = (part.delta("sent_stale") or 0) + (part.delta("sent_failsafe") or 0)
    what = f"{_packets(sent)} with old or fail-safe values were sent {_within(channel)}"
    return Found(
        part["stale"],
        f"the program that feeds it has stopped updating its values. {what}. "
        f"{_many(part['stale'], 'time')} in all",
        "see whether that program hangs or is late",
    )


def _rtp_loss(channel: ChannelView) -> Found | None:
    stream = channel.rtp
    if stream is None or stream.before is None:
        return None
    missing = (stream.delta("lost") or 0) + (stream.delta("late") or 0)
    share = stream.loss
    if not missing or share is None or share < LOSS_SHARE:
        return None
    concealed = duration(stream.delta("concealed_ns") or 0)
    return Found(
        share,
        f"{_share(share)} of the frames came too late or never {_within(channel)}: "
        f"{_many(missing, 'frame')}, {concealed} of media concealed. {stream['lost']} lost in all",
        _rtp_fix(stream),
    )


def _rtp_fix(stream: RtpView) -> str:
    late, lost = stream.delta("late") or 0, stream.delta("lost") or 0
    if late <= lost:
        return "check the path, or let it repeat lost packets: Rtp(nack=True)"
    delay_ns = stream["delay_ns"] + 4 * stream["jitter_ns"]
    ms = -(-delay_ns // NS_PER_MS)
    return (
        f"most came too late: let the jitter buffer wait longer, Rtp(min_delay_ns={ms}_000_000) "
        "for example"
    )


def _rtp_loss_there(channel: ChannelView) -> Found | None:
    stream = channel.rtp
    share = None if stream is None else stream.reported_loss
    if stream is None or share is None or share < LOSS_SHARE:
        return None
    age_ns = channel["read_mono_ns"] - stream["report_mono_ns"]
    if age_ns > REPORT_S * NS_PER_S:
        return None
    return Found(
        share,
        f"the receiver lost {_share(share)} of our packets, as it reported {duration(age_ns)} ago",
        "check the path, or let the receiver ask for lost packets: Rtp(nack=True)",
    )


def _connection_lost(channel: ChannelView) -> Found | None:
    connection = channel.udt
    if connection is None or connection.state not in ("broken", "lost"):
        return None
    return Found(
        1,
        f"the connection is {connection.state}: the peer died, or the path is gone",
        "close it and connect again",
    )


def _ports_lost(channel: ChannelView) -> Found | None:
    lost = 0 if channel.mux is None else channel.mux["lost"]
    if not lost:
        return None
    return Found(
        lost,
        f"{_many(lost, 'port')} could not be bound again after a worker's death, because another "
        "program has taken them",
        "close these sockets and open them again",
    )


def _connection_stalled(channel: ChannelView) -> Found | None:
    connection = channel.udt
    if connection is None or connection.state != "connected" or channel.seconds is None:
        return None
    if connection["data_ns"] < STALL_NS or not connection["flight_packets"]:
        return None
    if connection.delta("acks_received"):
        return None
    return Found(
        connection["unsent_bytes"],
        f"nothing was acknowledged {_within(channel)}, and "
        f"{quantity(connection['unsent_bytes'], 'bytes')} wait",
        "the peer's receive buffer is full: its program must read"
        if not connection["flow_window_packets"]
        else "see whether the peer runs and the path is there",
    )


# --- the table ------------------------------------------------------------------------------------

RULES: tuple[Rule, ...] = (
    Rule("worker_dead", "broken", "worker", "s", _worker_dead, "the worker's process is dead"),
    Rule(
        *("worker_stopped", "broken", "worker", "s", _worker_stopped),
        "a signal or a debugger stopped the worker",
    ),
    Rule(
        *("worker_stalled", "broken", "worker", "s", _worker_stalled),
        "the worker's process lives, and had no heartbeat for a second",
    ),
    Rule("channel_failed", "broken", "channel", "errno", _failed, "the channel failed"),
    Rule(
        *("channel_unserved", "broken", "channel", "s", _unserved),
        "no worker serves the channel",
    ),
    Rule(
        *("connection_lost", "broken", "channel", "", _connection_lost),
        "a UDT connection is broken or lost",
    ),
    Rule(
        *("link_silent", "broken", "channel", "s", _link_silent),
        "the watchdog of a Netflux link expired",
    ),
    Rule(
        *("no_producer", "broken", "channel", "", _no_producer),
        "the process that opened it is dead, and none is attached to send, as one did before",
    ),
    Rule(
        *("values_stale", "troubled", "channel", "times", _values_stale),
        "the values of a cyclic channel or a Netflux link are too old, and their program lives",
    ),
    Rule(
        *("not_heard", "troubled", "channel", "times", _not_heard),
        "the partner of a Netflux link sends, but does not acknowledge",
    ),
    Rule("unreadable", "troubled", "file", "", _unreadable, "a file cannot be read"),
    Rule(
        *("kernel_drops", "troubled", "channel", "packets", _kernel_drops),
        "the kernel dropped packets, because the socket's buffer was full",
        grows=True,
    ),
    Rule(
        *("overwritten", "troubled", "channel", "packets", _overwritten),
        "packets were overwritten before a reader took them",
        grows=True,
    ),
    Rule(
        *("send_failed", "troubled", "channel", "packets", _send_failed),
        "the kernel refused packets",
        grows=True,
    ),
    Rule(
        *("dropped_late", "troubled", "channel", "packets", _dropped_late),
        "packets were dropped because they were late",
        grows=True,
    ),
    Rule(
        *("late", "troubled", "channel", "share", _late),
        f"at least {LATE_SHARE:.0%} of the packets with a deadline were late, and at least "
        f"{LATE_LEAST} packets or half of them",
        grows=True,
    ),
    Rule(
        *("rtp_loss", "troubled", "channel", "share", _rtp_loss),
        f"at least {LOSS_SHARE:.0%} of the due RTP frames came too late or never",
        grows=True,
    ),
    Rule(
        *("rtp_loss_there", "troubled", "channel", "share", _rtp_loss_there),
        f"the receiver reports at least {LOSS_SHARE:.0%} of our RTP packets lost",
    ),
    Rule(
        *("ports_lost", "troubled", "channel", "ports", _ports_lost),
        "ports of a mux channel could not be bound again after a worker's death",
    ),
    Rule(
        *("connection_stalled", "troubled", "channel", "bytes", _connection_stalled),
        f"a UDT connection has had unacknowledged data for {STALL_NS // NS_PER_S} s, and no "
        "acknowledgement arrives",
    ),
    Rule(
        *("send_ring_full", "troubled", "channel", "share", _send_ring_full),
        f"the send ring is at least {FULL_SHARE:.0%} full, and nothing left it",
    ),
    Rule(
        *("reader_stuck", "troubled", "channel", "share", _reader_stuck),
        f"the receive ring is at least {FULL_SHARE:.0%} full, and the reader for which the worker "
        "waits took nothing",
    ),
    Rule(
        *("pool_gone", "troubled", "pool", "channels", _pool_gone),
        "the pool's process is dead, and its workers continue",
    ),
    Rule(
        *("orphaned", "troubled", "channel", "", _orphaned),
        "the process that opened the channel is dead, and none is attached",
    ),
    Rule(
        *("worker_restarted", "troubled", "worker", "times", _worker_restarted),
        f"the worker was restarted within the last {RESTARTED_S:.0f} s",
    ),
)
"""In the order in which the list shows them: what others suffer from comes first."""

_PLACE = {rule.name: place for place, rule in enumerate(RULES)}
_STANDSTILL = frozenset(("worker_dead", "worker_stopped", "worker_stalled"))


# --- judging --------------------------------------------------------------------------------------


def judge(
    workers: Sequence[WorkerView],
    channels: Sequence[ChannelView],
    pools: Sequence[PoolView] = (),
    unreadable: Sequence[Unreadable] = (),
) -> tuple[Trouble, ...]:
    """Return what is wrong with these, the worst first.

    What a channel suffers only because its worker stands still is part of the worker's trouble.
    """
    of_worker = _by_worker(channels)
    owners = {pool.key: pool.owner_alive for pool in pools}
    found = [
        *_apply("file", ((file, file, _file_subject(file)) for file in unreadable)),
        *_apply("pool", ((pool, pool, f"{pool.namespace}/{pool.name}:") for pool in pools)),
    ]
    still: set[tuple[str, str, int]] = set()
    for worker in workers:
        pool_alive = owners.get((worker.namespace, worker.pool))
        serving = Serving(worker, tuple(of_worker.get(worker.key, ())), pool_alive)
        subject = f"{worker.namespace}/{worker.pool}:{worker.slot}"
        own = list(_apply("worker", [(worker, serving, subject)]))
        if any(trouble.name in _STANDSTILL for trouble in own):
            still.add(worker.key)
        found += own
    found += _apply(
        "channel",
        (
            (channel, channel, f"{channel.namespace}/{channel.name}")
            for channel in channels
            if channel.worker_key not in still
        ),
    )
    return in_order(found)


def _by_worker(channels: Iterable[ChannelView]) -> dict[tuple[str, str, int], list[ChannelView]]:
    found: dict[tuple[str, str, int], list[ChannelView]] = {}
    for channel in channels:
        found.setdefault(channel.worker_key, []).append(channel)
    return found


def _file_subject(file: Unreadable) -> str:
    return f"{file.namespace}/{file.name}"


def _apply(scope: Scope, views: Iterable[tuple[Any, Any, str]]) -> Iterator[Trouble]:
    """Return what the rules of a scope find in views. Each has what a rule gets, and a subject."""
    rules = [rule for rule in RULES if rule.scope == scope]
    for view, given, subject in views:
        for rule in rules:
            found = rule.find(given)
            if found is not None:
                yield Trouble(rule.name, rule.severity, subject, *found, scope, view)


def in_order(troubles: Iterable[Trouble]) -> tuple[Trouble, ...]:
    """Return the worst first: by severity, rule, order of magnitude of the figure, subject. So the
    order does not change while the figures only vary."""
    return tuple(sorted(troubles, key=_weight))


def _weight(trouble: Trouble) -> tuple[int, int, int, str]:
    size = int(log10(trouble.figure)) if trouble.figure >= 1 else 0
    if 0 < trouble.figure < 1:
        size = int(log10(trouble.figure)) - 1
    severity = SEVERITIES.index(trouble.severity)
    return severity, _PLACE[trouble.name], -size, trouble.subject


def concerns(trouble: Trouble, channel: ChannelView) -> bool:
    """Return whether it is a trouble of the channel, of its worker or of its pool."""
    keys = {
        "channel": channel.key,
        "worker": channel.worker_key,
        "pool": (channel.namespace, channel.pool),
    }
    return trouble.scope in keys and trouble.view.key == keys[trouble.scope]


def verdict(troubles: Iterable[Trouble]) -> Verdict:
    """Return the worst severity, or ok."""
    found = {trouble.severity for trouble in troubles}
    for severity in SEVERITIES:
        if severity in found:
            return severity
    return "ok"


class Recent:
    """Keeps troubles that grew within the last minute, for a watcher that looks again and again."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[int, Trouble]] = {}

    def add(self, troubles: Iterable[Trouble], mono_ns: int) -> tuple[Trouble, ...]:
        """Return these and those seen in the last `RECENT_S`, the worst first."""
        now = {(trouble.name, trouble.subject): trouble for trouble in troubles}
        self._seen |= {
            key: (mono_ns, trouble)
            for key, trouble in now.items()
            if RULES[_PLACE[trouble.name]].grows
        }
        oldest_ns = mono_ns - int(RECENT_S * NS_PER_S)
        self._seen = {key: seen for key, seen in self._seen.items() if seen[0] >= oldest_ns}
        kept = [
            _aged(trouble, mono_ns - seen_ns)
            for key, (seen_ns, trouble) in self._seen.items()
            if key not in now
        ]
        return in_order((*now.values(), *kept))


def _aged(trouble: Trouble, age_ns: int) -> Trouble:
    text = f"{trouble.text}. The latest {age_ns // NS_PER_S} s ago"
    return Trouble(
        *(trouble.name, trouble.severity, trouble.subject, trouble.figure),
        *(text, trouble.fix, trouble.scope, trouble.view),
    )
