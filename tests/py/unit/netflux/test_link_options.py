"""What a Netflux channel may be asked to be: defaults, sizes, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shmring import Queue, Socket, _options, errors
from shmring._ring import ffi, lib
from shmring.cyclic.engine import Cyclic
from shmring.netflux.engine import Netflux
from shmring.netflux.options import RX_HEAD_BYTES, Start, layout_text
from shmring.netflux.options import prepare as prepare_engine
from shmring.parts import options_of

MS = 1_000_000


class Twice:
    """A record of two bytes: a number and its double."""

    def __init__(self, layout: str = "twice", size: int = 2) -> None:
        self.layout, self.size = layout, size

    def encode(self, value: int) -> bytes:
        return bytes((value, 2 * value))

    def decode(self, payload: bytes) -> int:
        return payload[0]

    def layout_hash(self) -> str:
        return self.layout


def prepare(options: dict[str, Any]) -> Start:
    """As `open` does, with options of both kinds."""
    own = {field.name for field in dataclasses.fields(Netflux)} & options.keys()
    engine = Netflux(**{name: options[name] for name in own})
    given = {name: value for name, value in options.items() if name not in own}
    return prepare_engine(options_of(engine) | given, engine.given())


def configure(**options: Any) -> Any:
    """The engine's configuration."""
    engine = prepare(options).engine
    config = ffi.new("shm_netflux_config_t *")
    ffi.memmove(config, engine.config, len(engine.config))
    return config


def plain(**options: Any) -> Any:
    """The configuration of the channel below."""
    start = prepare(options)
    return _options.prepare("plc", "ns", "pool", "balanced", start.plain, start.engine).config


def test_defaults() -> None:
    config = configure(send=20, receive=30, remote=("127.0.0.1", 2001))
    assert (config.tx_payload_bytes, config.rx_payload_bytes) == (20, 30)
    settings = config.settings
    assert (settings.cycle_ns, settings.watch_ns) == (5 * MS, 30 * MS)
    assert (settings.hear_ns, settings.stale_ns, settings.flags) == (0, 0, 0)
    assert settings.on_stale == lib.SHM_NETFLUX_CONTINUE
    assert config.any_source == 0
    assert (config.own_number, config.partner_known) == (0, 0)
    assert layout_text(config.tx_layout) == layout_text(config.rx_layout) == ""
    below = plain(send=20, receive=30)
    assert ffi.string(below.engine) == b"netflux"
    assert below.engine_bytes == lib.shm_netflux_bytes(17)
    assert (below.rx_capacity, below.report_slots, below.readers) == (256, 0, 16)
    assert below.max_payload_bytes == RX_HEAD_BYTES + 30
    assert below.direction == lib.SHM_DUPLEX


def test_a_link_takes_little_memory() -> None:
    start = prepare({"send": 20, "receive": 20})
    prepared = _options.prepare("plc", "ns", "pool", "balanced", start.plain, start.engine)
    assert prepared.segment_bytes <= 216 * 1024


@pytest.mark.parametrize("size", [0, 1, 1458, 1499])
def test_every_size_gets_its_room(size: int) -> None:
    assert plain(send=size, receive=size).max_payload_bytes == RX_HEAD_BYTES + size


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"cycle_ns": 100_000}, "cycle_ns", 100_000),
        ({"watchdog_ns": 1_000 * MS}, "watch_ns", 1_000 * MS),
        ({"watchdog_ns": 0}, "watch_ns", 0),
        ({"hear_ns": 7}, "hear_ns", 7),
        ({"stale_ns": 50 * MS}, "stale_ns", 50 * MS),
        ({"on_stale": "stop"}, "on_stale", lib.SHM_NETFLUX_STOP),
        ({"on_stale": "failsafe", "failsafe": b"x"}, "on_stale", lib.SHM_NETFLUX_FAILSAFE),
        ({"keep_values": True}, "flags", lib.SHM_NETFLUX_KEEP_VALUES),
        ({"keep_values": True, "keep_window": True}, "flags", 3),
        ({"keep_values": False}, "flags", 0),
    ],
)
def test_settings(options: dict[str, Any], field: str, value: int) -> None:
    assert getattr(configure(send=1, **options).settings, field) == value


