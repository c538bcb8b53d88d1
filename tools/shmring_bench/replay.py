"""`shmring bench replay`: a capture played from one network namespace into another.

The receiver on the far host is the independent one, with the kernel's timestamps. The same file is
played by tcpreplay. The floor is bare C that has the times of the packets in memory, spins on the
clock, and makes one call per packet on a connected socket.
"""

from __future__ import annotations

import ipaddress
import os
import random
import struct
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from shmring.testing import captures
from shmring_bench import floor, peers, veth
from shmring_bench.measure import TARGET, Figures, Plan, Row, Unavailable, alternate
from shmring_bench.samples import median, quantile

AT_MOST = frozenset({"gap_p50", "gap_p99", "drift"})
"""Metrics whose targets are upper bounds."""
PORT = 9000
RATE_PPS = 100_000
DRIFT = "drift-10min"
DRIFT_PPS = 1000
FULL = {64: 100_000, 1400: 40_000}
"""Payload, and packets in the capture: it is played several times."""
GAIN_GOALS = {"gap_p50": 8.0, "gap_p99": 2.0}
FULL_PPS = 1_000_000
"""How many packets are sent at full speed, for each second that a run should take."""
_BEGIN_NS = 1_700_000_000 * 10**9
_SLOWER = 8
"""Peers at full speed send so much less."""
_PATIENCE_S = 60.0
_SEED = 1

_Play = Callable[[veth.Link, "Capture"], None]


class Capture:
    """A capture whose packets go from the near host to the far one, in a file of its own."""

    def __init__(self, folder: str, times_ns: Sequence[int], payload_bytes: int) -> None:
        """times_ns: of each packet, after the first one."""
        self.times_ns = times_ns
        self.payload_bytes = payload_bytes
        self._path = Path(folder) / f"{len(times_ns)}x{payload_bytes}.pcap"

    def path(self, link: veth.Link) -> str:
        """Return where the file is. It is written for the first link, and fits all others."""
        if not self._path.exists():
            self._path.write_bytes(_file(self.times_ns, frame_head(link, self.payload_bytes)))
        return str(self._path)


def frame_head(link: veth.Link, payload_bytes: int) -> bytes:
    """Return a frame from the near to the far host, with a payload of zeros."""
    to, source = (link.far.address, PORT), (link.near.address, 40000)
    macs = bytes.fromhex((link.far.mac + link.near.mac).replace(":", ""))
    packet = captures.udp(bytes(payload_bytes), to=to, source=source)
    return captures.linked(packet, captures.LINK_ETHERNET, macs=macs)


def _file(times_ns: Sequence[int], frame: bytes) -> bytes:
    """Each payload begins with the number of its packet."""
    head, rest = frame[:42], frame[50:]
    record = struct.Struct("<IIII")
    number = struct.Struct("!Q")
    parts = [captures.pcap([], link=captures.LINK_ETHERNET)]
    for index, after_ns in enumerate(times_ns):
        seconds, rest_ns = divmod(_BEGIN_NS + after_ns, 10**9)
        parts += (
            record.pack(seconds, rest_ns, len(frame), len(frame)),
            head,
            number.pack(index),
            rest,
        )
    return b"".join(parts)


def poisson(count: int, rate_pps: float) -> array[int]:
    """Return times after the first packet, with gaps of an exponential distribution."""
    chance = random.Random(_SEED)
    times_ns, at_ns = array("q"), 0.0
    for _ in range(count):
        times_ns.append(round(at_ns))
        at_ns += chance.expovariate(rate_pps) * 1e9
    return times_ns


def run(plan: Plan) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="shmring-bench-") as folder:
        yield from _gaps(plan, folder, "poisson-100kpps", RATE_PPS, 10.0)
        if plan.wants(DRIFT) and plan.cases:
            yield from _gaps(plan, folder, DRIFT, DRIFT_PPS, 600.0)
        for payload_bytes, packets in FULL.items():
            yield from _full_speed(plan, folder, payload_bytes, packets)


# --- at the times of the capture ------------------------------------------------------------------


def _gains(case: str, rows: list[Row]) -> Iterator[Row]:
    """How many times smaller our errors are than those of tcpreplay."""
    found = {(row.system, row.metric): row.value for row in rows}
    for metric, goal in GAIN_GOALS.items():
        ours, theirs = found.get(("shmring", metric)), found.get(("tcpreplay", metric))
        if ours and theirs:
            yield Row(case, "shmring", f"{metric}_gain", 100 * theirs / ours, "percent")
            yield Row(case, TARGET, f"{metric}_gain", 100 * goal, "percent")


def _gaps(plan: Plan, folder: str, case: str, rate_pps: int, seconds: float) -> Iterator[Row]:
    if not plan.wants(case):
        return
    count = max(100, round(plan.run_s(seconds) * rate_pps))
    capture = Capture(folder, poisson(count, rate_pps), 64)
    rows = list(
        alternate(
            plan,
            case,
            {
                "shmring": _timed(plan, capture, _play_with_shmring),
                "floor": _timed(plan, capture, _play_with_floor),
                "tcpreplay": _timed(plan, capture, peers.part("replay", "play_with_tcpreplay")),
            },
        )
    )
    yield from rows
    yield from _gains(case, rows)
    if rows and case == DRIFT:
        yield Row(case, TARGET, "drift", 1000, "ns")
    elif rows:
        yield Row(case, TARGET, "gap_p50", 500, "ns")
        yield Row(case, TARGET, "gap_p99", 10_000, "ns")


