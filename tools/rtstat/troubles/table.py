"""What is wrong: the one table of rules. A trouble that causes others comes before them.

A rule is a decorated function, and its place in this file is its place in the table. It has a name,
a severity, the condition, the words, the fix, and evidence that a person or a program can check.
Each limit has its reason beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rtstat.clocks import Clocks
from rtstat.numbers import CHANNEL_WORDS, NS_PER_S
from rtstat.parts import RtpView
from rtstat.troubles.rule import ROWS, Found, Rule, Serving, Trouble, rule
from rtstat.troubles.words import (
    amount,
    full_name,
    grown,
    many,
    packets,
    percentage,
    reader_text,
    so_far,
    start_pool,
    within,
)
from rtstat.views import ChannelView, PoolView, Unreadable, WorkerView
from rtworkers.verdicts import LATE
from shmring.observe.engines import repeats
from shmring_cli.output import NS_PER_MS, duration, quantity

FULL_SHARE = 0.95
"""A ring that is fuller has no room for the next burst."""
STUCK_NS = 900_000_000
"""A program that the machine does not run for a shorter time is not stuck. A little less than the
second between two snapshots of most watchers."""
RESTARTED_S = 60.0
"""As long as a trouble counts as recent."""
LATE_SHARE = 0.01
"""Less is what a machine without tuning does: its p99 is late, not its work."""
LATE_LEAST = 3
"""One packet of a few is no share. Fewer count only if they are at least half of the packets."""
HOLD_S = 0.1
"""How long a buffer should hold what arrives. A worker that was killed is replaced in this time."""
LOSS_SHARE = 0.01
"""Codecs conceal less, and nobody hears it."""
REPORT_S = 30.0
"""RTCP reports come every few seconds. An older one says nothing about now."""
STALL_NS = 2 * NS_PER_S
"""A connection with unacknowledged data sends again after less."""
_READERS = 3
_EARLIER = "queue packets earlier than their deadlines"
_SCHEDULED, _WAITING = CHANNEL_WORDS["scheduled"], CHANNEL_WORDS["tx_waiting"]


# --- what rules share ---------------------------------------------------------------------------


def _waiting(serving: Serving) -> str:
    waiting = sum(channel.tx_waiting for channel in serving.channels)
    channels = many(len(serving.channels), "channel")
    return f"{channels} without a worker, {packets(waiting)} not sent"


def _still_s(worker: WorkerView) -> float:
    return worker.heartbeat_age_ns / NS_PER_S


def _opener(channel: ChannelView) -> str:
    return f"process {channel.opener_pid}, which opened it,"


def _was_fed(channel: ChannelView) -> bool:
    """Return whether a process ever gave it something to send. A grid of ticks needs none."""
    part = channel.part
    if part is None or not repeats(channel.engine):
        return channel["tx_next_sequence"] > 0
    return part["updates" if channel.engine == "cyclic" else "sent"] > 0


def _deserted(channel: ChannelView) -> bool:
    """Return whether its opener is dead, and no process is attached to send."""
    return channel.opener_alive is False and not channel["producers"]


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


def _larger_rx_ring(channel: ChannelView) -> str:
    """Return a ring of at least twice today's size, and of what arrives in `HOLD_S`."""
    facts, rate = channel.facts, channel.rx_pps or 0.0
    size = grown(channel, "rx_bytes") / (grown(channel, "rx_received") or 1) or 1.0
    today = facts.rx_capacity or int(facts.rx_bytes / size)
    wanted = _round_up(max(int(rate * HOLD_S), 2 * today))
    holds = f": that holds {duration(wanted / rate * NS_PER_S)} at this rate" if rate else ""
    return f"read more often, or open it with rx={wanted} (now {today}){holds}"


