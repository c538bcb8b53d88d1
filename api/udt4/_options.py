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

INTS = (
    c.UDT_MSS,
    c.UDT_FC,
    c.UDT_SNDBUF,
    c.UDT_RCVBUF,
    c.UDP_SNDBUF,
    c.UDP_RCVBUF,
    c.UDT_SNDTIMEO,
    c.UDT_RCVTIMEO,
    c.UDT_MAXBW,
)
BOOLS = (c.UDT_SNDSYN, c.UDT_RCVSYN, c.UDT_RENDEZVOUS, c.UDT_REUSEADDR)
READ_ONLY = (c.UDT_STATE, c.UDT_EVENT, c.UDT_SNDDATA, c.UDT_RCVDATA)
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
        """The value of an option that is not `READ_ONLY`."""
        body = self.mss - PACKET_OVERHEAD
        values = {
            c.UDT_MSS: self.mss,
            c.UDT_SNDSYN: self.sndsyn,
            c.UDT_RCVSYN: self.rcvsyn,
            c.UDT_FC: self.fc,
            c.UDT_SNDBUF: self.send_packets * body,
            c.UDT_RCVBUF: self.receive_packets * body,
            c.UDT_LINGER: self.linger,
            c.UDP_SNDBUF: self.udp_sndbuf,
            c.UDP_RCVBUF: self.udp_rcvbuf,
            c.UDT_RENDEZVOUS: self.rendezvous,
            c.UDT_SNDTIMEO: self.sndtimeo,
            c.UDT_RCVTIMEO: self.rcvtimeo,
            c.UDT_REUSEADDR: self.reuseaddr,
            c.UDT_MAXBW: self.maxbw,
        }
        if option not in values:
            raise ValueError(f"option {option!r} cannot be read: use one of the UDT_ constants")
        return values[option]

    def check(self, option: int, value: Any) -> Any:
        """The value in the option's type. Raises `TypeError`, `ValueError`."""
        if option in BOOLS:
            if not isinstance(value, bool):
                raise TypeError(f"option {option} takes True or False, not {value!r}")
        elif option in INTS:
            if not isinstance(value, int):
                raise TypeError(f"option {option} takes an integer, not {value!r}")
            value = int(value)
            most = INT64_MAX if option == c.UDT_MAXBW else INT_MAX
            if not -most - 1 <= value <= most:
                raise ValueError(f"option {option} is {value}: it must fit {most:#x}")
        elif option == c.UDT_LINGER:
            pair = isinstance(value, tuple) and len(value) == 2
            if not (pair and all(isinstance(item, int) for item in value)):
                raise TypeError(f"UDT_LINGER takes a tuple (onoff, seconds), not {value!r}")
            if not -INT_MAX - 1 <= value[1] <= INT_MAX:
                raise ValueError(f"UDT_LINGER is {value}: seconds must fit {INT_MAX:#x}")
        else:
            raise ValueError(f"option {option!r} cannot be set: use one of the UDT_ constants")
        return value

    def set(self, option: int, value: Any, *, bound: bool, connected: bool) -> None:
        """Set an option. Raises `UDTException`, `TypeError`, `ValueError`."""
        value = self.check(option, value)
        if bound and option in _UNTIL_BOUND:
            raise failure(c.EBOUNDSOCK)
        if connected and option == c.UDT_FC:
            raise failure(c.ECONNSOCK)
        if connected and option == c.UDT_RENDEZVOUS:
            raise failure(c.EBOUNDSOCK)
        match option:
            case c.UDT_MSS:
                self._set_mss(value)
            case c.UDT_SNDSYN:
                self.sndsyn = value
            case c.UDT_RCVSYN:
                self.rcvsyn = value
            case c.UDT_FC:
                self.fc = max(_positive(value), LEAST_WINDOW)
            case c.UDT_SNDBUF:
                self.send_packets = max(1, _positive(value) // (self.mss - PACKET_OVERHEAD))
            case c.UDT_RCVBUF:
                packets = _positive(value) // (self.mss - PACKET_OVERHEAD)
                self.receive_packets = min(max(packets, LEAST_WINDOW), self.fc)
            case c.UDT_LINGER:
                self.linger = (int(value[0] != 0), int(value[1]))
            case c.UDP_SNDBUF:
                self.udp_sndbuf = max(value, self.mss)
            case c.UDP_RCVBUF:
                self.udp_rcvbuf = max(value, self.mss)
            case c.UDT_RENDEZVOUS:
                self.rendezvous = value
            case c.UDT_SNDTIMEO:
                self.sndtimeo = value
            case c.UDT_RCVTIMEO:
                self.rcvtimeo = value
            case c.UDT_REUSEADDR:
                self.reuseaddr = value
            case c.UDT_MAXBW:
                self.maxbw = value

    def _set_mss(self, value: int) -> None:
        if value < LEAST_MSS:
            raise failure(c.EINVPARAM, f"UDT_MSS is {value}, it must be {LEAST_MSS} or more")
        self.mss = min(value, self.udp_sndbuf, self.udp_rcvbuf, MOST_MSS)


def _positive(value: int) -> int:
    if value < 1:
        raise failure(c.EINVPARAM, f"the value is {value}, it must be 1 or more")
    return value
