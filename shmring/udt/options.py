"""Options of UDT connections and ports, and the channels that they become."""

import dataclasses
import socket as _socket
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self, TypedDict

from shmring import _address, _options, room
from shmring._ring import ffi, lib
from shmring.engine import EngineConfig
from shmring.errors import BadConfig
from shmring.types import Congestion, Impairment

CONNECTION_ENGINE = "udt"
PORT_ENGINE = "udt-port"

CONGESTION: dict[str, int] = {
    "daimd": lib.SHM_UDT_CC_DAIMD,
    "fixed": lib.SHM_UDT_CC_FIXED,
    "bbr": lib.SHM_UDT_CC_BBR,
}

# What the headers take from the MSS: IPv4, UDP and the protocol's own.
PACKET_OVERHEAD = 28
HEADERS = 44
MSS, LEAST_MSS, MOST_MSS = 1500, 76, 65535
WINDOW_PACKETS, LEAST_WINDOW, MOST_WINDOW = 25600, 32, 1 << 20
BUFFER_PACKETS = 8192
LEAST_SEND_BYTES = 1 << 16
LINGER_S = 180.0
MOST_SECONDS = 2**32
RING_BYTES = 1 << 21
BACKLOG, MOST_BACKLOG = 128, int(lib.SHM_UDT_MAX_BACKLOG)
MAX_SOCKETS = 4096
MAX_PER_SOURCE = 256
UDP_BUFFER_BYTES = 4 << 20

_RECORD_MAX = lib.SHM_MAX_RECORD
_RECORD_USUAL = 1024
# A record that does not fit at the ring's end needs room for two.
_RECORDS_AT_LEAST = 4
_REQUEST_ROOM = 128
_NS_PER_S = 1_000_000_000


class UdtOptions(TypedDict, total=False):
    """Options of a connection, for `connect`, `listen` and similar calls. None means the default.

    messages: send and receive messages, not a stream of bytes. Both ends must agree. Default False.
    mss: largest packet, bytes, IP and UDP headers (28 bytes) included, 76 to 65535. The smaller one
        of both ends applies. Default 1500.
    congestion: congestion control: "daimd" (UDT's own), "bbr", or "fixed": the rate is
        `max_bandwidth`. Default "daimd".
    max_bandwidth: highest rate, bytes per second, headers included. Default: unlimited.
    window_packets: packets that the peer may have in flight, 32 to 2**20. Default 25600.
    send_bytes: size of the worker's send buffer, which holds unacknowledged data, 64 KiB to 2 GiB.
        Default: 8192 packets.
    receive_packets: size of the worker's receive buffer, packets, 32 to 2**20. Default 8192.
    linger: seconds that `UdtSocket.close` waits until sent data is acknowledged. 0: it does not
        wait, and unacknowledged data may be lost. Default 180.
    ring_bytes: shared memory between application and worker, each way, 64 KiB to 1 GiB.
        Default 2 MiB.
    burst_ns: packets that are due within this time leave together, 0 to 1 s. Default: the worker
        decides.
    """

    messages: bool | None
    mss: int | None
    congestion: Congestion | None
    max_bandwidth: int | None
    window_packets: int | None
    send_bytes: int | None
    receive_packets: int | None
    linger: float | None
    ring_bytes: int | None
    burst_ns: int | None


