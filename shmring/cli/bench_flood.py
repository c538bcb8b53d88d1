"""`shmring bench flood`: a channel on schedule while strangers flood another channel of its worker.

The flood comes from a process of its own, over loopback, at a bounded rate. Runs with and without
it alternate, and the ratio is taken of each pair.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import shmring
from shmring import udt
from shmring.cli import floor, senders
from shmring.cli.measure import Figures, Plan, Row
from shmring.cli.samples import median

BENCH = "flood"
RATE_HZ = 1000
PAYLOAD_BYTES = 64
FLOOD_HZ = 20_000
LOOPBACK = ("127.0.0.1", 0)
KINDS = ("plain", "rtp", "netflux", "udt")

_HANDSHAKE = struct.Struct("!16I")
_RTP = struct.Struct("!BBHII")
_BURST = 20


@dataclass(frozen=True, slots=True)
class Victim:
    """The victim of a flood: source port, destination port, and what the worker received of it."""

    kind: str
    target: int
    source: int
    seen: Callable[[], int]


# --- the strangers: python -m shmring.cli.bench_flood KIND PORT HZ SECONDS ------------------------


def datagram(kind: str, number: int) -> bytes:
    """One datagram of a flood: noise, or one that passes the first check."""
    noise = os.urandom(24)
    if kind == "udt":
        # a request to connect, from another socket each time
        return _HANDSHAKE.pack(
            *(0x80000000, 0, 0, 0, 4, 1, number & 0x7FFFFFFF, 1500, 8192, 1, number & 0x3FFFFFFF),
            *(number if number % 2 else 0, 0, 0, 0, 0),
        )
    if kind == "rtp":
        # another stream with each packet
        return _RTP.pack(0x80, 0, number & 0xFFFF, number, number * 2654435761 & 0xFFFFFFFF) + noise
    return noise


def flood(kind: str, target: int, source: int, rate_hz: int, seconds: float) -> int:
    """Send bursts for `seconds`, as fast as the machine allows. Returns the number of datagrams.

    They come from port `source`. If that is the partner's port, they are forged.
    """
    sent = 0
    begun = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", source))
        while (now := time.monotonic()) < begun + seconds:
            if sent >= (now - begun) * rate_hz:
                time.sleep(_BURST / rate_hz / 4)
                continue
            for _ in range(_BURST):
                with contextlib.suppress(OSError):
                    stranger.sendto(datagram(kind, sent), ("127.0.0.1", target))
                sent += 1
    return sent


def start_flood(victim: Victim, rate_hz: int, seconds: float) -> subprocess.Popen[str]:
    """Flood from a process of its own, which prints the number of datagrams it sent."""
    words = [sys.executable, "-P", "-m", "shmring.cli.bench_flood", victim.kind]
    words += [str(word) for word in (victim.target, victim.source, rate_hz, seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


# --- what they flood ------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(LOOPBACK)
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def victim(kind: str, pool: shmring.Pool) -> Iterator[Victim]:
    """Open something on a pool to flood."""
    source = _free_port()
    remote = ("127.0.0.1", source)
    if kind == "udt":
        with udt.listen(LOOPBACK, pool=pool) as listener:
            yield Victim(kind, listener.local[1], source, lambda: listener.port.stats().cookies)
        return
    channel: shmring.Channel
    if kind == "rtp":
        channel = pool.open_rtp("victim", local=LOOPBACK, remote=remote, codec="pcmu")
    elif kind == "netflux":
        channel = pool.open_netflux("victim", local=LOOPBACK, receive=64, remote=remote)
    else:
        channel = pool.open("victim", local=LOOPBACK, remote=remote, direction="rx")
    with channel:
        assert channel.local is not None
        yield Victim(kind, channel.local[1], source, lambda: channel.stats().rx_received)


# --- the channel on schedule ----------------------------------------------------------------------


def run(plan: Plan) -> Iterator[Row]:
    for kind in KINDS:
        case = f"{RATE_HZ // 1000}kHz-{kind}-flood"
        if plan.wants(case):
            yield from _pairs(plan, kind, case)


def _pairs(plan: Plan, kind: str, case: str) -> Iterator[Row]:
    quiet: list[Figures] = []
    flooded: list[Figures] = []
    for _ in range(plan.runs):
        quiet.append(_timed(plan, kind, 0))
        flooded.append(_timed(plan, kind, FLOOD_HZ))
    for system, figures in (("quiet", quiet), ("flooded", flooded)):
        for metric, unit in figures[0]:
            yield Row(BENCH, case, system, metric, median([f[metric, unit] for f in figures]), unit)
    key = ("error_p99", "ns")
    ratios = [100 * f[key] / max(q[key], 1) for q, f in zip(quiet, flooded, strict=True)]
    yield Row(BENCH, case, "flooded", "error_p99_of_quiet", median(ratios), "percent")


def _timed(plan: Plan, kind: str, flood_hz: int) -> Figures:
    count = max(100, round(plan.run_s(3) * RATE_HZ))
    with (
        plan.on_other_core(),
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool,
        victim(kind, pool) as flooded,
        floor.Receiver(count, cpu=plan.other_cpu) as receiver,
        pool.open(
            "timed",
            remote=("127.0.0.1", receiver.port),
            direction="tx",
            capacity=count,
            packet_bytes=PAYLOAD_BYTES,
        ) as channel,
    ):
        job = senders.Job(receiver.port, count, round(1e9 / RATE_HZ), PAYLOAD_BYTES)
        seconds = job.duration_s + senders.LEAD_NS / 1e9
        strangers = start_flood(flooded, flood_hz, seconds) if flood_hz else None
        if strangers is not None:
            time.sleep(0.3)  # Python starts
        due_ns = senders.dues(job)
        packets = senders.packets(job, due_ns)
        channel.send_many(packets, size=PAYLOAD_BYTES, at=due_ns.start, interval_ns=job.interval_ns)
        received = receiver.result(seconds + 10)
        came = flooded.seen()
        if strangers is not None:
            strangers.communicate()
    late = received.lateness
    return {
        ("error_p50", "ns"): late.error_ns(0.5),
        ("error_p99", "ns"): late.error_ns(0.99),
        ("error_max", "ns"): late.max_ns,
        ("lost", "percent"): 100 * (count - received.packets) / count,
        ("strangers", "pps"): came / seconds,
    }


def main(words: list[str]) -> None:
    kind, target, source, rate_hz, seconds = words
    print(flood(kind, int(target), int(source), int(rate_hz), float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
