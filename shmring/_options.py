"""What a channel may be asked to be: names, defaults, checks, and the `shm_config_t` they make.

Everything is checked here, before anything is made. What is not given keeps the default of
`shm_config_init`.
"""

from __future__ import annotations

import dataclasses
import difflib
import grp
import inspect
import operator
import os
import socket as _socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, SupportsIndex, TypedDict, cast

from shmring import _address
from shmring._check import check
from shmring._ring import ffi, lib
from shmring.errors import BadAddress, BadConfig
from shmring.types import Impairment

FULL_PACKET_BYTES = 1500
SMALL_PACKET_BYTES = 8
GENEROUS_RING_BYTES = 8 << 20
PAGE_BYTES = 4096
TX_HEAD_BYTES = 32  # shm_tx_record_t
RX_HEAD_BYTES = 24  # shm_rx_record_t
ADDRESS_BYTES = 24  # shm_addr_t; an IPv4 source takes 8
CAPACITY_MAX = 2**31 - 1


class ChannelOptions(TypedDict, total=False):
    """Keyword arguments of `Pool.open` and `shmring.open`. Times are ns, sizes are bytes."""

    local: tuple[str, int] | None
    """Address to bind to, port 0 for any; None: the kernel chooses."""
    remote: tuple[str, int] | None
    """Where packets go that name no destination; None: each `send` names one."""
    direction: str
    """``"tx"``, ``"rx"`` or ``"duplex"`` (default)."""
    capacity: int
    """Packets that may wait to be sent. Default 1024."""
    packet_bytes: int | None
    """Expected payload, sizes the send ring: `capacity` packets of it fit. None (default): full
    1500-byte packets while that takes at most 8 MiB, else 8-byte packets, with at least 8 MiB."""
    rx_capacity: int | None
    """Arrived packets kept for readers. None (default): as `capacity`."""
    rx_packet_bytes: int | None
    """As `packet_bytes`, for the ring of arrived packets. None (default): as `packet_bytes`."""
    max_payload: int | None
    """Longest payload. None (default): as long as the rings allow, at most 65507."""
    reading: str
    """``"broadcast"`` (default): every reader gets every packet. ``"shared"``: each packet goes to
    one of the readers."""
    overflow: str
    """A full ring of arrived packets: ``"oldest"`` (default) is overwritten, or the worker
    ``"wait"``\\ s for the slowest reader and leaves packets in the socket."""
    late: str
    """Packets past their deadline: ``"send"`` (default) or ``"drop"``."""
    align: str
    """What meets the deadline: the ``"start"`` of sending (default), never before it, or the
    ``"wire"``, centred on it."""
    clock: str
    """Clock of deadlines and stamps: ``"monotonic"`` (default) or ``"tai"``."""
    reports: str
    """Which packets get a send report: ``"all"`` (default), ``"late"`` or ``"off"``."""
    report_capacity: int
    """Reports kept, a power of two or 0. Default 4096."""
    tolerance_ns: int
    """How late a packet may start and still be on time. Default 50000."""
    profile: str | None
    """How to wait: ``"balanced"``, ``"latency"`` or ``"power"``. None (default): as the pool."""
    rx_stamp: str
    """Best arrival stamp wanted: ``"hardware"`` (default), ``"kernel"`` or ``"off"``."""
    tx_stamp: str
    """Best departure stamp wanted: ``"hardware"`` (default), ``"kernel"`` or ``"off"``."""
    stamp_every: int | None
    """One packet in so many gets a departure stamp, 1 to 255, in pairs (8: two in 16). None
    (default): one in 16, at most 1000 a second; the reports of the others have stamp ``none``.
    1: every packet has its own proof, which costs about 1 us a send call. Packets that leave in one
    call share a stamp."""
    txtime: str
    """Launch by queueing discipline or card (SO_TXTIME): ``"auto"`` (default), ``"off"``,
    ``"require"``."""
    connect: bool
    """Receive from `remote` only. Default False."""
    reuse: bool
    """Share the port (SO_REUSEADDR and SO_REUSEPORT). Default False."""
    broadcast: bool
    """Allow sending to broadcast addresses. Default False."""
    ttl: int | None
    """0 to 255; None (default): the system's."""
    multicast_ttl: int | None
    """0 to 255; None (default): the system's."""
    multicast_loop: bool
    """Multicast packets come back to this host. Default True."""
    multicast_interface: str | int | None
    """Interface, by name or index, through which multicast leaves."""
    groups: Iterable[str | tuple[str, str | int | None]]
    """Multicast groups to join: addresses, or (address, interface)."""
    dscp: int | None
    """0 to 63, the class of service in the packets. None (default): the system's."""
    so_priority: int | None
    """0 to 15, for the queueing discipline. None (default): the system's."""
    device: str | None
    """Interface to bind to."""
    dont_fragment: bool
    """Set the don't-fragment bit. Default False."""
    v6only: bool
    """An IPv6 socket takes no IPv4. Default False."""
    rcvbuf_bytes: int | None
    """Kernel's receive buffer. None (default): the system's."""
    sndbuf_bytes: int | None
    """Kernel's send buffer. None (default): the system's."""
    gso: bool
    """Send packets that are due together in one call. Default True."""
    gro: bool
    """Receive coalesced packets. Default True."""
    impair: Impairment | None
    """An emulated link between this channel and the network, sending side."""
    impair_rx: Impairment | None
    """The same, receiving side."""
    producers: int
    """Processes and threads that may send at once. Default 63."""
    readers: int
    """Readers that may be attached at once. Default 64."""
    mode: int
    """Permissions of the segment. Default 0o600, with a group 0o660."""
    group: str | int | None
    """Group of the segment, by name or id."""
    cpu: int | None
    """Core of the worker that serves the channel. None (default): the one with the fewest."""
    held: bool
    """Open held: nothing is sent or received before `Channel.start`. Default False."""
    strict: bool | None
    """Whether a worker that lacks what was asked for is an error. None (default): as the pool."""
    socket: _socket.socket | int | None
    """A bound UDP socket to work with, instead of `local`. The worker gets a copy of the
    descriptor; close the original, or both will read from it."""


