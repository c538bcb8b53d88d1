"""`shmring bench flood`: a timed channel while unknown sources flood another channel of its worker.

The flood comes from a separate process, over loopback, at a bounded rate, and from the core that is
not the worker's. One schedule alternates every second between no flood, the flood, and the same
flood at a socket outside of shmring. The last one shows what such a flood alone does to the
machine. Other load on the machine affects all of them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import shmring
from shmring import udt
from shmring_bench import floor, senders
from shmring_bench.measure import Plan, Row
from shmring_bench.samples import Lateness, median

RATE_HZ = 1000
PAYLOAD_BYTES = 64
FLOOD_HZ = 20_000
LOOPBACK = ("127.0.0.1", 0)
KINDS = ("plain", "rtp", "netflux", "udt")
SYSTEMS = ("quiet", "beside", "flooded")

_HANDSHAKE = struct.Struct("!16I")
_RTP = struct.Struct("!BBHII")
_BURST = 20
_SLICE_S = 1.0
_TOLERANCE_NS = 5000
_START_NS = 600_000_000
"""Time to wait for the flooding process."""


@dataclass(frozen=True, slots=True)
class Victim:
    """The target of a flood: source port, destination port, and the number that its worker
    received."""

    kind: str
    target: int
    source: int
    seen: Callable[[], int]


# --- the strangers: python -m shmring_bench.flood KIND HZ BEGIN SLICE TARGET:SOURCE... --------


def datagram(kind: str, number: int) -> bytes:
    """Return a datagram of a flood: noise, or one that passes the first check."""
    noise = os.urandom(24)
    if kind == "udt":
        # a connection request, from another socket each time
        return _HANDSHAKE.pack(
            *(0x80000000, 0, 0, 0, 4, 1, number & 0x7FFFFFFF, 1500, 8192, 1),
            *(number & 0x3FFFFFFF or 1, 0, 0, 0, 0, 0),
        )
    if kind == "rtp":
        # another stream with each packet
        return _RTP.pack(0x80, 0, number & 0xFFFF, number, number * 2654435761 & 0xFFFFFFFF) + noise
    return noise


def flood(kind: str, target: int, source: int, rate_hz: int, begin: float, seconds: float) -> int:
    """Send bursts for `seconds`, as fast as the machine allows. Return the number of datagrams.

    They come from port `source`. If that is the partner's port, they are forged.
    """
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", source))
        while (now := time.monotonic()) < begin + seconds:
            if sent >= (now - begin) * rate_hz:
                time.sleep(_BURST / rate_hz / 4)
                continue
            for _ in range(_BURST):
                with contextlib.suppress(OSError):
                    stranger.sendto(datagram(kind, sent), ("127.0.0.1", target))
                sent += 1
    return sent


def start_floods(
    targets: Sequence[Victim | None], rate_hz: int, seconds: float, begin: float | None = None
) -> subprocess.Popen[str]:
    """Flood each target for `seconds`, one after the other. Pause for a target of None.

    A separate process does this, and prints the number of datagrams that it sent. `begin` is a time
    of `time.monotonic()`. None: as soon as the process runs.
    """
    kind = next(target.kind for target in targets if target is not None)
    words = [sys.executable, "-P", "-m", "shmring_bench.flood", kind]
    words += [str(word) for word in (rate_hz, begin or 0, seconds)]
    words += [f"{target.target}:{target.source}" if target else "0:0" for target in targets]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


# --- what they flood ------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(LOOPBACK)
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def bystander(kind: str) -> Iterator[Victim]:
    """Open a socket outside of shmring to flood. No process reads it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beside:
        beside.bind(LOOPBACK)
        yield Victim(kind, beside.getsockname()[1], _free_port(), lambda: 0)


@contextlib.contextmanager
def victim(kind: str, pool: shmring.Pool) -> Iterator[Victim]:
    """Open something on a pool to flood."""
    source = _free_port()
    remote = ("127.0.0.1", source)
    if kind == "udt":
        with udt.listen(LOOPBACK, pool=pool) as listener:
            yield Victim(kind, listener.local[1], source, lambda: listener.port.stats().cookies)
        return
    channel: shmring.Channel | shmring.rtp.Channel | shmring.netflux.Channel
    if kind == "rtp":
        channel = pool.open("victim", shmring.Rtp(codec="pcmu"), local=LOOPBACK, remote=remote)
    elif kind == "netflux":
        channel = pool.open("victim", shmring.Netflux(receive=64), local=LOOPBACK, remote=remote)
    else:
        channel = pool.open("victim", shmring.Udp(direction="rx"), local=LOOPBACK, remote=remote)
    with channel:
        assert channel.local is not None
        yield Victim(kind, channel.local[1], source, lambda: channel.stats().rx_received)


