"""What an RTP channel has counted and measured: the part `rtp` of `RtpChannel.stats`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from shmring._ring import ffi, lib
from shmring.stats import ChannelStats, text_of

CNAME_BYTES = 256
_NTP_MASK = 2**64 - 1


def _fact(unit: str, meaning: str) -> Any:
    return field(metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpStats:
    """The stream as sent, the stream as received, and what RTCP says of both.

    Counters run since the channel was opened, or since `Channel.reset_stats`; they bear the names
    of the table in ``csrc/shm/rtp_shm.h``. None stands for what is not known yet. Each number is
    read whole, but not all at one instant.
    """

    # --- counters: sending ------------------------------------------------------------------------
    sent: int = _fact("packets", "media packets sent, repetitions not counted")
    sent_octets: int = _fact("bytes", "their payload")
    spurts: int = _fact("spurts", "talk spurts begun")
    skipped_slots: int = _fact("slots", "of the grid that passed without a packet")
    underruns: int = _fact(
        "times", "the queue was empty when a packet was due, without a pause before"
    )
    filled: int = _fact("packets", "of those sent: filling of an underrun")
    bad_records: int = _fact("records", "from clients, that made no sense")

    # --- counters: receiving ----------------------------------------------------------------------
    received: int = _fact("packets", "that are RTP by their header")
    malformed: int = _fact("packets", "that are not")
    unexpected_pt: int = _fact("packets", "of a payload type that belongs to RTCP or is reserved")
    valid: int = _fact("packets", "of the stream")
    on_probation: int = _fact("packets", "of a source not yet proved")
    foreign: int = _fact("packets", "of another source")
    jumps: int = _fact("packets", "far off in sequence, not followed yet")
    restarts: int = _fact("times", "the source began anew at other sequence numbers")
    source_changes: int = _fact("times", "another source took over")
    delivered: int = _fact("frames", "given out")
    lost: int = _fact("frames", "passed over, and not arrived later either")
    late: int = _fact("frames", "arrived after they were passed over")
    duplicates: int = _fact("frames", "arrived a second time")
    overflow: int = _fact("frames", "pushed out of a full buffer")
    discarded: int = _fact("frames", "far off in time, and nothing followed them")
    erasures: int = _fact("events", "given out in place of frames")
    concealed_ns: int = _fact("ns", "media time that was missing at playout")
    pause_ns: int = _fact("ns", "media time in which the sender had paused")
    resyncs: int = _fact("times", "the timeline jumped")

    # --- counters: repair and RTCP ----------------------------------------------------------------
    nack_missing: int = _fact("packets", "that were overtaken by others")
    nack_requested: int = _fact("packets", "asked for, repetitions counted")
    nack_recovered: int = _fact("packets", "that came after they were asked for")
    nack_given_up: int = _fact("packets", "asked for in vain")
    nack_heard: int = _fact("packets", "that receivers asked us for")
    nack_resent: int = _fact("packets", "sent again")
    nack_gone: int = _fact("packets", "asked for, and not kept any more")
    rtcp_sent: int = _fact("compounds", "sent")
    rtcp_received: int = _fact("compounds", "received and sound")
    rtcp_malformed: int = _fact("compounds", "received and not sound")
    rtcp_sr_received: int = _fact("packets", "sender reports")
    rtcp_rr_received: int = _fact("packets", "receiver reports")
    rtcp_bye_received: int = _fact("packets", "goodbyes")
    rtcp_failed: int = _fact("compounds", "the kernel would not send")

    # --- now: sending -----------------------------------------------------------------------------
    ssrc: int = _fact("id", "ours")
    next_seq: int = _fact("number", "of the next packet we send")
    next_due_ns: int | None = _fact("ns", "its slot, in the channel's clock")
    queued: int = _fact("records", "waiting to be sent")

    # --- now: receiving ---------------------------------------------------------------------------
    remote_ssrc: int | None = _fact("id", "of the source received")
    jitter_units: int = _fact("units", "interarrival jitter (RFC 3550) in units of the media clock")
    jitter_ns: int = _fact("ns", "the same in time")
    delay_ns: int = _fact("ns", "of the jitter buffer in force, above the fastest frames")
    target_ns: int = _fact("ns", "the delay it aims at")
    depth: int = _fact("frames", "held by the jitter buffer")
    skew_ppm: float = _fact("ppm", "sender's clock against ours; above 0: it is slow")
    highest_seq: int = _fact("number", "extended, received")
    cumulative_lost: int = _fact("packets", "expected less received (RFC 3550 section 6.4.1)")

    # --- now: RTCP --------------------------------------------------------------------------------
    members: int = _fact("members", "of the session, ourselves included")
    senders: int = _fact("members", "of those, who send")
    rtcp_due_ns: int | None = _fact("ns", "next report of ours, CLOCK_MONOTONIC")
    rtt_ns: int | None = _fact("ns", "round trip from the last report about us")
    reported_fraction_lost: float | None = _fact(
        "share", "of our packets, as the last report about us says"
    )
    reported_lost: int = _fact("packets", "of ours so far, as it says")
    reported_jitter_units: int = _fact("units", "of ours, as it says")
    reported_highest_seq: int = _fact("number", "of ours, as it says")
    report_mono_ns: int | None = _fact("ns", "when it came, CLOCK_MONOTONIC")
    sr_ntp: int | None = _fact("ntp", "stamp of the source's last sender report, 64 bits")
    sr_rtp_ts: int = _fact("units", "media time that belongs to it")
    sr_mono_ns: int | None = _fact("ns", "when it came, CLOCK_MONOTONIC")
    sr_packets: int = _fact("packets", "the source has sent, as it says")
    sr_octets: int = _fact("bytes", "likewise")
    bye_mono_ns: int | None = _fact("ns", "when the source said goodbye, CLOCK_MONOTONIC")
    remote_cname: str = _fact("text", "what the source calls itself; empty: not known")

    @property
    def concealed_ms(self) -> float:
        """`concealed_ns` in milliseconds."""
        return self.concealed_ns / 1e6

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` takes."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpChannelStats(ChannelStats):
    """What `RtpChannel.stats` returns: `ChannelStats`, and `rtp`.

    The inherited counters count datagrams, RTCP among them where it shares the port.
    """

    rtp: RtpStats


def _names(table: Any, count: int) -> list[str]:
    return [text_of(table[i]) for i in range(count)]


COUNTERS = _names(lib.ring_rtp_counter_names, lib.SHM_RTP_COUNTER_TOTAL)
GAUGES = _names(lib.ring_rtp_gauge_names, lib.SHM_RTP_GAUGE_TOTAL)

# Gauges that say with these numbers that there is nothing to say.
_NOTHING = {
    "remote_ssrc": -1,
    "rtt_ns": -1,
    "reported_fraction_lost": -1,
    "next_due_ns": 0,
    "rtcp_due_ns": 0,
    "report_mono_ns": 0,
    "sr_ntp": 0,
    "sr_mono_ns": 0,
    "bye_mono_ns": 0,
}


def read_rtp(segment: Any) -> RtpStats:
    """Read from a mapped segment (``shm_segment_t *``) of an RTP channel."""
    state = ffi.cast("shm_rtp_state_t *", segment.engine)
    counters = ffi.new("uint64_t[]", len(COUNTERS))
    gauges = ffi.new("int64_t[]", len(GAUGES))
    cname = ffi.new("char[]", CNAME_BYTES)
    lib.rtp_read_stats(state, counters, gauges)
    lib.rtp_read_cname(state, cname)
    now = {name: int(number) for name, number in zip(GAUGES, gauges, strict=True)}
    values: dict[str, Any] = dict(zip(COUNTERS, map(int, counters), strict=True))
    values |= {name: None if now[name] == _NOTHING.get(name) else now[name] for name in GAUGES}
    if not segment.config.direction & lib.SHM_RX:  # then nobody sets it
        values["remote_ssrc"] = None
    values["skew_ppm"] = values.pop("skew_ppb") / 1000
    if values["reported_fraction_lost"] is not None:
        values["reported_fraction_lost"] /= 256
    if values["sr_ntp"] is not None:
        values["sr_ntp"] &= _NTP_MASK
    return RtpStats(**values, remote_cname=text_of(cname))