def _rtp_fix(stream: RtpView) -> str:
    late, lost = stream.delta("late") or 0, stream.delta("lost") or 0
    if late <= lost:
        return "check the path, or let it repeat lost packets: Rtcp(nack=Nack())"
    delay_ns = stream["delay_ns"] + 4 * stream["jitter_ns"]
    ms = -(-delay_ns // NS_PER_MS)
    return (
        "most came too late: let the jitter buffer wait longer, "
        f"Playout(min_delay_ns={ms}_000_000) for example"
    )


# --- evidence: since when, and in words ---------------------------------------------------------


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

_LEFT: dict[str, Any] = {
    "counters": "producers readers", "kinds": "client_hung_up client_detached"
}
_STANDSTILL: dict[str, Any] = {
    "counters": "tx_waiting tx_on_time",
    "kinds": "worker_stalled worker_died",
    "since": _heartbeat,
    "say": _unsent,
}


@rule(
    *("broken", "worker", "s"),
    "the worker had no heartbeat for a second, and its process is dead or not seen from here",
    **_STANDSTILL,
)
def worker_dead(serving: Serving) -> Found | None:
    worker = serving.worker
    if worker.alive or worker.process_state not in ("dead", None):
        return None
    age = duration(worker.heartbeat_age_ns)
    return Found(
        _still_s(worker),
        f"process {worker.pid} has been dead for {age}: {_waiting(serving)}"
        if worker.process_state == "dead"
        else f"its last heartbeat was {age} ago, and process {worker.pid} is not seen from here. "
        f"It is dead, or stands still in another pid namespace: {_waiting(serving)}",
        "its pool is not seen, either. If both are dead, adopt the channels: "
        f"{start_pool(worker.namespace, worker.pool)}. Or remove them: shmring gc"
        if serving.owner_state == "dead"
        else "its pool should replace a dead worker within 100 ms. See why it does not: rtstat "
        "errors",
    )


@rule(
    *("broken", "worker", "s"),
    "a signal or a debugger stopped the worker",
    **_STANDSTILL,
)
def worker_stopped(serving: Serving) -> Found | None:
    worker = serving.worker
    if worker.alive or worker.process_state != "stopped":
        return None
    return Found(
        _still_s(worker),
        f"process {worker.pid} has been stopped, by a signal or a debugger, for "
        f"{duration(worker.heartbeat_age_ns)}: {_waiting(serving)}",
        f"continue it: kill -CONT {worker.pid}",
    )


@rule(
    *("broken", "worker", "s"),
    "the worker's process lives, and had no heartbeat for a second",
    **_STANDSTILL,
)
def worker_stalled(serving: Serving) -> Found | None:
    worker = serving.worker
    if worker.alive or worker.process_state != "running":
        return None
    return Found(
        _still_s(worker),
        f"process {worker.pid} has shown no sign of life for "
        f"{duration(worker.heartbeat_age_ns)}: {_waiting(serving)}",
        "something else has its core, or the machine is out of memory: shmring doctor",
    )


@rule(
    *("broken", "channel", "errno"),
    "the channel failed",
    own=True,
    counters="rx_errors tx_failed",
    kinds="channel_failed channel_given_up",
)
def channel_failed(channel: ChannelView) -> Found | None:
    if channel.health != "failed":
        return None
    reason = channel.facts.failure or f"errno {channel['error']}"
    return Found(channel["error"], f"it failed: {reason}", "close it, and open it again")


@rule(
    *("broken", "channel", "s"),
    "no worker serves the channel",
    own=True,
    **_STANDSTILL,
)
def channel_unserved(channel: ChannelView) -> Found | None:
    if channel.health != "stale":
        return None
    age_ns = channel.heartbeat_age_ns
    since = "since it was opened" if age_ns is None else f"for {duration(age_ns)}"
    return Found(
        channel.created_age_s if age_ns is None else age_ns / NS_PER_S,
        f"no worker has served it {since}",
        "if its pool is dead, remove it: shmring gc",
    )


@rule(
    *("broken", "channel", ""),
    "a UDT connection is broken or lost",
    own=True,
    counters="udt.error udt.peer_errors",
    kinds="udt_broken",
)
def connection_lost(channel: ChannelView) -> Found | None:
    connection = channel.udt
    if connection is None or connection.state not in ("broken", "lost"):
        return None
    return Found(
        1,
        f"the connection is {connection.state}: the peer died, or the path is gone",
        "close it and connect again",
    )


@rule(
    *("broken", "channel", "s"),
    "the watchdog of a Netflux link expired",
    counters=(
        "netflux.accepted netflux.timeouts netflux.rejected_short "
        "netflux.rejected_repeated netflux.rejected_old "
        "netflux.rejected_foreign"
    ),
    kinds="netflux_timeout",
    since=_last_accepted,
    say=_partner,
)
def link_silent(channel: ChannelView) -> Found | None:
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
            "start the partner, and check address and firewall: shmring tap " + full_name(channel),
        )
    silent_ns = channel["read_mono_ns"] - last_ns
    return Found(
        silent_ns / NS_PER_S,
        f"the partner has been silent for {duration(silent_ns)}: {watchdog}"
        f"{so_far(link['timeouts'])}",
        "see whether the partner runs and its packets arrive: shmring tap " + full_name(channel),
    )


