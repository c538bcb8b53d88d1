"""Parts of engines: what their fields have in common, and the groups of rarely used ones.

`Socket`, `Multicast`, `Queue` and `Share` are values: they are frozen, compare, print themselves as
code, and any number of channels may use one. What is wrong alone is refused when it is made.
"""

import dataclasses
import os
import socket as _socket
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from rtworkers.similar import did_you_mean
from shmring import _options
from shmring._ring import lib
from shmring.errors import BadConfig
from shmring.types import (
    Clock,
    Late,
    Reading,
    Reports,
    StampSource,
    Txtime,
)

T = TypeVar("T", bound=type)

_MEANINGS = {
    "direction": '"tx", "rx" or "duplex".',
    "tx": """how many packets may wait to be sent, 1 to 2**31 - 1: a number, or a `Queue`. None:
        1024. If `rx` and `max_payload` are None, too, they have 256 bytes, and the channel takes
        1.2 MB.""",
    "rx": """how many arrived packets are kept, in the same form. None: as `tx`. A number: their
        payload is that of `tx`.""",
    "overflow": """what happens when the ring of arrived packets is full. "oldest": the oldest
        packet is overwritten. "wait": the worker waits for the slowest reader and leaves packets in
        the socket. An end is a reader from its first call that receives, such as `try_recv`.""",
    "reading": """"broadcast": every reader gets every packet. "shared": one of the readers gets
        each packet.""",
    "max_payload": """longest payload, 0 to 65507 bytes. Longer arrivals are cut. None: what the
        rings allow, at most 65507.""",
    "clock": 'clock of deadlines and timestamps, "monotonic" or "tai".',
    "align": """what meets the deadline. "start": the start of sending, never before it. "wire": the
        time on the wire, centred on the deadline.""",
    "late": 'what happens to a packet past its deadline: "send" or "drop".',
    "tolerance_ns": "how late a packet may start and still be on time, ns, 0 to 100 s.",
    "catch_up": """how fast overdue packets leave after a hole, a time in which the worker could not
        send. A number above 1, up to 1000000: the gap between two overdue packets is at least their
        scheduled gap divided by it, until the schedule is reached. None: all at once.""",
    "reports": 'packets that get a send report, "all", "late" or "off".',
    "report_capacity": "send reports kept, 0 or a power of two up to 2**24. None: 4096.",
    "socket": "options of the `Socket`.",
}

_FLAT = {"priority": "so_priority", "existing": "socket"}
_OF_MULTICAST = {
    "groups": "groups",
    "ttl": "multicast_ttl",
    "loop": "multicast_loop",
    "interface": "multicast_interface",
}
_PLAIN = (
    *("direction", "overflow", "reading", "max_payload", "clock", "align", "late"),
    *("tolerance_ns", "catch_up", "reports", "report_capacity"),
)
_SIZES = {"tx": ("capacity", "packet_bytes"), "rx": ("rx_capacity", "rx_packet_bytes")}


def explained(cls: T) -> T:
    """Let the docstring of an engine explain the fields that it has in common with others."""
    text = cls.__doc__
    if text is None:  # python -OO
        return cls
    lines = [
        "\n".join(
            textwrap.wrap(
                f"{name}: {' '.join(_MEANINGS[name].split())}",
                96,
                initial_indent="    ",
                subsequent_indent="        ",
            )
        )
        for name in (field.name for field in dataclasses.fields(cls))
        if f"\n    {name}: " not in text
    ]
    cls.__doc__ = "\n".join([text.rstrip(" ").removesuffix("\n"), *lines, ""])
    return cls


class Spec:
    """Base class of engines and their parts: frozen dataclasses that print themselves as code."""

    __slots__ = ()

    _places: ClassVar[Mapping[str, str]] = {}
    """Where something belongs that is not a field."""

    if not TYPE_CHECKING:  # type checkers know the fields

        def __new__(cls, *_: Any, **fields: Any) -> Any:
            known = getattr(cls, "__dataclass_fields__", fields)
            for name in fields.keys() - known.keys():
                place = cls._places.get(name, "")
                found = place.startswith("open(") or place.partition("=")[0] in known
                hint = f": write {place}" if found else did_you_mean(name, known)
                raise TypeError(f"{cls.__name__} has no field {name!r}{hint}")
            return object.__new__(cls)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.given().items())
        return f"{type(self).__name__}({shown})"

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = {field: getattr(self, field.name) for field in fields}
        return {
            field.name: value
            for field, value in values.items()
            if not (type(value) is type(field.default) and value == field.default)
        }


def checked(name: str, value: object, kind: type[Any], *, optional: bool = False) -> None:
    """Raise `TypeError` if a part of an engine is of another class."""
    if not (isinstance(value, kind) or (optional and value is None)):
        raise TypeError(f"{name} must be a shmring {kind.__name__}, not {value!r}")


