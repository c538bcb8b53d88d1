"""The counters that `perfmon` returns for a connection."""

from __future__ import annotations

import sys
import time
from typing import Any

from shmring.udt.options import HEADERS
from shmring.udt.statistics import UdtStats

# Name in TRACEINFO (with "Total": since the socket was opened), and in UdtStats.
_COUNTERS = {
    "pktSent": "sent",
    "pktRecv": "received",
    "pktSndLoss": "send_losses",
    "pktRcvLoss": "receive_losses",
    "pktRetrans": "repeated",
    "pktSentACK": "acks_sent",
    "pktRecvACK": "acks_received",
    "pktSentNAK": "naks_sent",
    "pktRecvNAK": "naks_received",
}
_FLOATS = ("mbpsSendRate", "mbpsRecvRate", "usPktSndPeriod", "msRTT", "mbpsBandwidth")
FIELDS = (
    "msTimeStamp",
    *(f"{name}Total" for name in _COUNTERS),
    *_COUNTERS,
    *_FLOATS[:3],
    "pktFlowWindow",
    "pktCongestionWindow",
    "pktFlightSize",
    *_FLOATS[3:],
    "byteAvailSndBuf",
    "byteAvailRcvBuf",
)


class TRACEINFO:
    """Counters and measurements of one connection at one instant. Read-only.

    Names with ``...Total`` count since the socket was opened. The same names without it count since
    the last call of `perfmon` that cleared. ``pkt``: packets, ``mbps``: Mbit/s, ``us``, ``ms``:
    time, ``byte``: bytes.
    """

    __slots__ = ("_values",)
    _values: dict[str, int | float]

    def __init__(self) -> None:
        """All zero."""
        zeros = {name: 0.0 if name in _FLOATS else 0 for name in FIELDS}
        object.__setattr__(self, "_values", zeros)

    def __getattr__(self, name: str) -> int | float:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"TRACEINFO has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: TRACEINFO is read-only")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name}: TRACEINFO is read-only")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *FIELDS]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self._values[name]}" for name in FIELDS)
        return f"TRACEINFO({shown})"


TRACEINFO.__module__ = "udt4"


class Meter:
    """Makes a `TRACEINFO` from a connection's counters, and remembers when they were cleared."""

    def __init__(self) -> None:
        self._opened_ns = self._cleared_ns = time.monotonic_ns()
        self._before = dict.fromkeys(_COUNTERS, 0)

    def read(
        self, stats: UdtStats, send_packets: int, receive_packets: int, *, clear: bool
    ) -> TRACEINFO:
        """send_packets, receive_packets: sizes of the buffers."""
        now_ns = time.monotonic_ns()
        total = {name: getattr(stats, source) for name, source in _COUNTERS.items()}
        local = {name: total[name] - self._before[name] for name in _COUNTERS}
        elapsed_us = max(1, (now_ns - self._cleared_ns) // 1000)
        mss = stats.mss_bytes
        payload = max(1, mss - HEADERS)
        made = TRACEINFO()
        made._values.update(
            {"msTimeStamp": (now_ns - self._opened_ns) // 1_000_000},
            mbpsSendRate=local["pktSent"] * payload * 8 / elapsed_us,
            mbpsRecvRate=local["pktRecv"] * payload * 8 / elapsed_us,
            usPktSndPeriod=stats.period_ps / 1e6,
            pktFlowWindow=stats.flow_window_packets,
            pktCongestionWindow=stats.cwnd_packets,
            pktFlightSize=stats.flight_packets,
            msRTT=stats.rtt_us / 1e3,
            mbpsBandwidth=stats.capacity_pps * payload * 8 / 1e6,
            byteAvailSndBuf=_free(send_packets, stats.unsent_bytes, payload) * mss,
            byteAvailRcvBuf=_free(receive_packets, stats.unread_bytes, payload) * mss,
            **local,
        )
        made._values.update((f"{name}Total", value) for name, value in total.items())
        if clear:
            self._before = total
            self._cleared_ns = now_ns
        return made


def _free(packets: int, used_bytes: int, payload: int) -> int:
    return max(0, packets - -(-used_bytes // payload))


def dump_perfmon(perf: Any) -> None:
    """Print as a table every field of a `TRACEINFO`, or of an object with the same attributes."""
    width = max(map(len, FIELDS))
    rows = [(name, getattr(perf, name)) for name in FIELDS]
    for name, value in rows:
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        sys.stdout.write(f"{name:<{width}}  {shown:>20}\n")