@rule(
    *("broken", "channel", ""),
    "it sends the values of its opener, which is dead, and no process is attached to send",
    own=True,
    **_LEFT,
)
def no_producer(channel: ChannelView) -> Found | None:
    if not repeats(channel.engine) or not _deserted(channel) or not _was_fed(channel):
        return None
    return Found(
        1,
        f"{_opener(channel)} is dead, and no process is attached to send. It sends its last or "
        "fail-safe values",
        f"start its program (exist_ok=True), or end it: shmring end {full_name(channel)}",
    )


@rule(
    *("troubled", "channel", "times"),
    "the values of a cyclic channel or a Netflux link are too old, and their program lives",
    since=_last_update,
)
def values_stale(channel: ChannelView) -> Found | None:
    part = channel.part
    if part is None or not repeats(channel.engine) or channel.direction == "rx":
        return None
    if part["fresh"] or not part["stale"] or not channel["producers"]:
        return None  # no_producer
    sent = (part.delta("sent_stale") or 0) + (part.delta("sent_failsafe") or 0)
    what = f"{packets(sent)} with old or fail-safe values were sent {within(channel)}"
    return Found(
        part["stale"],
        f"the program that feeds it has stopped updating its values. {what}{so_far(part['stale'])}",
        "see whether that program hangs or is late",
    )


@rule(
    *("troubled", "channel", "times"),
    "the partner of a Netflux link sends, but does not acknowledge",
    counters="netflux.sent netflux.acknowledged netflux.unheard",
)
def not_heard(channel: ChannelView) -> Found | None:
    link = channel.netflux
    if link is None or not link["hear_ns"] or not link.alive or link.heard:
        return None
    return Found(
        link["unheard"],
        f"the partner sends, and has not acknowledged our packets for {duration(link['hear_ns'])}"
        f"{so_far(link['unheard'])}",
        f"see whether our packets reach it: shmring tap {full_name(channel)}",
    )


@rule(
    *("troubled", "file", ""),
    "a file cannot be read",
)
def unreadable(file: Unreadable) -> Found | None:
    if not file.permitted:
        return None
    return Found(
        1,
        f"its file in shared memory cannot be read: {file.reason}",
        "if its processes are dead, remove it: shmring gc",
    )


@rule(
    *("troubled", "channel", "packets"),
    "the kernel dropped packets, because the socket's buffer was full",
    grows=True,
    counters="rx_kernel_drops rx_received rcvbuf_bytes",
    kinds="kernel_drops",
    say=_socket_buffer,
)
def kernel_drops(channel: ChannelView) -> Found | None:
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


@rule(
    *("troubled", "channel", "packets"),
    "packets were overwritten, because a process attached to the channel and has never read",
    grows=True,
)
def never_read(channel: ChannelView) -> Found | None:
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


@rule(
    *("troubled", "channel", "packets"),
    "packets were overwritten before a reader took them",
    grows=True,
    counters="rx_overwritten rx_received",
    kinds="ring_overrun",
    say=_attached,
)
def overwritten(channel: ChannelView) -> Found | None:
    lost = grown(channel, "rx_overwritten")
    if not lost:
        return None
    readers = channel.readers
    if any(r.lost_delta for r in readers) and all(r.never_read for r in readers if r.lost_delta):
        return None  # never_read
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


@rule(
    *("troubled", "channel", "packets"),
    "the kernel refused packets",
    grows=True,
    counters="tx_failed tx_retries",
    kinds="send_failed send_no_room",
)
def send_failed(channel: ChannelView) -> Found | None:
    failed = grown(channel, "tx_failed")
    if not failed:
        return None
    return Found(
        failed,
        f"the kernel refused {packets(failed)} {within(channel)}. "
        f"{amount(channel['tx_failed'])} in total",
        f"see the error: rtstat why {full_name(channel)}",
    )


@rule(
    *("troubled", "channel", "packets"),
    "packets were dropped because they were late",
    grows=True,
    counters="tx_on_time tx_dropped_late",
    kinds="late_packets",
)
def dropped_late(channel: ChannelView) -> Found | None:
    dropped = grown(channel, "tx_dropped_late")
    if not dropped:
        return None
    return Found(
        dropped,
        f"{packets(dropped)} dropped {within(channel)}, because they were too late. "
        f"{amount(channel['tx_dropped_late'])} in total",
        f'{_EARLIER}, or open it with late="send". For details: rtstat why {full_name(channel)}',
    )