_CHOICES: dict[str, tuple[str, dict[str, int]]] = {
    "direction": (
        "direction",
        {"tx": lib.SHM_TX, "rx": lib.SHM_RX, "duplex": lib.SHM_DUPLEX},
    ),
    "reading": (
        "read_mode",
        {"broadcast": lib.SHM_READ_BROADCAST, "shared": lib.SHM_READ_SHARED},
    ),
    "overflow": ("overflow", {"oldest": lib.SHM_OVERFLOW_OLDEST, "wait": lib.SHM_OVERFLOW_WAIT}),
    "late": ("late", {"send": lib.SHM_LATE_SEND, "drop": lib.SHM_LATE_DROP}),
    "align": ("align", {"start": lib.SHM_ALIGN_START, "wire": lib.SHM_ALIGN_WIRE}),
    "clock": ("clock", {"monotonic": lib.RT_CLOCK_MONOTONIC, "tai": lib.RT_CLOCK_TAI}),
    "reports": (
        "reports",
        {"all": lib.SHM_REPORTS_ALL, "late": lib.SHM_REPORTS_LATE, "off": lib.SHM_REPORTS_OFF},
    ),
    "profile": (
        "profile",
        {
            "balanced": lib.SHM_PROFILE_BALANCED,
            "latency": lib.SHM_PROFILE_LATENCY,
            "power": lib.SHM_PROFILE_POWER,
        },
    ),
    "txtime": (
        "txtime",
        {
            "off": lib.SHM_TXTIME_OFF,
            "auto": lib.SHM_TXTIME_AUTO,
            "require": lib.SHM_TXTIME_REQUIRE,
        },
    ),
}
_STAMPS = {
    "hardware": lib.SHM_STAMP_HARDWARE,
    "kernel": lib.SHM_STAMP_KERNEL,
    "off": lib.SHM_STAMP_NONE,
}
_CHOICES["rx_stamp"] = ("rx_stamp", _STAMPS)
_CHOICES["tx_stamp"] = ("tx_stamp", _STAMPS)

_SWITCHES = (
    "connect",
    "reuse",
    "broadcast",
    "multicast_loop",
    "dont_fragment",
    "v6only",
    "gso",
    "gro",
    "held",
)

