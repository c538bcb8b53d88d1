"""RTP as an engine of a channel: what `open` takes as ``engine=shmring.Rtp(...)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shmring.engine import Engine, Start
from shmring.rtp import options as rtp_options
from shmring.rtp.channel import RtpChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class Rtp(Engine[RtpChannel]):
    """RTP (RFC 3550): the channel is an `RtpChannel`, which sends and receives frames.

    Times are ns, sizes are bytes.

    Media:

    codec: "pcmu", "pcma" or "l16": samples are given to `RtpChannel.send` and taken from
        `RtpChannel.pcm`. None: payloads.
    audio_channels: interleaved in the samples, 1 to 255. None: 1, or 2 for payload type 10.
    payload_type: 0 to 127. None: that of the codec, else 0.
    clock_rate: media clock, Hz. None: what the codec or the payload type says (RFC 3551).
    ptime_ns: media time of a packet, 1 ns to a day.
    bytes_per_packet: payload of a packet cut from a block. None: from `ptime_ns` and the codec or
        payload type, if that has a constant rate.
    ssrc: of what is sent. None: random.
    first_timestamp: RTP timestamp of the first packet. None: random.
    first_sequence: sequence number of the first packet. None: random.
    mark_spurts: set the marker on the first packet of a talk spurt.
    start_delay_ns: from the first frame of a talk spurt to its slot, so that a queue can build, 0
        to 10 s. None: `ptime_ns`, at most 10 s.
    underrun: what happens when the queue runs empty amid a talk spurt. "resume": go on at the next
        slot to come, with a marker. "catch_up": skip no slot, what came too late leaves at once.
        "fill": send filling in these slots, then resume.
    fill_byte: what filling consists of, 0 to 255. None: silence of the codec or payload type,
        else 0.
    fill_packets: packets of filling in a row at most, 1 to 65535.

    Receiving, which packets:

    expected_ssrc: take packets of this source only. None: of the one that proves itself.
    min_sequential: packets in order that prove a source, 1 to 1000.
    max_dropout: a gap of at most so many sequence numbers is loss, 1 to 32767.
    max_misorder: packets at most so far behind are late, not a restart, 1 to 32767.
    switch_silence_ns: how long the source must be silent before another takes over, 0 to 1 h.

    Receiving, when:

    delivery: "playout": each frame when it is to be played, gaps as erasures. "in_order": as soon
        as it is in order, and the playout time only ends the wait at a gap. "as_arrived": every
        valid packet at once.
    percentile: share of frames that shall be in time, above 0, up to 1.
    min_delay_ns: least delay of the jitter buffer, 0 to 60 s.
    max_delay_ns: largest delay of the jitter buffer, 1 ns to 60 s.
    first_delay_ns: its delay before enough is known, 1 ns to 60 s.
    shrink_ns_per_s: how fast the delay shrinks, 1 ns to 1 s a second.
    conceal_ns: a buffer that runs dry gives erasures for so long, then takes it for a pause, 0 to
        60 s.
    resync_ns: what is too far off to be delay, 1 ns to 10 min.
    max_frames: frames that the jitter buffer holds, 1 to 4096. None: what `max_delay_ns` can take.

    RTCP:

    rtcp: "off", "mux": on the port of the media (RFC 5761), or "next_port".
    rtcp_local: (host, port) for "next_port". None: as `local`, one port above.
    rtcp_remote: (host, port) for "next_port". None: as `remote`, one port above.
    rtcp_bandwidth_bps: RTCP of the whole session, bit/s, up to 1e12.
    rtcp_interval_ns: least time between two reports of ours, 1 ns to 1 h.
    cname: what we call ourselves, up to 127 bytes. None: random.
    reduced_size: send feedback without a report in front of it (RFC 5506).

    Repair:

    nack: ask for what is missing, and send again what is asked for (RFC 4585). It needs RTCP.
    nack_first_wait_ns: how long a packet may be overtaken before it is asked for, 1 ns to 60 s.
    nack_retry_ns: between two requests for one packet, 1 ns to 60 s.
    nack_give_up_ns: when to give up, after the gap was seen, 1 ns to 60 s.
    nack_max_requests: requests for one packet, 1 to 100.
    history_packets: sent packets kept to be sent again, a power of two up to 32768.
    """

    codec: str | None = None
    audio_channels: int | None = None
    payload_type: int | None = None
    clock_rate: int | None = None
    ptime_ns: int = rtp_options.PTIME_NS
    bytes_per_packet: int | None = None
    ssrc: int | None = None
    first_timestamp: int | None = None
    first_sequence: int | None = None
    mark_spurts: bool = True
    start_delay_ns: int | None = None
    underrun: str = "resume"
    fill_byte: int | None = None
    fill_packets: int = 10
    expected_ssrc: int | None = None
    min_sequential: int = 2
    max_dropout: int = 3000
    max_misorder: int = 100
    switch_silence_ns: int = 0
    delivery: str = "playout"
    percentile: float = 0.98
    min_delay_ns: int = 5_000_000
    max_delay_ns: int = 200_000_000
    first_delay_ns: int = 40_000_000
    shrink_ns_per_s: int = 10_000_000
    conceal_ns: int = 100_000_000
    resync_ns: int = 1_000_000_000
    max_frames: int | None = None
    rtcp: str = "off"
    rtcp_local: tuple[str, int] | None = None
    rtcp_remote: tuple[str, int] | None = None
    rtcp_bandwidth_bps: float = 3200.0
    rtcp_interval_ns: int = 5_000_000_000
    cname: str | None = None
    reduced_size: bool = False
    nack: bool = False
    nack_first_wait_ns: int = 10_000_000
    nack_retry_ns: int = 50_000_000
    nack_give_up_ns: int = 500_000_000
    nack_max_requests: int = 3
    history_packets: int = 512

    def prepare(self, options: dict[str, Any]) -> Start[RtpChannel]:
        plain, config = rtp_options.prepare(options, self.given())
        return Start(plain, config, RtpChannel)