# --- the channel on schedule ----------------------------------------------------------------------


def run(plan: Plan) -> Iterator[Row]:
    for kind in KINDS:
        case = f"{RATE_HZ // 1000}kHz-{kind}-flood"
        if plan.wants(case):
            yield from _turns(plan, kind, case)


@dataclass(frozen=True, slots=True)
class _Run:
    """One schedule: how late the packets of each slice were, and how much of the flood arrived."""

    slices: list[Lateness]
    behind_percent: list[float]
    """Packets of each slice that waited for other work of the worker."""
    lost_percent: float
    strangers_hz: float


def _turns(plan: Plan, kind: str, case: str) -> Iterator[Row]:
    runs = [_timed(plan, kind) for _ in range(plan.runs)]
    p99: dict[str, float] = {}
    for at, system in enumerate(SYSTEMS):
        slices = [late for run in runs for late in run.slices[at :: len(SYSTEMS)]]
        p99[system] = median([late.error_ns(0.99) for late in slices])
        for metric, share in (("error_p50", 0.5), ("error_p99", 0.99), ("error_max", 1.0)):
            value = median([late.error_ns(share) for late in slices])
            yield Row(case, system, metric, value, "ns")
        behind = [one for run in runs for one in run.behind_percent[at :: len(SYSTEMS)]]
        yield Row(case, system, "behind", sum(behind) / len(behind), "percent")
    for system, of in (("beside", "quiet"), ("flooded", "quiet"), ("flooded", "beside")):
        ratio = 100 * p99[system] / max(p99[of], 1)
        yield Row(case, system, f"error_p99_of_{of}", ratio, "percent")
    lost = max(run.lost_percent for run in runs)
    yield Row(case, "flooded", "lost", lost, "percent")
    strangers_hz = median([run.strangers_hz for run in runs])
    yield Row(case, "flooded", "strangers", strangers_hz, "pps")


def _timed(plan: Plan, kind: str) -> _Run:
    turns = max(1, round(plan.run_s(12) / _SLICE_S / len(SYSTEMS)))
    slice_s = min(_SLICE_S, plan.run_s(12))
    each = round(slice_s * RATE_HZ)
    count = each * len(SYSTEMS) * turns
    with (
        plan.on_other_core(),
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool,
        victim(kind, pool) as flooded,
        bystander(kind) as beside,
        floor.Receiver(count, cpu=plan.other_cpu) as receiver,
        pool.open(
            "timed",
            shmring.Udp(
                tx=shmring.Queue(count, PAYLOAD_BYTES), direction="tx", tolerance_ns=_TOLERANCE_NS
            ),
            remote=("127.0.0.1", receiver.port),
        ) as channel,
    ):
        job = senders.Job(receiver.port, count, round(1e9 / RATE_HZ), PAYLOAD_BYTES)
        begin_ns = time.monotonic_ns() + _START_NS
        due_ns = range(begin_ns, begin_ns + count * job.interval_ns, job.interval_ns)
        packets = senders.packets(job, due_ns)
        targets = (None, beside, flooded) * turns
        with start_floods(targets, FLOOD_HZ, slice_s, begin_ns / 1e9) as strangers:
            channel.send_many(packets, size=PAYLOAD_BYTES, at=begin_ns, interval_ns=job.interval_ns)
            behind = [
                100 * waited / each
                for waited in _behind(channel, begin_ns / 1e9, slice_s, len(targets))
            ]
            received = receiver.result(job.duration_s + 10)
            strangers.communicate()
        samples = received.samples
        return _Run(
            [Lateness(samples[at : at + each]) for at in range(0, count, each)],
            behind,
            100 * (count - received.packets) / count,
            flooded.seen() / (turns * slice_s),
        )


def _behind(channel: shmring.Channel, begin: float, slice_s: float, slices: int) -> Iterator[int]:
    """Return how many packets of each slice waited for other work of the worker, by
    their verdict."""
    before = 0
    for number in range(1, slices + 1):
        time.sleep(max(0, begin + number * slice_s - time.monotonic()))
        total = channel.stats().tx_queued_behind
        yield total - before
        before = total


def main(words: list[str]) -> None:
    kind, rate_hz, begin, slice_s, *targets = words
    at, seconds = float(begin) or time.monotonic(), float(slice_s)
    sent = 0
    for target in targets:
        port, source = map(int, target.split(":"))
        if port:
            sent += flood(kind, port, source, int(rate_hz), at, seconds)
        at += seconds
    print(sent)


if __name__ == "__main__":
    main(sys.argv[1:])