# name: field of shm_config_t, lowest and highest value
_NUMBERS: dict[str, tuple[str, int, int]] = {
    "report_capacity": ("report_slots", 0, 1 << 24),
    "tolerance_ns": ("tolerance_ns", 0, 100 * 10**9),
    "ttl": ("ttl", 0, 255),
    "multicast_ttl": ("multicast_ttl", 0, 255),
    "dscp": ("dscp", 0, 63),
    "so_priority": ("so_priority", 0, 15),
    "rcvbuf_bytes": ("rcvbuf_bytes", 1, 2**31 - 1),
    "sndbuf_bytes": ("sndbuf_bytes", 1, 2**31 - 1),
    "readers": ("readers", 0, 1024),
    "stamp_every": ("stamp_every", 1, 255),
}

_IMPAIR = {"impair": "impair_tx", "impair_rx": "impair_rx"}


@dataclasses.dataclass(frozen=True, slots=True)
class Engine:
    """What a worker does for a channel other than plain UDP."""

    name: str
    config: bytes
    """The engine's own struct for ``shm_config_t.engine_config``."""
    shared_bytes: int = 0
    """Shared memory of the engine's own; rounded up to whole pages."""
    deadlines: bool = True
    """Whether packets are sent at deadlines, and late ones are kept."""


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """A channel that passed every check and is not made yet."""

    name: str
    config: Any  # shm_config_t *
    segment_bytes: int
    mode: int | None
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
    options: ChannelOptions,
    engine: Engine | None = None,
) -> Prepared:
    """Check a name and the options of a channel; `profile` is the pool's.

    Raises `BadConfig`, `BadAddress`, `PayloadTooLarge`, `TypeError`.
    """
    given = asked_for(options, ChannelOptions.__annotations__, "a channel")
    config = ffi.new("shm_config_t *")
    lib.shm_config_init(config)
    set_text(config, "name", name)
    set_text(config, "name_space", namespace)
    set_text(config, "pool", pool)
    given.setdefault("profile", profile)
    _set_choices(config, given)
    _set_addresses(config, given)
    _set_numbers(config, given)
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
        _mode(given["mode"]) if "mode" in given else None,
        group_id(given.get("group")),
        given.get("cpu"),
        switch("strict", given["strict"]) if "strict" in given else None,
        sock,
    )


def group_id(group: object) -> int | None:
    """The id of a group given by name or id. Raises `BadConfig`, `TypeError`."""
    if group is None:
        return None
    if isinstance(group, bool) or not isinstance(group, (str, int)):
        raise TypeError(f"group must be a name or an id, not {group!r}")
    try:
        found = grp.getgrnam(group) if isinstance(group, str) else None
    except KeyError:
        raise BadConfig(f"group {group!r} does not exist on this host (getent group)") from None
    return found.gr_gid if found else integer("group", group, 0, 2**32 - 2)


def show_options(function: Any, options: type[Any] = ChannelOptions) -> None:
    """Let `help` and `inspect` show every option in place of ``**options``."""
    signature = inspect.signature(function)
    kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    names = {parameter.name for parameter in kept}
    shown = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=..., annotation=kind)
        for name, kind in options.__annotations__.items()
        if name not in names
    ]
    function.__signature__ = signature.replace(parameters=[*kept, *shown])


def asked_for(options: Mapping[str, Any], known: Collection[str], what: str) -> dict[str, Any]:
    """What was asked for: unknown names raise, None means the default."""
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{what} has no option {name!r}{hint}")
    return {name: value for name, value in options.items() if value is not None}


def set_text(config: Any, target: str, text: object) -> None:
    """Fill a char[] of a struct. Raises `BadConfig`, `TypeError`."""
    if not isinstance(text, str):
        raise TypeError(f"{target} must be a string, not {text!r}")
    raw = text.encode("utf-8", "surrogateescape")
    space = ffi.sizeof(getattr(config, target))
    if len(raw) >= space or b"\0" in raw:
        raise BadConfig(f"{target} {text[:80]!r} has a NUL, or more than {space - 1} characters")
    setattr(config, target, raw)


def _set_choices(config: Any, given: dict[str, Any]) -> None:
    for option, (target, choices) in _CHOICES.items():
        if option not in given:
            continue
        setattr(config, target, choice(option, given[option], choices))
    for option in _SWITCHES:
        if option in given:
            setattr(config, option, int(switch(option, given[option])))


def choice(option: str, value: object, choices: dict[str, int]) -> int:
    """The number of one of some names. Raises `BadConfig`."""
    if not isinstance(value, str) or value not in choices:
        raise BadConfig(f"{option} is {value!r}: use one of {', '.join(map(repr, choices))}")
    return choices[value]


