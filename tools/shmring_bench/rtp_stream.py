"""A 20 ms RTP stream from a Python process that stalls, measured by an independent receiver.

The sender runs in a separate process (``python -m shmring_bench.rtp_stream SYSTEM JOB``). Its event
loop sends, and sometimes stops for 25 ms, as loops do that also parse, log or collect garbage. The
receiver is a plain socket with kernel timestamps. It only knows the contents of the packets: their
RTP timestamps are the grid.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

import shmring
from shmring_bench import child, floor
from shmring_bench.measure import Figures
from shmring_bench.samples import Lateness

CLOCK_RATE = 8000
PTIME_NS = 20_000_000
SAMPLES = 160
ULAW_SILENCE = b"\xff"
STALL_S = 0.025
STALL_EVERY_S = (0.02, 0.18)
"""Shortest and longest time from the end of a stall to the next one."""
LEAD_NS = 60_000_000
OFF_GRID_NS = 100_000
BUFFER_NS = 20_000_000
"""How long the simulated receiver waits before it plays its first packet."""

_HEADER = struct.Struct("!BBHII")
_STAMP = struct.Struct("=qq")
_IDLE_S = 0.5
_START_S = 20


@dataclass(frozen=True, slots=True)
class Job:
    """What to send, and the destination."""

    port: int
    packets: int
    seed: int
    cpu: int | None
    """Core of the worker. An event loop runs on any core."""

    @property
    def seconds(self) -> float:
        return self.packets * PTIME_NS / 1e9


class Arrival(NamedTuple):
    """One packet at the receiver."""

    stamp_ns: int
    """When the kernel received it, CLOCK_REALTIME."""
    timestamp: int
    """RTP timestamp, in samples."""


# --- judging --------------------------------------------------------------------------------------


def judge(arrivals: Sequence[Arrival], packets: int) -> Figures:
    """Return the distances from the grid of the timestamps, which starts at the earliest packet,
    and the share of time in which a receiver with a 20 ms buffer has nothing to play."""
    if not arrivals:
        raise OSError(None, "no packet of the stream arrived: is UDP on the loopback filtered?")
    first = arrivals[0]
    apart_ns = [_media_ns(one.timestamp - first.timestamp) for one in arrivals]
    transit_ns = [one.stamp_ns - ns for one, ns in zip(arrivals, apart_ns, strict=True)]
    too_late = sum(ns > transit_ns[0] + BUFFER_NS for ns in transit_ns)
    silent = too_late + packets - len(arrivals)
    return {**_distances(transit_ns, packets), ("silence", "percent"): 100 * silent / packets}


def _distances(transit_ns: Sequence[int], packets: int) -> dict[tuple[str, str], float]:
    """Return the distances from the grid through the earliest packet."""
    late = Lateness(ns - min(transit_ns) for ns in transit_ns)
    lost = packets - len(transit_ns)
    off_grid = sum(ns > OFF_GRID_NS for ns in late.values_ns)
    return {
        ("error_p50", "ns"): late.error_ns(0.5),
        ("error_p99", "ns"): late.error_ns(0.99),
        ("error_max", "ns"): late.max_ns,
        ("off_grid", "percent"): 100 * (off_grid + lost) / packets,
        ("lost", "percent"): 100 * lost / packets,
    }


def _media_ns(samples: int) -> int:
    """Return a difference of timestamps, which wrap at 32 bits, as time."""
    wrapped = (samples + (1 << 31)) % (1 << 32) - (1 << 31)
    return wrapped * 1_000_000_000 // CLOCK_RATE


class _Receiver:
    """Receives packets with the kernel's timestamps in a thread, until all have arrived."""

    def __init__(self, packets: int) -> None:
        self._packets = packets
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(_START_S)
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self.port: int = self._socket.getsockname()[1]
        self.arrivals: list[Arrival] = []

    def _receive(self) -> None:
        try:
            while len(self.arrivals) < self._packets:
                data, control, _, _ = self._socket.recvmsg(2048, 64)
                seconds, ns = _STAMP.unpack(control[0][2][: _STAMP.size])
                timestamp = _HEADER.unpack_from(data)[3]
                self.arrivals.append(Arrival(seconds * 1_000_000_000 + ns, timestamp))
                self._socket.settimeout(_IDLE_S)
        except TimeoutError:
            pass

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
            self._thread.join()
        finally:
            self._socket.close()


