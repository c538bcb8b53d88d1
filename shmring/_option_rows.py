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
    default: int = 0
    """Of an engine's own struct: the number that 0 stands for."""
    zero: int = 0
    """Of an engine's own struct: the number that stands for 0."""

OPTIONS: dict[str, Option] = {
    "direction": Option("direction", words={"tx": 1, "rx": 2, "duplex": 3}),
    "reading": Option("read_mode", words={"each": 0, "shared": 1}),
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

CYCLIC_OPTIONS: dict[str, Option] = {
    "period_ns": Option("period_ns", low=100000, high=3600000000000),
    "stale_after_ns": Option("stale_after_ns", low=1, high=3600000000000, unset=0),
}

NETFLUX_OPTIONS: dict[str, Option] = {
    "cycle_ns": Option("cycle_ns", low=100000, high=3600000000000),
    "watchdog_ns": Option("watch_ns", low=0, high=3600000000000),
    "hear_ns": Option("hear_ns", low=0, high=3600000000000),
    "stale_ns": Option("stale_ns", low=0, high=3600000000000),
}

PROXY_OPTIONS: dict[str, Option] = {
    "flows": Option("flows", low=1, high=65536),
    "idle_ns": Option("idle_ns", low=1000000, high=86400000000000),
}

RTP_OPTIONS: dict[str, Option] = {
    "fill_packets": Option("fill_packets", low=1, high=65535, default=10),
    "min_sequential": Option("min_sequential", low=1, high=1000, default=2),
    "max_dropout": Option("max_dropout", low=1, high=32767, default=3000),
    "max_misorder": Option("max_misorder", low=1, high=32767, default=100),
    "switch_silence_ns": Option("switch_silence_ns", low=0, high=3600000000000, default=0),
    "min_delay_ns": Option("min_delay_ns", low=0, high=60000000000, default=5000000, zero=-1),
    "max_delay_ns": Option("max_delay_ns", low=1, high=60000000000, default=200000000),
    "first_delay_ns": Option("first_delay_ns", low=1, high=60000000000, default=40000000),
    "shrink_ns_per_s": Option("shrink_ns_per_s", low=1, high=1000000000, default=10000000),
    "conceal_ns": Option("conceal_ns", low=0, high=60000000000, default=100000000, zero=-1),
    "resync_ns": Option("resync_ns", low=1, high=600000000000, default=1000000000),
    "max_frames": Option("max_frames", low=1, high=4096),
    "rtcp_interval_ns": Option("rtcp_interval_ns", low=1, high=3600000000000, default=5000000000),
    "nack_first_wait_ns": Option("nack_first_wait_ns", low=1, high=60000000000, default=10000000),
    "nack_retry_ns": Option("nack_retry_ns", low=1, high=60000000000, default=50000000),
    "nack_give_up_ns": Option("nack_give_up_ns", low=1, high=60000000000, default=500000000),
    "nack_max_requests": Option("nack_max_requests", low=1, high=100, default=3),
    "history_packets": Option("history_packets", low=1, high=32768, power=True, default=512),
}

MEANINGS = {
    "direction": """"tx", "rx" or "duplex".""",
    "reading": """"each": every reader gets every packet. "shared": one of the readers gets each packet.""",
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
    "period_ns": """from one cycle to the next, 100 us to 1 h. The opener must give it.""",
    "stale_after_ns": """age at which a payload is stale, 1 ns to 1 h. None: it is stale only when the process that updated it has detached or died.""",
    "cycle_ns": """from one send to the next, 100 us to 1 h.""",
    "watchdog_ns": """the partner counts as dead after this time without a new datagram, up to 1 h. 0: never.""",
    "hear_ns": """the partner does not hear us if it acknowledges nothing new for this time, up to 1 h. None: the watchdog, but at least three cycles, and never if there is no watchdog.""",
    "stale_ns": """values to be sent are stale after this time without an update, up to 1 h. 0: when the process that wrote them has died.""",
    "flows": """how many clients there may be at a time, 1 to 65536. Each takes a file descriptor of the worker. If all are in use, a new client gets the place of one that sent a single datagram and was silent for a second, or of one whose host has more than a quarter of the flows. Otherwise its datagrams are dropped and counted as `proxy.Stats.forward_no_flow`.""",
    "idle_ns": """a flow without datagrams for this long ends, ns, 1 ms to 1 day.""",
    "fill_packets": """maximum number of consecutive filling packets, 1 to 65535.""",
    "min_sequential": """packets in order that validate a source, 1 to 1000.""",
    "max_dropout": """a gap of at most this many sequence numbers is loss, 1 to 32767.""",
    "max_misorder": """packets at most this far behind are late, not a restart, 1 to 32767.""",
    "switch_silence_ns": """how long the source must be silent before another one takes over, 0 to 1 h.""",
    "min_delay_ns": """minimum delay of the jitter buffer, 0 to 60 s.""",
    "max_delay_ns": """maximum delay of the jitter buffer, 1 ns to 60 s.""",
    "first_delay_ns": """its delay before it has measured enough, 1 ns to 60 s.""",
    "shrink_ns_per_s": """how fast the delay shrinks, 1 ns to 1 s a second.""",
    "conceal_ns": """how long an empty buffer gives erasures before it treats the gap as a pause, 0 to 60 s.""",
    "resync_ns": """a larger deviation is a jump of the timeline, not delay, 1 ns to 10 min.""",
    "max_frames": """capacity of the jitter buffer, 1 to 4096. None: enough for `max_delay_ns`.""",
    "rtcp_interval_ns": """minimum time between two of our reports, 1 ns to 1 h.""",
    "nack_first_wait_ns": """how long to wait for a packet that was overtaken before the first request, 1 ns to 60 s.""",
    "nack_retry_ns": """time between two requests for one packet, 1 ns to 60 s.""",
    "nack_give_up_ns": """when to give up, counted from the detection of the gap, 1 ns to 60 s.""",
    "nack_max_requests": """maximum number of requests for one packet, 1 to 100.""",
    "history_packets": """sent packets kept for repetition, a power of two up to 32768.""",
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UdpRows(Spec):
    """Fields of `Udp`."""

    direction: Direction = "duplex"
    reading: Reading = "each"
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
    reading: Reading = "each"
    late: Late = "send"
    align: Align = "start"
    clock: Clock = "monotonic"
    reports: Reports = "all"
    report_capacity: int | None = None
    tolerance_ns: int = 50_000
    catch_up: float | None = None
    fill_packets: int = 10
    min_sequential: int = 2
    max_dropout: int = 3_000
    max_misorder: int = 100
    switch_silence_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NetfluxRows(Spec):
    """Fields of `Netflux`."""

    direction: Direction = "duplex"
    reading: Reading = "each"
    tolerance_ns: int | None = None
    cycle_ns: int = 5_000_000
    watchdog_ns: int = 30_000_000
    hear_ns: int | None = None
    stale_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LocalRows(Spec):
    """Fields of `Local`."""

    reading: Reading = "each"
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

    reading: Reading = "each"
    overflow: Overflow = "oldest"
    align: Align = "start"
    reports: Reports = "all"
    report_capacity: int | None = None
    tolerance_ns: int | None = None
    period_ns: int = 0
    stale_after_ns: int | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ProxyRows(Spec):
    """Fields of `Proxy`."""

    flows: int = 4_096
    idle_ns: int = 60_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PlayoutRows(Spec):
    """Fields of `Playout`."""

    min_delay_ns: int = 5_000_000
    max_delay_ns: int = 200_000_000
    first_delay_ns: int = 40_000_000
    shrink_ns_per_s: int = 10_000_000
    conceal_ns: int = 100_000_000
    resync_ns: int = 1_000_000_000
    max_frames: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RtcpRows(Spec):
    """Fields of `Rtcp`."""

    interval_ns: int = 5_000_000_000

    _flat: ClassVar[Mapping[str, str]] = {"interval_ns": "rtcp_interval_ns"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NackRows(Spec):
    """Fields of `Nack`."""

    first_wait_ns: int = 10_000_000
    retry_ns: int = 50_000_000
    give_up_ns: int = 500_000_000
    max_requests: int = 3
    history_packets: int = 512

    _flat: ClassVar[Mapping[str, str]] = {"first_wait_ns": "nack_first_wait_ns", "retry_ns": "nack_retry_ns", "give_up_ns": "nack_give_up_ns", "max_requests": "nack_max_requests"}
