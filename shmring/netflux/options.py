"""Options of a Netflux channel: names, defaults, checks, and the `shm_netflux_config_t` that they
fill."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from shmring import _options
from shmring._arguments import payload_bytes
from shmring._check import check
from shmring._option_rows import NETFLUX_OPTIONS, NetfluxRows
from shmring._ring import ffi, lib
from shmring.engine import EngineConfig
from shmring.errors import BadConfig

ENGINE = "netflux"
PAYLOAD_MAX = int(lib.SHM_NETFLUX_MAX_PAYLOAD)
RX_CAPACITY = 256
PRODUCERS = 16
READERS = 16
RX_HEAD_BYTES = int(ffi.sizeof("shm_netflux_rx_t"))
LAYOUT_BYTES = 32


class Record(Protocol):
    """Converts values to payloads and payloads to values, such as `records.Codec`."""

    @property
    def size(self) -> int:
        """Size of the payload, bytes, 0 to 1499."""
        ...

    def encode(self, value: Any, /) -> bytes:
        """Return the payload of a value. Raises a suitable exception with the name of the field."""
        ...

    def decode(self, payload: Any, /) -> Any:
        """Return the value of a payload, which is any bytes-like object of `size` bytes."""
        ...

    def layout_hash(self) -> str:
        """A text that is equal for equal layouts, up to 32 characters of ASCII."""
        ...


ON_STALE: dict[str, int] = {
    "continue": lib.SHM_NETFLUX_CONTINUE,
    "failsafe": lib.SHM_NETFLUX_FAILSAFE,
    "stop": lib.SHM_NETFLUX_STOP,
}
FLAGS: dict[str, int] = {
    "keep_values": lib.SHM_NETFLUX_KEEP_VALUES,
    "keep_window": lib.SHM_NETFLUX_KEEP_WINDOW,
}
_TIMES = {name: (row.field, row.low, row.high) for name, row in NETFLUX_OPTIONS.items()}


def _flag(flag: int) -> Callable[[Any], Any]:
    return lambda words: bool(words.own.settings.flags & flag)


HELD: dict[str, Callable[[Any], Any]] = {
    "send": lambda words: _size(words.own.tx_payload_bytes, words.own.tx_layout),
    "receive": lambda words: _size(words.own.rx_payload_bytes, words.own.rx_layout),
    "any_source": lambda words: bool(words.own.any_source),
    "own_number": lambda words: words.own.own_number,
    "partner_number": lambda words: words.own.partner_number,
    "on_stale": lambda words: words.word("on_stale", "settings.on_stale", ON_STALE),
    "rx": lambda words: _options.believed(
        "rx", words.config.rx_capacity, 1, _options.CAPACITY_MAX
    ),
    **_options.numbers_held(NetfluxRows, NETFLUX_OPTIONS, "settings."),
    **{option: _flag(flag) for option, flag in FLAGS.items()},
}
"""How `shmring._way_back` reads the fields of `Netflux`."""


def _size(size: int, layout: Any) -> int | None:
    """Return a number of bytes. None: it is that of a record."""
    return None if any(layout) else size


REFUSED: dict[str, str] = dict.fromkeys(
    ("tx_stamp", "stamp_every", "txtime", "gso", "gro"),
    "a link queues no packets: leave it out",
) | {"connect": "a link has any_source=False instead"}
"""Options of a socket for queued packets and deadlines."""


@dataclass(frozen=True, slots=True)
class Start:
    """A Netflux channel whose options passed every check and which is not made yet."""

    plain: dict[str, Any]
    engine: EngineConfig
    send: Record | None
    receive: Record | None
    values: bytes | None
    failsafe: bytes | None


def prepare(options: dict[str, Any], own: dict[str, Any]) -> Start:
    """Return the channel to make, from the given options and fields of `Netflux`, and what to do
    with it after that.

    Raises `BadConfig`, `TypeError`, and the exceptions of a record for values.
    """
    given = dict(options)
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
    config.settings.cycle_ns = NetfluxRows().cycle_ns
    config.settings.watch_ns = NetfluxRows().watchdog_ns
    change_settings(config.settings, own)
    if "send" not in own and "receive" not in own:
        raise BadConfig("neither send nor receive is given: give a number of bytes or a record")
    check(lib.shm_netflux_config_check(config))
    failsafe = own.get("failsafe")
    if failsafe is None and config.settings.on_stale == lib.SHM_NETFLUX_FAILSAFE:
        raise BadConfig('on_stale is "failsafe" but failsafe is not given: give the values')
    given.setdefault("tolerance_ns", _options.cycle_tolerance_ns(config.settings.cycle_ns))
    plain = _plain(given, receive_bytes)
    slots = _options.integer("producers", plain["producers"], 1, 1023) + 1  # the worker's
    engine = EngineConfig(ENGINE, bytes(ffi.buffer(config)), lib.shm_netflux_bytes(slots))
    return Start(
        plain,
        engine,
        send,
        receive,
        as_values("values", own.get("values"), send, send_bytes),
        as_values("failsafe", failsafe, send, send_bytes),
    )


def as_record(option: str, given: object) -> tuple[Record | None, int]:
    """Return the given record, None for a number of bytes, and the size in bytes."""
    is_record = hasattr(given, "encode") and hasattr(given, "decode")
    record = cast("Record", given) if is_record else None
    size = given if record is None else record.size
    if record is None and (isinstance(given, bool) or not hasattr(given, "__index__")):
        raise TypeError(
            f"{option} must be a number of bytes or a record such as "
            f"shmring.netflux.records.Codec, not {given!r}"
        )
    return record, _options.integer(f"size of {option}", size, 0, PAYLOAD_MAX)


def as_values(option: str, values: Any, record: Record | None, size: int) -> bytes | None:
    """Return the payload of values that were given as an option."""
    if values is None:
        return None
    encoded = values if record is None else record.encode(values)
    payload = payload_bytes(encoded, option, ", as the channel has no record" * (record is None))
    if len(payload) != size:
        raise BadConfig(f"{option} has {len(payload)} bytes, but send has {size}")
    return payload


def change_settings(settings: Any, given: Mapping[str, Any]) -> None:
    """Set the given settings in a ``shm_netflux_settings_t``. Raises `BadConfig`, `TypeError`."""
    _options.set_numbers(settings, given, _TIMES)
    _options.set_choices(settings, given, {"on_stale": ("on_stale", ON_STALE)})
    for option, flag in FLAGS.items():
        if option in given:
            on = _options.switch(option, given[option])
            settings.flags = settings.flags | flag if on else settings.flags & ~flag


def layout_of(record: Record) -> str:
    """Store a record's layout hash. Raises `BadConfig`."""
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
    """Return what `_set_layout` stored. Empty: none."""
    return bytes(ffi.buffer(field)).rstrip(b"\0").decode("ascii", "replace")


def _plain(given: dict[str, Any], receive_bytes: int) -> dict[str, Any]:
    """Return the options of the underlying channel: a ring for arrivals, and a minimal one
    to send."""
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
    return given