@dataclass(frozen=True, slots=True, repr=False)
class Queue(Spec):
    """A ring of packets, where their number alone will not do.

    packets: how many packets fit, 1 to 2**31 - 1.
    packet_bytes: their expected payload, 0 to 65507 bytes. None: in `rx` as in `tx`. In `tx` full
        1500-byte packets while that takes at most 8 MiB, else 8-byte packets, and at least 8 MiB.
    """

    packets: int
    packet_bytes: int | None = None

    def __post_init__(self) -> None:
        _options.integer("packets", self.packets, 1, _options.CAPACITY_MAX)
        if self.packet_bytes is not None:
            _options.integer("packet_bytes", self.packet_bytes, 0, lib.SHM_MAX_PAYLOAD)


@dataclass(frozen=True, slots=True, repr=False)
class Multicast(Spec):
    """How a socket takes part in multicast.

    groups: groups to join, at most 8, each an address or (address, interface).
    ttl: hop limit of multicast packets, 0 to 255. None: the system's.
    loop: multicast packets come back to this host.
    interface: interface, by name or index, through which multicast leaves. None: the system's.
    """

    groups: Iterable[str | tuple[str, str | int | None]] = ()
    ttl: int | None = None
    loop: bool = True
    interface: str | int | None = None

    def __post_init__(self) -> None:
        joined = _options.multicast_groups(self.groups)
        plain = tuple(one if one[1] is not None else one[0] for one in joined)
        object.__setattr__(self, "groups", plain)
        if self.ttl is not None:
            _options.check_value("ttl", "multicast_ttl", self.ttl)
        _options.switch("loop", self.loop)
        if not isinstance(self.interface, str) and self.interface is not None:
            _options.integer("interface", self.interface, 0, 2**31 - 1)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Socket(Spec):
    """Options of the socket of a channel.

    connect: receive from `remote` only.
    reuse: share the port (SO_REUSEADDR and SO_REUSEPORT).
    broadcast: allow sending to broadcast addresses.
    device: interface to bind to. None: any.
    ttl: hop limit of unicast packets, 0 to 255, with IPv4 at least 1. None: the system's.
    dscp: class of service in the packets, 0 to 63. None: the system's.
    priority: priority for the queueing discipline, 0 to 15. Above 6 it needs CAP_NET_ADMIN.
        None: the system's.
    dont_fragment: set the don't-fragment bit.
    v6only: an IPv6 socket takes no IPv4.
    rcvbuf_bytes: the kernel's receive buffer, bytes. Above net.core.rmem_max it needs
        CAP_NET_ADMIN. None: the system's.
    sndbuf_bytes: the kernel's send buffer, bytes. Above net.core.wmem_max it needs
        CAP_NET_ADMIN. None: the system's.
    gso: send packets that are due together, or within 2 us, in one call.
    gro: receive coalesced packets.
    txtime: launch by the queueing discipline or the card (SO_TXTIME), "auto", "off" or
        "require".
    rx_stamp: best arrival timestamp wanted, "hardware", "kernel" or "off".
    tx_stamp: best departure timestamp wanted, "hardware", "kernel" or "off".
    stamp_every: one packet in this many gets a departure timestamp, 1 to 255, in pairs (8: two
        in 16). None: one in 16, at most 1000 a second. The reports of the others have the
        stamp "none". 1: about 1 us per send call.
    multicast: how it takes part in multicast. None: not at all.
    existing: a bound UDP socket, instead of `local`. The worker gets a copy of the descriptor.
        Close the original, or both will read from it. Options that you set on it stay.
    """

    connect: bool = False
    reuse: bool = False
    broadcast: bool = False
    device: str | None = None
    ttl: int | None = None
    dscp: int | None = None
    priority: int | None = None
    dont_fragment: bool = False
    v6only: bool = False
    rcvbuf_bytes: int | None = None
    sndbuf_bytes: int | None = None
    gso: bool = True
    gro: bool = True
    txtime: Txtime = "auto"
    rx_stamp: StampSource = "hardware"
    tx_stamp: StampSource = "hardware"
    stamp_every: int | None = None
    multicast: Multicast | None = None
    existing: _socket.socket | int | None = None

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            _options.check_value(name, _FLAT.get(name, name), value)
        checked("multicast", self.multicast, Multicast, optional=True)
        device = self.device
        if device is not None:
            if not isinstance(device, str):
                raise TypeError(f"device must be a string, not {device!r}")
            if len(os.fsencode(device)) > 15 or "\0" in device:
                raise BadConfig(f"device {device[:80]!r} has a NUL or more than 15 characters")
        sock = self.existing
        if sock is not None and not isinstance(sock, _socket.socket) and type(sock) is not int:
            raise TypeError(f"existing must be a bound UDP socket or its descriptor, not {sock!r}")
        if isinstance(sock, int):
            _options.integer("existing", sock, 0, 2**31 - 1)


