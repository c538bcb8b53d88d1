"""A UDP proxy as an engine of a channel: what `open` takes as ``engine=shmring.Proxy(...)``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from shmring import _address, _options
from shmring._check import check
from shmring._endpoint import Endpoint
from shmring._option_rows import PROXY_OPTIONS, ProxyRows
from shmring._ring import ffi, lib
from shmring._spec import Parts, Spec
from shmring.engine import Engine, EngineConfig, Start
from shmring.errors import BadConfig
from shmring.parts import SOCKET, Socket, checked, explained, options_of
from shmring.proxy.channel import ENGINE, Channel
from shmring.types import Impairment

_RINGS = "its datagrams never come to this process: leave it out"
_REFUSED = {
    "connect": "a proxy has many clients: leave it out",
    "broadcast": "a proxy answers single clients: leave it out",
    "multicast": "a proxy serves single addresses, no groups: leave it out",
    **dict.fromkeys(("tx_stamp", "stamp_every", "txtime"), _RINGS),
}
_CHANNEL: dict[str, Any] = {
    "capacity": 1,
    "packet_bytes": 0,
    "max_payload": 0,
    "producers": 1,
    "readers": 0,
    "reports": "off",
    "report_capacity": 0,
    "tx_stamp": "off",
    "txtime": "off",
}


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Proxy(ProxyRows, Engine[Channel]):
    """A UDP proxy whose paths lose, delay and limit datagrams: the channel is a `proxy.Channel`.

    Clients send to the channel's `local` address, and the proxy passes their datagrams on to
    `remote`, the server. `impair` of `open` is what happens on the way to the server, `impair_rx`
    on the way back. Each client gets a flow: a socket of its own towards the server, so the server
    sees clients apart and its replies find the way back. All flows share one path in each
    direction, as they would share a link: its rate, its queue and its order. The worker does all of
    it. Datagrams never come to Python.

    The delay of a datagram counts from the time at which the kernel stamped its arrival
    (`rx_stamp`). Datagrams of up to 65507 bytes pass, also empty ones. Client and server may have
    different IP versions.

    """

    socket: Socket = SOCKET

    _parts: ClassVar[Parts] = {"socket": Socket}
    _unheld = _REFUSED
    _struct = "shm_proxy_config"
    _held = _options.numbers_held(ProxyRows, PROXY_OPTIONS)
    _places: ClassVar[Mapping[str, str]] = {
        "to": "open(..., remote=...)",
        "forward": "open(..., impair=...)",
        "backward": "open(..., impair_rx=...)",
        **Spec._places,
    }

    def __post_init__(self) -> None:
        checked("socket", self.socket, Socket)
        self.refuse(self.socket.given(), _REFUSED)
        for name, row in PROXY_OPTIONS.items():
            _options.integer(name, getattr(self, name), row.low, row.high)

    def prepare(self, options: dict[str, Any]) -> Start[Channel]:
        if "remote" not in options:
            raise BadConfig("remote is not given: give the server's (host, port)")
        plain = options_of(self) | options
        config = self._config(plain.pop("remote"))
        if "socket" not in plain:
            plain.setdefault("local", ("0.0.0.0", 0))
        plain |= _CHANNEL
        for way in ("impair", "impair_rx"):
            plain.setdefault(way, Impairment())
        if config.to.family == _family(plain):
            plain["remote"] = options["remote"]  # for observers: the end in `ls` and rtstat
        shared_bytes = ffi.sizeof("shm_proxy_state_t")
        engine = EngineConfig(ENGINE, bytes(ffi.buffer(config)), shared_bytes, deadlines=False)
        return Start(plain, engine, Channel)

    def _config(self, server: object) -> Any:
        config = ffi.new("shm_proxy_config_t *")
        config.config_bytes = ffi.sizeof("shm_proxy_config_t")
        raw = _address.pack(server, "remote", 1)
        ffi.memmove(ffi.addressof(config, "to"), raw, len(raw))
        config.flows = self.flows
        config.idle_ns = self.idle_ns
        check(lib.shm_proxy_config_check(config))
        return config

    def attach(self, end: Endpoint) -> Channel:
        self.refuse_given()
        return Channel(end)


def _family(options: dict[str, Any]) -> int:
    """Return 4 or 6 of the listening socket, 0 if it is not known here."""
    local = options.get("local")
    return 0 if local is None else _address.family(_address.pack(local, "local"))


__all__ = ["Proxy"]