@pytest.mark.parametrize(
    ("cycle_ns", "options", "tolerance_ns"),
    [
        (5 * MS, {}, 500_000),
        (100_000, {}, 50_000),
        (3600_000 * MS, {}, 100_000 * MS),
        (5 * MS, {"tolerance_ns": 50_000}, 50_000),
        (5 * MS, {"tolerance_ns": 7}, 7),
    ],
)
def test_the_tolerance_follows_the_cycle(
    cycle_ns: int, options: dict[str, Any], tolerance_ns: int
) -> None:
    assert plain(send=1, cycle_ns=cycle_ns, **options).tolerance_ns == tolerance_ns
    cycles = Cyclic(period_ns=cycle_ns, **options).prepare({})
    assert cycles.options["tolerance_ns"] == tolerance_ns


def test_numbers_that_go_on() -> None:
    config = configure(send=1, own_number=255, partner_number=0)
    assert (config.own_number, config.partner_known, config.partner_number) == (255, 1, 0)


@pytest.mark.parametrize(
    ("options", "any_source"),
    [
        ({"remote": ("127.0.0.1", 1)}, 0),
        ({"remote": ("127.0.0.1", 1), "any_source": True}, 1),
        ({}, 1),
        ({"any_source": False}, 0),
    ],
)
def test_source(options: dict[str, Any], any_source: int) -> None:
    assert configure(send=1, **options).any_source == any_source


def test_records_give_size_and_layout() -> None:
    start = prepare({"send": Twice("a1"), "receive": Twice("b2"), "values": 3, "failsafe": 4})
    config = configure(send=Twice("a1"), receive=Twice("b2"))
    assert (config.tx_payload_bytes, config.rx_payload_bytes) == (2, 2)
    assert (layout_text(config.tx_layout), layout_text(config.rx_layout)) == ("a1", "b2")
    assert (start.values, start.failsafe) == (b"\x03\x06", b"\x04\x08")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, errors.BadConfig, "neither send nor receive"),
        ({"send": 1500}, errors.BadConfig, "size of send is 1500.*1499"),
        ({"receive": -1}, errors.BadConfig, "size of receive is -1"),
        ({"send": "20"}, TypeError, "send must be a number of bytes or a record"),
        ({"send": True}, TypeError, "send must be"),
        ({"send": Twice(size=1500)}, errors.BadConfig, "size of send is 1500"),
        ({"send": Twice("x" * 33)}, errors.BadConfig, "layout_hash"),
        ({"send": Twice("")}, errors.BadConfig, "layout_hash"),
        ({"send": 1, "cycle_ns": 99_999}, errors.BadConfig, "cycle_ns is 99999.*100000"),
        ({"send": 1, "cycle_ns": 0.005}, TypeError, "cycle_ns must be an integer"),
        ({"send": 1, "watchdog_ns": -1}, errors.BadConfig, "watchdog_ns is -1"),
        ({"send": 1, "stale_ns": 3601 * 10**9}, errors.BadConfig, "stale_ns"),
        ({"send": 1, "stale_ns": 4 * MS}, errors.BadConfig, "stale_ns is 4000000, below cycle_ns"),
        ({"send": 1, "on_stale": "zero"}, errors.BadConfig, "on_stale.*'continue', 'failsafe'"),
        ({"send": 1, "on_stale": "failsafe"}, errors.BadConfig, "failsafe is not given"),
        ({"send": 1, "keep_values": 1}, TypeError, "keep_values must be True or False"),
        ({"send": 2, "values": b"abc"}, errors.BadConfig, "values has 3 bytes, but send has 2"),
        ({"send": 2, "failsafe": 7}, TypeError, "failsafe must be a bytes-like"),
        ({"send": Twice(), "values": 200}, ValueError, "range"),
        ({"send": 1, "own_number": 256}, errors.BadConfig, "own_number is 256"),
        ({"send": 1, "producers": 0}, errors.BadConfig, "producers is 0"),
    ],
)
def test_what_is_refused(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        prepare(options)


@pytest.mark.parametrize("field", ["tx_stamp", "stamp_every", "txtime", "connect", "gso", "gro"])
def test_options_of_sockets_for_queued_packets_are_refused(field: str) -> None:
    given: dict[str, Any] = {"tx_stamp": "off", "stamp_every": 1, "txtime": "off", "connect": True}
    sock = Socket(**{field: given.get(field, False)})
    why = "a link has any_source=False" if field == "connect" else "a link queues no packets"
    with pytest.raises(errors.BadConfig, match=f"{field} cannot be used with Netflux: {why}"):
        Netflux(send=1, socket=sock)


def test_what_is_not_obeyed_is_no_field() -> None:
    wrong: dict[str, Any] = {"tx": 5}
    with pytest.raises(TypeError, match="Netflux has no field 'tx'"):
        Netflux(send=1, **wrong)
    with pytest.raises(TypeError, match="rx must be an integer"):
        Netflux(send=1, rx=Queue(1))  # type: ignore[arg-type]
