"""Options: their limits, and fields of the objects that have them."""

# Made by csrc/schema.py from csrc/rows: edit those, then run `make schema`.
# ruff: noqa: E501

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from shmring._enums import (
    Align,
    Clock,
    Direction,
    Late,
    Overflow,
    Reading,
    Reports,
    StampSource,
    Txtime,
)
from shmring._spec import Spec


class Option(NamedTuple):
    """The limits of an option, and its field in ``shm_config_t``."""

    field: str
    words: Mapping[str, int] | None = None
    switch: bool = False
    low: int = 0
    high: int = 0
    ratio: int = 0
    """A number above 1, up to this one."""
    unset: int | None = None
    """The number that stands for None. None: no number does."""
    power: bool = False
    """0 or a power of two."""


OPTIONS: dict[str, Option] = {
    "direction": Option("direction", words={"tx": 1, "rx": 2, "duplex": 3}),
    "reading": Option("read_mode", words={"broadcast": 0, "shared": 1}),
    "overflow": Option("overflow", words={"oldest": 0, "wait": 1}),
    "late": Option("late", words={"send": 0, "drop": 1}),
    "align": Option("align", words={"start": 0, "wire": 1}),
    "clock": Option("clock", words={"monotonic": 0, "tai": 1}),
    "reports": Option("reports", words={"off": 0, "late": 1, "all": 2}),
    "profile": Option("profile", words={"balanced": 0, "latency": 1, "power": 2}),
    "rx_stamp": Option("rx_stamp", words={"hardware": 3, "kernel": 2, "off": 0}),
    "tx_stamp": Option("tx_stamp", words={"hardware": 3, "kernel": 2, "off": 0}),
    "txtime": Option("txtime", words={"off": 0, "auto": 1, "require": 2}),
    "connect": Option("connect", switch=True),
    "reuse": Option("reuse", switch=True),
    "broadcast": Option("broadcast", switch=True),
    "dont_fragment": Option("dont_fragment", switch=True),
    "v6only": Option("v6only", switch=True),
    "gso": Option("gso", switch=True),
    "gro": Option("gro", switch=True),
    "multicast_loop": Option("multicast_loop", switch=True),
    "held": Option("held", switch=True),
    "stamp_every": Option("stamp_every", low=1, high=255, unset=0),
    "ttl": Option("ttl", low=0, high=255, unset=-1),
    "multicast_ttl": Option("multicast_ttl", low=0, high=255, unset=-1),
    "dscp": Option("dscp", low=0, high=63, unset=-1),
    "so_priority": Option("so_priority", low=0, high=15, unset=-1),
    "rcvbuf_bytes": Option("rcvbuf_bytes", low=1, high=2147483647, unset=0),
    "sndbuf_bytes": Option("sndbuf_bytes", low=1, high=2147483647, unset=0),
    "report_capacity": Option("report_slots", low=0, high=16777216, power=True),
    "readers": Option("readers", low=0, high=1024),
    "tolerance_ns": Option("tolerance_ns", low=0, high=100000000000),
    "catch_up": Option("catch_up", ratio=1000000, unset=0),
}

