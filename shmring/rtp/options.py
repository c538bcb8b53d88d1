"""Options of an RTP channel: names, defaults, checks, and the `shm_rtp_config_t` that they fill."""

import secrets
from collections.abc import Callable
from typing import Any, cast

from shmring import _address, _options
from shmring._check import check
from shmring._option_rows import RTP_OPTIONS, NackRows, PlayoutRows, RtcpRows, RtpRows
from shmring._options import numbers_held
from shmring._ring import ffi, lib
from shmring.engine import EngineConfig
from shmring.errors import BadConfig
from shmring.rtp import audio

ENGINE = "rtp"
PTIME_NS = 20_000_000
# RFC 3551, at 44.1 kHz
L16_STEREO, L16_MONO = 10, 11
CAPACITY = 256
REPORT_CAPACITY = 1024

TX_HEAD_BYTES = ffi.sizeof("shm_rtp_tx_t")
# With the payload of an arrival: the worker's header, contributing sources, a header extension.
RX_HEAD_BYTES = 128
PAYLOAD_MAX = int(lib.SHM_MAX_PAYLOAD) - RX_HEAD_BYTES
# Default of the longest payload: the worker reserves this much for each frame that it holds.
USUAL_PAYLOAD_MAX = 4096 - RX_HEAD_BYTES

_HOUR_NS = 3600 * 10**9
_DAY_NS = 24 * _HOUR_NS


DELIVERIES: dict[str, int] = {
    "playout": lib.SHM_RTP_AT_PLAYOUT,
    "in_order": lib.SHM_RTP_IN_ORDER,
    "as_arrived": lib.SHM_RTP_AS_ARRIVED,
}
_UNDERRUNS: dict[str, int] = {
    "resume": lib.SHM_RTP_RESUME,
    "catch_up": lib.SHM_RTP_CATCH_UP,
    "fill": lib.SHM_RTP_FILL,
}
RTCP_PORTS: dict[str, int] = {
    "mux": lib.SHM_RTP_RTCP_MUX,
    "next_port": lib.SHM_RTP_RTCP_NEXT_PORT,
}
_CHOICES = {
    "delivery": ("delivery", DELIVERIES),
    "underrun": ("underrun", _UNDERRUNS),
    "rtcp": ("rtcp", RTCP_PORTS),
}

# Lowest and highest value. Fields have the names of their options.
_NUMBERS: dict[str, tuple[int, int]] = {
    "start_delay_ns": (0, 10 * 10**9),
    "fill_byte": (0, 255),
    "expected_ssrc": (0, 2**32 - 1),
    **{name: (row.low, row.high) for name, row in RTP_OPTIONS.items()},
}
_SHARES = {"percentile": 1.0, "rtcp_bandwidth_bps": 1e12}
RTCP = {
    "port": "rtcp",
    "local": "rtcp_local",
    "remote": "rtcp_remote",
    "bandwidth_bps": "rtcp_bandwidth_bps",
    **RtcpRows._flat,
    "cname": "cname",
    "reduced_size": "reduced_size",
}
"""Fields of `Rtcp`, and the options that they become."""
_DRAWN = {
    "ssrc": ("ssrc", 32),
    "first_timestamp": ("first_ts", 32),
    "first_sequence": ("first_seq", 16),
}

CODEC_NUMBERS = {name: number for number, name in enumerate(audio.CODECS, 1)}


def _share_or(field: str, usual: float) -> Callable[[Any], float]:
    """Return how to read a number for which 0 stands for the usual one."""
    return lambda words: getattr(words.own, field) or usual


def _flag(flag: int, *, inverse: bool = False) -> Callable[[Any], bool]:
    return lambda words: bool(words.own.flags & flag) is not inverse


def _plainly(field: str) -> Callable[[Any], Any]:
    return lambda words: getattr(words.own, field)


def _ptime_ns(words: Any) -> int:
    """Return a media time that gives the samples of a packet: the usual one if that does."""
    rate, samples = words.own.clock_rate, words.own.samples_per_packet
    if lib.rtp_stream_samples(rate, PTIME_NS) == samples:
        return PTIME_NS
    ptime_ns: int = round(samples * 10**9 / rate)
    return ptime_ns