def _timed(plan: Plan, capture: Capture, play: _Play) -> Callable[[], Figures]:
    def measure() -> Figures:
        with (
            veth.linked(plan) as link,
            link.receiver(len(capture.times_ns), port=PORT) as receiver,
        ):
            play(link, capture)
            received = receiver.result(_PATIENCE_S)
        return _timed_figures(capture.times_ns, received)

    return measure


def _timed_figures(times_ns: Sequence[int], received: floor.Received) -> Figures:
    arrivals = received.arrivals
    errors_ns, drift_ns = judge(times_ns, arrivals)
    return {
        ("gap_p50", "ns"): quantile(errors_ns, 0.5),
        ("gap_p99", "ns"): quantile(errors_ns, 0.99),
        ("gap_p999", "ns"): quantile(errors_ns, 0.999),
        ("drift", "ns"): abs(drift_ns),
        ("rate", "pps"): received.rate_pps,
        ("missing", "percent"): 100 * (1 - received.packets / len(times_ns)),
    }


def judge(times_ns: Sequence[int], arrivals: floor.Arrivals) -> tuple[list[int], float]:
    """Return the errors of the gaps in ascending order, and how much later the last packets came
    than the first ones (medians of 1 %), compared with the capture.

    A gap counts if both of its packets arrived one after the other.
    """
    late_ns = [
        at_ns - times_ns[number]
        for number, at_ns in zip(arrivals.words, arrivals.times_ns, strict=True)
    ]
    words = arrivals.words
    errors_ns = sorted(
        abs(late_ns[i] - late_ns[i - 1])
        for i in range(1, len(words))
        if words[i] == words[i - 1] + 1
    )
    share = max(1, len(late_ns) // 100)
    drift_ns = median(late_ns[-share:]) - median(late_ns[:share]) if late_ns else 0.0
    return errors_ns, drift_ns


def patience_s(capture: Capture) -> float:
    """A peer that does not keep up needs longer than the capture."""
    return _PATIENCE_S + 10 * capture.times_ns[-1] / 1e9


def _play_with_shmring(link: veth.Link, capture: Capture, *words: str) -> None:
    cpu = link.plan.worker_cpu
    link.run(
        sys.executable,
        *("-P", "-m", "shmring_cli", "replay", capture.path(link), "--json"),
        *("--limit", "late=100%"),
        *(() if cpu is None else ("--worker", f"cpu={cpu}")),
        *words,
        cpu=link.plan.other_cpu,
        timeout_s=patience_s(capture),
    )


def _play_with_floor(link: veth.Link, capture: Capture) -> None:
    times_fd = os.memfd_create("shmring-times", os.MFD_CLOEXEC)
    try:
        os.pwrite(times_fd, bytes(array("q", capture.times_ns)), 0)
        words = floor.command(
            "timed",
            address=int(ipaddress.ip_address(link.far.address)),
            port=PORT,
            count=len(capture.times_ns),
            times_fd=times_fd,
            cpu=link.plan.worker_cpu,
        )
        link.run(*words, cpu=None, timeout_s=patience_s(capture), fds=[times_fd])
    finally:
        os.close(times_fd)


# --- as fast as possible --------------------------------------------------------------------------


def _full_speed(plan: Plan, folder: str, payload_bytes: int, packets: int) -> Iterator[Row]:
    case = f"full-{payload_bytes}B"
    if not plan.wants(case):
        return
    capture = Capture(folder, [index * 1000 for index in range(packets)], payload_bytes)
    rounds = max(_SLOWER, round(plan.run_s(2.0) * FULL_PPS / packets))
    rows = list(
        alternate(
            plan,
            case,
            {
                "shmring": _fast(plan, capture, rounds, _hurry_with_shmring),
                "tcpreplay": _peer(plan, capture, rounds, "hurry_with_tcpreplay"),
                "trafgen": _peer(plan, capture, rounds, "hurry_with_trafgen"),
            },
        )
    )
    yield from rows
    if rows and payload_bytes == 64:
        yield Row(case, TARGET, "rate", 3e6, "pps")
    elif rows:
        yield Row(case, TARGET, "throughput", 15e9, "bps")


def _peer(plan: Plan, capture: Capture, rounds: int, name: str) -> Callable[[], Figures]:
    return _fast(plan, capture, rounds // _SLOWER, peers.part("replay", name))


def _fast(
    plan: Plan, capture: Capture, rounds: int, play: Callable[[veth.Link, Capture, int], None]
) -> Callable[[], Figures]:
    def measure() -> Figures:
        with (
            veth.linked(plan) as link,
            link.receiver(0, port=PORT, gro=True) as receiver,
        ):
            play(link, capture, rounds)
            received = receiver.result(_PATIENCE_S)
        if received.packets == 0:
            raise Unavailable("none of its packets arrived")
        sent = rounds * len(capture.times_ns)
        return {
            ("rate", "pps"): received.rate_pps,
            ("throughput", "bps"): 8 * capture.payload_bytes * received.rate_pps,
            ("missing", "percent"): 100 * (1 - received.packets / sent),
        }

    return measure


def _hurry_with_shmring(link: veth.Link, capture: Capture, rounds: int) -> None:
    _play_with_shmring(link, capture, "--scale", "0", "--loop", str(rounds))