SOCKET = Socket()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Share(Spec):
    """Who else may use a channel, and how many.

    producers: how many processes and threads may send, 0 to 1023. None: 63, with `Cyclic` and
        `Netflux` 16. The opener counts as one, except of fewer than 8 while it sends nothing.
    readers: how many readers may attach, 0 to 1024. Taps do not count. None: 64, with `Cyclic`
        and `Netflux` 16.
    permissions: file permissions of the segment. None: 0o600, with a group 0o660.
    group: group of the segment, by name or id. None: the pool's.
    """

    producers: int | None = None
    readers: int | None = None
    permissions: int | None = None
    group: str | int | None = None

    def __post_init__(self) -> None:
        if self.producers is not None:
            _options.integer("producers", self.producers, 0, 1023)
        if self.readers is not None:
            _options.check_value("readers", "readers", self.readers)
        if self.permissions is not None:
            _options.permissions(self.permissions)
        if self.group is not None and not isinstance(self.group, str):
            _options.group_id(self.group)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Queued(Spec):
    """The fields of engines that queue packets with deadlines."""

    tx: int | Queue | None = None
    rx: int | Queue | None = None
    reading: Reading = "broadcast"
    max_payload: int | None = None
    clock: Clock = "monotonic"
    late: Late = "send"
    tolerance_ns: int = 50_000
    catch_up: float | None = None
    reports: Reports = "all"
    report_capacity: int | None = None


# --- what a pool takes ----------------------------------------------------------------------------


def options_of(engine: Spec) -> dict[str, Any]:
    """Return the fields of an engine that concern the channel below, as options for a pool.

    Raises `BadConfig`, `TypeError`: words, numbers and switches are checked.
    """
    given = engine.given()
    options = {name: given[name] for name in _PLAIN if name in given}
    for name, value in options.items():
        _options.check_value(name, name, value)
    if "max_payload" in options:
        _options.integer("max_payload", options["max_payload"], 0, lib.SHM_MAX_PAYLOAD)
    for name, (count, size) in _SIZES.items():
        queue = given.get(name)
        if isinstance(queue, Queue):
            options[count] = queue.packets
            if queue.packet_bytes is not None:
                options[size] = queue.packet_bytes
        elif queue is not None:
            options[count] = _options.integer(name, queue, 1, _options.CAPACITY_MAX)
    if "socket" in given:
        checked("socket", given["socket"], Socket)
        own: dict[str, Any] = given["socket"].given()
        multicast: dict[str, Any] = own.pop("multicast", Multicast()).given()
        options |= {_FLAT.get(name, name): value for name, value in own.items()}
        options |= {_OF_MULTICAST[name]: value for name, value in multicast.items()}
    return options


def _places() -> dict[str, str]:
    """Return where each option of a channel belongs in an engine."""
    places = {name: f"{name}=..." for name in _PLAIN}
    for name, (count, size) in _SIZES.items():
        places[count] = f"{name}=..."
        places[size] = f"{name}=Queue(packets, packet_bytes)"
    for field in dataclasses.fields(Socket):
        place = f"socket=Socket({field.name}=...)"
        places[field.name] = places[_FLAT.get(field.name, field.name)] = place
    for name, option in _OF_MULTICAST.items():
        places[option] = f"socket=Socket(multicast=Multicast({name}=...))"
    for name in ("local", "remote", "impair", "impair_rx", "cpu", "profile", "strict", "held"):
        places[name] = f"{_OPEN}{name}=...)"
    for field in dataclasses.fields(Share):
        places[field.name] = f"{_OPEN}share=Share({field.name}=...))"
    return places


_OPEN = "open(..., "
Spec._places = _places()
Socket._places = {
    **Spec._places,
    **{option: f"{name}=..." for name, option in _FLAT.items()},
    **{option: f"multicast=Multicast({name}=...)" for name, option in _OF_MULTICAST.items()},
}


def places_in_open(kind: type[Spec]) -> dict[str, str]:
    """Return where in a call of `open` a name belongs, with an engine of this class."""
    known: Mapping[str, Any] = getattr(kind, "__dataclass_fields__", {})
    places = {name: f"{name}=..." for name in known} | dict(kind._places)
    inside = {
        name: f"engine={kind.__name__}({place})"
        for name, place in places.items()
        if place.partition("=")[0] in known
    }
    return inside | {
        name: place.removeprefix(_OPEN)[:-1]
        for name, place in places.items()
        if place.startswith(_OPEN)
    }


__all__ = ["Multicast", "Queue", "Share", "Socket"]
