"""What an RTP channel may be asked to be: defaults, sizes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from kit.engines import spelled

from shmring import Queue, _options, errors
from shmring._ring import ffi, lib
from shmring.engine import EngineConfig
from shmring.rtp.engine import Nack, Playout, Rtcp, Rtp
from shmring.rtp.options import PAYLOAD_MAX, RX_HEAD_BYTES, TX_HEAD_BYTES

MS = 1_000_000


REPAIR = Rtcp(nack=Nack())


def prepare(options: dict[str, Any]) -> tuple[dict[str, Any], EngineConfig]:
    """As `open` does."""
    given = spelled(Rtp, options)
    start = given.pop("engine").prepare(given)
    assert start.config
    return start.options, start.config


def configure(**options: Any) -> Any:
    """The engine's configuration."""
    _, engine = prepare(options)
    config = ffi.new("shm_rtp_config_t *")
    ffi.memmove(config, engine.config, len(engine.config))
    return config


def plain(**options: Any) -> Any:
    """The configuration of the channel below."""
    given, engine = prepare(options)
    return _options.prepare("mic", "ns", "pool", "balanced", given, engine).config


def test_defaults() -> None:
    config = configure()
    assert (config.payload_type, config.clock_rate, config.samples_per_packet) == (0, 8000, 160)
    assert (config.bytes_per_packet, config.channels, config.codec) == (160, 1, 0)
    assert config.start_delay_ns == 20 * MS
    assert config.underrun == lib.SHM_RTP_RESUME
    assert config.fill_byte == 0xFF
    assert config.delivery == lib.SHM_RTP_AT_PLAYOUT
    assert config.rtcp == lib.SHM_RTP_RTCP_OFF
    assert config.flags == 0
    # 0 stands for the worker's own defaults.
    assert (config.min_delay_ns, config.max_delay_ns, config.first_delay_ns) == (0, 0, 0)
    assert (config.conceal_ns, config.percentile, config.max_frames) == (0, 0.0, 0)
    below = plain()
    assert ffi.string(below.engine) == b"rtp"
    assert below.engine_bytes >= ffi.sizeof("shm_rtp_state_t")
    assert (below.tx_capacity, below.rx_capacity, below.report_slots) == (256, 256, 1024)


def test_source_and_start_are_drawn_at_random() -> None:
    drawn = [configure() for _ in range(4)]
    for field in ("ssrc", "first_ts", "first_seq"):
        assert len({getattr(config, field) for config in drawn}) > 1


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"clock_rate": 90000}, "clock_rate", 90000),
        ({"clock_rate": 11025, "ptime_ns": 2_500_000}, "samples_per_packet", 28),
        ({"payload_type": 96, "clock_rate": 48000}, "samples_per_packet", 960),
        ({"payload_type": 96, "clock_rate": 48000}, "bytes_per_packet", 0),
        ({"payload_type": 96, "clock_rate": 1, "bytes_per_packet": 7}, "bytes_per_packet", 7),
        ({"payload_type": 10}, "channels", 2),
        ({"payload_type": 10}, "bytes_per_packet", 882 * 4),
        ({"payload_type": 34, "clock_rate": 90000}, "payload_type", 34),
        ({"ssrc": 0xFFFFFFFF}, "ssrc", 0xFFFFFFFF),
        ({"first_timestamp": 0}, "first_ts", 0),
        ({"first_sequence": 65535}, "first_seq", 65535),
        ({"mark_spurts": False}, "flags", lib.SHM_RTP_NO_MARKER),
        ({"start_delay_ns": 200 * MS}, "start_delay_ns", 200 * MS),
        ({"ptime_ns": 60 * MS}, "start_delay_ns", 60 * MS),
        ({"underrun": "catch_up"}, "underrun", lib.SHM_RTP_CATCH_UP),
        ({"underrun": "fill"}, "underrun", lib.SHM_RTP_FILL),
        ({"fill_byte": 3}, "fill_byte", 3),
        ({"expected_ssrc": 0}, "flags", lib.SHM_RTP_FIXED_SOURCE),
        ({"expected_ssrc": 77}, "expected_ssrc", 77),
        ({"event_types": ()}, "flags", lib.SHM_RTP_EVENT_TYPES),
        ({"delivery": "in_order"}, "delivery", lib.SHM_RTP_IN_ORDER),
        ({"delivery": "as_arrived"}, "delivery", lib.SHM_RTP_AS_ARRIVED),
        ({"percentile": 0.5}, "percentile", 0.5),
        ({"percentile": 1}, "percentile", 1.0),
        ({"min_delay_ns": 0}, "min_delay_ns", -1),
        ({"min_delay_ns": 1}, "min_delay_ns", 1),
        ({"conceal_ns": 0}, "conceal_ns", -1),
        ({"max_frames": 4096}, "max_frames", 4096),
        ({"rtcp": Rtcp()}, "rtcp", lib.SHM_RTP_RTCP_MUX),
        ({"rtcp": Rtcp(port="next_port")}, "rtcp", lib.SHM_RTP_RTCP_NEXT_PORT),
        ({"rtcp": Rtcp(bandwidth_bps=100.5)}, "rtcp_bandwidth_bps", 100.5),
        ({"rtcp": Rtcp(interval_ns=MS)}, "rtcp_interval_ns", MS),
        ({"rtcp": Rtcp(reduced_size=True)}, "flags", lib.SHM_RTP_REDUCED_SIZE),
        ({"rtcp": Rtcp(nack=Nack(first_wait_ns=1))}, "nack_first_wait_ns", 1),
        ({"rtcp": Rtcp(nack=Nack(history_packets=32768))}, "history_packets", 32768),
        ({"rtcp": REPAIR}, "flags", lib.SHM_RTP_NACK_SEND | lib.SHM_RTP_NACK_RECEIVE),
        ({"rtcp": REPAIR, "direction": "tx"}, "flags", lib.SHM_RTP_NACK_SEND),
        ({"rtcp": REPAIR, "direction": "rx"}, "flags", lib.SHM_RTP_NACK_RECEIVE),
    ],
)
def test_each_option_reaches_its_field(options: dict[str, Any], field: str, value: int) -> None:
    assert getattr(configure(**options), field) == value


