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
from typing import Any, ClassVar, TypeVar

from shmring import _address, _options
from shmring._option_rows import (
    MEANINGS,
    OPTIONS,
    MulticastRows,
    ShareRows,
    SocketRows,
    UdpRows,
)
from shmring._ring import ffi, lib
from shmring._spec import Held, Parts, Spec
from shmring.errors import BadConfig

S = TypeVar("S", bound=Spec)

_MEANINGS = MEANINGS | {
    "tx": """how many packets may wait to be sent, 1 to 2**31 - 1: a number, or a `Queue`. None:
        1024. If `rx` and `max_payload` are None, too, they have 256 bytes, and the channel takes
        1.2 MB.""",
    "rx": """how many arrived packets are kept, in the same form. None: as `tx`. A number: their
        payload is that of `tx`.""",
    "max_payload": """longest payload, 0 to 65507 bytes. Longer arrivals are cut. None: what the
        rings allow, at most 65507.""",
    "socket": "options of the `Socket`.",
}

_PLAIN = tuple(field.name for field in dataclasses.fields(UdpRows))
_SIZES = {"tx": ("capacity", "packet_bytes"), "rx": ("rx_capacity", "rx_packet_bytes")}


def explained(cls: type[S]) -> type[S]:
    """Let the docstring of an engine or a part explain the fields that it does not explain."""
    text = cls.__doc__
    if text is None:  # python -OO
        return cls
    lines = [
        "\n".join(
            textwrap.wrap(
                f"{name}: {' '.join(_MEANINGS[cls._flat.get(name, name)].split())}",
                96,
                initial_indent="    ",
                subsequent_indent="        ",
            )
        )
        for name in (field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]
        if f"\n    {name}: " not in text
    ]
    cls.__doc__ = "\n".join([text.rstrip(" ").removesuffix("\n"), *lines, ""])
    return cls


def checked(name: str, value: object, kind: type[Any], *, optional: bool = False) -> None:
    """Raise `TypeError` if a part of an engine is of another class."""
    if not (isinstance(value, kind) or (optional and value is None)):
        raise TypeError(f"{name} must be a shmring {kind.__name__}, not {value!r}")


def check_rows(part: Spec) -> dict[str, Any]:
    """Return the given fields that are options with a row (`shmring._option_rows`), by the names of
    the options. Raises `BadConfig`, `TypeError`."""
    found: dict[str, Any] = {}
    for name, value in part.given().items():
        flat = part._flat.get(name, name)
        if flat in OPTIONS:
            _options.check_value(name, flat, value)
            found[flat] = value
    return found


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


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Multicast(MulticastRows):
    """How a socket takes part in multicast.

    groups: groups to join, at most 8, each an address or (address, interface).
    interface: interface, by name or index, through which multicast leaves. None: the system's.
    """

    groups: Iterable[str | tuple[str, str | int | None]] = dataclasses.field(
        default=(), kw_only=False
    )
    interface: str | int | None = None

    _held: ClassVar[Held] = {
        "groups": lambda words: _groups(words.config),
        "interface": lambda words: _interface(words.config.multicast_interface),
    }

    def __post_init__(self) -> None:
        joined = _options.multicast_groups(self.groups)
        plain = tuple(
            _host_of(address) if interface in (None, 0) else (_host_of(address), interface)
            for address, interface in joined
        )
        object.__setattr__(self, "groups", plain)
        check_rows(self)
        if not isinstance(self.interface, str) and self.interface is not None:
            _options.integer("interface", self.interface, 0, 2**31 - 1)


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Socket(SocketRows):
    """Options of the socket of a channel.

    device: interface to bind to. None: any.
    multicast: how it takes part in multicast. None: not at all.
    existing: a bound UDP socket, instead of `local`. The worker gets a copy of the descriptor.
        Close the original, or both will read from it. Options that you set on it stay.
    """

    device: str | None = None
    multicast: Multicast | None = None
    existing: _socket.socket | int | None = None

    _parts: ClassVar[Parts] = {"multicast": Multicast}
    _held: ClassVar[Held] = {"device": lambda words: words.text(words.config.device, "device")}

    def __post_init__(self) -> None:
        check_rows(self)
        checked("multicast", self.multicast, Multicast, optional=True)
        device = self.device
        if device is not None:
            if not isinstance(device, str):
                raise TypeError(f"device must be a string, not {device!r}")
            if not device.isprintable() or len(os.fsencode(device)) > 15:
                raise BadConfig(
                    f"device is {device[:80]!r}: it must be the name of an interface, at most 15 "
                    "printable characters"
                )
        sock = self.existing
        if sock is not None and not isinstance(sock, _socket.socket) and type(sock) is not int:
            raise TypeError(f"existing must be a bound UDP socket or its descriptor, not {sock!r}")
        if isinstance(sock, int):
            _options.integer("existing", sock, 0, 2**31 - 1)


