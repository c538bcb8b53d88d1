"""Round trips between Python processes: local channels beside other means, and hops in bare C."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import shmring
from shmring.types import Profile
from shmring_bench import floor, ipc_end
from shmring_bench.measure import Figures, Plan, Row, alternate
from shmring_bench.samples import quantile

WARM_UP = 200
PEERS = ("socket", "mp-queue", "zeromq-ipc", "iceoryx2")


def run(plan: Plan) -> Iterator[Row]:
    systems: dict[str, Callable[[], Figures]] = {
        "shmring": lambda: _channels(plan, "balanced"),
        **{system: _means(plan, system) for system in PEERS},
        "floor": lambda: _floor(plan, sleeps=True),
    }
    yield from alternate(plan, "rtt-balanced", systems)
    spinning: dict[str, Callable[[], Figures]] = {
        "shmring": lambda: _channels(plan, "latency"),
        "floor": lambda: _floor(plan, sleeps=False),
    }
    yield from alternate(plan, "rtt-latency", spinning)
    own: dict[str, Callable[[], Figures]] = {
        "shmring-balanced": lambda: _one_process(plan, "balanced"),
        "shmring-latency": lambda: _one_process(plan, "latency"),
    }
    yield from alternate(plan, "to-itself", own)


def _channels(plan: Plan, profile: Profile) -> Figures:
    """Two processes on one core, the worker on the other."""
    with plan.on_other_core(), _pool(plan, profile) as pool:
        for name in ("ask", "answer"):
            pool.open(name, shmring.Local(reports="off"))
        return _time(plan, "shmring", plan.namespace)


def _means(plan: Plan, system: str) -> Callable[[], Figures]:
    """Two processes on one core. No worker is between them."""

    def measure() -> Figures:
        with plan.on_other_core(), ipc_end.known_to_both(system, plan.namespace) as text:
            return _time(plan, system, text)

    return measure


def _one_process(plan: Plan, profile: Profile) -> Figures:
    """Send, worker, receive: half a round trip, without a second process on this core."""
    with (
        plan.on_other_core(),
        _pool(plan, profile) as pool,
        pool.open("self", shmring.Local(reports="off")) as here,
    ):
        return _distribution(plan, here.send, lambda: here.recv(timeout=ipc_end.WAIT_S))


def _pool(plan: Plan, profile: Profile) -> shmring.Pool:
    return shmring.Pool(cpus=plan.cpus, namespace=plan.namespace, profile=profile)


def _time(plan: Plan, system: str, text: str) -> Figures:
    with ipc_end.asking(system, text, plan.other_cpu) as (send, receive):
        return _distribution(plan, send, receive)


def _distribution(
    plan: Plan, send: Callable[[bytes], object], receive: Callable[[], object]
) -> Figures:
    took_ns = []
    for _ in range(WARM_UP):
        send(ipc_end.PAYLOAD)
        receive()
    end = time.monotonic() + plan.run_s(1)
    while time.monotonic() < end:
        start = time.perf_counter_ns()
        send(ipc_end.PAYLOAD)
        receive()
        took_ns.append(time.perf_counter_ns() - start)
    took_ns.sort()
    return _figures(quantile(took_ns, 0.5), quantile(took_ns, 0.99))


def _floor(plan: Plan, *, sleeps: bool) -> Figures:
    """Three C processes, and four hops of a futex, or of a word that is polled."""
    (facts,) = floor.run(
        "hops",
        count=20_000,
        sleep=int(sleeps),
        cpu=plan.worker_cpu,
        other_cpu=plan.other_cpu,
    )
    return _figures(facts["p50"], facts["p99"])


def _figures(p50: float, p99: float) -> Figures:
    return {("p50", "ns"): p50, ("p99", "ns"): p99}