def _set_addresses(config: Any, given: dict[str, Any]) -> None:
    for option, least_port in (("local", 0), ("remote", 1)):
        if option in given:
            raw = _address.pack(given[option], option, least_port)
            ffi.memmove(ffi.addressof(config, option), raw, len(raw))


def _set_numbers(config: Any, given: dict[str, Any]) -> None:
    for option, (target, low, high) in _NUMBERS.items():
        if option in given:
            setattr(config, target, integer(option, given[option], low, high))


def _set_multicast(config: Any, given: dict[str, Any]) -> None:
    if "multicast_interface" in given:
        config.multicast_interface = _interface("multicast_interface", given["multicast_interface"])
    groups = given.get("groups", ())
    if isinstance(groups, (str, bytes)) or not isinstance(groups, Iterable):
        raise TypeError(f'groups must be a list such as [("239.1.1.1", "eth0")], not {groups!r}')
    groups = list(groups)
    if len(groups) > lib.SHM_MAX_GROUPS:
        raise BadConfig(
            f"groups: {len(groups)} given, a channel joins at most {lib.SHM_MAX_GROUPS}: open "
            "another channel for the rest"
        )
    for index, entry in enumerate(groups):
        address, interface = (entry, None) if isinstance(entry, str) else _pair(entry)
        raw = _address.pack((address, 0), "groups")
        ffi.memmove(ffi.addressof(config.groups[index], "group"), raw, len(raw))
        if interface is not None:
            config.groups[index].interface = _interface("groups", interface)


def _pair(entry: object) -> tuple[str, str | int | None]:
    if isinstance(entry, Sequence) and len(entry) == 2 and isinstance(entry[0], str):
        return entry[0], cast("str | int | None", entry[1])
    raise TypeError(f'groups: an entry is "239.1.1.1" or ("239.1.1.1", "eth0"), not {entry!r}')


def _set_impairment(target: Any, option: str, value: object) -> None:
    if not isinstance(value, Impairment):
        raise TypeError(f"{option} must be a shmring.Impairment, not {value!r}")
    for field in dataclasses.fields(value):
        number = getattr(value, field.name)
        whole = isinstance(field.default, int)
        try:
            if isinstance(number, bool):
                raise TypeError
            setattr(target, field.name, number)
        except TypeError:
            kind = "an integer" if whole else "a number"
            raise TypeError(f"{option}.{field.name} must be {kind}, not {number!r}") from None
        except OverflowError:
            raise BadConfig(
                f"{option}.{field.name} is {number}; it must be at least 0, and fit 64 bits"
            ) from None