@rule(
    *("troubled", "channel", "share"),
    f"at least {LATE_SHARE:.0%} of the packets with a deadline were late, and at least "
    f"{LATE_LEAST} packets or half of them",
    grows=True,
    counters=" ".join(("tx_on_time", *LATE)),
    kinds="late_packets",
)
def late(channel: ChannelView) -> Found | None:
    late, share = channel.late_delta, channel.late_share
    if not late or share is None:
        return None
    if share < LATE_SHARE or (late < LATE_LEAST and share < 0.5):
        return None
    reason = max(LATE, key=lambda name: grown(channel, name))
    if reason == "tx_dropped_late":
        return None  # dropped_late
    from rtstat.causes import fix_of  # which is seldom needed

    times = channel.lateness_interval
    worst = f", up to {duration(times.max_ns)}" if times is not None and times.count else ""
    whole = "" if channel["tx_immediate"] else f". {amount(channel.late)} in total"
    return Found(
        share,
        f"{percentage(share)} of the packets were late {within(channel)}: {packets(late)}{worst}"
        f"{whole}",
        f"{fix_of(reason, channel)}. For details: rtstat why {full_name(channel)}",
    )


@rule(
    *("troubled", "channel", "share"),
    f"at least {LOSS_SHARE:.0%} of the due RTP frames came too late or never",
    grows=True,
    counters="rtp.lost rtp.late rtp.delivered rtp.concealed_ns rtp.nack_recovered",
    kinds="rtp_late",
    since=_unknown,
    say=_jitter_buffer,
)
def rtp_loss(channel: ChannelView) -> Found | None:
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
        f"{percentage(share)} of the frames came too late or never {within(channel)}: "
        f"{many(missing, 'frame')}, {concealed} of media concealed. {stream['lost']} lost in total",
        _rtp_fix(stream),
    )


@rule(
    *("troubled", "channel", "share"),
    f"the receiver reports at least {LOSS_SHARE:.0%} of our RTP packets lost",
    counters="rtp.reported_lost rtp.sent rtp.rtt_ns",
)
def rtp_loss_there(channel: ChannelView) -> Found | None:
    stream = channel.rtp
    share = None if stream is None else stream.reported_loss
    if stream is None or share is None or share < LOSS_SHARE:
        return None
    age_ns = channel["read_mono_ns"] - stream["report_mono_ns"]
    if age_ns > REPORT_S * NS_PER_S:
        return None
    return Found(
        share,
        f"the receiver lost {percentage(share)} of our packets, as it reported "
        f"{duration(age_ns)} ago",
        "check the path, or let the receiver ask for lost packets: Rtcp(nack=Nack())",
    )


@rule(
    *("troubled", "channel", "ports"),
    "ports of a mux channel could not be bound again after a worker's death",
    own=True,
    counters="mux.open mux.lost",
    kinds="channel_taken_over",
)
def ports_lost(channel: ChannelView) -> Found | None:
    mux = channel.part_of("mux")
    lost = 0 if mux is None else mux["lost"]
    if not lost:
        return None
    return Found(
        lost,
        f"{many(lost, 'port')} could not be bound again after a worker's death, because another "
        "program has taken them",
        "close these sockets and open them again",
    )


@rule(
    *("troubled", "channel", "packets"),
    "a proxy had no flow for new clients",
    grows=True,
    counters="proxy.flows proxy.forward_no_flow proxy.flows_opened",
    kinds="flow_refused",
)
def flows_refused(channel: ChannelView) -> Found | None:
    proxy = channel.part_of("proxy")
    refused = None if proxy is None else proxy.delta("forward_no_flow")
    if proxy is None or not refused:
        return None
    return Found(
        refused,
        f"{packets(refused)} of new clients got no flow {within(channel)}, beside "
        f"{many(proxy['flows'], 'flow')}{so_far(proxy['forward_no_flow'])}",
        "allow more, Proxy(flows=...), or end idle ones sooner, Proxy(idle_ns=...)",
    )


