"""A channel as one flat list of options: names, checks, and the `shm_config_t` that they fill.

Engines turn their fields into these options (`shmring.parts`), and a pool takes them. Everything is
checked here, before anything is made. Options that are not given keep the default of
`shm_config_init`.
"""

from __future__ import annotations

import dataclasses
import errno
import grp
import operator
import os
import socket as _socket
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, SupportsIndex, cast

from rtworkers.similar import did_you_mean
from shmring import _address, _option_rows
from shmring._check import check
from shmring._option_rows import Option
from shmring._ring import ffi, lib
from shmring._spec import Spec
from shmring.errors import BadAddress, BadConfig
from shmring.types import Impairment

CAPACITY = 1024
USUAL_PACKET_BYTES = 256
FULL_PACKET_BYTES = 1500
SMALL_PACKET_BYTES = 8
GENEROUS_RING_BYTES = 8 << 20
PAGE_BYTES = 4096
TX_HEAD_BYTES = 32  # shm_tx_record_t
RX_HEAD_BYTES = 24  # shm_rx_record_t
LONGEST_HEAD_BYTES = int(lib.SHM_RECORD_HEAD_BYTES)
ADDRESS_BYTES = 24  # shm_addr_t, an IPv4 source needs 8
CAPACITY_MAX = 2**31 - 1
OPTIONS_WITH_ROWS = _option_rows.OPTIONS

_IMPAIR = {"impair": "impair_tx", "impair_rx": "impair_rx"}

_SIZES = ("capacity", "packet_bytes", "rx_capacity", "rx_packet_bytes", "max_payload")
_ADDRESSES = ("local", "remote", "socket", "device", "groups", "multicast_interface")
_POOLS = ("permissions", "group", "cpu", "strict", "producers")

SHOWN = {"packet_bytes": "packet_bytes of tx", "rx_packet_bytes": "packet_bytes of rx"}
"""What errors call the sizes of a `Queue`."""

OPTIONS = frozenset(
    (*_option_rows.OPTIONS, *_IMPAIR, *_SIZES, *_ADDRESSES, *_POOLS, "opened_as")
)
"""What a pool takes for a channel."""


@dataclasses.dataclass(frozen=True, slots=True)
class EngineConfig:
    """What a worker needs to know about a channel's engine."""

    name: str
    config: bytes
    """The engine's own struct for ``shm_config_t.engine_config``."""
    shared_bytes: int = 0
    """Shared memory for the engine itself, rounded up to whole pages."""
    deadlines: bool = True
    """Whether packets are sent at deadlines, and late ones are recorded."""


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """A channel whose options passed every check and which is not made yet."""

    name: str
    config: Any  # shm_config_t *
    segment_bytes: int
    permissions: int | None
    group: int | None
    cpu: int | None
    strict: bool | None
    socket_fd: int | None

    def config_bytes(self) -> bytes:
        return bytes(ffi.buffer(self.config))


def prepare(
    name: str,
    namespace: str,
    pool: str,
    profile: str,
    options: Mapping[str, Any],
    engine: EngineConfig | None = None,
) -> Prepared:
    """Check a name and the options of a channel. `profile` is the pool's.

    Raises `BadConfig`, `BadAddress`, `PayloadTooLarge`, `TypeError`.
    """
    given = asked_for(options, OPTIONS, "a channel")
    config = ffi.new("shm_config_t *")
    lib.shm_config_init(config)
    set_text(config, "name", name)
    set_text(config, "name_space", namespace)
    set_text(config, "pool", pool)
    given.setdefault("profile", profile)
    set_rows(config, given)
    if "opened_as" in given:
        _set_opened_as(config, given["opened_as"])
    _set_addresses(config, given)
    _set_multicast(config, given)
    for option, target in _IMPAIR.items():
        if option in given:
            _set_impairment(getattr(config, target), option, given[option])
    if "device" in given:
        set_text(config, "device", given["device"])
    if "producers" in given:
        config.producers = integer("producers", given["producers"], 0, 1023) + 1  # the worker's
    if not config.direction & lib.SHM_TX:
        config.late_slots = 0
    sock = _adopt_socket(config, given)
    _set_sizes(config, given, lib.SHM_MAX_PAYLOAD if engine is None else lib.SHM_MAX_RECORD)
    if engine is not None:
        _set_engine(config, engine)
    check(lib.shm_config_check(config))
    return Prepared(
        name,
        config,
        lib.shm_segment_bytes(config),
        permissions(given["permissions"]) if "permissions" in given else None,
        group_id(given.get("group")),
        given.get("cpu"),
        switch("strict", given["strict"]) if "strict" in given else None,
        sock,
    )