def _set_sizes(config: Any, given: dict[str, Any], most: int) -> None:
    """Rings and the longest payload; `most`: an engine may put a header before it."""
    capacity = integer("capacity", given.get("capacity", 1024), 1, CAPACITY_MAX)
    rx_capacity = integer("rx_capacity", given.get("rx_capacity", capacity), 1, CAPACITY_MAX)
    packet = _payload("packet_bytes", given.get("packet_bytes"))
    rx_packet = _payload("rx_packet_bytes", given.get("rx_packet_bytes", packet))
    asked = _payload("max_payload", given.get("max_payload"), most)
    for option, size in (("packet_bytes", packet), ("rx_packet_bytes", rx_packet)):
        if asked is not None and size is not None and size > asked:
            raise BadConfig(f"{option} is {size}, longer than max_payload, {asked}")

    tx_head = TX_HEAD_BYTES + (0 if config.remote.family else ADDRESS_BYTES)
    rx_head = RX_HEAD_BYTES + (ADDRESS_BYTES if _is_v6(config) else 8)
    wanted = {
        lib.SHM_TX: room_bytes(capacity, packet, tx_head),
        lib.SHM_RX: room_bytes(rx_capacity, rx_packet, rx_head),
    }
    used = {way: size if config.direction & way else 0 for way, size in wanted.items()}
    longest = asked
    if longest is None:
        least = max(packet or FULL_PACKET_BYTES, rx_packet or FULL_PACKET_BYTES)
        smallest = min(size for size in used.values() if size)
        longest = min(max(least, smallest // 4 - 64), lib.SHM_MAX_PAYLOAD)
    config.max_payload_bytes = longest
    config.tx_capacity = capacity
    config.rx_capacity = rx_capacity
    config.tx_bytes = ring_bytes(used[lib.SHM_TX], longest)
    config.rx_bytes = ring_bytes(used[lib.SHM_RX], longest)


def _set_engine(config: Any, engine: Engine) -> None:
    set_text(config, "engine", engine.name)
    if not engine.deadlines:
        config.late_slots = 0
    space = ffi.buffer(ffi.addressof(config, "engine_config"))
    space[: len(engine.config)] = engine.config
    config.engine_bytes = -(-engine.shared_bytes // PAGE_BYTES) * PAGE_BYTES


def room_bytes(capacity: int, packet_bytes: int | None, head_bytes: int) -> int:
    """Ring bytes that `capacity` packets of the expected payload take."""
    if packet_bytes is not None:
        return capacity * record_bytes(packet_bytes, head_bytes)
    full = capacity * record_bytes(FULL_PACKET_BYTES, head_bytes)
    if full <= GENEROUS_RING_BYTES:
        return full
    return max(GENEROUS_RING_BYTES, capacity * record_bytes(SMALL_PACKET_BYTES, head_bytes))


def record_bytes(payload_bytes: int, head_bytes: int) -> int:
    """One packet in a ring: head and payload, in whole units of 8 bytes."""
    return head_bytes + (payload_bytes + 7) // 8 * 8


def ring_bytes(room: int, max_payload: int) -> int:
    """Size of a ring with `room` bytes for packets, what must stay free included, in whole pages.

    Two longest records stay free: one to be moved, one as padding at the ring's end; a ring that is
    not used is as small as one may be.
    """
    if not room:
        return PAGE_BYTES
    longest = record_bytes(max_payload, TX_HEAD_BYTES + ADDRESS_BYTES)
    size = max(room + 2 * longest, 4 * (max_payload + 64))
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def _is_v6(config: Any) -> bool:
    return 6 in (config.local.family, config.remote.family)


def _adopt_socket(config: Any, given: dict[str, Any]) -> int | None:
    sock = given.get("socket")
    if sock is None:
        return None
    if "local" in given:
        raise BadConfig("local and socket are both given: a socket brings its own address")
    fd = sock.fileno() if isinstance(sock, _socket.socket) else sock
    if isinstance(fd, bool) or not isinstance(fd, int):
        raise TypeError(f"socket must be a bound UDP socket or its descriptor, not {sock!r}")
    if fd < 0:
        raise BadConfig(f"socket {sock!r} is closed")
    with _socket.socket(fileno=_duplicate(fd)) as probe:
        if probe.family not in (_socket.AF_INET, _socket.AF_INET6):
            raise BadAddress(f"socket is of family {probe.family!r}: use AF_INET or AF_INET6")
        if probe.type != _socket.SOCK_DGRAM:
            raise BadConfig(f"socket is of type {probe.type!r}: use SOCK_DGRAM")
        bound = probe.getsockname()
        if bound[1] == 0:
            raise BadConfig("socket is not bound: bind it first, or give local instead")
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
            raise BadConfig(f"{what}: there is no interface {value!r} on this host") from None
    return integer(what, value, 0, 2**31 - 1)


def _payload(option: str, value: object, most: int = lib.SHM_MAX_PAYLOAD) -> int | None:
    return None if value is None else integer(option, value, 0, most)


def _mode(value: object) -> int:
    mode = integer("mode", value, 0, 2**31)
    if mode > 0o777:
        raise BadConfig(f"mode is {mode:#o}; it must be between 0o600 and 0o777")
    if mode & 0o600 != 0o600:
        raise BadConfig(f"mode is {mode:#o}: the owner must read and write, as in 0o600 or 0o660")
    return mode


def integer(option: str, value: object, low: int, high: int) -> int:
    """Return an integer within its limits. Raises `BadConfig`, `TypeError`."""
    number = _index(value)
    if number is None:
        raise TypeError(f"{option} must be an integer, not {value!r}")
    if not low <= number <= high:
        raise BadConfig(f"{option} is {number}; it must be between {low} and {high}")
    return number


def _index(value: object) -> int | None:
    """A whole number of any type, also NumPy's, as an `int`; None for anything else."""
    if type(value) is int:
        return value
    if isinstance(value, bool):
        return None
    try:
        return operator.index(cast("SupportsIndex", value))
    except TypeError:
        return None


def switch(option: str, value: object) -> bool:
    """Return a truth value, refuse everything that only could be one. Raises `TypeError`."""
    if value is True or value is False:
        return value
    raise TypeError(f"{option} must be True or False, not {value!r}")
