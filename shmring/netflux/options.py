"""What a Netflux channel may be asked to be: names, defaults, checks, and the
`shm_netflux_config_t` they make."""

from __future__ import annotations

import socket as _socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, cast

from shmring import _options
from shmring._check import check
from shmring._options import ChannelOptions, Engine
from shmring._ring import ffi, lib
from shmring.errors import BadConfig
from shmring.types import Impairment

ENGINE = "netflux"
PAYLOAD_MAX = int(lib.SHM_NETFLUX_MAX_PAYLOAD)
CYCLE_NS = 5_000_000
WATCHDOG_NS = 30_000_000
RX_CAPACITY = 256
PRODUCERS = 16
READERS = 16
RX_HEAD_BYTES = int(ffi.sizeof("shm_netflux_rx_t"))
LAYOUT_BYTES = 32

_HOUR_NS = 3600 * 10**9


class Record(Protocol):
    """What makes payloads of values and values of payloads, such as `netflux.records.Codec`."""

    @property
    def size(self) -> int:
        """Of the payload, bytes, 0 to 1499."""

    def encode(self, value: Any, /) -> bytes:
        """The payload of a value; raises what fits, naming the field."""

    def decode(self, payload: Any, /) -> Any:
        """The value of a payload, which is any bytes-like object of `size` bytes."""

    def layout_hash(self) -> str:
        """The same for the same layout; up to 32 characters of ASCII."""


class NetfluxOptions(TypedDict, total=False):
    """Keyword arguments of `Pool.open_netflux` and `shmring.open_netflux`.

    Times are ns, sizes are bytes. Except for `watchdog_ns`, None means the default.
    """

    # --- what is exchanged ------------------------------------------------------------------------
    send: int | Record | None
    """What is sent: its size, 0 to 1499, or a `Record`. Default 0: number and feedback only."""
    receive: int | Record | None
    """What the partner sends, likewise. Shorter datagrams are refused, of longer ones the rest is
    ignored. One of `send` and `receive` must be given."""
    values: Any
    """The first to be sent: bytes, or what the record encodes. None (default): nothing is sent
    before the first `NetfluxChannel.update`."""

    # --- the link ---------------------------------------------------------------------------------
    local: tuple[str, int] | None
    """Address to bind to. Controllers may expect datagrams from a certain port: give it."""
    remote: tuple[str, int] | None
    """The partner. None (default): nothing is sent before `NetfluxChannel.aim`."""
    direction: str | None
    """``"duplex"`` (default), ``"tx"`` or ``"rx"``: send only or receive only. ``"tx"`` leaves what
    comes in in the socket, for whoever else has it."""
    any_source: bool | None
    """Take datagrams from anywhere. Default: only where no `remote` is given."""
    cycle_ns: int | None
    """Between two sends, 100 us to 1 h. Default 5 ms."""
    own_number: int | None
    """The number used last by a link that this one goes on with, 0 to 255. Default 0: begin with
    number 1."""
    partner_number: int | None
    """The number accepted last by that link, 0 to 255. None (default): whatever comes first is
    taken."""

    # --- watching ---------------------------------------------------------------------------------
    watchdog_ns: int | None
    """The partner is dead when nothing new came for so long, up to 1 h. Default 30 ms; 0 or None:
    never."""
    hear_ns: int | None
    """The partner does not hear us when it acknowledged nothing new for so long, up to 1 h.
    Default: the watchdog, three cycles at least; never where there is no watchdog."""
    keep_values: bool | None
    """When the watchdog runs out, received values stay as they are. Default False: they become
    zeros."""
    keep_window: bool | None
    """Numbers are still expected to go on behind a time-out, so that a partner that starts anew is
    refused until its numbers fit, 128 datagrams at most. Default False: whatever comes next is
    taken."""

    # --- values that grow old ---------------------------------------------------------------------
    stale_ns: int | None
    """Values to be sent are stale when nobody has updated them for so long, up to 1 h. Default 0:
    when the process that wrote them has died."""
    on_stale: str | None
    """What is sent then: ``"keep"`` (default): the same values; ``"failsafe"``: those of
    `failsafe`; ``"stop"``: nothing, so that the partner's own watchdog runs out. A pool without a
    name ends with its process: fail-safe values are sent once then, and nothing any more."""
    failsafe: Any
    """Values to be sent when others are stale: bytes, or what the record encodes."""

    # --- as of plain channels ---------------------------------------------------------------------
    rx_capacity: int | None
    """Arrivals and events kept for readers. Default 256."""
    reading: str | None
    """As of `ChannelOptions`, as all that follow."""
    profile: str | None
    rx_stamp: str | None
    reuse: bool | None
    broadcast: bool | None
    ttl: int | None
    multicast_ttl: int | None
    multicast_loop: bool | None
    multicast_interface: str | int | None
    groups: Iterable[str | tuple[str, str | int | None]]
    dscp: int | None
    so_priority: int | None
    device: str | None
    dont_fragment: bool | None
    v6only: bool | None
    rcvbuf_bytes: int | None
    sndbuf_bytes: int | None
    impair: Impairment | None
    impair_rx: Impairment | None
    producers: int | None
    """Processes that may update at once, 3 KiB each. Default 16."""
    readers: int | None
    """Readers of arrivals that may be attached at once. Default 16. Snapshots need no place."""
    mode: int | None
    group: str | int | None
    cpu: int | None
    held: bool | None
    strict: bool | None
    socket: _socket.socket | int | None