class PortOptions(TypedDict, total=False):
    """Options of a UDP port. None means the default.

    rcvbuf_bytes: the kernel's receive buffer. Default 12 MB, enough for a window of packets.
    sndbuf_bytes: the kernel's send buffer. Default 4 MiB.
    max_sockets: maximum number of connections on the port at the same time, 1 to 65536. Default
        4096.
    max_per_source: accepted connections, and requests that wait, from one IPv4 address or one IPv6
        network of 64 bits, 1 to 65536. Default 256.
    max_bytes: shared memory that accepted connections may need together, bytes, 64 KiB or more.
        Each may need twice `ring_bytes` and a bit. Default: three quarters of /dev/shm.
    gso: send packets that are due together in one message, which captures on loopback and on a veth
        pair show as one packet. Default True.
    impair: an impaired path between this port and the network, sending side. Default: none.
    impair_rx: the same, receiving side.
    cpu: core of the worker that serves the port and all of its connections. Default: the one with
        the fewest channels.
    v6only: whether an IPv6 port refuses IPv4. Default False.
    socket: a bound UDP socket to work with, instead of a local address. The worker gets a copy.
        Default: a new socket.
    """

    rcvbuf_bytes: int | None
    sndbuf_bytes: int | None
    max_sockets: int | None
    max_per_source: int | None
    max_bytes: int | None
    gso: bool | None
    impair: Impairment | None
    impair_rx: Impairment | None
    cpu: int | None
    v6only: bool | None
    socket: _socket.socket | int | None


class Begin(TypedDict, total=False):
    """How a connection begins.

    accepts: number of the request that is answered, see `Port.listen`. Default 0: it asks.
    rendezvous: the peer does the same. None: False.
    connect_s: how long to try, seconds. Default: the worker decides.
    """

    accepts: int
    rendezvous: bool | None
    connect_s: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`UdtOptions` with their defaults."""

    messages: bool = False
    mss: int = MSS
    congestion: Congestion = "daimd"
    max_bandwidth: int = 0
    window_packets: int = WINDOW_PACKETS
    send_bytes: int = 0
    receive_packets: int = BUFFER_PACKETS
    linger: float = LINGER_S
    ring_bytes: int = RING_BYTES
    burst_ns: int = -1

    @classmethod
    def of(cls, options: UdtOptions) -> Self:
        """Check the options. Raises `BadConfig`, `TypeError`."""
        given = _asked_for(options, UdtOptions.__annotations__, "a UDT connection")
        for option in given:
            given[option] = _CHECKS[option](option, given[option])
        mss = given.get("mss", MSS)
        given.setdefault("send_bytes", max(LEAST_SEND_BYTES, BUFFER_PACKETS * (mss - HEADERS)))
        settings = cls(**given)
        if settings.congestion == "fixed" and not settings.max_bandwidth:
            raise BadConfig('congestion is "fixed": give the rate with max_bandwidth=')
        return settings


def _asked_for(options: Mapping[str, Any], known: Collection[str], what: str) -> dict[str, Any]:
    if "exist_ok" in options:
        raise BadConfig(f"exist_ok cannot be used with UDT: {what} belongs to its program")
    return _options.asked_for(options, known, what)


def seconds(what: str, value: object) -> float:
    """Return a number of seconds, 0 to `MOST_SECONDS`. Raises `TypeError`, `BadConfig`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} must be seconds, not {value!r}")
    if not 0 <= value <= MOST_SECONDS:
        raise BadConfig(f"{what} is {value!r}: it must be seconds, 0 to {MOST_SECONDS}")
    return float(value)


def _congestion(option: str, value: object) -> object:
    _options.choice(option, value, CONGESTION)
    return value


def _within(low: int, high: int) -> Callable[[str, object], int]:
    return lambda option, value: _options.integer(option, value, low, high)


_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "messages": _options.switch,
    "mss": _within(LEAST_MSS, MOST_MSS),
    "congestion": _congestion,
    "max_bandwidth": _within(0, 2**63 - 1),
    "window_packets": _within(LEAST_WINDOW, MOST_WINDOW),
    "send_bytes": _within(LEAST_SEND_BYTES, 2**31),
    "receive_packets": _within(LEAST_WINDOW, MOST_WINDOW),
    "linger": seconds,
    "ring_bytes": _within(1 << 16, 1 << 30),
    "burst_ns": _within(0, _NS_PER_S),
}


