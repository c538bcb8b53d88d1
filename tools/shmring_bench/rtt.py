"""`shmring bench rtt`: a packet from Python to Python over loopback, and the answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import shmring
from shmring.types import Profile
from shmring_bench import floor, ipc_end
from shmring_bench.measure import Figures, Plan, Row, alternate
from shmring_bench.samples import quantile

PAYLOAD = bytes(64)
WARM_UP = 200
PATIENCE_S = 20.0


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
                "aio.recv": functools.partial(_channels, plan, profile, awaits=True),
                "recv": functools.partial(_channels, plan, profile),
            },
        )
    for case, at_once in {"endpoint": 1, "endpoint-100": 100}.items():
        yield from alternate(
            plan,
            case,
            {
                "shmring": functools.partial(_endpoints, plan, at_once, _of_shmring),
                "asyncio": functools.partial(_endpoints, plan, at_once, _of_asyncio),
            },
        )
    yield from alternate(
        plan,
        "processes",
        {
            "shmring": functools.partial(_processes, plan, "udp-channel"),
            "socket": functools.partial(_processes, plan, "socket"),
        },
    )
    yield from alternate(
        plan,
        "programs",
        {
            "shmring": functools.partial(_programs, plan, "udp-channel"),
            "socket": functools.partial(_programs, plan, "socket"),
        },
    )


def _channels(plan: Plan, profile: Profile, *, awaits: bool = False) -> Figures:
    """Send, worker, kernel, worker, receive, twice. Both ends are in this process."""
    with (
        plan.on_other_core(),
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace, profile=profile) as pool,
        pool.open(
            "pong",
            shmring.Udp(reports="off", socket=shmring.Socket(tx_stamp="off")),
            local=("127.0.0.1", 0),
        ) as far,
        pool.open(
            "ping",
            shmring.Udp(reports="off", socket=shmring.Socket(tx_stamp="off")),
            local=("127.0.0.1", 0),
            remote=far.local,
        ) as near,
    ):
        near_address = near.local

        def round_trip() -> None:
            near.send(PAYLOAD)
            far.recv(timeout=1.0)
            far.send(PAYLOAD, to=near_address)
            near.recv(timeout=1.0)

        async def round_trip_in_task() -> None:
            near.send(PAYLOAD)
            await far.aio.recv(timeout=1.0)
            far.send(PAYLOAD, to=near_address)
            await near.aio.recv(timeout=1.0)

        seconds = plan.run_s(1)
        if awaits:
            return asyncio.run(_time_in_task(round_trip_in_task, seconds))
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


# --- datagram endpoints of asyncio ----------------------------------------------------------------


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(data, addr)


class _Asking(asyncio.DatagramProtocol):
    """Sends the next packet for each answer, until the end, and keeps the times of all but the
    first ones."""

    def __init__(self, at_once: int, seconds: float) -> None:
        self._at_once = at_once
        self._seconds = seconds
        self._until_ns = 0
        self._warm_up = WARM_UP + at_once
        self.ended = asyncio.get_running_loop().create_future()
        self.took_ns: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        for _ in range(self._at_once):
            self._ask(time.perf_counter_ns())

    def datagram_received(self, data: bytes, addr: Any) -> None:
        now_ns = time.perf_counter_ns()
        if self._warm_up > 0:
            self._warm_up -= 1
            self._until_ns = now_ns + round(self._seconds * 1e9)
        else:
            self.took_ns.append(now_ns - int.from_bytes(data[:8]))
        if now_ns < self._until_ns or self._warm_up > 0:
            self._ask(time.perf_counter_ns())
        elif not self.ended.done():
            self.ended.set_result(None)

    def _ask(self, now_ns: int) -> None:
        self._transport.sendto(now_ns.to_bytes(8) + PAYLOAD[8:])


Endpoint = Callable[..., Awaitable[tuple[asyncio.BaseTransport, Any]]]


def _of_shmring(plan: Plan, stack: contextlib.ExitStack) -> Endpoint:
    pool = stack.enter_context(shmring.Pool(cpus=plan.cpus, namespace=plan.namespace))
    return functools.partial(shmring.create_datagram_endpoint, pool=pool)


def _of_asyncio(_plan: Plan, _stack: contextlib.ExitStack) -> Endpoint:
    return asyncio.get_running_loop().create_datagram_endpoint


def _endpoints(
    plan: Plan, at_once: int, make: Callable[[Plan, contextlib.ExitStack], Endpoint]
) -> Figures:
    """Two datagram endpoints in one event loop, and so many packets under way."""
    seconds = plan.run_s(1)

    async def main() -> Figures:
        with contextlib.ExitStack() as stack:
            endpoint = make(plan, stack)
            server, _ = await endpoint(_Echo, local_addr=("127.0.0.1", 0))
            client, asking = await endpoint(
                lambda: _Asking(at_once, seconds), remote_addr=server.get_extra_info("sockname")
            )
            await asyncio.wait_for(asking.ended, seconds + PATIENCE_S)
            for transport in (client, server):
                transport.close()
            took_ns = sorted(asking.took_ns)
            figures = _figures(quantile(took_ns, 0.5), quantile(took_ns, 0.99), took_ns[-1])
            return {**figures, ("rate", "per_s"): len(took_ns) / seconds}

    with plan.on_other_core():
        return asyncio.run(main())


# --- two processes --------------------------------------------------------------------------------


def _processes(plan: Plan, system: str) -> Figures:
    """Two processes on one core, the worker of both on the other."""
    pool = shmring.Pool(ipc_end.SHARED_POOL, plan.cpus, namespace=plan.namespace)
    with plan.on_other_core(), pool:
        return _ask(plan, system, ipc_end.SHARED_POOL, plan.other_cpu)


def _programs(plan: Plan, system: str) -> Figures:
    """Two processes with a pool each, on any core."""
    try:
        return _ask(plan, system, "", None)
    finally:
        shmring.close_default_pool(plan.namespace, linger=0)


def _ask(plan: Plan, system: str, pool: str, cpu: int | None) -> Figures:
    """Blocking calls of two processes."""
    with (
        ipc_end.known_to_both(system, f"{plan.namespace} {pool}") as text,
        ipc_end.asking(system, text, cpu) as (send, receive),
    ):

        def round_trip() -> None:
            send(PAYLOAD)
            receive()

        return _time(round_trip, plan.run_s(1))


# --- what they share ------------------------------------------------------------------------------


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


async def _time_in_task(round_trip: Callable[[], Awaitable[None]], seconds: float) -> Figures:
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