class SettingsOptions(TypedDict, total=False):
    """Keyword arguments of `NetfluxChannel.configure`; as of `NetfluxOptions`."""

    cycle_ns: int
    watchdog_ns: int | None
    hear_ns: int
    stale_ns: int
    on_stale: str
    keep_values: bool
    keep_window: bool


ON_STALE: dict[str, int] = {
    "keep": lib.SHM_NETFLUX_KEEP,
    "failsafe": lib.SHM_NETFLUX_FAILSAFE,
    "stop": lib.SHM_NETFLUX_STOP,
}
FLAGS: dict[str, int] = {
    "keep_values": lib.SHM_NETFLUX_KEEP_VALUES,
    "keep_window": lib.SHM_NETFLUX_KEEP_WINDOW,
}
# Field, lowest and highest value.
_TIMES: dict[str, tuple[str, int, int]] = {
    "cycle_ns": ("cycle_ns", 100_000, _HOUR_NS),
    "watchdog_ns": ("watch_ns", 0, _HOUR_NS),
    "hear_ns": ("hear_ns", 0, _HOUR_NS),
    "stale_ns": ("stale_ns", 0, _HOUR_NS),
}
_OWN = frozenset(
    (
        *("send", "receive", "values", "any_source", "failsafe", "own_number", "partner_number"),
        *SettingsOptions.__annotations__,
    )
)


@dataclass(frozen=True, slots=True)
class Start:
    """A Netflux channel that passed every check and is not made yet."""

    plain: ChannelOptions
    engine: Engine
    send: Record | None
    receive: Record | None
    values: bytes | None
    failsafe: bytes | None


def prepare(options: NetfluxOptions) -> Start:
    """What `Pool.make_channel` takes, and what is to be done with the channel then.

    Raises `BadConfig`, `TypeError`, and whatever a record raises for values.
    """
    given = _options.asked_for(
        _none_is_none(options), NetfluxOptions.__annotations__, "a Netflux channel"
    )
    own = {name: given.pop(name) for name in _OWN if name in given}
    if "send" not in own and "receive" not in own:
        raise BadConfig("neither send nor receive is given: say how many bytes, or give a record")
    send, send_bytes = as_record("send", own.get("send", 0))
    receive, receive_bytes = as_record("receive", own.get("receive", 0))
    config = ffi.new("shm_netflux_config_t *")
    config.config_bytes = ffi.sizeof("shm_netflux_config_t")
    config.tx_payload_bytes = send_bytes
    config.rx_payload_bytes = receive_bytes
    any_source = own.get("any_source", "remote" not in given)
    config.any_source = _options.switch("any_source", any_source)
    config.own_number = _options.integer("own_number", own.get("own_number", 0), 0, 255)
    if "partner_number" in own:
        config.partner_known = 1
        config.partner_number = _options.integer("partner_number", own["partner_number"], 0, 255)
    _set_layout(config.tx_layout, send)
    _set_layout(config.rx_layout, receive)
    config.settings.cycle_ns = CYCLE_NS
    config.settings.watch_ns = WATCHDOG_NS
    change_settings(config.settings, own)
    check(lib.shm_netflux_config_check(config))
    failsafe = own.get("failsafe")
    if failsafe is None and config.settings.on_stale == lib.SHM_NETFLUX_FAILSAFE:
        raise BadConfig('on_stale is "failsafe" and failsafe is not given: say what is to be sent')
    plain = _plain(given, receive_bytes)
    slots = _options.integer("producers", plain["producers"], 1, 1023) + 1  # the worker's
    engine = Engine(ENGINE, bytes(ffi.buffer(config)), lib.shm_netflux_bytes(slots))
    return Start(
        plain,
        engine,
        send,
        receive,
        as_values("values", own.get("values"), send, send_bytes),
        as_values("failsafe", failsafe, send, send_bytes),
    )