def group_id(group: object) -> int | None:
    """Return the id of a group given by name or id. Raises `BadConfig`, `TypeError`."""
    if group is None:
        return None
    if isinstance(group, bool) or not isinstance(group, (str, int)):
        raise TypeError(f"group must be a name or an id, not {group!r}")
    try:
        found = grp.getgrnam(group) if isinstance(group, str) else None
    except KeyError:
        raise BadConfig(f"group {group!r} does not exist on this host (getent group)") from None
    return found.gr_gid if found else integer("group", group, 0, 2**32 - 2)


def asked_for(
    options: Mapping[str, Any],
    known: Collection[str],
    what: str,
    places: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the options that are not None. Raises `TypeError` for unknown names. places: where
    some of these belong."""
    for name in options:
        if name not in known:
            place = f": write {places[name]}" if places and name in places else ""
            hint = place or did_you_mean(name, known)
            raise TypeError(f"{what} has no option {name!r}{hint}")
    return {name: value for name, value in options.items() if value is not None}


def set_text(config: Any, target: str, text: object) -> None:
    """Fill a char[] of a struct. Raises `BadConfig`, `TypeError`."""
    if not isinstance(text, str):
        raise TypeError(f"{target} must be a string, not {text!r}")
    raw = text.encode("utf-8", "surrogateescape")
    space = ffi.sizeof(getattr(config, target))
    if len(raw) >= space or b"\0" in raw:
        raise BadConfig(f"{target} {text[:80]!r} has a NUL or more than {space - 1} characters")
    setattr(config, target, raw)


def set_choices(
    config: Any, given: Mapping[str, Any], table: Mapping[str, tuple[str, Mapping[str, int]]]
) -> None:
    """Set the options of a table that are given: field, and the number of each name."""
    for option, (target, choices) in table.items():
        if option in given:
            setattr(config, target, choice(option, given[option], choices))


def set_numbers(
    config: Any, given: Mapping[str, Any], table: Mapping[str, tuple[str, int, int]]
) -> None:
    """Set the options of a table that are given: field, lowest and highest value."""
    for option, (target, low, high) in table.items():
        if option in given:
            setattr(config, target, integer(option, given[option], low, high))


def _set_opened_as(config: Any, value: Any) -> None:
    """Keep what `shmring._way_back.opened_as` returned, maybe in another process."""
    if not isinstance(value, (tuple, list)) or len(cast("list[Any]", value)) != 3:
        raise TypeError(f"opened_as must be three numbers, not {value!r}")
    fields = ("tx_packet_bytes", 2**32), ("rx_packet_bytes", 2**32), ("given", 2**64)
    for (field, end), number in zip(fields, cast("list[Any]", value), strict=True):
        setattr(config, field, integer("opened_as", number, 0, end - 1))


def set_rows(config: Any, given: Mapping[str, Any]) -> None:
    """Set the options with a row that are given. Raises `BadConfig`, `TypeError`."""
    for option, row in OPTIONS_WITH_ROWS.items():
        if option in given:
            setattr(config, row.field, check_value(option, option, given[option]))


def cycle_tolerance_ns(cycle_ns: int) -> int:
    """How late a cycle may be by default and still be on time."""
    return min(max(50_000, cycle_ns // 10), OPTIONS_WITH_ROWS["tolerance_ns"].high)


def check_value(shown: str, option: str, value: object) -> float:
    """Return the number of an option that has a row, and call it `shown` in errors. Raises
    `BadConfig`, `TypeError`."""
    row = OPTIONS_WITH_ROWS[option]
    if row.words is not None:
        return choice(shown, value, row.words)
    if row.switch:
        return int(switch(shown, value))
    if row.ratio:
        return ratio(shown, value, row.ratio)
    return integer(shown, value, row.low, row.high)


def read_value(option: str, config: Any) -> Any:
    """Return the value of an option that has a row, as a configuration has it. Raises `OSError` for
    a number that stands for none."""
    row = OPTIONS_WITH_ROWS[option]
    number = getattr(config, row.field)
    if row.unset is not None and number == row.unset:
        return None
    if row.words is not None:
        known = {value: word for word, value in row.words.items()}
        if number not in known:
            unbelievable(option, number, f"one of {', '.join(map(str, known))}")
        return known[number]
    if row.switch:
        if number > 1:
            unbelievable(option, number, "0 or 1")
        return bool(number)
    if row.ratio:
        if not 1 < number <= row.ratio:
            unbelievable(option, number, f"above 1, up to {row.ratio}")
        return float(number)
    believed(option, number, row.low, row.high)
    if row.power and number & (number - 1):
        unbelievable(option, number, "0 or a power of two")
    return int(number)


def numbers_held(
    kind: type[Spec], rows: Mapping[str, Option], struct: str = ""
) -> dict[str, Callable[[Any], Any]]:
    """Return how `shmring._way_back` reads the fields of a class that are numbers of an engine's
    configuration. struct: a path in it, with a point behind it."""
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    flats = {name: kind._flat.get(name, name) for name in names}
    return {name: _held(flat, rows[flat], struct) for name, flat in flats.items() if flat in rows}


def _held(option: str, row: Option, struct: str) -> Callable[[Any], Any]:
    get = operator.attrgetter(f"{struct}{row.field}")

    def read(words: Any) -> int:
        number = get(words.own)
        number = 0 if row.zero and number == row.zero else number or row.default
        return believed(option, number, row.low, row.high)

    return read


def max_payload_held(head_bytes: int = 0) -> Callable[[Any], int]:
    """Return how `shmring._way_back` reads `max_payload`. head_bytes: what the engine puts before
    a payload."""

    def read(words: Any) -> int:
        longest = words.config.max_payload_bytes - head_bytes
        return believed("max_payload", longest, 0, lib.SHM_MAX_PAYLOAD - head_bytes)

    return read


def believed(what: str, number: int, low: int, high: int) -> int:
    """Return a number from shared memory. Raises `OSError` if it is not within its limits."""
    if not low <= number <= high:
        unbelievable(what, number, f"{low} to {high}")
    return int(number)


def unbelievable(what: str, number: object, allowed: str) -> NoReturn:
    """Raise `OSError` for a number in shared memory that no opener writes there."""
    raise OSError(errno.EPROTO, f"its {what} is {number}: it must be {allowed}")


def check_alone(options: dict[str, Any], most: int) -> None:
    """Check the sizes among the options of a channel whose addresses are not known yet, as if its
    records were the shortest. most: the longest payload."""
    config = ffi.new("shm_config_t *")
    lib.shm_config_init(config)
    for target in ("name", "name_space", "pool"):
        setattr(config, target, b"x")
    _set_addresses(config, {"remote": ("127.0.0.1", 1)})
    config.connect = 1
    names = options.keys() & {"direction", "report_capacity"}
    set_rows(config, {name: options[name] for name in names})
    _set_sizes(config, options, most)
    check(lib.shm_config_check(config))


def choice(option: str, value: object, choices: Mapping[str, int]) -> int:
    """Return the number of a name. Raises `BadConfig`."""
    if not isinstance(value, str) or value not in choices:
        raise BadConfig(f"{option} is {value!r}: use one of {', '.join(map(repr, choices))}")
    return choices[value]


def _set_addresses(config: Any, given: dict[str, Any]) -> None:
    for option, least_port in (("local", 0), ("remote", 1)):
        if option in given:
            raw = _address.pack(given[option], option, least_port)
            ffi.memmove(ffi.addressof(config, option), raw, len(raw))


def _set_multicast(config: Any, given: dict[str, Any]) -> None:
    if "multicast_interface" in given:
        config.multicast_interface = _interface("interface", given["multicast_interface"])
    for index, (address, interface) in enumerate(multicast_groups(given.get("groups", ()))):
        raw = _address.pack((address, 0), "groups")
        ffi.memmove(ffi.addressof(config.groups[index], "group"), raw, len(raw))
        if interface is not None:
            config.groups[index].interface = _interface("groups", interface)


def multicast_groups(groups: Any) -> list[tuple[str, str | int | None]]:
    """Return address and interface of each group. Raises `BadConfig`, `BadAddress`, `TypeError`."""
    if isinstance(groups, (str, bytes)) or not hasattr(groups, "__iter__"):
        raise TypeError(f'groups must be a list such as [("239.1.1.1", "eth0")], not {groups!r}')
    listed: list[Any] = list(groups)
    entries = [(entry, None) if isinstance(entry, str) else _pair(entry) for entry in listed]
    if len(entries) > lib.SHM_MAX_GROUPS:
        raise BadConfig(
            f"groups has {len(entries)} entries, a channel joins at most {lib.SHM_MAX_GROUPS}: "
            "open another channel for the rest"
        )
    for address, interface in entries:
        if not _address.is_multicast(_address.pack((address, 0), "groups")):
            raise BadConfig(f"groups: {address!r} is no multicast address (224.0.0.0/4, ff00::/8)")
        if interface is not None and not isinstance(interface, str):
            integer("interface", interface, 0, 2**31 - 1)
    return entries


def _pair(entry: Any) -> tuple[str, str | int | None]:
    match entry:
        case (str() as address, interface):
            return address, interface
        case _:
            raise TypeError(
                f'groups: an entry is "239.1.1.1" or ("239.1.1.1", "eth0"), not {entry!r}'
            )


def _set_impairment(target: Any, option: str, value: object) -> None:
    if not isinstance(value, Impairment):
        raise TypeError(f"{option} must be a shmring.Impairment, not {value!r}")
    value.fill(target)


def _set_sizes(config: Any, given: dict[str, Any], most: int) -> None:
    """Set the rings and the longest payload. `most`: an engine may put a header before
    the payload."""
    capacity = integer("capacity", given.get("capacity", CAPACITY), 1, CAPACITY_MAX)
    rx_capacity = integer("rx_capacity", given.get("rx_capacity", capacity), 1, CAPACITY_MAX)
    packet = _payload("packet_bytes", given.get("packet_bytes", _usual_packet_bytes(given)))
    rx_packet = _payload("rx_packet_bytes", given.get("rx_packet_bytes", packet))
    asked = _payload("max_payload", given.get("max_payload"), most)
    for option, size in (("packet_bytes", packet), ("rx_packet_bytes", rx_packet)):
        if asked is not None and size is not None and size > asked:
            raise BadConfig(f"{SHOWN[option]} is {size}: it must not be above max_payload={asked}")

    # The end of this host is in a record as well if the socket has all addresses.
    ends = 2 if _is_wildcard(config) else 1
    tx_head = TX_HEAD_BYTES + (0 if config.remote.family else ends * ADDRESS_BYTES)
    rx_head = RX_HEAD_BYTES + ends * (ADDRESS_BYTES if _is_v6(config) else 8)
    wanted = {
        lib.SHM_TX: room_bytes(capacity, packet, tx_head),
        lib.SHM_RX: room_bytes(rx_capacity, rx_packet, rx_head),
    }
    used = {way: size if config.direction & way else 0 for way, size in wanted.items()}
    longest = asked
    if longest is None:
        least = max(packet or FULL_PACKET_BYTES, rx_packet or FULL_PACKET_BYTES)
        smallest = min(size for size in used.values() if size)
        longest = min(max(least, smallest // 4 - LONGEST_HEAD_BYTES), lib.SHM_MAX_PAYLOAD)
    config.max_payload_bytes = longest
    config.tx_capacity = capacity
    config.rx_capacity = rx_capacity
    config.tx_bytes = ring_bytes(used[lib.SHM_TX], longest)
    config.rx_bytes = ring_bytes(used[lib.SHM_RX], longest)


def _usual_packet_bytes(given: dict[str, Any]) -> int | None:
    """Return the payload for which the rings are sized if no size is given. It saves memory: most
    packets that are sent one at a time are short."""
    return None if given.keys() & _SIZES else USUAL_PACKET_BYTES


def _set_engine(config: Any, engine: EngineConfig) -> None:
    set_text(config, "engine", engine.name)
    if not engine.deadlines:
        config.late_slots = 0
    space = ffi.buffer(ffi.addressof(config, "engine_config"))
    if len(engine.config) > len(space):
        raise BadConfig(
            f"the configuration of engine {engine.name!r} has {len(engine.config)} bytes, at most "
            f"{len(space)}"
        )
    space[: len(engine.config)] = engine.config
    config.engine_bytes = -(-engine.shared_bytes // PAGE_BYTES) * PAGE_BYTES


def room_bytes(capacity: int, packet_bytes: int | None, head_bytes: int) -> int:
    """Return the ring bytes that `capacity` packets of the expected payload need."""
    if packet_bytes is not None:
        return capacity * record_bytes(packet_bytes, head_bytes)
    full = capacity * record_bytes(FULL_PACKET_BYTES, head_bytes)
    if full <= GENEROUS_RING_BYTES:
        return full
    return max(GENEROUS_RING_BYTES, capacity * record_bytes(SMALL_PACKET_BYTES, head_bytes))


def record_bytes(payload_bytes: int, head_bytes: int) -> int:
    """Return the size of a packet in a ring: header and payload, in multiples of 8 bytes."""
    return head_bytes + (payload_bytes + 7) // 8 * 8


def ring_bytes(room: int, max_payload: int) -> int:
    """Return the size of a ring with `room` bytes for packets, in whole pages.

    It includes space for two longest records, which stays free: one to be moved, one as padding at
    the ring's end.
    A ring that is not used has the minimum size.
    """
    if not room:
        return PAGE_BYTES
    longest = record_bytes(max_payload, TX_HEAD_BYTES + 2 * ADDRESS_BYTES)
    size = max(room + 2 * longest, 4 * (max_payload + LONGEST_HEAD_BYTES))
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def _is_wildcard(config: Any) -> bool:
    """Whether the socket is bound to all addresses, as far as the options tell."""
    return not (config.connect and config.remote.family) and not any(config.local.ip)


def _is_v6(config: Any) -> bool:
    return 6 in (config.local.family, config.remote.family)


def _adopt_socket(config: Any, given: dict[str, Any]) -> int | None:
    sock = given.get("socket")
    if sock is None:
        return None
    if "local" in given:
        raise BadConfig(
            "local and an existing socket are both given: leave out local, a socket has an address"
        )
    fd = sock.fileno() if isinstance(sock, _socket.socket) else sock
    if isinstance(fd, bool) or not isinstance(fd, int):
        raise TypeError(f"socket must be a bound UDP socket or its descriptor, not {sock!r}")
    if fd < 0:
        raise BadConfig(f"the existing socket {sock!r} is closed")
    with _socket.socket(fileno=_duplicate(fd)) as probe:
        if probe.family not in (_socket.AF_INET, _socket.AF_INET6):
            raise BadAddress(
                f"the existing socket is of family {probe.family!r}: use AF_INET or AF_INET6"
            )
        if probe.type != _socket.SOCK_DGRAM:
            raise BadConfig(f"the existing socket is of type {probe.type!r}: use SOCK_DGRAM")
        bound = probe.getsockname()
        if bound[1] == 0:
            raise BadConfig("the existing socket is not bound: bind it first, or use local instead")
    raw = _address.pack(bound, "socket")
    ffi.memmove(ffi.addressof(config, "local"), raw, len(raw))
    return fd


def _duplicate(fd: int) -> int:
    try:
        return os.dup(fd)
    except OSError as error:
        raise BadConfig(f"socket descriptor {fd} is not open: {error.strerror}") from None


def _interface(what: str, value: object) -> int:
    if isinstance(value, str):
        try:
            return _socket.if_nametoindex(value)
        except OSError:
            raise BadConfig(f"{what}: this host has no interface {value!r}") from None
    return integer(what, value, 0, 2**31 - 1)


def _payload(option: str, value: object, most: int = lib.SHM_MAX_PAYLOAD) -> int | None:
    return None if value is None else integer(option, value, 0, most)


def permissions(value: object) -> int:
    """Return the permissions of a file. Raises `BadConfig`, `TypeError`."""
    bits = integer("permissions", value, 0, 2**31)
    if bits > 0o777:
        raise BadConfig(f"permissions is {bits:#o}; it must be between 0o600 and 0o777")
    if bits & 0o600 != 0o600:
        raise BadConfig(
            f"permissions is {bits:#o}: the owner needs read and write access, as in 0o600"
        )
    return bits


def integer(option: str, value: object, low: int, high: int) -> int:
    """Return an integer within its limits. Raises `BadConfig`, `TypeError`."""
    number = _index(value)
    if number is None:
        raise TypeError(f"{option} must be an integer, not {value!r}")
    if not low <= number <= high:
        raise BadConfig(f"{option} is {number}; it must be between {low} and {high}")
    return number


def ratio(option: str, value: object, high: int) -> float:
    """Return a number above 1, up to its limit. Raises `BadConfig`, `TypeError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{option} must be a number, not {value!r}")
    if not 1 < value <= high:
        raise BadConfig(f"{option} is {value}; it must be above 1, up to {high}")
    return float(value)


def _index(value: object) -> int | None:
    """Return an integer of any type, also NumPy's, as an `int`. Anything else gives None."""
    if type(value) is int:
        return value
    if isinstance(value, bool):
        return None
    try:
        return operator.index(cast("SupportsIndex", value))
    except TypeError:
        return None


def switch(option: str, value: object) -> bool:
    """Return a bool. Values that only act like one are refused. Raises `TypeError`."""
    if value is True or value is False:
        return value
    raise TypeError(f"{option} must be True or False, not {value!r}")
