"""`shmring bench clock`: the offset between two network namespaces, whose clock is the same: 0."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

from shmring.net.probes.judged import JudgedClock
from shmring_bench import veth
from shmring_bench.measure import TARGET, Figures, Plan, Row, alternate
from shmring_bench.samples import quantile

PPS = 5000
CASES = {"drift-100ppm": 100.0, "drift-10ppm": 10.0}
"""The drift that is allowed for. The true one is 0."""
AT_MOST = frozenset({"outside", "error_p99"})
"""Metrics whose targets are upper bounds."""
_SECONDS = 20.0
_TURN_S = 0.05
_ERROR_GOAL_NS = 10_000
_BEGIN_EXCHANGES = PPS // 2
"""Of half a second. Until both directions had a quick packet, the error is that of the first ones.
All exchanges count for `outside`."""

# Its arguments: address, pool.
_REFLECTOR = """
import sys
from shmring.net import probes
address, pool = sys.argv[1:]
with probes.Reflector((address, 862), max_pps=None, pool=pool) as reflector:
    print("ready", flush=True)
    reflector.serve()
"""


def run(plan: Plan) -> Iterator[Row]:
    for case, drift_ppm in CASES.items():
        rows = list(alternate(plan, case, {"shmring": partial(_measure, plan, drift_ppm)}))
        yield from rows
        if rows:
            yield Row(case, TARGET, "outside", 0, "packets")
            yield Row(case, TARGET, "error_p99", _ERROR_GOAL_NS, "ns")


def _measure(plan: Plan, drift_ppm: float) -> Figures:
    with veth.linked(plan) as link:
        words = [sys.executable, "-P", "-W", "ignore", "-c", _REFLECTOR]
        reflector = subprocess.Popen(
            [*words, link.far.address, link.far.pool], stdout=subprocess.PIPE, text=True
        )
        try:
            assert reflector.stdout is not None
            if reflector.stdout.readline() != "ready\n":
                raise RuntimeError("the reflector did not start")
            return _figures(link, drift_ppm, plan.run_s(_SECONDS))
        finally:
            reflector.kill()
            reflector.communicate()


def _figures(link: veth.Link, drift_ppm: float, seconds: float) -> Figures:
    with (
        JudgedClock(link.far.address, pps=PPS, pool=link.near.pool) as clock,
        link.plan.on_other_core(),
    ):
        clock.wait()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            clock.update()
            time.sleep(_TURN_S)
        now = clock.update()
    begin = min(_BEGIN_EXCHANGES, len(clock.errors_ns) // 2)
    errors, bounds = sorted(map(abs, clock.errors_ns[begin:])), sorted(clock.bounds_ns[begin:])
    pairs = zip(clock.errors_ns, clock.bounds_ns, strict=True)
    return {
        ("exchanges", "packets"): now.answers.exchanges,
        ("outside", "packets"): sum(abs(error) > bound for error, bound in pairs),
        ("error_p50", "ns"): quantile(errors, 0.5),
        ("error_p99", "ns"): quantile(errors, 0.99),
        ("error_max", "ns"): errors[-1],
        ("bound_p50", "ns"): quantile(bounds, 0.5),
        ("bound_p99", "ns"): quantile(bounds, 0.99),
        ("unanswered", "packets"): now.sent - now.answers.exchanges,
    }
