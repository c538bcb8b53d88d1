"""For authors of engines and drop-ins: what `open` and `attach` take as `engine`.

An engine decides what a worker does for a channel, and which kind of channel a program gets.
"""

import dataclasses
import socket as _socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from shmring._ring import lib
from shmring.errors import BadConfig
from shmring.types import (
    Align,
    Clock,
    Direction,
    Impairment,
    Late,
    Overflow,
    Profile,
    Reading,
    Reports,
    StampSource,
    Txtime,
)

C = TypeVar("C", covariant=True)

MAX_RECORD_BYTES = int(lib.SHM_MAX_RECORD)
"""Longest record of an engine, like `max_payload`."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What a worker needs to know about a channel's engine."""

    name: str
    config: bytes
    """The engine's own struct for ``shm_config_t.engine_config``."""
    shared_bytes: int = 0
    """Shared memory for the engine itself, rounded up to whole pages."""
    deadlines: bool = True
    """Whether packets are sent at deadlines, and late ones are recorded."""


@dataclass(frozen=True, slots=True)
class Start(Generic[C]):
    """A channel whose engine has checked its options. Nothing is made yet."""

    options: dict[str, Any]
    """Options of the channel itself."""
    config: EngineConfig | None
    """None: plain UDP."""
    end: Callable[..., C]
    """Makes the opener's end, with the arguments of `Channel`."""
    quiet: bool = False
    """Do not warn if the worker lacks something."""


class AttachOptions(TypedDict, total=False):
    """Arguments of `Channel`, which `Engine.attach` passes on.

    namespace: None: ``$SHMRING_NAMESPACE``, else ``default``.
    readonly: attach as a tap.
    reading: "broadcast" or "shared". None: as the channel was opened.
    owner: given by `open` to the opener's end.
    segment: the mapping of the segment.
    """

    namespace: str | None
    readonly: bool
    reading: Reading | None
    owner: Any
    segment: Any


class EndpointOptions(TypedDict, total=False):
    """Those of `OpenOptions` that `create_datagram_endpoint` passes on to `open`."""

    capacity: int | None
    packet_bytes: int | None
    rx_capacity: int | None
    rx_packet_bytes: int | None
    max_payload: int | None
    overflow: Overflow
    late: Late
    align: Align
    clock: Clock
    reports: Reports
    report_capacity: int | None
    tolerance_ns: int
    catch_up: float | None
    profile: Profile | None
    rx_stamp: StampSource
    tx_stamp: StampSource
    stamp_every: int | None
    txtime: Txtime
    ttl: int | None
    multicast_ttl: int | None
    multicast_loop: bool
    multicast_interface: str | int | None
    groups: Iterable[str | tuple[str, str | int | None]]
    dscp: int | None
    so_priority: int | None
    device: str | None
    dont_fragment: bool
    v6only: bool
    rcvbuf_bytes: int | None
    sndbuf_bytes: int | None
    gso: bool
    gro: bool
    impair: Impairment | None
    impair_rx: Impairment | None
    cpu: int | None
    strict: bool | None


class OpenOptions(EndpointOptions, total=False):
    """Options of `Pool.open`, which explains them, for functions that pass them on.

    ``def open_mine(name: str, **options: Unpack[OpenOptions])``
    """

    local: tuple[str, int] | None
    remote: tuple[str, int] | None
    direction: Direction
    reading: Reading
    connect: bool
    reuse: bool
    broadcast: bool
    producers: int | None
    readers: int | None
    permissions: int | None
    group: str | int | None
    held: bool
    socket: _socket.socket | int | None


class Engine(Generic[C]):
    """Base class of `Udp`, `Local`, `Cyclic`, `Rtp`, `Netflux` and `Proxy`: frozen dataclasses.
    Their fields are the options."""

    __slots__ = ()

    def prepare(self, options: dict[str, Any]) -> Start[C]:
        """Check this engine's options together with those of the channel, `options`.

        Raises `BadConfig`, `BadAddress`, `TypeError`.
        """
        raise NotImplementedError

    def attach(self, name: str, **how: Unpack[AttachOptions]) -> C:
        """Return this process's end of an open channel of this engine. `how`: the arguments of
        `Channel`.

        Raises the exceptions of `Channel`, and `BadConfig` for options that only the opener sets.
        """
        raise NotImplementedError

    def refuse(self, options: Iterable[str], refused: Mapping[str, str]) -> None:
        """Raise `BadConfig` for an option of `open` that this engine cannot use. `refused` says for
        each of them what to do instead."""
        for name in options:
            if name in refused:
                engine = type(self).__name__
                raise BadConfig(f"{name} cannot be used with {engine}: {refused[name]}")

    def refuse_given(self, *allowed: str) -> None:
        """Raise `BadConfig` if fields other than the allowed ones differ from their defaults."""
        for name in self.given().keys() - set(allowed):
            raise BadConfig(
                f"{name} is given, but only the opener of a channel sets it: leave it out to attach"
            )

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults. None means the default, too."""
        values = {field: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {
            field.name: value
            for field, value in values.items()
            if value is not None
            and not (type(value) is type(field.default) and value == field.default)
        }


__all__ = [
    "MAX_RECORD_BYTES",
    "AttachOptions",
    "EndpointOptions",
    "Engine",
    "EngineConfig",
    "OpenOptions",
    "Start",
]
