"""`shmring bench cyclic`: cycles at an independent receiver, alone and beside 512 others."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import shmring
from shmring import room
from shmring_bench import floor
from shmring_bench.measure import Figures, Plan, Row, alternate, cpu_ns, worker_pid
from shmring_bench.samples import quantile

CYCLE_NS = 1_000_000
PAYLOAD = bytes(64)
ALONE = shmring.Share(producers=1)
OTHERS = 512
OTHER_CYCLE_NS = 1_000_000_000 // 44
RUN_S = 8.0


def run(plan: Plan) -> Iterator[Row]:
    yield from alternate(plan, "1kHz", {"shmring": _cycles(plan, 0), "floor": lambda: _floor(plan)})
    yield from alternate(
        plan,
        f"1kHz-beside-{OTHERS}x44Hz",
        {"shmring": _cycles(plan, OTHERS), "floor": lambda: _floor(plan)},
    )


def _count(plan: Plan) -> int:
    return max(10, round(plan.run_s(RUN_S) * 1e9 / CYCLE_NS))


def _errors(received: floor.Received) -> dict[tuple[str, str], float]:
    """How far the intervals at the receiver are from the cycle."""
    errors = received.lateness
    return {
        ("error_p50", "ns"): errors.error_ns(0.5),
        ("error_p99", "ns"): errors.error_ns(0.99),
        ("error_p999", "ns"): errors.error_ns(0.999),
        ("error_max", "ns"): errors.max_ns,
    }


def _floor(plan: Plan) -> Figures:
    count = _count(plan)
    with floor.Receiver(count, cpu=plan.other_cpu, cycle_ns=CYCLE_NS) as receiver:
        floor.run(
            "timed",
            timeout_s=plan.run_s(RUN_S) + 20,
            port=receiver.port,
            count=count,
            interval_ns=CYCLE_NS,
            cpu=plan.worker_cpu,
        )
        return _errors(receiver.result(10))


def _cycles(plan: Plan, others: int) -> Callable[[], Figures]:
    """Measure a channel of 1 kHz, beside others of 44 Hz on the same worker."""

    def measure() -> Figures:
        each = room.channel_bytes(_engine(OTHER_CYCLE_NS), share=ALONE, remote=("127.0.0.1", 9))
        fitting = plan.fitting(f"{others} others", "channels", others, lambda n: n * each)
        with ExitStack() as open_now:
            open_now.enter_context(plan.on_other_core())
            pool = open_now.enter_context(shmring.Pool(cpus=plan.cpus, namespace=plan.namespace))
            sink = open_now.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sink.bind(("127.0.0.1", 0))
            beside = [
                _open(pool, f"other-{i}", sink.getsockname(), OTHER_CYCLE_NS)
                for i in range(fitting)
            ]
            count = _count(plan)
            receiver = open_now.enter_context(
                floor.Receiver(count, cpu=plan.other_cpu, cycle_ns=CYCLE_NS)
            )
            channel = _open(pool, "cycle", ("127.0.0.1", receiver.port), CYCLE_NS)
            worker = worker_pid(pool)
            began_ns, cpu_began_ns = time.monotonic_ns(), cpu_ns(worker)
            received = receiver.result(plan.run_s(RUN_S) + 20)
            share = (cpu_ns(worker) - cpu_began_ns) / (time.monotonic_ns() - began_ns)
            stats = channel.stats()
            found = _errors(received) | {
                ("start_p50", "ns"): stats.lateness.percentile(50),
                ("start_p99", "ns"): stats.lateness.percentile(99),
                ("missed", "percent"): 100 * stats.engine.missed / max(1, stats.engine.sent),
                ("cpu", "percent"): 100 * share,
            }
            if beside:
                p99 = sorted(one.stats().lateness.percentile(99) for one in beside)
                found["others_start_p99", "ns"] = quantile(p99, 0.5)
            return found

    return measure


def _open(
    pool: shmring.Pool, name: str, remote: tuple[str, int], period_ns: int
) -> shmring.cyclic.Channel:
    local = ("127.0.0.1", 0)
    return pool.open(name, _engine(period_ns), local=local, remote=remote, share=ALONE)


def _engine(period_ns: int) -> shmring.Cyclic:
    return shmring.Cyclic(
        period_ns=period_ns,
        payload=PAYLOAD,
        direction="tx",
        max_payload=len(PAYLOAD),
        reports="off",
        report_capacity=0,
    )