def _host_of(address: str) -> str:
    """Return a group's address in the form in which it comes back from shared memory."""
    host, _ = _address.unpack(_address.pack((address, 0))) or (address, 0)
    return host


def _groups(config: Any) -> tuple[str | tuple[str, str | int | None], ...]:
    """Return the groups of a configuration, as `Multicast` has them."""
    found: list[str | tuple[str, str | int | None]] = []
    for entry in config.groups:
        if entry.group.family == 0:
            break
        address = _address.unpack_known(entry.group, "groups")[0]
        if not _address.is_multicast(bytes(ffi.buffer(ffi.addressof(entry, "group")))):
            _options.unbelievable("group", address, "a multicast address")
        found.append((address, _interface(entry.interface)) if entry.interface else address)
    return tuple(found)


def _interface(index: int) -> str | int:
    """Return an interface by its name, or its number if this host has none of it."""
    _options.believed("interface", index, 0, 2**31 - 1)
    try:
        return _socket.if_indextoname(index)
    except OSError:
        return index


SOCKET = Socket()
QUEUES: dict[str, type[Spec]] = {"tx": Queue, "rx": Queue}


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Share(ShareRows):
    """Who else may use a channel, and how many.

    producers: how many processes and threads may send, 0 to 1023. None: 63, with `Cyclic` and
        `Netflux` 16. The opener counts as one, except of fewer than 8 while it sends nothing.
    permissions: file permissions of the segment. None: 0o600, with a group 0o660.
    group: group of the segment, by name or id. None: the pool's.
    """

    producers: int | None = None
    permissions: int | None = None
    group: str | int | None = None

    def __post_init__(self) -> None:
        if self.producers is not None:
            _options.integer("producers", self.producers, 0, 1023)
        check_rows(self)
        if self.permissions is not None:
            _options.permissions(self.permissions)
        if self.group is not None and not isinstance(self.group, str):
            _options.group_id(self.group)


# --- what a pool takes ----------------------------------------------------------------------------


def _flat(kind: type[Spec], field: str) -> str:
    """Return the name of a field among all options of a channel."""
    own = {"existing": "socket", "interface": "multicast_interface"}
    return kind._flat.get(field, own.get(field, field))


def options_of(engine: Spec) -> dict[str, Any]:
    """Return the fields of an engine that concern the channel below, as options for a pool.

    Raises `BadConfig`, `TypeError`: words, numbers and switches are checked.
    """
    given = engine.given()
    options = check_rows(engine)
    if "max_payload" in given:
        options["max_payload"] = given["max_payload"]
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
        options |= {_flat(Socket, name): value for name, value in own.items()}
        options |= {_flat(Multicast, name): value for name, value in multicast.items()}
    return options


def _places() -> dict[str, str]:
    """Return where each option of a channel belongs in an engine."""
    places = {name: f"{name}=..." for name in (*_PLAIN, "max_payload")}
    for name, (count, size) in _SIZES.items():
        places[count] = f"{name}=..."
        places[size] = f"{name}=Queue(packets, packet_bytes)"
    for field in dataclasses.fields(Socket):
        place = f"socket=Socket({field.name}=...)"
        places[field.name] = places[_flat(Socket, field.name)] = place
    for field in dataclasses.fields(Multicast):
        place = f"socket=Socket(multicast=Multicast({field.name}=...))"
        places[_flat(Multicast, field.name)] = place
    of_open = ("local", "remote", "impair", "impair_rx", "cpu", "profile", "strict", "held")
    for name in (*of_open, "exist_ok"):
        places[name] = f"{_OPEN}{name}=...)"
    for field in dataclasses.fields(Share):
        places[field.name] = f"{_OPEN}share=Share({field.name}=...))"
    return places


_OPEN = "open(..., "
Spec._places = _places()
Socket._places = {
    **Spec._places,
    "so_priority": "priority=...",
    "socket": "existing=...",
    **{
        _flat(Multicast, field.name): f"multicast=Multicast({field.name}=...)"
        for field in dataclasses.fields(Multicast)
    },
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