def as_record(option: str, given: object) -> tuple[Record | None, int]:
    """The record, if it is one, and the size."""
    is_record = hasattr(given, "encode") and hasattr(given, "decode")
    record = cast("Record", given) if is_record else None
    size = given if record is None else record.size
    if record is None and (isinstance(given, bool) or not hasattr(given, "__index__")):
        raise TypeError(
            f"{option} must be a number of bytes or a record such as netflux.records.Codec, not "
            f"{given!r}"
        )
    return record, _options.integer(f"size of {option}", size, 0, PAYLOAD_MAX)


def as_values(option: str, values: Any, record: Record | None, size: int) -> bytes | None:
    """The payload of values given as an option."""
    if values is None:
        return None
    if record is not None:
        return record.encode(values)
    try:
        payload = bytes(memoryview(values))
    except TypeError:
        raise TypeError(
            f"{option} must be bytes, as the channel has no record, not {type(values).__name__}"
        ) from None
    if len(payload) != size:
        raise BadConfig(f"{option} has {len(payload)} bytes; send says {size}")
    return payload


def change_settings(settings: Any, given: Mapping[str, Any]) -> None:
    """Set in a ``shm_netflux_settings_t`` what is given. Raises `BadConfig`, `TypeError`."""
    for option, (target, low, high) in _TIMES.items():
        if option in given:
            setattr(settings, target, _options.integer(option, given[option], low, high))
    if "on_stale" in given:
        settings.on_stale = _options.choice("on_stale", given["on_stale"], ON_STALE)
    for option, flag in FLAGS.items():
        if option in given:
            on = _options.switch(option, given[option])
            settings.flags = settings.flags | flag if on else settings.flags & ~flag


def _none_is_none(options: Mapping[str, Any]) -> dict[str, Any]:
    """A watchdog of None is none, not the default one."""
    given = dict(options)
    if given.get("watchdog_ns", 0) is None:
        given["watchdog_ns"] = 0
    return given


def layout_of(record: Record) -> str:
    """Its layout hash. Raises `BadConfig`."""
    text = record.layout_hash()
    if not text.isascii() or not text.isprintable() or not 0 < len(text) <= LAYOUT_BYTES:
        raise BadConfig(
            f"a record's layout_hash() is {text!r}: it must be 1 to {LAYOUT_BYTES} characters of "
            "ASCII"
        )
    return text


def _set_layout(field: Any, record: Record | None) -> None:
    if record is None:
        return
    raw = layout_of(record).encode()
    ffi.memmove(field, raw, len(raw))


def layout_text(field: Any) -> str:
    """What `_set_layout` left there; empty: none."""
    return bytes(ffi.buffer(field)).rstrip(b"\0").decode("ascii", "replace")


def _plain(given: dict[str, Any], receive_bytes: int) -> ChannelOptions:
    """The options of the channel below: a ring for arrivals, and next to none for sending."""
    record_bytes = RX_HEAD_BYTES + receive_bytes
    given.setdefault("rx_capacity", RX_CAPACITY)
    given.setdefault("producers", PRODUCERS)
    given.setdefault("readers", READERS)
    given |= {
        "capacity": 1,
        "packet_bytes": 0,
        "rx_packet_bytes": record_bytes,
        "max_payload": record_bytes,
        "reports": "off",
        "report_capacity": 0,
        "tx_stamp": "off",
        "txtime": "off",
    }
    return cast("ChannelOptions", given)
