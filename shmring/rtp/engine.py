"""RTP as an engine of a channel: what `open` takes as ``engine=shmring.Rtp(...)``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

from shmring import _address, _options
from shmring._arguments import iterable
from shmring._option_rows import RtpRows
from shmring._ring import lib
from shmring._spec import Parts, Spec
from shmring.engine import AttachOptions, Engine, Start
from shmring.errors import BadConfig
from shmring.parts import QUEUES, SOCKET, Queue, Socket, checked, explained, options_of
from shmring.rtp import options as rtp_options
from shmring.rtp.channel import RtpChannel
from shmring.types import Codec, Delivery, RtcpPort, Underrun


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Playout(Spec):
    """When received frames are delivered. Times are ns.

    delivery: "playout": each frame at its playout time, gaps as erasures. "in_order": each frame as
        soon as it is in order. The playout time only ends the wait at a gap. "as_arrived": every
        valid packet at once.
    percentile: intended share of frames in time, above 0, up to 1.
    min_delay_ns: minimum delay of the jitter buffer, 0 to 60 s.
    max_delay_ns: maximum delay of the jitter buffer, 1 ns to 60 s.
    first_delay_ns: its delay before it has measured enough, 1 ns to 60 s.
    shrink_ns_per_s: how fast the delay shrinks, 1 ns to 1 s a second.
    conceal_ns: how long an empty buffer gives erasures before it treats the gap as a pause, 0 to
        60 s.
    resync_ns: a larger deviation is a jump of the timeline, not delay, 1 ns to 10 min.
    max_frames: capacity of the jitter buffer, 1 to 4096. None: enough for `max_delay_ns`.
    """

    delivery: Delivery = "playout"
    percentile: float = 0.98
    min_delay_ns: int = 5_000_000
    max_delay_ns: int = 200_000_000
    first_delay_ns: int = 40_000_000
    shrink_ns_per_s: int = 10_000_000
    conceal_ns: int = 100_000_000
    resync_ns: int = 1_000_000_000
    max_frames: int | None = None

    _held = rtp_options.PLAYOUT_HELD

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            rtp_options.check_value(name, name, value)


PLAYOUT = Playout()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Nack(Spec):
    """Request missing packets, and repeat requested ones (RFC 4585). Times are ns.

    first_wait_ns: how long to wait for a packet that was overtaken before the first request, 1 ns
        to 60 s.
    retry_ns: time between two requests for one packet, 1 ns to 60 s.
    give_up_ns: when to give up, counted from the detection of the gap, 1 ns to 60 s.
    max_requests: maximum number of requests for one packet, 1 to 100.
    history_packets: sent packets kept for repetition, a power of two up to 32768.
    """

    first_wait_ns: int = 10_000_000
    retry_ns: int = 50_000_000
    give_up_ns: int = 500_000_000
    max_requests: int = 3
    history_packets: int = 512

    _held = rtp_options.NACK_HELD

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            rtp_options.check_value(name, rtp_options.NACK[name], value)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Rtcp(Spec):
    """Reports between the ends of an RTP stream. Times are ns.

    port: "mux": on the port of the media (RFC 5761), or "next_port".
    local: (host, port) for "next_port". None: like that of the channel, one port above.
    remote: (host, port) for "next_port". None: like that of the channel, one port above.
    bandwidth_bps: RTCP bandwidth of the whole session, bit/s, up to 1e12.
    interval_ns: minimum time between two of our reports, 1 ns to 1 h.
    cname: our CNAME, up to 127 bytes. None: random.
    reduced_size: send feedback without a preceding report (RFC 5506).
    nack: request missing packets, and repeat requested ones: `Nack`. None: do not.
    """

    port: RtcpPort = "mux"
    local: tuple[str, int] | None = None
    remote: tuple[str, int] | None = None
    bandwidth_bps: float = 3200.0
    interval_ns: int = 5_000_000_000
    cname: str | None = None
    reduced_size: bool = False
    nack: Nack | None = None

    _parts: ClassVar[Parts] = {"nack": Nack}
    _held = rtp_options.RTCP_HELD

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            if name in ("local", "remote"):
                _address.pack(value, name)
                object.__setattr__(self, name, tuple(value))
                if self.port != "next_port":
                    raise BadConfig(f'{name} is given: it needs port="next_port"')
            elif name != "nack":
                rtp_options.check_value(name, rtp_options.RTCP[name], value)
        checked("nack", self.nack, Nack, optional=True)


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Rtp(RtpRows, Engine[RtpChannel]):
    """RTP (RFC 3550): the channel is an `RtpChannel`, which sends and receives frames.

    Times are ns, sizes are bytes.

    Media:

    codec: "pcmu", "pcma" or "l16": `RtpChannel.send` takes samples, `RtpChannel.pcm` returns them.
        None: payloads.
    audio_channels: number of channels interleaved in the samples, 1 to 255. None: 1, or 2 for
        payload type 10.
    payload_type: 0 to 127. None: that of the codec, or 0.
    clock_rate: media clock, Hz. None: that of the codec or the payload type (RFC 3551).
    ptime_ns: media time of a packet, 1 ns to a day.
    bytes_per_packet: payload size of the packets of a block. None: computed from `ptime_ns` and the
        codec or payload type, if that has a constant rate.
    ssrc: SSRC of the sent stream. None: random.
    first_timestamp: RTP timestamp of the first packet. None: random.
    first_sequence: sequence number of the first packet. None: random.
    mark_spurts: set the marker on the first packet of a talk spurt.
    start_delay_ns: time from the first frame of a talk spurt to its grid time, so that a queue can
        build up, 0 to 10 s. None: `ptime_ns`, at most 10 s.
    underrun: what happens when the queue runs empty within a talk spurt. "resume": continue at the
        next grid time, with a marker. "catch_up": skip no grid time, and send late frames at once.
        "fill": send filling at these times, then resume.
    fill_byte: the byte of filling packets, 0 to 255. None: silence of the codec or payload type,
        or 0.
    fill_packets: maximum number of consecutive filling packets, 1 to 65535.

    Receiving, which packets:

    expected_ssrc: accept packets of this source only. None: of the source that is validated.
    min_sequential: packets in order that validate a source, 1 to 1000.
    max_dropout: a gap of at most this many sequence numbers is loss, 1 to 32767.
    max_misorder: packets at most this far behind are late, not a restart, 1 to 32767.
    switch_silence_ns: how long the source must be silent before another one takes over, 0 to 1 h.
    event_types: payload types, 0 to 127, of packets that carry no media frames, such as telephone
        events (RFC 4733). They do not wait in the jitter buffer. None: packets of 4 bytes whose
        type is above 95 and not `payload_type`.

    playout: when frames are delivered: `Playout`.

    Repair:

    rtcp: `Rtcp` reports, and requests for missing packets. None: neither.

    The channel:

    tx: how many packets may wait to be sent, 1 to 2**31 - 1: a number, or a `Queue`. None: 256.
    max_payload: longest payload, at most 65379 bytes. Longer arrivals are cut. None: 3968, or what
        the sizes of packets need.
    report_capacity: send reports kept, 0 or a power of two up to 2**24. None: 1024.
    """

    codec: Codec | None = None
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
    underrun: Underrun = "resume"
    fill_byte: int | None = None
    fill_packets: int = 10
    expected_ssrc: int | None = None
    min_sequential: int = 2
    max_dropout: int = 3000
    max_misorder: int = 100
    switch_silence_ns: int = 0
    event_types: tuple[int, ...] | None = None
    playout: Playout = PLAYOUT
    rtcp: Rtcp | None = None
    tx: int | Queue | None = None
    rx: int | Queue | None = None
    max_payload: int | None = None
    socket: Socket = SOCKET

    _parts: ClassVar[Parts] = QUEUES | {"playout": Playout, "rtcp": Rtcp, "socket": Socket}
    _struct = "shm_rtp_config"
    _held = rtp_options.HELD
    _places: ClassVar[Mapping[str, str]] = (
        {name: f"playout=Playout({name}=...)" for name in rtp_options.PLAYOUT}
        | {name: f"rtcp=Rtcp({field}=...)" for field, name in rtp_options.RTCP.items()}
        | {name: f"rtcp=Rtcp(nack=Nack({field}=...))" for field, name in rtp_options.NACK.items()}
        | {"nack": "rtcp=Rtcp(nack=Nack())"}
        | dict(Spec._places)
    )

    def __post_init__(self) -> None:
        if self.event_types is not None:
            listed = iterable(self.event_types, "event_types", "payload types")
            object.__setattr__(self, "event_types", tuple(listed))
        checked("playout", self.playout, Playout)
        checked("rtcp", self.rtcp, Rtcp, optional=True)
        if self.given():
            plain = self.prepare({}).options
            _options.check_alone(plain, lib.SHM_MAX_RECORD)

    def prepare(self, options: dict[str, Any]) -> Start[RtpChannel]:
        plain, config = rtp_options.prepare(options_of(self) | options, self._own())
        return Start(plain, config, RtpChannel)

    def _own(self) -> dict[str, Any]:
        """Return the fields that concern RTP, as the flat list that `rtp_options.prepare` takes."""
        own = self.given() | self.playout.given()
        if self.rtcp is None:
            return own
        given = self.rtcp.given()
        nack = given.pop("nack", None)
        own |= {rtp_options.RTCP[name]: value for name, value in given.items()}
        own["rtcp"] = self.rtcp.port
        if nack is not None:
            own |= {rtp_options.NACK[name]: value for name, value in nack.given().items()}
            own["nack"] = True
        return own

    def attach(self, name: str, **how: Unpack[AttachOptions]) -> RtpChannel:
        self.refuse_given()
        return RtpChannel(name, **how)
