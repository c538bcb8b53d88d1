"""RTP as an engine of a channel: what `open` takes as ``engine=shmring.Rtp(...)``."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from shmring import _address, _options
from shmring._arguments import iterable
from shmring._endpoint import Endpoint
from shmring._option_rows import NackRows, PlayoutRows, RtcpRows, RtpRows
from shmring._ring import lib
from shmring._spec import Parts, Spec
from shmring.engine import Engine, Start
from shmring.errors import BadConfig
from shmring.parts import QUEUES, SOCKET, Queue, Socket, checked, explained, options_of
from shmring.rtp import options as rtp_options
from shmring.rtp.channel import Channel
from shmring.types import Codec, Delivery, RtcpPort, Underrun


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Playout(PlayoutRows):
    """When received frames are delivered. Times are ns.

    delivery: "playout": each frame at its playout time, gaps as erasures. "in_order": each frame as
        soon as it is in order. The playout time only ends the wait at a gap. "as_arrived": every
        valid packet at once.
    percentile: intended share of frames in time, above 0, up to 1.
    """

    delivery: Delivery = "playout"
    percentile: float = 0.98

    _held = rtp_options.PLAYOUT_HELD

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            rtp_options.check_value(name, name, value)


PLAYOUT = Playout()


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Nack(NackRows):
    """Request missing packets, and repeat requested ones (RFC 4585). Times are ns.

    """

    _held = rtp_options.NACK_HELD

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            rtp_options.check_value(name, self._flat.get(name, name), value)


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Rtcp(RtcpRows):
    """Reports between the ends of an RTP stream. Times are ns.

    port: "mux": on the port of the media (RFC 5761), or "next_port".
    local: (host, port) for "next_port". None: like that of the channel, one port above.
    remote: (host, port) for "next_port". None: like that of the channel, one port above.
    bandwidth_bps: RTCP bandwidth of the whole session, bit/s, up to 1e12.
    cname: our CNAME, up to 127 bytes. None: random.
    reduced_size: send feedback without a preceding report (RFC 5506).
    nack: request missing packets, and repeat requested ones: `Nack`. None: do not.
    """

    port: RtcpPort = "mux"
    local: tuple[str, int] | None = None
    remote: tuple[str, int] | None = None
    bandwidth_bps: float = 3200.0
    cname: str | None = None
    reduced_size: bool = False
    nack: Nack | None = None

    _parts: ClassVar[Parts] = {"nack": Nack}
    _held = rtp_options.RTCP_HELD

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            if name in ("local", "remote"):
                plain = _address.unpack(_address.pack(value, name))
                object.__setattr__(self, name, plain)
                if self.port != "next_port":
                    raise BadConfig(f'{name} is given: it needs port="next_port"')
            elif name != "nack":
                rtp_options.check_value(name, rtp_options.RTCP[name], value)
        checked("nack", self.nack, Nack, optional=True)


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Rtp(RtpRows, Engine[Channel]):
    """RTP (RFC 3550): the channel is an `rtp.Channel`, which sends and receives frames.

    Times are ns, sizes are bytes.

    Media:

    codec: "pcmu", "pcma" or "l16": `Channel.send` takes samples, `Channel.pcm` returns them.
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

    Receiving, which packets:

    expected_ssrc: accept packets of this source only. None: of the source that is validated.
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
    expected_ssrc: int | None = None
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
        {name: f"playout=Playout({name}=...)" for name in Playout.__dataclass_fields__}
        | {name: f"rtcp=Rtcp({field}=...)" for field, name in rtp_options.RTCP.items()}
        | {
            Nack._flat.get(field.name, field.name): f"rtcp=Rtcp(nack=Nack({field.name}=...))"
            for field in fields(Nack)
        }
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
        if self.event_types is not None:  # a set, as the segment holds it
            object.__setattr__(self, "event_types", tuple(sorted(set(self.event_types))))

    def prepare(self, options: dict[str, Any]) -> Start[Channel]:
        plain, config = rtp_options.prepare(options_of(self) | options, self._own())
        return Start(plain, config, Channel)

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
            own |= {Nack._flat.get(name, name): value for name, value in nack.given().items()}
            own["nack"] = True
        return own

    def attach(self, end: Endpoint) -> Channel:
        self.refuse_given()
        return Channel(end)