def _event_types(words: Any) -> tuple[int, ...]:
    bits = words.own.event_types
    return tuple(n for n in range(128) if bits[n // 64] >> n % 64 & 1)


def _rtcp_address(field: str) -> Callable[[Any], Any]:
    return lambda words: _address.unpack_known(getattr(words.own, field), field)


# How `shmring._way_back` reads fields.
HELD: dict[str, Callable[[Any], Any]] = {
    "codec": lambda words: words.word("codec", "codec", CODEC_NUMBERS),
    "audio_channels": lambda words: _options.believed(
        "audio_channels", words.own.channels, 1, 255
    ),
    "ptime_ns": _ptime_ns,
    "first_timestamp": _plainly("first_ts"),
    "first_sequence": _plainly("first_seq"),
    "mark_spurts": _flag(lib.SHM_RTP_NO_MARKER, inverse=True),
    "underrun": lambda words: words.word("underrun", "underrun", _UNDERRUNS),
    "event_types": _event_types,
    **numbers_held(RtpRows, RTP_OPTIONS),
    "max_payload": _options.max_payload_held(RX_HEAD_BYTES),
    **{
        name: _plainly(name)
        for name in (
            *("payload_type", "clock_rate", "bytes_per_packet", "ssrc", "start_delay_ns"),
            *("fill_byte", "expected_ssrc"),
        )
    },
}
PLAYOUT_HELD: dict[str, Callable[[Any], Any]] = {
    "delivery": lambda words: words.word("delivery", "delivery", DELIVERIES),
    "percentile": _share_or("percentile", 0.98),
    **numbers_held(PlayoutRows, RTP_OPTIONS),
}
RTCP_HELD: dict[str, Callable[[Any], Any]] = {
    "port": lambda words: words.word("port of rtcp", "rtcp", RTCP_PORTS),
    "local": _rtcp_address("rtcp_local"),
    "remote": _rtcp_address("rtcp_remote"),
    "bandwidth_bps": _share_or("rtcp_bandwidth_bps", 3200.0),
    **numbers_held(RtcpRows, RTP_OPTIONS),
    "cname": lambda words: words.text(words.own.cname, "cname"),
    "reduced_size": _flag(lib.SHM_RTP_REDUCED_SIZE),
}
NACK_HELD = numbers_held(NackRows, RTP_OPTIONS)


def prepare(given: dict[str, Any], own: dict[str, Any]) -> tuple[dict[str, Any], EngineConfig]:
    """Return the options of the underlying channel and of the engine, from the given options and
    fields of `Rtp`.

    Raises `BadConfig`, `BadAddress`, `TypeError`.
    """
    config = ffi.new("shm_rtp_config_t *")
    config.config_bytes = ffi.sizeof("shm_rtp_config_t")
    _options.set_choices(config, own, _CHOICES)
    _set_media(config, own)
    _set_numbers(config, own)
    _set_rtcp(config, own)
    _set_flags(config, own, given.get("direction", "duplex"))
    check(lib.shm_rtp_config_check(config))
    engine = EngineConfig(ENGINE, bytes(ffi.buffer(config)), ffi.sizeof("shm_rtp_state_t"))
    return _plain(dict(given), config), engine


def check_value(shown: str, option: str, value: object) -> None:
    """Check a value of an option of `Playout`, `Rtcp` or `Nack`, and call it `shown`. Raises
    `BadConfig`, `TypeError`."""
    if option in _CHOICES:
        _options.choice(shown, value, _CHOICES[option][1])
    elif option in _NUMBERS:
        _options.integer(shown, value, *_NUMBERS[option])
    elif option in _SHARES:
        _share(shown, value, _SHARES[option])
    elif option == "cname":
        if isinstance(value, str) and not value.isprintable():
            raise BadConfig(f"cname is {value!r}: leave out what cannot be printed")
        _options.set_text(ffi.new("shm_rtp_config_t *"), option, value)
    else:
        _options.switch(shown, value)
    row = RTP_OPTIONS.get(option)
    if row is not None and row.power and cast("int", value) & (cast("int", value) - 1):
        raise BadConfig(f"{shown} is {value}; it must be a power of two")


def _set_media(config: Any, own: dict[str, Any]) -> None:
    codec = _codec(own.get("codec"))
    payload_type = own.get("payload_type")
    if payload_type is None:
        payload_type = _usual_payload_type(codec, own)
    config.payload_type = _options.integer("payload_type", payload_type, 0, 127)
    config.codec = CODEC_NUMBERS[codec.name] if codec else 0
    channels = own.get("audio_channels", 2 if config.payload_type == L16_STEREO else 1)
    config.channels = _options.integer("audio_channels", channels, 1, 255)
    config.clock_rate = _clock_rate(own, codec, config.payload_type)
    ptime_ns = _options.integer("ptime_ns", own.get("ptime_ns", PTIME_NS), 1, _DAY_NS)
    config.samples_per_packet = lib.rtp_stream_samples(config.clock_rate, ptime_ns)
    config.start_delay_ns = min(ptime_ns, _NUMBERS["start_delay_ns"][1])
    known = codec or audio.STATIC.get(config.payload_type)
    config.fill_byte = known.silence_byte if known else 0
    config.bytes_per_packet = _bytes_per_packet(config, own, known)


def _codec(name: object) -> audio.Codec | None:
    if name is None:
        return None
    if not isinstance(name, str) or name not in audio.CODECS:
        shown = ", ".join(map(repr, audio.CODECS))
        raise BadConfig(f"codec is {name!r}: use one of {shown}, or None and send payloads")
    return audio.CODECS[name]


def _usual_payload_type(codec: audio.Codec | None, own: dict[str, Any]) -> int:
    if codec is None:
        return 0
    if codec.payload_type is not None:
        return codec.payload_type
    static = {1: L16_MONO, 2: L16_STEREO}.get(own.get("audio_channels", 1))
    if static is None or own.get("clock_rate", codec.clock_rate) != codec.clock_rate:
        raise BadConfig(
            f'codec "{codec.name}" has a static payload type for {codec.clock_rate} Hz and one or '
            "two channels only: give payload_type, 96 to 127 as agreed with the other side"
        )
    return static


def _clock_rate(own: dict[str, Any], codec: audio.Codec | None, payload_type: int) -> int:
    usual = lib.rtp_payload_formats[payload_type].clock_rate or (codec.clock_rate if codec else 0)
    if not usual and "clock_rate" not in own:
        raise BadConfig(
            f"payload_type {payload_type} has no fixed clock (RFC 3551): give clock_rate"
        )
    return _options.integer("clock_rate", own.get("clock_rate", usual), 1, 2**31 - 1)


def _bytes_per_packet(config: Any, own: dict[str, Any], known: audio.Codec | None) -> int:
    """Return the payload size of a block's packets. 0: unknown, so blocks cannot be split."""
    size = own.get("bytes_per_packet")
    if size is None:
        size = known.width * config.channels * config.samples_per_packet if known else 0
        if size > PAYLOAD_MAX:
            raise BadConfig(
                f"a packet of {config.samples_per_packet} samples takes {size} bytes, the limit is "
                f"{PAYLOAD_MAX}: give a shorter ptime_ns"
            )
    return _options.integer("bytes_per_packet", size, 0, PAYLOAD_MAX)


def _set_numbers(config: Any, own: dict[str, Any]) -> None:
    for option, (low, high) in _NUMBERS.items():
        if option in own:
            value = _options.integer(option, own[option], low, high)
            row = RTP_OPTIONS.get(option)
            setattr(config, option, row.zero if row is not None and value == 0 else value)
    for option, most in _SHARES.items():
        if option in own:
            setattr(config, option, _share(option, own[option], most))
    for option, (field, bits) in _DRAWN.items():
        drawn = secrets.randbits(bits)
        setattr(config, field, _options.integer(option, own.get(option, drawn), 0, 2**bits - 1))


def _share(option: str, value: object, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{option} must be a number, not {value!r}")
    if not 0.0 < value <= high:
        raise BadConfig(f"{option} is {value}; it must be above 0 and at most {high:g}")
    return float(value)


def _set_rtcp(config: Any, own: dict[str, Any]) -> None:
    for option in ("rtcp_local", "rtcp_remote"):
        if option in own:
            raw = _address.pack(own[option], option)
            ffi.memmove(ffi.addressof(config, option), raw, len(raw))
    if "cname" in own:
        _options.set_text(config, "cname", own["cname"])


def _set_flags(config: Any, own: dict[str, Any], direction: object) -> None:
    if not _options.switch("mark_spurts", own.get("mark_spurts", True)):
        config.flags |= lib.SHM_RTP_NO_MARKER
    if "expected_ssrc" in own:
        config.flags |= lib.SHM_RTP_FIXED_SOURCE
    if "event_types" in own:
        config.flags |= lib.SHM_RTP_EVENT_TYPES
        for number in own["event_types"]:
            number = _options.integer("event_types", number, 0, 127)
            config.event_types[number // 64] |= 1 << number % 64
    if _options.switch("reduced_size", own.get("reduced_size", False)):
        config.flags |= lib.SHM_RTP_REDUCED_SIZE
    if own.get("nack", False):
        if direction != "tx":
            config.flags |= lib.SHM_RTP_NACK_RECEIVE
        if direction != "rx":
            config.flags |= lib.SHM_RTP_NACK_SEND


def _plain(given: dict[str, Any], config: Any) -> dict[str, Any]:
    """Return the options of the underlying channel, whose packets are ours with a header each."""
    given.setdefault("capacity", CAPACITY)
    given.setdefault("report_capacity", REPORT_CAPACITY)
    sizes: dict[str, int] = {
        name: _options.integer(_options.SHOWN.get(name, name), given[name], 0, PAYLOAD_MAX)
        for name in ("max_payload", "packet_bytes", "rx_packet_bytes")
        if name in given
    }
    longest = sizes.get("max_payload", PAYLOAD_MAX)
    for name, size in (*sizes.items(), ("bytes_per_packet", int(config.bytes_per_packet))):
        if size > longest:
            shown = _options.SHOWN.get(name, name)
            raise BadConfig(f"{shown} is {size}: it must not be above max_payload={longest}")
    expected = max(config.bytes_per_packet, *sizes.values(), 0)
    sizes.setdefault("max_payload", max(USUAL_PAYLOAD_MAX, expected))
    if "packet_bytes" in sizes:
        sizes.setdefault("rx_packet_bytes", sizes["packet_bytes"])
    heads = {"packet_bytes": TX_HEAD_BYTES}
    for name, size in sizes.items():
        given[name] = size + heads.get(name, RX_HEAD_BYTES)
    return given
