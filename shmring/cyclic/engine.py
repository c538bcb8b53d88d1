"""Cyclic sending as an engine of a channel: what `open` takes as ``engine=shmring.Cyclic(...)``."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

from shmring import _options
from shmring._arguments import payload_bytes
from shmring._check import check
from shmring._endpoint import Endpoint
from shmring._option_rows import CYCLIC_OPTIONS, CyclicRows
from shmring._ring import ffi, lib
from shmring._spec import Held, Parts
from shmring.cyclic.channel import ENGINE, Channel
from shmring.engine import Engine, EngineConfig, Start
from shmring.errors import BadConfig
from shmring.parts import SOCKET, Queue, Socket, checked, explained, options_of
from shmring.types import Buffer

MAX_PAYLOAD = 1472
"""Default of `max_payload`: what fits into one Ethernet frame with IPv4."""
RX_CAPACITY = 256
SLOTS = 16
_HOUR_NS = 3600 * 10**9
_TIMES = {
    "phase_ns": ("phase_ns", 0, _HOUR_NS),
    **{name: (row.field, row.low, row.high) for name, row in CYCLIC_OPTIONS.items()},
}
_ON_STALE: dict[str, int] = {"stop": lib.SHM_CYCLIC_STOP, "continue": lib.SHM_CYCLIC_CONTINUE}
_READ_ON_STALE: dict[Any, int] = {**_ON_STALE, None: lib.SHM_CYCLIC_FAILSAFE}
_REFUSED = {"txtime": "the newest payload leaves in every cycle, none is queued: leave it out"}


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cyclic(CyclicRows, Engine[Channel]):
    """Send the newest payload in every cycle: the channel is a `cyclic.Channel`.

    The worker keeps the cycle also while Python is busy, hangs, or has died. Any process may
    replace the payload with `Channel.update`.

    Without a `remote` address the channel has no socket: every process that is attached receives
    each cycle as a packet, with the instant as its timestamp.

    Times are ns of CLOCK_MONOTONIC.

    phase_ns: cycles are due at whole multiples of `period_ns` plus `phase_ns`, 0 to
        `period_ns` - 1. None: the worker chooses it, apart from its other channels.
    payload: what is sent from the first cycle on. None: nothing before the first
        `Channel.update`.
    on_stale: what is sent when the process that updated last has detached or died, or when the
        payload is older than `stale_after_ns`. "stop": nothing. "continue": the same payload. A
        bytes-like object: this fail-safe payload, which the worker keeps in its own memory. The
        next update ends this. A pool without a name ends with its process. In this case a fail-safe
        payload is sent once, and nothing after that.
    direction: "duplex", or "tx": nothing is received.
    max_payload: longest payload, 0 to 65507 bytes. None: 1472.
    rx: how many arrived packets are kept, 1 to 2**31 - 1: a number, or a `Queue`. None: 256.
    tolerance_ns: how late a cycle may start and still be on time, ns, 0 to 100 s. None: a tenth of
        the cycle, but at least 50 us.
    report_capacity: send reports kept, 0 or a power of two up to 2**24. None: 1024.
    """

    phase_ns: int | None = None
    payload: Buffer | None = None
    on_stale: Literal["stop", "continue"] | Buffer = "stop"
    direction: Literal["tx", "duplex"] = "duplex"
    rx: int | Queue | None = None
    max_payload: int | None = None
    socket: Socket = SOCKET

    _most_early_ns = 0
    _parts: ClassVar[Parts] = {"rx": Queue, "socket": Socket}
    _unheld = _REFUSED
    _struct = "shm_cyclic_config"
    _held: ClassVar[Held] = {
        **_options.numbers_held(CyclicRows, CYCLIC_OPTIONS),
        "phase_ns": lambda words: _options.believed(
            "phase_ns", words.own.phase_ns, 0, words.own.period_ns - 1
        ),
        "on_stale": lambda words: words.word("on_stale", "on_stale", _READ_ON_STALE),
        "direction": lambda words: _options.read_value("direction", words.config),
        "max_payload": lambda words: words.own.payload_bytes,
    }

    def __post_init__(self) -> None:
        _options.choice("direction", self.direction, {"tx": lib.SHM_TX, "duplex": lib.SHM_DUPLEX})
        if self.payload is not None:
            object.__setattr__(self, "payload", payload_bytes(self.payload, "payload"))
        if not isinstance(self.on_stale, str):
            copy = payload_bytes(self.on_stale, "on_stale", ': or use "stop" or "continue"')
            object.__setattr__(self, "on_stale", copy)
        if self.given():
            self.prepare({})

    def prepare(self, options: dict[str, Any]) -> Start[Channel]:
        checked("socket", self.socket, Socket)
        self.refuse(self.socket.given(), _REFUSED)
        plain = _plain(options_of(self) | options)
        _options.check_alone(plain, lib.SHM_MAX_RECORD)
        config, failsafe = self._config(plain["max_payload"])
        if not self._most_early_ns:
            plain.setdefault("tolerance_ns", _options.cycle_tolerance_ns(config.period_ns))
        first = cast("bytes | None", self.payload)
        _check_length("payload", first, plain["max_payload"])
        slots = _options.integer("producers", plain["producers"], 1, 1023) + 1  # the worker's
        shared_bytes = int(lib.shm_cyclic_bytes(slots, config.payload_bytes))
        engine = EngineConfig(ENGINE, bytes(ffi.buffer(config)), shared_bytes)
        return Start(plain, engine, _starting_end(first, failsafe))

    def _config(self, max_payload: int) -> tuple[Any, bytes | None]:
        """Return the struct, and the fail-safe payload if there is one."""
        given = self.given()
        if "period_ns" not in given:
            raise BadConfig("period_ns is not given: give the time between two cycles, ns")
        config = ffi.new("shm_cyclic_config_t *")
        config.config_bytes = ffi.sizeof("shm_cyclic_config_t")
        config.payload_bytes = max_payload
        config.phase_ns = lib.SHM_CYCLIC_ANY_PHASE
        _options.set_numbers(config, given, _TIMES)
        failsafe = None
        if isinstance(self.on_stale, str):
            config.on_stale = _on_stale(self.on_stale)
        else:
            failsafe = cast("bytes", self.on_stale)
            config.on_stale = lib.SHM_CYCLIC_FAILSAFE
            config.failsafe_crc = zlib.crc32(failsafe)
        _check_length("on_stale", failsafe, max_payload)
        config.early_ns = self._most_early_ns
        check(lib.shm_cyclic_config_check(config))
        return config, failsafe

    def attach(self, end: Endpoint) -> Channel:
        self.refuse_given()
        return Channel(end)


class TickGrid(Cyclic):
    """The channel of `Ticks`: cycles without a payload, shown before their instant."""

    __slots__ = ()
    _most_early_ns = int(lib.SHM_CYCLIC_MOST_EARLY_NS)


def _on_stale(word: str) -> int:
    if word not in _ON_STALE:
        raise BadConfig(
            f'on_stale is {word!r}: use "stop", "continue", or a bytes-like fail-safe payload'
        )
    return _ON_STALE[word]


def _check_length(option: str, payload: bytes | None, most: int) -> None:
    if payload is not None and len(payload) > most:
        raise BadConfig(
            f"{option} has {len(payload)} bytes, but max_payload is {most}: open the channel with "
            "a larger one"
        )


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the underlying channel: a ring for arrivals, and a minimal one
    to send."""
    most = _options.integer("max_payload", given.get("max_payload", MAX_PAYLOAD), 0, 65507)
    given.setdefault("rx_capacity", RX_CAPACITY)
    given.setdefault("rx_packet_bytes", min(most, 256))
    given.setdefault("producers", SLOTS)
    given.setdefault("readers", SLOTS)
    given.setdefault("report_capacity", 1024)
    return given | {"capacity": 1, "packet_bytes": 0, "max_payload": most, "txtime": "off"}


def _starting_end(
    first: bytes | None, failsafe: bytes | None
) -> Callable[[Endpoint], Channel]:
    """Return the function that makes an opener's end, and sets what a channel starts with."""

    def begin(end: Endpoint) -> Channel:
        channel = Channel(end)
        if not end.begins:
            return channel
        if failsafe is not None:
            channel._declare_failsafe(failsafe)
        if first is not None:
            channel.update(first)
        return channel

    return begin