_SO_TIMESTAMPNS = 35
"""A socket(7) constant that Python's module does not have."""


def measure(system: str, seconds: float, cpu: int | None, namespace: str) -> Figures:
    """Let a process send for some seconds. Return the receiver's results."""
    packets = _count(seconds)
    receiver = _Receiver(packets)
    with receiver.running():
        job = Job(receiver.port, packets, seed=1, cpu=cpu)
        words = ["-P", "-m", "shmring_bench.rtp_stream", system, json.dumps(asdict(job))]
        child.output(
            [sys.executable, *words], f"{system} sender", namespace, job.seconds + _START_S
        )
    return judge(receiver.arrivals, packets)


def measure_floor(seconds: float, cpu: int | None, other_cpu: int | None) -> Figures:
    """Send on the same grid in bare C, which has no other work and never stalls."""
    packets = _count(seconds)
    with floor.Receiver(packets, cpu=other_cpu) as receiver:
        floor.run(
            "timed",
            timeout_s=seconds + _START_S,
            port=receiver.port,
            count=packets,
            interval_ns=PTIME_NS,
            cpu=cpu,
        )
        received = receiver.result(_START_S)
    return _distances(received.lateness.values_ns, packets)


def _count(seconds: float) -> int:
    return max(10, round(seconds * 1e9 / PTIME_NS))


# --- sending --------------------------------------------------------------------------------------


async def stalling(seed: int) -> None:
    """The rest of the program: it blocks the event loop at random times."""
    draw = random.Random(seed)
    while True:
        await asyncio.sleep(draw.uniform(*STALL_EVERY_S))
        time.sleep(STALL_S)


async def send_with_asyncio(job: Job) -> None:
    """Sleep until the next packet's time on an absolute grid, as careful programs do."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", job.port)
    )
    start_ns = time.monotonic_ns()
    for i in range(job.packets):
        await _until(start_ns + i * PTIME_NS)
        header = _HEADER.pack(0x80, 0x80 if i == 0 else 0, i, i * SAMPLES, 1)
        transport.sendto(header + ULAW_SILENCE * SAMPLES)
    transport.close()


async def send_with_shmring(job: Job) -> None:
    """Send a frame every 20 ms from the same event loop. The worker puts it on the grid, `LEAD_NS`
    later, which is longer than a stall."""
    with (
        shmring.Pool(cpus=None if job.cpu is None else [job.cpu]) as pool,
        pool.open(
            "stream",
            shmring.Rtp(payload_type=0, start_delay_ns=LEAD_NS, direction="tx"),
            remote=("127.0.0.1", job.port),
        ) as channel,
    ):
        start_ns = time.monotonic_ns()
        for i in range(job.packets):
            await _until(start_ns + i * PTIME_NS)
            await channel.aio.send(ULAW_SILENCE * SAMPLES, timeout=5)
        while channel.stats().engine.sent < job.packets:
            await asyncio.sleep(0.02)


async def _until(due_ns: int) -> None:
    wait_ns = due_ns - time.monotonic_ns()
    if wait_ns > 0:
        await asyncio.sleep(wait_ns / 1e9)


SYSTEMS: dict[str, Callable[[Job], Awaitable[None]]] = {
    "shmring": send_with_shmring,
    "asyncio": send_with_asyncio,
}


async def _run(system: str, job: Job) -> None:
    rest = asyncio.create_task(stalling(job.seed))
    await SYSTEMS[system](job)
    rest.cancel()


def main() -> int:
    system, job = sys.argv[1:]
    asyncio.run(_run(system, Job(**json.loads(job))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