MEANINGS = {
    "direction": """"tx", "rx" or "duplex".""",
    "reading": """"broadcast": every reader gets every packet. "shared": one of the readers gets each packet.""",
    "overflow": """what happens when the ring of arrived packets is full. "oldest": the oldest packet is overwritten. "wait": the worker waits for the slowest reader and leaves packets in the socket. An end is a reader from its first call that receives, such as `try_recv`.""",
    "late": """what happens to a packet past its deadline: "send" or "drop".""",
    "align": """what meets the deadline. "start": the start of sending, never before it. "wire": the time on the wire, centred on the deadline.""",
    "clock": """clock of deadlines and timestamps, "monotonic" or "tai".""",
    "reports": """packets that get a send report, "all", "late" or "off".""",
    "rx_stamp": """best arrival timestamp wanted, "hardware", "kernel" or "off".""",
    "tx_stamp": """best departure timestamp wanted, "hardware", "kernel" or "off".""",
    "txtime": """launch by the queueing discipline or the card (SO_TXTIME), "auto", "off" or "require".""",
    "connect": """receive from `remote` only.""",
    "reuse": """share the port (SO_REUSEADDR and SO_REUSEPORT).""",
    "broadcast": """allow sending to broadcast addresses.""",
    "dont_fragment": """set the don't-fragment bit.""",
    "v6only": """an IPv6 socket takes no IPv4.""",
    "gso": """send packets that are due together, or within 2 us, in one call.""",
    "gro": """receive coalesced packets.""",
    "multicast_loop": """multicast packets come back to this host.""",
    "stamp_every": """one packet in this many gets a departure timestamp, 1 to 255, in pairs (8: two in 16). None: one in 16, at most 1000 a second. The reports of the others have the stamp "none". 1: about 1 us per send call.""",
    "ttl": """hop limit of unicast packets, 0 to 255, with IPv4 at least 1. None: the system's.""",
    "multicast_ttl": """hop limit of multicast packets, 0 to 255. None: the system's.""",
    "dscp": """class of service in the packets, 0 to 63. None: the system's.""",
    "so_priority": """priority for the queueing discipline, 0 to 15. Above 6 it needs CAP_NET_ADMIN. None: the system's.""",
    "rcvbuf_bytes": """the kernel's receive buffer, bytes. Above net.core.rmem_max it needs CAP_NET_ADMIN. None: the system's.""",
    "sndbuf_bytes": """the kernel's send buffer, bytes. Above net.core.wmem_max it needs CAP_NET_ADMIN. None: the system's.""",
    "report_capacity": """send reports kept, 0 or a power of two up to 2**24. None: 4096.""",
    "readers": """how many readers may attach, 0 to 1024. Taps do not count. None: 64, with `Cyclic` and `Netflux` 16.""",
    "tolerance_ns": """how late a packet may start and still be on time, ns, 0 to 100 s.""",
    "catch_up": """how fast overdue packets leave after a hole, a time in which the worker could not send. A number above 1, up to 1000000: the gap between two overdue packets is at least their scheduled gap divided by it, until the schedule is reached. None: all at once.""",
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UdpRows(Spec):
    """Fields of `Udp`."""

    direction: Direction = "duplex"
    reading: Reading = "broadcast"
    overflow: Overflow = "oldest"
    late: Late = "send"
    align: Align = "start"
    clock: Clock = "monotonic"
    reports: Reports = "all"
    report_capacity: int | None = None
    tolerance_ns: int = 50_000
    catch_up: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RtpRows(Spec):
    """Fields of `Rtp`."""

    direction: Direction = "duplex"
    reading: Reading = "broadcast"
    late: Late = "send"
    align: Align = "start"
    clock: Clock = "monotonic"
    reports: Reports = "all"
    report_capacity: int | None = None
    tolerance_ns: int = 50_000
    catch_up: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NetfluxRows(Spec):
    """Fields of `Netflux`."""

    direction: Direction = "duplex"
    reading: Reading = "broadcast"
    tolerance_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LocalRows(Spec):
    """Fields of `Local`."""

    reading: Reading = "broadcast"
    overflow: Overflow = "oldest"
    late: Late = "send"
    clock: Clock = "monotonic"
    reports: Reports = "all"
    report_capacity: int | None = None
    tolerance_ns: int = 50_000
    catch_up: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CyclicRows(Spec):
    """Fields of `Cyclic`."""

    reading: Reading = "broadcast"
    overflow: Overflow = "oldest"
    align: Align = "start"
    reports: Reports = "all"
    report_capacity: int | None = None
    tolerance_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SocketRows(Spec):
    """Fields of `Socket`."""

    rx_stamp: StampSource = "hardware"
    tx_stamp: StampSource = "hardware"
    txtime: Txtime = "auto"
    connect: bool = False
    reuse: bool = False
    broadcast: bool = False
    dont_fragment: bool = False
    v6only: bool = False
    gso: bool = True
    gro: bool = True
    stamp_every: int | None = None
    ttl: int | None = None
    dscp: int | None = None
    priority: int | None = None
    rcvbuf_bytes: int | None = None
    sndbuf_bytes: int | None = None

    _flat: ClassVar[Mapping[str, str]] = {"priority": "so_priority"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MulticastRows(Spec):
    """Fields of `Multicast`."""

    loop: bool = True
    ttl: int | None = None

    _flat: ClassVar[Mapping[str, str]] = {"loop": "multicast_loop", "ttl": "multicast_ttl"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ShareRows(Spec):
    """Fields of `Share`."""

    readers: int | None = None
