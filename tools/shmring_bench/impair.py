"""`shmring bench impair`: what a UDP proxy adds to a datagram's time, and how exact its delay is.

A sender in bare C sends on a schedule, and the independent receiver has the kernel's timestamps.
Each turn of a proxy follows a turn without one, from the same sender to the same receiver: the
median of that turn is what the path takes anyway.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import shmring
from shmring.types import Profile
from shmring_bench import floor, peers
from shmring_bench.measure import TARGET, Figures, Plan, Row, alternate
from shmring_bench.samples import Lateness

AT_MOST = frozenset({"added_p50", "error_p99"})
"""Metrics whose targets are upper bounds."""
RATE_HZ = 10_000
SECONDS = 2.0
DELAY_NS = 20_000_000
MARGIN_NS = 30_000
"""A sender that only spins would leave the receiver's core to nobody else."""
_ADDED_GOAL_NS = 15_000
_ERROR_GOAL_NS = 20_000

Opens = Callable[[Plan, int, int], AbstractContextManager[int]]
"""Opens a proxy to a port with a delay, ns. It gives the port to send to."""


def run(plan: Plan) -> Iterator[Row]:
    without = {
        "shmring": lambda: _measure(plan, _proxy, 0),
        "shmring-latency": lambda: _measure(plan, _spinning, 0),
        "floor": lambda: _measure(plan, _relay, 0),
        "socat": lambda: _measure(plan, peers.part("relays", "socat"), 0),
    }
    delayed = {
        "shmring": lambda: _measure(plan, _proxy, DELAY_NS),
        "shmring-latency": lambda: _measure(plan, _spinning, DELAY_NS),
        "floor": lambda: _measure(plan, _relay, DELAY_NS),
    }
    yield from _beside(plan, "10kpps-64B", without, ("added_p50", _ADDED_GOAL_NS))
    yield from _beside(plan, "10kpps-64B-20ms", delayed, ("error_p99", _ERROR_GOAL_NS))


def _beside(
    plan: Plan, case: str, systems: dict[str, Callable[[], Figures]], goal: tuple[str, int]
) -> Iterator[Row]:
    rows = list(alternate(plan, case, systems))
    yield from rows
    if rows:
        yield Row(case, TARGET, *goal, "ns")


def _measure(plan: Plan, opens: Opens, delay_ns: int) -> Figures:
    count = max(10, round(plan.run_s(SECONDS) * RATE_HZ))
    direct = _send(plan, count, None, 0)
    through = _send(plan, count, opens, delay_ns)
    added = Lateness(array("q", (value - direct.signed_ns(0.5) for value in through.values_ns)))
    figures = {
        ("direct_p50", "ns"): float(direct.signed_ns(0.5)),
        ("direct_p99", "ns"): float(direct.signed_ns(0.99)),
        ("lost", "percent"): 100 * (count - len(through)) / count,
    }
    if not delay_ns:
        return {
            ("added_p50", "ns"): float(added.signed_ns(0.5)),
            ("added_p99", "ns"): float(added.signed_ns(0.99)),
            **figures,
        }
    errors = Lateness(array("q", (value - delay_ns for value in added.values_ns)))
    return {
        ("error_p50", "ns"): float(errors.error_ns(0.5)),
        ("error_p99", "ns"): float(errors.error_ns(0.99)),
        **figures,
    }


def _send(plan: Plan, count: int, opens: Opens | None, delay_ns: int) -> Lateness:
    """Send on the schedule, and return how long after it packets arrived."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(plan.on_other_core())
        receiver = stack.enter_context(floor.Receiver(count, cpu=plan.other_cpu, idle_ms=1000))
        port = receiver.port
        if opens is not None:
            port = stack.enter_context(opens(plan, port, delay_ns))
        floor.run(
            "timed",
            timeout_s=count / RATE_HZ + 20,
            port=port,
            count=count,
            interval_ns=round(1e9 / RATE_HZ),
            margin_ns=MARGIN_NS,
            cpu=plan.other_cpu,
        )
        return receiver.result(20).lateness


# --- the proxies ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _proxy(plan: Plan, port: int, delay_ns: int, profile: Profile = "balanced") -> Iterator[int]:
    path = shmring.Impairment(delay_ns=delay_ns)
    with (
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace, profile=profile) as pool,
        pool.open(
            "impair",
            shmring.Proxy(),
            local=("127.0.0.1", 0),
            remote=("127.0.0.1", port),
            impair=path,
            impair_rx=path,
        ) as ch,
    ):
        assert ch.local is not None
        yield ch.local[1]


def _spinning(plan: Plan, port: int, delay_ns: int) -> AbstractContextManager[int]:
    return _proxy(plan, port, delay_ns, "latency")


@contextlib.contextmanager
def _relay(plan: Plan, port: int, delay_ns: int) -> Iterator[int]:
    """The same model of a path in a bare loop of poll, recvmmsg and send."""
    words = floor.command(
        "relay", to=port, delay_us=delay_ns // 1000, cpu=plan.worker_cpu, priority=80
    )
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as relay:
        try:
            assert relay.stdout is not None
            yield int(json.loads(relay.stdout.readline())["port"])
        finally:
            relay.kill()