@pytest.mark.parametrize(
    ("options", "payload_type", "clock_rate", "bytes_per_packet"),
    [
        ({"codec": "pcmu"}, 0, 8000, 160),
        ({"codec": "pcma"}, 8, 8000, 160),
        ({"codec": "pcma", "ptime_ns": 30 * MS}, 8, 8000, 240),
        ({"codec": "l16"}, 11, 44100, 1764),
        ({"codec": "l16", "audio_channels": 2}, 10, 44100, 3528),
        ({"codec": "l16", "payload_type": 97, "clock_rate": 16000}, 97, 16000, 640),
        ({"codec": "pcmu", "payload_type": 100, "clock_rate": 16000}, 100, 16000, 320),
        ({"codec": "pcmu", "payload_type": 100}, 100, 8000, 160),
    ],
)
def test_a_codec_says_the_rest(
    options: dict[str, Any], payload_type: int, clock_rate: int, bytes_per_packet: int
) -> None:
    config = configure(**options)
    assert (config.payload_type, config.clock_rate) == (payload_type, clock_rate)
    assert config.bytes_per_packet == bytes_per_packet
    assert config.codec > 0


def test_filling_is_silence() -> None:
    assert [configure(codec=name).fill_byte for name in ("pcmu", "pcma", "l16")] == [255, 0xD5, 0]


def test_addresses_and_names_of_rtcp() -> None:
    config = configure(rtcp=Rtcp(port="next_port", remote=("10.0.0.1", 5005), cname="me@here"))
    assert (config.rtcp_remote.family, config.rtcp_remote.port) == (4, 5005)
    assert config.rtcp_local.family == 0
    assert ffi.string(config.cname) == b"me@here"


def test_the_defaults_of_the_signature_are_those_of_the_worker() -> None:
    """A field that has its default is not given: the worker's own holds."""
    assert Rtp().given() == {}
    assert Rtp(ptime_ns=20 * MS, playout=Playout(percentile=0.98), rtcp=None).given() == {}
    assert Playout(delivery="playout", percentile=0.98).given() == {}
    assert Rtp(ptime_ns=10 * MS, ssrc=0).given() == {"ptime_ns": 10 * MS, "ssrc": 0}