@rule(
    *("troubled", "channel", "bytes"),
    f"a UDT connection has had unacknowledged data for {STALL_NS // NS_PER_S} s, and no "
    "acknowledgement arrives",
    counters=(
        "udt.flight_packets udt.unsent_bytes udt.flow_window_packets "
        "udt.timeouts udt.acks_received"
    ),
    since=_acknowledged,
    say=_peer,
)
def connection_stalled(channel: ChannelView) -> Found | None:
    connection = channel.udt
    if connection is None or connection.state != "connected" or channel.seconds is None:
        return None
    if connection["data_ns"] < STALL_NS or not connection["flight_packets"]:
        return None
    if connection.delta("acks_received"):
        return None
    return Found(
        connection["unsent_bytes"],
        f"nothing was acknowledged {within(channel)}, and "
        f"{quantity(connection['unsent_bytes'], 'bytes')} wait",
        "the peer's receive buffer is full: its program must read"
        if not connection["flow_window_packets"]
        else "see whether the peer runs and the path is there",
    )


@rule(
    *("troubled", "channel", "share"),
    f"the send ring is at least {FULL_SHARE:.0%} full, and it is held, or the kernel has taken "
    f"nothing for {STUCK_NS / NS_PER_S:g} s",
    counters="tx_waiting tx_used_bytes tx_retries",
    kinds="send_no_room",
)
def send_ring_full(channel: ChannelView) -> Found | None:
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


@rule(
    *("troubled", "channel", "share"),
    f"the receive ring is at least {FULL_SHARE:.0%} full, and the reader for which the worker "
    f"waits has taken nothing for {STUCK_NS / NS_PER_S:g} s",
    counters="rx_unread rx_kernel_drops",
    kinds="ring_overrun",
    say=_attached,
)
def reader_stuck(channel: ChannelView) -> Found | None:
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


@rule(
    *("troubled", "pool", "channels"),
    "a signal or a debugger stopped the pool's process",
)
def pool_stopped(pool: PoolView) -> Found | None:
    if pool.owner_state != "stopped":
        return None
    count = len(pool.channels)
    return Found(
        count,
        f"its process {pool.owner_pid} has been stopped, by a signal or a debugger: nobody "
        "replaces a worker that dies, and nobody can open or close a channel. "
        f"{many(count, 'channel')} of it still open",
        f"continue it: kill -CONT {pool.owner_pid}",
    )


@rule(
    *("troubled", "pool", "channels"),
    "the pool's process is dead, and its workers continue",
)
def pool_gone(pool: PoolView) -> Found | None:
    seen = any(worker.process_state in ("running", "stopped") for worker in pool.workers)
    if pool.owner_state != "dead" or not seen:
        return None  # a /proc without the workers is another pid namespace's
    count = len(pool.channels)
    return Found(
        count,
        "its process is dead: nobody replaces a worker that dies, and nobody can open a channel. "
        f"{many(count, 'channel')} of it still open",
        "start it again, and it adopts workers and channels: "
        f"{start_pool(pool.namespace, pool.name)}",
    )


@rule(
    *("troubled", "channel", ""),
    "the process that opened the channel is dead, and none is attached, or none that sends",
    own=True,
    **_LEFT,
)
def orphaned(channel: ChannelView) -> Found | None:
    sent = channel.direction != "rx" and _was_fed(channel)
    if not _deserted(channel) or no_producer(channel) or (channel["readers"] and not sent):
        return None
    what = ""
    if channel["readers"]:
        what = " to send. Nothing is sent on it"
    if sent and channel.tx_waiting:  # it may have queued them and ended, as a program may
        what = f" to send. {packets(channel.tx_waiting)} still to be sent"
    return Found(
        1,
        f"{_opener(channel)} is dead, and no process is attached{what}",
        f"start its program (exist_ok=True), or end it: shmring end {full_name(channel)}",
    )


@rule(
    *("troubled", "worker", "times"),
    f"the worker was restarted within the last {RESTARTED_S:.0f} s",
    kinds="worker_died channel_taken_over",
    since=_worker_started,
)
def worker_restarted(serving: Serving) -> Found | None:
    worker = serving.worker
    if not worker["restarts"] or worker.age_s >= RESTARTED_S:
        return None
    return Found(
        worker["restarts"],
        f"it was restarted {duration(worker.age_s * NS_PER_S)} ago{so_far(worker['restarts'])}",
        "see how it ended: rtstat errors",
    )


RULES: tuple[Rule, ...] = tuple(ROWS)
"""In the order in which the list shows what they find."""
