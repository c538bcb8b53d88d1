"""Troubles of the engines: Netflux and cyclic channels, RTP, UDT, proxies, mux."""

from __future__ import annotations

from rtstat.numbers import NS_PER_S
from rtstat.parts import RtpView
from rtstat.troubles.common import full_name, many, packets, percentage, so_far, within
from rtstat.troubles.rule import Found, Rule
from rtstat.views import ChannelView
from shmring_cli.output import NS_PER_MS, duration, quantity

LOSS_SHARE = 0.01
"""Codecs conceal less, and nobody hears it."""
REPORT_S = 30.0
"""RTCP reports come every few seconds. An older one says nothing about now."""
STALL_NS = 2 * NS_PER_S
"""A connection with unacknowledged data sends again after less."""


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
            "start the partner, and check address and firewall: shmring tap " + full_name(channel),
        )
    silent_ns = channel["read_mono_ns"] - last_ns
    return Found(
        silent_ns / NS_PER_S,
        f"the partner has been silent for {duration(silent_ns)}: {watchdog}"
        f"{so_far(link['timeouts'])}",
        "see whether the partner runs and its packets arrive: shmring tap " + full_name(channel),
    )


def _not_heard(channel: ChannelView) -> Found | None:
    link = channel.netflux
    if link is None or not link["hear_ns"] or not link.alive or link.heard:
        return None
    return Found(
        link["unheard"],
        f"the partner sends, and has not acknowledged our packets for {duration(link['hear_ns'])}"
        f"{so_far(link['unheard'])}",
        f"see whether our packets reach it: shmring tap {full_name(channel)}",
    )


def _values_stale(channel: ChannelView) -> Found | None:
    part = channel.part
    if part is None or channel.engine not in ("cyclic", "netflux") or channel.direction == "rx":
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
        f"{percentage(share)} of the frames came too late or never {within(channel)}: "
        f"{many(missing, 'frame')}, {concealed} of media concealed. {stream['lost']} lost in total",
        _rtp_fix(stream),
    )


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
        f"the receiver lost {percentage(share)} of our packets, as it reported "
        f"{duration(age_ns)} ago",
        "check the path, or let the receiver ask for lost packets: Rtcp(nack=Nack())",
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


def _flows_refused(channel: ChannelView) -> Found | None:
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
        f"nothing was acknowledged {within(channel)}, and "
        f"{quantity(connection['unsent_bytes'], 'bytes')} wait",
        "the peer's receive buffer is full: its program must read"
        if not connection["flow_window_packets"]
        else "see whether the peer runs and the path is there",
    )


RULES = (
    Rule(
        *("link_silent", "broken", "channel", "s", _link_silent),
        "the watchdog of a Netflux link expired",
    ),
    Rule(
        *("not_heard", "troubled", "channel", "times", _not_heard),
        "the partner of a Netflux link sends, but does not acknowledge",
    ),
    Rule(
        *("values_stale", "troubled", "channel", "times", _values_stale),
        "the values of a cyclic channel or a Netflux link are too old, and their program lives",
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
        *("connection_lost", "broken", "channel", "", _connection_lost),
        "a UDT connection is broken or lost",
        own=True,
    ),
    Rule(
        *("connection_stalled", "troubled", "channel", "bytes", _connection_stalled),
        f"a UDT connection has had unacknowledged data for {STALL_NS // NS_PER_S} s, and no "
        "acknowledgement arrives",
    ),
    Rule(
        *("ports_lost", "troubled", "channel", "ports", _ports_lost),
        "ports of a mux channel could not be bound again after a worker's death",
        own=True,
    ),
    Rule(
        *("flows_refused", "troubled", "channel", "packets", _flows_refused),
        "a proxy had no flow for new clients",
        grows=True,
    ),
)
