"""`shmring bench generate`: 200 000 packets a second from one network namespace into another,
beside other generators.

The far host sees the kernel's timestamp of each packet: the independent receiver takes them, or
tcpdump for programs whose own receiver must have the port.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from shmring_bench import peers, sniffed, veth
from shmring_bench.measure import TARGET, Figures, Plan, Row, Unavailable, alternate
from shmring_bench.samples import quantile

AT_MOST = frozenset({"unsent", "gap_p50", "gap_p99"})
"""Metrics whose targets are upper bounds."""
PORT = 9000
RATE_PPS = 200_000
PAYLOAD_BYTES = 64
_INTERVAL_NS = 1_000_000_000 // RATE_PPS
_T1_AT = 4
PATIENCE_S = 60.0

_Send = Callable[[veth.Link, float], Figures]
"""Sends for some seconds. Returns figures of its own."""


def run(plan: Plan) -> Iterator[Row]:
    case = "200kpps-64B"
    rows = list(
        alternate(
            plan,
            case,
            {
                "shmring": _received(plan, _with_shmring),
                "mgen": _received(plan, peers.part("generate", "mgen")),
                "trafgen": _received(plan, peers.part("generate", "trafgen")),
                "iperf3": _sniffed(plan, peers.part("generate", "iperf3")),
                "ITGSend": _sniffed(plan, peers.part("generate", "itgsend")),
            },
        )
    )
    yield from rows
    if rows:
        yield Row(case, TARGET, "unsent", 0, "percent")


def _received(plan: Plan, send: _Send) -> Callable[[], Figures]:
    """Measure with the independent receiver."""

    def measure() -> Figures:
        seconds = plan.run_s(10.0)
        count = round(seconds * RATE_PPS)
        with veth.linked(plan) as link, link.receiver(count, word_at=_T1_AT, port=PORT) as there:
            own = send(link, seconds)
            received = there.result(PATIENCE_S)
        times_ns = received.arrivals.times_ns
        return {**_figures(times_ns, received.packets + received.kernel_drops, count), **own}

    return measure


def _sniffed(plan: Plan, send: _Send) -> Callable[[], Figures]:
    """Measure with tcpdump."""

    def measure() -> Figures:
        seconds = plan.run_s(10.0)
        with veth.linked(plan) as link, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "arrivals.pcap"
            with sniffed.tcpdump(link, path, f"udp dst port {PORT} and udp[4:2] > {PAYLOAD_BYTES}"):
                own = send(link, seconds)
            times_ns = sniffed.times_ns(path)
        return {**_figures(times_ns, len(times_ns), round(seconds * RATE_PPS)), **own}

    return measure


def _figures(times_ns: Sequence[int], arrived: int, count: int) -> Figures:
    """gap: how much the gap between two packets that arrived differed from 5 us, without sign."""
    if len(times_ns) < 2:
        raise Unavailable("none of its packets arrived")
    gaps_ns = [b - a for a, b in pairwise(times_ns)]
    errors_ns = sorted(abs(gap - _INTERVAL_NS) for gap in gaps_ns)
    return {
        ("unsent", "percent"): max(0.0, 100 * (1 - arrived / count)),
        ("rate", "pps"): (len(times_ns) - 1) * 1e9 / (times_ns[-1] - times_ns[0]),
        ("gap_p50", "ns"): quantile(errors_ns, 0.5),
        ("gap_p99", "ns"): quantile(errors_ns, 0.99),
    }


# --- generators -----------------------------------------------------------------------------------


def _with_shmring(link: veth.Link, seconds: float) -> Figures:
    cpu = link.plan.worker_cpu
    printed = link.run(
        *(sys.executable, "-P", "-m", "shmring_cli", "generate", f"{link.far.address}:{PORT}"),
        *("--pps", str(RATE_PPS), "--size", str(PAYLOAD_BYTES), "--duration", str(seconds)),
        *("--json", "--limit", "late=100%"),
        *(() if cpu is None else ("--worker", f"cpu={cpu}")),
        cpu=link.plan.other_cpu,
        timeout_s=PATIENCE_S + seconds,
    )
    facts = json.loads(printed)
    return {
        ("lost", "percent"): 100 * (1 - facts["sent"] / round(seconds * RATE_PPS)),
        ("late_p50", "ns"): facts["lateness"]["p50_ns"],
        ("late_p99", "ns"): facts["lateness"]["p99_ns"],
    }
