"""`shmring bench pacing`: video streams between two network namespaces, by the models of
SMPTE ST 2110-21."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import shmring
from shmring import room
from shmring_bench import peers, veth
from shmring_bench.measure import TARGET, Figures, Plan, Row, alternate
from shmring_bench.st2110 import Stream, judge

PAYLOAD_BYTES = 1200
"""Of each packet: 480 pixels with 4:2:2 and 10 bits."""
STREAMS = {
    "720p50-narrow": Stream(1920, 20_000_000, gapped=True),
    "1080p25-narrow": Stream(4320, 40_000_000, gapped=True),
    "1080p50-wide": Stream(4320, 20_000_000, gapped=False, wide=True),
}
CATCH_UP = 1.05
"""The bucket drains 1.1 times as fast as the stream fills it, and a gapped stream is 1.04 times as
fast as that within its pictures."""
AT_MOST = frozenset({"c_peak", "vrx_peak"})
"""Metrics whose targets are upper bounds."""
_NUMBER_BYTES = 8
RTP_BYTES = 12
SECONDS = 0.5
_START_NS = 300_000_000
_LONG = "-10min"
"""Suffix of cases that run for ten minutes, and only if they are named."""
_LONG_SECONDS = 600.0
_AHEAD_S = 1.0
"""Video that waits in the ring. A longer stream is queued while it is sent."""
_LOOK_S = 0.005
_QUEUE_NS = 25_000  # to queue one packet, at most
PATIENCE_S = 20.0  # for the rest, after the last was sent

_Send = Callable[["_Video", Any, int, int], None]


@dataclass(frozen=True, slots=True)
class _Video:
    """The stream of one run."""

    stream: Stream
    pictures: int
    plan: Plan

    @property
    def count(self) -> int:
        return self.pictures * self.stream.packets

    @property
    def capacity(self) -> int:
        """How many of them wait in the ring: whole pictures."""
        ahead = round(_AHEAD_S * 1e9 / self.stream.frame_ns)
        fitting = self.plan.fitting(
            f"{self.stream.packets} packets a picture",
            "pictures",
            min(self.pictures, ahead),
            lambda n: room.channel_bytes(_plain(n * self.stream.packets)),
        )
        return fitting * self.stream.packets


def run(plan: Plan) -> Iterator[Row]:
    for case, stream in STREAMS.items():
        video = partial(shmring.Rtp, payload_type=96, clock_rate=90_000, ptime_ns=stream.frame_ns)
        rows = list(
            alternate(
                plan,
                case,
                {
                    "shmring": _measured(plan, stream, _send_spread),
                    "shmring-rtp": _measured(plan, stream, _send_rtp, video),
                    "shmring-catch-up": _measured(plan, stream, _send_spread, catch_up=CATCH_UP),
                    "shmring-rtp-catch-up": _measured(
                        plan, stream, _send_rtp, video, catch_up=CATCH_UP
                    ),
                    "burst": _measured(plan, stream, _send_bursts),
                    "gstreamer": partial(peers.part("video", "gstreamer"), plan, stream),
                },
            )
        )
        yield from rows
        if rows:
            yield from _limits(case, stream)
    yield from _ten_minutes(plan)


def _ten_minutes(plan: Plan) -> Iterator[Row]:
    for case, stream in STREAMS.items():
        if not (plan.wants(case + _LONG) and plan.cases):
            continue
        spread = partial(_measured, plan, stream, _send_spread, seconds=_LONG_SECONDS)
        systems = {"shmring": spread(), "shmring-catch-up": spread(catch_up=CATCH_UP)}
        yield from alternate(plan, case + _LONG, systems)
        yield from _limits(case + _LONG, stream)


def _limits(case: str, stream: Stream) -> Iterator[Row]:
    yield Row(case, TARGET, "c_peak", stream.c_max, "packets")
    yield Row(case, TARGET, "vrx_min", 0, "packets")
    yield Row(case, TARGET, "vrx_peak", stream.vrx_full, "packets")


def _measured(
    plan: Plan,
    stream: Stream,
    send: _Send,
    kind: Callable[..., Any] = shmring.Udp,
    seconds: float = SECONDS,
    catch_up: float | None = None,
) -> Callable[[], Figures]:
    def measure() -> Figures:
        pictures = max(2, round(plan.run_s(seconds) * 1e9 / stream.frame_ns))
        with veth.linked(plan) as link:
            video = _Video(stream, pictures, plan)
            return _figures(link, video, send, partial(kind, catch_up=catch_up))

    return measure


def _figures(link: veth.Link, video: _Video, send: _Send, kind: Callable[..., Any]) -> Figures:
    """A stream of up to a second waits in the ring, so no Python runs while it is sent."""
    word_at = RTP_BYTES if send is _send_rtp else 0
    with link.receiver(video.count, word_at=word_at) as receiver:
        near: Any = link.near.open(
            "near",
            kind(direction="tx", tx=_queue(video.capacity), reports="off"),
            remote=(link.far.address, receiver.port),
            cpu=link.plan.worker_cpu,
        )
        with near, link.plan.on_other_core():
            start_ns = near.now_ns() + _START_NS + video.capacity * _QUEUE_NS
            for index in range(video.pictures):
                _wait_for_room(video, near, (index + 1) * video.stream.packets)
                send(video, near, index, start_ns)
            near.flush()
            arrivals = receiver.result(PATIENCE_S).arrivals
    seen = judge(video.stream, start_ns, zip(arrivals.words, arrivals.times_ns, strict=True))
    return {
        ("c_peak", "packets"): seen.c_peak,
        ("c_over", "percent"): 100 * seen.c_over / video.count,
        ("vrx_min", "packets"): seen.vrx_min,
        ("vrx_peak", "packets"): seen.vrx_peak,
        ("vrx_out", "percent"): 100 * seen.vrx_out / video.count,
        ("missing", "percent"): 100 * (video.count - seen.arrived) / video.count,
    }


def _queue(packets: int) -> shmring.Queue:
    return shmring.Queue(packets, PAYLOAD_BYTES)


def _plain(packets: int) -> shmring.Udp:
    return shmring.Udp(direction="tx", tx=_queue(packets))


def _wait_for_room(video: _Video, near: Any, packets: int) -> None:
    """Wait until so many fit since the start. The worker would have to end a sleep for room."""
    if packets <= video.capacity:
        return
    while near.stats().tx_waiting > video.capacity - video.stream.packets:
        time.sleep(_LOOK_S)


# --- senders --------------------------------------------------------------------------------------


def _picture(video: _Video, index: int) -> list[bytes]:
    first = index * video.stream.packets
    rest = bytes(PAYLOAD_BYTES - _NUMBER_BYTES)
    numbers = range(first, first + video.stream.packets)
    return [number.to_bytes(_NUMBER_BYTES, "big") + rest for number in numbers]


def _send_spread(video: _Video, near: shmring.Channel, index: int, start_ns: int) -> None:
    due_ns = start_ns + index * video.stream.frame_ns
    near.send_many(_picture(video, index), at=due_ns, spread_ns=video.stream.active_ns)


def _send_bursts(video: _Video, near: shmring.Channel, index: int, start_ns: int) -> None:
    near.send_many(_picture(video, index), at=start_ns + index * video.stream.frame_ns)


def _send_rtp(video: _Video, near: shmring.rtp.Channel, index: int, start_ns: int) -> None:
    """The grid gives the later pictures their times."""
    near.send_many(_picture(video, index), at=start_ns, spread_ns=video.stream.active_ns)
