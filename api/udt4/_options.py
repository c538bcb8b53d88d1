"""Options of sockets: types, limits, and when they may be set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import udt4._constants as c
from shmring.udt.options import (
    BUFFER_PACKETS,
    HEADERS,
    LEAST_MSS,
    LEAST_SEND_BYTES,
    LEAST_WINDOW,
    MOST_MSS,
    MOST_WINDOW,
    MSS,
    PACKET_OVERHEAD,
    WINDOW_PACKETS,
    Settings,
)
from udt4._errors import failure

LINGER_S = 180
UDP_SNDBUF_BYTES = 65536
UDP_RCVBUF_BYTES = 12_288_000
INT_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
# The most a worker takes, which is more than a kernel or a network card has.
MOST_UDP_BYTES = 2**30
MOST_BANDWIDTH = 2**40

_FIELDS = {
    c.UDT_MSS: "mss",
    c.UDT_SNDSYN: "sndsyn",
    c.UDT_RCVSYN: "rcvsyn",
    c.UDT_FC: "fc",
    c.UDT_SNDBUF: "send_packets",
    c.UDT_RCVBUF: "receive_packets",
    c.UDT_LINGER: "linger",
    c.UDP_SNDBUF: "udp_sndbuf",
    c.UDP_RCVBUF: "udp_rcvbuf",
    c.UDT_RENDEZVOUS: "rendezvous",
    c.UDT_SNDTIMEO: "sndtimeo",
    c.UDT_RCVTIMEO: "rcvtimeo",
    c.UDT_REUSEADDR: "reuseaddr",
    c.UDT_MAXBW: "maxbw",
}
_UNTIL_BOUND = (
    c.UDT_MSS,
    c.UDT_SNDBUF,
    c.UDT_RCVBUF,
    c.UDP_SNDBUF,
    c.UDP_RCVBUF,
    c.UDT_REUSEADDR,
)


@dataclass(slots=True)
class Options:
    """Option values of one socket."""

    mss: int = MSS
    sndsyn: bool = True
    rcvsyn: bool = True
    fc: int = WINDOW_PACKETS
    send_packets: int = BUFFER_PACKETS
    receive_packets: int = BUFFER_PACKETS
    linger: tuple[int, int] = (1, LINGER_S)
    udp_sndbuf: int = UDP_SNDBUF_BYTES
    udp_rcvbuf: int = UDP_RCVBUF_BYTES
    rendezvous: bool = False
    sndtimeo: int = -1
    rcvtimeo: int = -1
    reuseaddr: bool = True
    maxbw: int = -1

    def copy(self) -> Options:
        return replace(self)

    @property
    def send_bytes(self) -> int:
        """Size of the send buffer."""
        return self.send_packets * (self.mss - HEADERS)

    @property
    def linger_s(self) -> float:
        on, seconds = self.linger
        return float(max(0, seconds)) if on else 0.0

    @property
    def max_bandwidth(self) -> int:
        """The value for the worker, bytes per second. 0: unlimited."""
        return min(max(0, self.maxbw), MOST_BANDWIDTH)

    def settings(self, message_mode: bool) -> Settings:
        """The options with which a connection is opened."""
        return Settings(
            messages=message_mode,
            mss=self.mss,
            max_bandwidth=self.max_bandwidth,
            window_packets=min(self.fc, MOST_WINDOW),
            send_bytes=min(max(self.send_bytes, LEAST_SEND_BYTES), 2**31),
            receive_packets=min(self.receive_packets, MOST_WINDOW),
            linger=self.linger_s,
        )

    def get(self, option: int) -> Any:
        """The value of an option that can be set."""
        if option not in _FIELDS:
            raise ValueError(f"option {option!r} cannot be read: use one of the UDT_ constants")
        value = getattr(self, _FIELDS[option])
        is_buffer = option in (c.UDT_SNDBUF, c.UDT_RCVBUF)
        return value * (self.mss - PACKET_OVERHEAD) if is_buffer else value

    def check(self, option: int, value: Any) -> Any:
        """The value in the option's type. Raises `TypeError`, `ValueError`."""
        if option not in _FIELDS:
            raise ValueError(f"option {option!r} cannot be set: use one of the UDT_ constants")
        if isinstance(getattr(self, _FIELDS[option]), bool):
            if not isinstance(value, bool):
                raise TypeError(f"option {option} takes True or False, not {value!r}")
        elif option == c.UDT_LINGER:
            pair = isinstance(value, tuple) and len(value) == 2
            if not (pair and all(isinstance(item, int) for item in value)):
                raise TypeError(f"UDT_LINGER takes a tuple (onoff, seconds), not {value!r}")
            if not -INT_MAX - 1 <= value[1] <= INT_MAX:
                raise ValueError(f"UDT_LINGER is {value}: seconds must fit {INT_MAX:#x}")
        else:
            if not isinstance(value, int):
                raise TypeError(f"option {option} takes an integer, not {value!r}")
            value = int(value)
            most = INT64_MAX if option == c.UDT_MAXBW else INT_MAX
            if not -most - 1 <= value <= most:
                raise ValueError(f"option {option} is {value}: it must fit {most:#x}")
        return value

    def set(self, option: int, value: Any, *, bound: bool, connected: bool) -> None:
        """Set an option to a value that `check` returned. Raises `UDTException`."""
        if bound and option in _UNTIL_BOUND:
            raise failure(c.EBOUNDSOCK)
        if connected and option == c.UDT_FC:
            raise failure(c.ECONNSOCK)
        if connected and option == c.UDT_RENDEZVOUS:
            raise failure(c.EBOUNDSOCK)
        match option:
            case c.UDT_MSS:
                value = self._allowed_mss(value)
            case c.UDT_FC:
                value = max(_positive(value), LEAST_WINDOW)
            case c.UDT_SNDBUF:
                value = max(1, _positive(value) // (self.mss - PACKET_OVERHEAD))
            case c.UDT_RCVBUF:
                packets = _positive(value) // (self.mss - PACKET_OVERHEAD)
                value = min(max(packets, LEAST_WINDOW), self.fc)
            case c.UDT_LINGER:
                value = (int(value[0] != 0), int(value[1]))
            case c.UDP_SNDBUF | c.UDP_RCVBUF:
                value = max(value, self.mss)
        setattr(self, _FIELDS[option], value)

    def _allowed_mss(self, value: int) -> int:
        if value < LEAST_MSS:
            raise failure(c.EINVPARAM, f"UDT_MSS is {value}, it must be {LEAST_MSS} or more")
        return min(value, self.udp_sndbuf, self.udp_rcvbuf, MOST_MSS)


def _positive(value: int) -> int:
    if value < 1:
        raise failure(c.EINVPARAM, f"the value is {value}, it must be 1 or more")
    return value