def transfer_mode(messages: bool) -> int:
    """Return its number in shared memory."""
    return int(lib.SHM_UDT_MESSAGES if messages else lib.SHM_UDT_STREAM)


def port_channel(
    local: tuple[str, int] | None, options: PortOptions
) -> tuple[dict[str, Any], EngineConfig]:
    """Return the channel of a port, which does not listen yet. Raises `BadConfig`, `TypeError`."""
    given = _asked_for(options, PortOptions.__annotations__, "a UDT port")
    config = ffi.new("shm_udt_port_config_t *")
    config.config_bytes = ffi.sizeof("shm_udt_port_config_t")
    config.max_sockets = _options.integer(
        "max_sockets", given.pop("max_sockets", MAX_SOCKETS), 1, 65536
    )
    config.max_per_source = _options.integer(
        "max_per_source", given.pop("max_per_source", MAX_PER_SOURCE), 1, 65536
    )
    config.max_bytes = _options.integer(
        "max_bytes", given.pop("max_bytes", room.total_bytes() // 4 * 3), 1 << 16, 2**63 - 1
    )
    config.backlog = 1
    plain: dict[str, Any] = {
        "direction": "duplex",
        "capacity": 64,
        "packet_bytes": 64,
        "rx_capacity": MOST_BACKLOG,
        "rx_packet_bytes": _REQUEST_ROOM,
        "reports": "off",
        "report_capacity": 0,
        "reading": "shared",
        "overflow": "oldest",
        "tx_stamp": "off",
        "sndbuf_bytes": UDP_BUFFER_BYTES,
    }
    if local is not None:
        plain["local"] = local
    plain |= given
    shared_bytes = ffi.sizeof("shm_udt_port_state_t")
    engine = EngineConfig(PORT_ENGINE, bytes(ffi.buffer(config)), shared_bytes, deadlines=False)
    return plain, engine


def connection_channel(
    settings: Settings,
    port: str,
    remote: tuple[str, int],
    cpu: int | None,
    *,
    accepts: int = 0,
    rendezvous: bool | None = None,
    connect_s: float | None = None,
) -> tuple[dict[str, Any], EngineConfig]:
    """Return the channel of a connection on a port. Raises `BadAddress`, `BadConfig`."""
    _address.pack(remote, "remote", least_port=1)
    config = ffi.new("shm_udt_config_t *")
    config.config_bytes = ffi.sizeof("shm_udt_config_t")
    config.accepts = accepts
    _options.set_text(config, "port", port)
    config.mode = transfer_mode(settings.messages)
    config.rendezvous = rendezvous is not None and _options.switch("rendezvous", rendezvous)
    config.cc = CONGESTION[settings.congestion]
    config.mss_bytes = settings.mss
    config.window_packets = settings.window_packets
    config.send_bytes = settings.send_bytes
    config.receive_packets = min(settings.receive_packets, settings.window_packets)
    config.max_bandwidth = settings.max_bandwidth
    config.connect_ns = 0 if connect_s is None else max(1, int(connect_s * _NS_PER_S))
    config.burst_ns = settings.burst_ns
    records = max(1, settings.ring_bytes // _RECORD_USUAL)
    plain: dict[str, Any] = {
        "remote": remote,
        "direction": "duplex",
        "capacity": records,
        "packet_bytes": _RECORD_USUAL,
        "max_payload": min(_RECORD_MAX, settings.ring_bytes // _RECORDS_AT_LEAST),
        "reports": "off",
        "report_capacity": 0,
        "reading": "shared",
        "overflow": "wait",
        "rx_stamp": "off",
        "tx_stamp": "off",
        "producers": 1,
        "readers": 1,
        "cpu": cpu,
    }
    shared_bytes = ffi.sizeof("shm_udt_state_t")
    engine = EngineConfig(
        CONNECTION_ENGINE, bytes(ffi.buffer(config)), shared_bytes, deadlines=False
    )
    return plain, engine
