"""`shmring bench measure`: probes from one network namespace to a reflector in another.

one-way     delay to the far kernel, from the departure of each probe. The floor is bare C: it spins
            until a probe is due, reads the clock, and sends. A receiver in bare C keeps the
            kernel's timestamps. A ratio near 1 says that the delay which `shmring measure` reports
            is that of the path.
round-trip  the same probes there and back, beside irtt and D-ITG with the rate and size of ours.
            The time in a reflector is part of it only for D-ITG, which does not tell it.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO

from shmring.net import probes, traffic
from shmring_bench import floor, peers, veth
from shmring_bench.measure import TARGET, Figures, Plan, Row, Unavailable, alternate
from shmring_bench.samples import quantile

AT_MOST = frozenset({"min_ratio", "p50_ratio"})
"""Metrics whose targets are upper bounds."""
PORT = 9000
RATE_PPS = 1000
ONE_WAY = {"one-way": RATE_PPS, "one-way-20kpps": 20_000}
PAYLOAD_BYTES = 64
GOAL_RATIO = 1.2
SECONDS = 3.0
START_S = 20.0
_LATE_NS = 50_000


def run(plan: Plan) -> Iterator[Row]:
    for case, pps in ONE_WAY.items():
        systems = {
            "shmring": functools.partial(_ours, plan, "forward", pps),
            "floor": functools.partial(_floor, plan, pps),
        }
        rows = list(alternate(plan, case, systems))
        yield from rows
        yield from _ratios(case, rows)
    yield from alternate(
        plan,
        "round-trip",
        {
            "shmring": lambda: _ours(plan, "round", RATE_PPS),
            "irtt": functools.partial(peers.part("probes", "irtt"), plan),
            "D-ITG": functools.partial(peers.part("probes", "itg"), plan),
        },
    )


def _ratios(case: str, rows: list[Row]) -> Iterator[Row]:
    found = {(row.system, row.metric): row.value for row in rows}
    for metric in ("min", "p50"):
        ours, bare = found.get(("shmring", metric)), found.get(("floor", metric))
        if ours is not None and bare:
            yield Row(case, "shmring", f"{metric}_ratio", 100 * ours / bare, "percent")
            yield Row(case, TARGET, f"{metric}_ratio", 100 * GOAL_RATIO, "percent")


def _ours(plan: Plan, way: str, pps: int) -> Figures:
    words = [sys.executable, "-P", "-m", "shmring_cli", "reflect", f":{PORT}", "--sessions", "4096"]
    if plan.other_cpu is not None:
        words += ["--worker", f"cpu={plan.other_cpu}"]
    with veth.linked(plan) as link, server(link, words, "answering on"):
        report = probes.measure(
            (link.far.address, PORT),
            traffic.Flow(pps=pps, size=PAYLOAD_BYTES),
            seconds=plan.run_s(SECONDS),
            late_ns=_LATE_NS,
            clock="same",
            profile="latency" if way == "forward" else None,
            pool=link.near.pool,
        )
    delays: probes.Delays = getattr(report, way)
    return _figures(delays.min_ns, delays.percentile(50), delays.percentile(99)) | {
        ("missing", "packets"): report.lost,
        ("left_out", "percent"): 100 * report.late_share,
    }


def _floor(plan: Plan, pps: int) -> Figures:
    count = round(plan.run_s(SECONDS) * pps)
    with veth.linked(plan) as link, link.receiver(count, word_at=None, port=PORT) as receiver:
        words = floor.command(
            "timed",
            address=int(ipaddress.ip_address(link.far.address)),
            port=PORT,
            count=count,
            interval_ns=1_000_000_000 // pps,
            margin_ns=1_000_000_000,  # never sleeps
            departure=1,
            cpu=plan.worker_cpu,
        )
        link.run(*words, cpu=None, timeout_s=START_S + plan.run_s(SECONDS))
        found = receiver.result(START_S)
    delays_ns = sorted(found.samples)
    return sorted_figures(delays_ns) | {("missing", "packets"): count - len(delays_ns)}


# --- what they share ------------------------------------------------------------------------------


@contextlib.contextmanager
def server(link: veth.Link, words: list[str], ready: str) -> Iterator[None]:
    """A program on the far host, from the moment when it has printed `ready`."""
    command = ["nsenter", "--net", "--target", str(link.far.pid), *words]
    with tempfile.TemporaryFile("w+") as output:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, text=True
            )
        except FileNotFoundError:
            raise Unavailable(f"{words[0]} is not installed") from None
        try:
            _wait(lambda: ready in _so_far(output), process, words[0])
            yield
        finally:
            process.terminate()
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(is_ready: Callable[[], bool], process: subprocess.Popen[str], name: str) -> None:
    until_s = time.monotonic() + START_S
    while not is_ready():
        if process.poll() is not None or time.monotonic() > until_s:
            raise Unavailable(f"{name} did not start")
        time.sleep(0.02)


def _so_far(output: IO[str]) -> str:
    return os.pread(output.fileno(), 65536, 0).decode(errors="replace")


def sorted_figures(values_ns: list[int]) -> dict[tuple[str, str], float]:
    if not values_ns:
        raise Unavailable("no packet came back")
    return _figures(values_ns[0], quantile(values_ns, 0.5), quantile(values_ns, 0.99))


def _figures(least: float, p50: float, p99: float) -> dict[tuple[str, str], float]:
    return {("min", "ns"): least, ("p50", "ns"): p50, ("p99", "ns"): p99}
