"""`shmring bench pacing`: video streams between two network namespaces, by the models of
SMPTE ST 2110-21."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import shmring
from shmring.testing import netns
from shmring_bench.measure import TARGET, Figures, Plan, Row, Unavailable, alternate
from shmring_bench.st2110 import Stream, judge

PAYLOAD_BYTES = 1200
"""Of each packet: 480 pixels with 4:2:2 and 10 bits."""
STREAMS = {
    "720p50-narrow": Stream(1920, 20_000_000, gapped=True),
    "1080p25-narrow": Stream(4320, 40_000_000, gapped=True),
    "1080p50-wide": Stream(4320, 20_000_000, gapped=False, wide=True),
}
AT_MOST = frozenset({"c_peak", "vrx_peak"})
"""Metrics whose targets are upper bounds."""
_NUMBER_BYTES = 8
_RTP_BYTES = 12
_SECONDS = 0.5
_START_NS = 300_000_000
_QUEUE_NS = 25_000  # to queue one packet, at most
_QUIET_S = 1.0  # nothing more comes

_Send = Callable[["_Link", Any, int, int], None]


@dataclass(frozen=True, slots=True)
class _Link:
    """The stream of one run, and its two ends."""

    stream: Stream
    sender: netns.NetHost
    receiver: netns.NetHost
    plan: Plan
    pictures: int

    @property
    def count(self) -> int:
        return self.pictures * self.stream.packets


def run(plan: Plan) -> Iterator[Row]:
    for case, stream in STREAMS.items():
        video = shmring.Rtp(payload_type=96, clock_rate=90_000, ptime_ns=stream.frame_ns)
        rows = list(
            alternate(
                plan,
                case,
                {
                    "shmring": _measured(plan, stream, _send_spread),
                    "shmring-rtp": _measured(plan, stream, _send_rtp, engine=video),
                    "burst": _measured(plan, stream, _send_bursts),
                },
            )
        )
        yield from rows
        if rows:
            yield Row(case, TARGET, "c_peak", stream.c_max, "packets")
            yield Row(case, TARGET, "vrx_min", 0, "packets")
            yield Row(case, TARGET, "vrx_peak", stream.vrx_full, "packets")


def _measured(plan: Plan, stream: Stream, send: _Send, **how: Any) -> Callable[[], Figures]:
    def measure() -> Figures:
        if reason := netns.unavailable():
            raise Unavailable(reason)
        pictures = max(2, round(plan.run_s(_SECONDS) * 1e9 / stream.frame_ns))
        cpus = sorted({cpu for cpu in (plan.worker_cpu, plan.other_cpu) if cpu is not None})
        with _namespace(plan.namespace), netns.two_hosts("fifo", cpus) as (left, right):
            return _figures(_Link(stream, left, right, plan, pictures), send, how)

    return measure


def _figures(link: _Link, send: _Send, how: dict[str, Any]) -> Figures:
    """The stream waits in one ring and arrives in the other, each with room for all of it. So no
    Python runs while it is sent."""
    offset = _RTP_BYTES if how else 0
    seen_bytes = offset + _NUMBER_BYTES
    far = link.receiver.open(
        "far",
        direction="rx",
        local=(link.receiver.address, 0),
        rx_stamp="kernel",
        gro=False,
        rx_capacity=link.count,
        rx_packet_bytes=seen_bytes,
        max_payload=seen_bytes,  # the rest is cut
        rcvbuf_bytes=32 << 20,
        cpu=link.plan.other_cpu,
    )
    with far:
        near: Any = link.sender.open(
            "near",
            direction="tx",
            remote=far.local,
            capacity=link.count,
            packet_bytes=PAYLOAD_BYTES,
            reports="off",
            cpu=link.plan.worker_cpu,
            **how,
        )
        with near, link.plan.on_other_core():
            start_ns = near.now_ns() + _START_NS + link.count * _QUEUE_NS
            for index in range(link.pictures):
                send(link, near, index, start_ns)
            near.flush()
            seen = judge(link.stream, start_ns, _arrivals(far, link.count, offset))
    return {
        ("c_peak", "packets"): seen.c_peak,
        ("c_over", "percent"): 100 * seen.c_over / link.count,
        ("vrx_min", "packets"): seen.vrx_min,
        ("vrx_peak", "packets"): seen.vrx_peak,
        ("vrx_out", "percent"): 100 * seen.vrx_out / link.count,
        ("missing", "percent"): 100 * (link.count - seen.arrived) / link.count,
    }


def _arrivals(far: shmring.Channel, count: int, offset: int) -> Iterator[tuple[int, int]]:
    """Number and time of each packet. `offset`: where its number is."""
    while count > 0:
        try:
            batch = far.recv_many(4096, timeout=_QUIET_S)
        except shmring.ReceiveTimeout:
            return
        payload = bytes(batch.payload)
        for at, time_ns in zip(batch.offsets, batch.timestamps_ns, strict=True):
            number = payload[at + offset : at + offset + _NUMBER_BYTES]
            yield int.from_bytes(number, "big"), time_ns
        count -= len(batch)


# --- senders --------------------------------------------------------------------------------------


def _picture(link: _Link, index: int) -> list[bytes]:
    first = index * link.stream.packets
    rest = bytes(PAYLOAD_BYTES - _NUMBER_BYTES)
    numbers = range(first, first + link.stream.packets)
    return [number.to_bytes(_NUMBER_BYTES, "big") + rest for number in numbers]


def _send_spread(link: _Link, near: shmring.Channel, index: int, start_ns: int) -> None:
    due_ns = start_ns + index * link.stream.frame_ns
    near.send_many(_picture(link, index), at=due_ns, spread_ns=link.stream.active_ns)


def _send_bursts(link: _Link, near: shmring.Channel, index: int, start_ns: int) -> None:
    near.send_many(_picture(link, index), at=start_ns + index * link.stream.frame_ns)


def _send_rtp(link: _Link, near: shmring.RtpChannel, index: int, start_ns: int) -> None:
    """The grid gives the later pictures their times."""
    near.send_many(_picture(link, index), at=start_ns, spread_ns=link.stream.active_ns)


@contextlib.contextmanager
def _namespace(name: str) -> Iterator[None]:
    """The pools of `two_hosts` are in the namespace of this process."""
    before = os.environ.get("SHMRING_NAMESPACE")
    os.environ["SHMRING_NAMESPACE"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["SHMRING_NAMESPACE"]
        else:
            os.environ["SHMRING_NAMESPACE"] = before
