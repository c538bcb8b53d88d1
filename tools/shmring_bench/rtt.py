"""`shmring bench rtt`: a packet from Python to Python over loopback, and the answer."""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from collections.abc import Awaitable, Callable, Iterator

import shmring
from shmring.types import Profile
from shmring_bench import floor
from shmring_bench.measure import Figures, Plan, Row, alternate
from shmring_bench.samples import quantile

PAYLOAD = bytes(64)
WARM_UP = 200


def run(plan: Plan) -> Iterator[Row]:
    yield from alternate(
        plan,
        "64B",
        {
            "shmring": lambda: _channels(plan, "latency"),
            "shmring-balanced": lambda: _channels(plan, "balanced"),
            "socket": lambda: _sockets(plan),
            "floor": lambda: _floor(plan),
        },
    )
    profiles: tuple[Profile, ...] = ("latency", "balanced", "power")
    for profile in profiles:
        yield from alternate(
            plan,
            f"asyncio-{profile}",
            {
                "recv_async": functools.partial(_channels, plan, profile, awaits=True),
                "recv": functools.partial(_channels, plan, profile),
            },
        )


def _channels(plan: Plan, profile: Profile, *, awaits: bool = False) -> Figures:
    """Send, worker, kernel, worker, receive, twice. Both ends are in this process."""
    with (
        plan.on_other_core(),
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace, profile=profile) as pool,
        pool.open("pong", local=("127.0.0.1", 0), tx_stamp="off", reports="off") as far,
        pool.open(
            "ping", local=("127.0.0.1", 0), remote=far.local, tx_stamp="off", reports="off"
        ) as near,
    ):
        near_address = near.local

        def round_trip() -> None:
            near.send(PAYLOAD)
            far.recv(timeout=1.0)
            far.send(PAYLOAD, to=near_address)
            near.recv(timeout=1.0)

        async def round_trip_async() -> None:
            near.send(PAYLOAD)
            await far.recv_async(timeout=1.0)
            far.send(PAYLOAD, to=near_address)
            await near.recv_async(timeout=1.0)

        seconds = plan.run_s(1)
        if awaits:
            return asyncio.run(_time_async(round_trip_async, seconds))
        return _time(round_trip, seconds)


def _sockets(plan: Plan) -> Figures:
    """The same with two sockets of this process: it wakes no other process, and waits for none."""
    with (
        plan.on_other_core(),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        for sock in (near, far):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(1)
        near.connect(far.getsockname())
        far.connect(near.getsockname())

        def round_trip() -> None:
            near.send(PAYLOAD)
            far.recv(2048)
            far.send(PAYLOAD)
            near.recv(2048)

        return _time(round_trip, plan.run_s(1))


def _time(round_trip: Callable[[], None], seconds: float) -> Figures:
    for _ in range(WARM_UP):
        round_trip()
    took_ns = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter_ns()
        round_trip()
        took_ns.append(time.perf_counter_ns() - start)
    took_ns.sort()
    return _figures(quantile(took_ns, 0.5), quantile(took_ns, 0.99), took_ns[-1])


async def _time_async(round_trip: Callable[[], Awaitable[None]], seconds: float) -> Figures:
    """As `_time`."""
    for _ in range(WARM_UP):
        await round_trip()
    took_ns = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter_ns()
        await round_trip()
        took_ns.append(time.perf_counter_ns() - start)
    took_ns.sort()
    return _figures(quantile(took_ns, 0.5), quantile(took_ns, 0.99), took_ns[-1])


def _floor(plan: Plan) -> Figures:
    """Two C threads on two cores, both spinning."""
    (facts,) = floor.run("rtt", count=20_000, cpu=plan.worker_cpu)
    return _figures(facts["p50"], facts["p99"], facts["max"])


def _figures(p50: float, p99: float, most: float) -> Figures:
    return {("p50", "ns"): p50, ("p99", "ns"): p99, ("max", "ns"): most}
