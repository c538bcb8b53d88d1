"""The flows of a capture, as a table."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from shmring._address import Address
from shmring.net.capture.reader import Fates, Reader
from shmring.net.capture.routes import Routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The UDP packets from one address to another. Times are ns since 1970, as in the file."""

    source: Address
    destination: Address
    """Where the captured packets went."""
    to: Address | None
    """Where a replay sends them. None: nowhere, because `flow` or a port of 0 leaves them out."""
    packets: int
    payload_bytes: int
    first_ns: int
    last_ns: int
    rate_pps: float
    """Packets a second in the file, from the gaps between the first and the last. 0.0 for one."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSummary:
    """What is in a capture."""

    flows: tuple[Flow, ...]
    """In the order of their first packets."""
    fates: Fates
    """What became of the packets in the file, by kind."""
    packets_without_time: int
    """Packets of pcapng that have no time (simple packet blocks). They get that of the packet
    before."""
    cut_bytes: int
    """Bytes at the end of the file that are no whole packet."""
    other_link: int
    """A link type in the file that is not supported. Meaningful if `fates` has such packets."""

    @property
    def packets(self) -> int:
        """Packets that a replay sends."""
        return sum(flow.packets for flow in self.flows if flow.to is not None)

    @property
    def seconds(self) -> float:
        """Time from the first to the last of these packets."""
        sent = [flow for flow in self.flows if flow.to is not None]
        if not sent:
            return 0.0
        return (max(flow.last_ns for flow in sent) - min(flow.first_ns for flow in sent)) / 1e9

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        return {
            "packets": self.packets,
            "seconds": self.seconds,
            "flows": [flow.to_dict() for flow in self.flows],
            "fates": dataclasses.asdict(self.fates),
            "packets_without_time": self.packets_without_time,
            "cut_bytes": self.cut_bytes,
        }


def flows(
    path: str | os.PathLike[str] | BinaryIO,
    *,
    to: str | Address | None = None,
    map: Mapping[str, str] | None = None,
    flow: str | Iterable[str] = (),
) -> CaptureSummary:
    """Read a capture to its end and return its flows. Nothing is sent.

    path, to, map, flow: as for `shmring.net.replay`. Raises `ValueError` (no capture, damaged),
    `BadAddress`, `OSError`.
    """
    routes = Routes(to, map, flow)
    with Reader(path) as reader:
        for _ in reader.batches():
            pass
        return summary(reader, routes)


def summary(reader: Reader, routes: Routes, rounds: int = 1) -> CaptureSummary:
    """Return what a reader has found so far, in so many rounds."""
    return CaptureSummary(
        flows=tuple(_flow(reader, routes, number, rounds) for number in range(reader.flow_count)),
        fates=reader.fates,
        packets_without_time=reader.packets_without_time,
        cut_bytes=reader.cut_bytes,
        other_link=reader.other_link,
    )


def _flow(reader: Reader, routes: Routes, number: int, rounds: int) -> Flow:
    raw = reader.state.flows.flows[number]
    ends = reader.ends(number)
    gaps, span_ns = raw.packets / rounds - 1, int(raw.last_ns) - int(raw.first_ns)
    return Flow(
        source=ends[0],
        destination=ends[1],
        to=routes.destination(ends),
        packets=int(raw.packets),
        payload_bytes=int(raw.payload_bytes),
        first_ns=int(raw.first_ns),
        last_ns=int(raw.last_ns),
        rate_pps=max(0.0, gaps) * 1e9 / span_ns if span_ns > 0 else 0.0,
    )
