"""`shmring bench ipc`: the ring between two cores, round trips between processes, memory of a long
queue, idle workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import shmring
from shmring import room
from shmring.types import Profile
from shmring_bench import floor, ipc_rtt
from shmring_bench.measure import Figures, Plan, Row, alternate, cpu_ns, resident_bytes, worker_pid
from shmring_bench.samples import median, quantile

MESSAGES = 5_000_000
MESSAGE_BYTES = 32
QUEUED = 1_000_000
QUEUED_BYTES = 8
CHANNELS = 4096
WAKES = 200
WAKE_EVERY_S = 0.005


def run(plan: Plan) -> Iterator[Row]:
    yield from alternate(
        plan, f"ring-{MESSAGE_BYTES}B", {"shmring": _messages("ring"), "floor": _messages("ipc")}
    )
    yield from ipc_rtt.run(plan)
    yield from alternate(plan, f"queued-1M-{QUEUED_BYTES}B", {"shmring": lambda: _queue(plan)})
    yield from alternate(
        plan, f"idle-{CHANNELS}-channels", {"shmring": lambda: _many_channels(plan)}, 1
    )
    profiles: tuple[Profile, ...] = ("balanced", "latency", "power")
    for profile in profiles:
        yield from alternate(plan, f"idle-{profile}", {"shmring": _idle(plan, profile)})


def _messages(program: str) -> Callable[[], Figures]:
    def measure() -> Figures:
        (facts,) = floor.run(program, count=MESSAGES, bytes=MESSAGE_BYTES)
        return {("rate", "pps"): facts["value"], ("message", "ns"): 1e9 / facts["value"]}

    return measure


def _queue(plan: Plan) -> Figures:
    """Queue a million small packets. Measure the memory of this process and the worker together."""

    def engine(packets: int) -> shmring.Udp:
        return shmring.Udp(direction="tx", tx=shmring.Queue(packets, QUEUED_BYTES))

    count = plan.fitting(
        "a million queued packets",
        "packets",
        QUEUED,
        lambda n: room.channel_bytes(engine(n)),
    )
    packets = bytes(count * QUEUED_BYTES)
    with shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool:
        pool.open("other", shmring.Udp(tx=16), local=("127.0.0.1", 0))
        before = _resident(pool)
        channel = pool.open(
            "queue",
            engine(count),
            remote=("127.0.0.1", 9),
            held=True,
        )
        start = time.perf_counter_ns()
        channel.send_many(packets, size=QUEUED_BYTES)
        queueing_ns = (time.perf_counter_ns() - start) / count
        total = _resident(pool)
    return {
        ("resident", "bytes"): total,
        ("resident_added", "bytes"): total - before,
        ("resident_per_packet", "bytes"): (total - before) / count,
        ("send_many_per_packet", "ns"): queueing_ns,
    }


def _many_channels(plan: Plan) -> Figures:
    open_ns = []
    engine = shmring.Udp(tx=shmring.Queue(16, 64), report_capacity=16)
    each = room.channel_bytes(engine)
    channels = plan.fitting("idle channels", "channels", CHANNELS, lambda n: n * each)
    with (
        plan.on_other_core(),
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool,
    ):
        pool.open("first", shmring.Udp(tx=16), local=("127.0.0.1", 0))
        before = _resident(pool)
        for i in range(channels):
            start = time.perf_counter_ns()
            end = pool.open(f"c{i}", engine, local=("127.0.0.1", 0))
            open_ns.append(time.perf_counter_ns() - start)
            del end  # only the worker holds all; dropping this end is not part of opening it
        added = _resident(pool) - before
        used = _cpu_percent(pool, plan.run_s(2))
    return {
        ("open_p50", "ns"): median(open_ns),
        ("open_max", "ns"): max(open_ns),
        ("resident_per_channel", "bytes"): added / channels,
        ("worker_cpu", "percent"): used,
    }


def _idle(plan: Plan, profile: Profile) -> Callable[[], Figures]:
    """Measure the cost of a waiting worker, and how long it takes to wake up for a packet."""

    def measure() -> Figures:
        with (
            plan.on_other_core(),
            shmring.Pool(cpus=plan.cpus, namespace=plan.namespace, profile=profile) as pool,
            pool.open("far", shmring.Udp(direction="rx"), local=("127.0.0.1", 0)) as far,
            pool.open("near", shmring.Udp(direction="tx"), remote=far.local) as near,
        ):
            used = _cpu_percent(pool, plan.run_s(2))
            arrived_ns = []
            for _ in range(WAKES):
                time.sleep(WAKE_EVERY_S)
                near.send(b"wake up")
                packet = far.recv(timeout=1.0)
                arrived_ns.append(time.monotonic_ns() - packet.timestamp_ns)
            to_send = near.stats().immediate
        arrived_ns.sort()
        return {
            ("worker_cpu", "percent"): used,
            ("send_to_start_p50", "ns"): to_send.percentile(50),
            ("send_to_start_p99", "ns"): to_send.percentile(99),
            ("stamp_to_recv_p50", "ns"): quantile(arrived_ns, 0.5),
            ("stamp_to_recv_p99", "ns"): quantile(arrived_ns, 0.99),
        }

    return measure


def _cpu_percent(pool: shmring.Pool, seconds: float) -> float:
    """Return the CPU time of the pool's one worker over some idle seconds."""
    pid = worker_pid(pool)
    time.sleep(0.3)  # work left after opening
    used, start = cpu_ns(pid), time.monotonic_ns()
    time.sleep(seconds)
    return 100 * (cpu_ns(pid) - used) / (time.monotonic_ns() - start)


def _resident(pool: shmring.Pool) -> int:
    return resident_bytes(os.getpid()) + resident_bytes(worker_pid(pool))