def test_sizes_leave_room_for_the_heads() -> None:
    config = plain(tx=Queue(64, 172), rx=8)
    assert config.tx_bytes > 64 * (172 + TX_HEAD_BYTES)
    assert config.rx_bytes > 8 * (172 + RX_HEAD_BYTES)
    assert config.max_payload_bytes >= 172 + RX_HEAD_BYTES
    assert plain(max_payload=1000).max_payload_bytes == 1000 + RX_HEAD_BYTES
    assert plain(max_payload=PAYLOAD_MAX).max_payload_bytes == lib.SHM_MAX_PAYLOAD


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"codec": "opus"}, "codec is 'opus': use one of 'pcmu', 'pcma', 'l16'"),
        ({"codec": "l16", "clock_rate": 16000}, "give payload_type, 96 to 127"),
        ({"codec": "l16", "audio_channels": 3}, "one or two channels only"),
        ({"payload_type": 96}, "payload_type 96 has no fixed clock .* give clock_rate"),
        ({"payload_type": 128}, "payload_type is 128; it must be between 0 and 127"),
        ({"clock_rate": 0}, "clock_rate is 0; it must be between 1 and"),
        ({"ptime_ns": 0}, "ptime_ns is 0; it must be between 1 and"),
        ({"ptime_ns": 100_000 * 1000 * MS}, "ptime_ns is"),
        ({"ptime_ns": 3600 * 1000 * MS}, "takes 28800000 bytes.* shorter ptime_ns"),
        ({"audio_channels": 0}, "audio_channels is 0"),
        ({"ssrc": 2**32}, "ssrc is 4294967296"),
        ({"first_sequence": -1}, "first_sequence is -1"),
        ({"first_timestamp": 2**32}, "first_timestamp is"),
        ({"start_delay_ns": 11 * 1000 * MS}, "start_delay_ns is"),
        ({"underrun": "wait"}, "underrun is 'wait': use one of 'resume', 'catch_up', 'fill'"),
        ({"delivery": "now"}, "delivery is 'now': use one of 'playout', 'in_order', 'as_arrived'"),
        ({"event_types": (101, 128)}, "event_types is 128; it must be between 0 and 127"),
        ({"percentile": 0.0}, "percentile is 0.0; it must be above 0 and at most 1"),
        ({"percentile": 1.5}, "percentile is 1.5"),
        ({"percentile": float("nan")}, "percentile is nan"),
        ({"max_frames": 5000}, "max_frames is 5000"),
        ({"rtcp": Rtcp(), "payload_type": 72, "clock_rate": 8000}, "RFC 5761"),
        ({"max_payload": PAYLOAD_MAX + 1}, "max_payload is"),
        ({"max_payload": 100, "tx": Queue(1, 101)}, "packet_bytes of tx is 101: it must not"),
        ({"max_payload": 100}, "bytes_per_packet is 160: it must not be above max_payload=100"),
    ],
)
def test_what_cannot_be_names_value_limit_and_fix(options: dict[str, Any], text: str) -> None:
    with pytest.raises(errors.BadConfig, match=text):
        plain(**options)


@pytest.mark.parametrize(
    ("part", "fields", "text"),
    [
        (Rtcp, {"port": True}, "port is True: use one of 'mux', 'next_port'"),
        (Rtcp, {"remote": ("10.0.0.1", 5005)}, 'remote is given: it needs port="next_port"'),
        (Rtcp, {"bandwidth_bps": 0}, "bandwidth_bps is 0"),
        (Rtcp, {"cname": "x" * 128}, "more than 127 characters"),
        (Rtcp, {"cname": "a\tb"}, r"cname is 'a\\tb': leave out what cannot be printed"),
        (Rtcp, {"cname": "\ud800"}, r"cname is '\\ud800': leave out"),
        (Nack, {"history_packets": 100}, "power of two"),
        (Nack, {"retry_ns": 0}, "retry_ns is 0; it must be between 1"),
        (Playout, {"delivery": None}, "delivery is None: use one of"),
    ],
)
def test_a_part_is_checked_when_it_is_made(part: Any, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(errors.BadConfig, match=text):
        part(**fields)


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (Rtp, {"capacity": 8}, "Rtp has no field 'capacity': write tx="),
        (Rtp, {"delivery": "playout"}, r"no field 'delivery': write playout=Playout\(delivery="),
        (Rtp, {"nack": True}, r"no field 'nack': write rtcp=Rtcp\(nack=Nack"),
        (Rtp, {"nack_retry_ns": 1}, r"write rtcp=Rtcp\(nack=Nack\(retry_ns="),
        (Rtp, {"rtcp_remote": ("10.0.0.1", 1)}, r"write rtcp=Rtcp\(remote="),
        (Rtp, {"overflow": "oldest"}, "Rtp has no field 'overflow'$"),
        (Rtp, {"rtcp": "mux"}, "rtcp must be a shmring Rtcp, not 'mux'"),
        (Rtp, {"playout": None}, "playout must be a shmring Playout, not None"),
        (Rtp, {"ptime_ns": 0.02}, "ptime_ns must be an integer, not 0.02"),
        (Playout, {"percentile": "0.9"}, "percentile must be a number"),
        (Rtcp, {"nack": 1}, "nack must be a shmring Nack, not 1"),
        (Rtcp, {"cname": b"x"}, "cname must be a string"),
        (Queue, {"packets": 1, "packet_bytes": "172"}, "packet_bytes must be an integer"),
    ],
)
def test_what_is_of_a_wrong_kind(kind: Any, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        kind(**fields)


def test_bad_addresses() -> None:
    with pytest.raises(errors.BadAddress, match="local: 'localhost' is not a numeric address"):
        Rtcp(port="next_port", local=("localhost", 1))
