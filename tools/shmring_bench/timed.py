"""`shmring bench timed`: distance between deadline and the receiver's kernel timestamp."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

from shmring_bench import floor, senders
from shmring_bench.measure import Figures, Plan, Row, Unavailable, alternate

PAYLOAD_BYTES = 64
PRELOADED = 300_000


def run(plan: Plan) -> Iterator[Row]:
    yield from alternate(
        plan,
        "1kHz-64B",
        {
            "shmring": _schedule(plan, "shmring", 1000, 5),
            "shmring-unstamped": _schedule(plan, "shmring-unstamped", 1000, 5),
            "floor": _schedule(plan, "floor", 1000, 5),
            "rtudp-dropin": _schedule(plan, "rtudp-dropin", 1000, 5),
            "time.sleep": _schedule(plan, "time.sleep", 1000, 2),
            "asyncio": _schedule(plan, "asyncio", 1000, 2),
        },
    )
    yield from alternate(
        plan,
        "1kHz-64B-wire",
        {
            "shmring": _schedule(plan, "shmring-wire", 1000, 5),
            "floor": _schedule(plan, "floor-ahead", 1000, 5),
        },
    )
    yield from alternate(
        plan,
        "50kpps-64B",
        {
            "shmring": _schedule(plan, "shmring", 50_000, 2),
            "shmring-unstamped": _schedule(plan, "shmring-unstamped", 50_000, 2),
            "floor": _schedule(plan, "floor", 50_000, 2),
            "rtudp-dropin": _schedule(plan, "rtudp-dropin", 50_000, 2),
        },
    )
    yield from alternate(
        plan,
        "50kpps-64B-busy",
        {
            "shmring": _beside_a_loop(plan, _schedule(plan, "shmring", 50_000, 2)),
            "floor": _beside_a_loop(plan, _schedule(plan, "floor", 50_000, 2)),
        },
    )
    yield from alternate(
        plan,
        "past-300k-8B",
        {
            "shmring": _past(plan, "shmring-preloaded", PRELOADED, 8),
            "rtudp-dropin": _past(plan, "rtudp-dropin-preloaded", PRELOADED, 8),
        },
    )
    yield from alternate(
        plan, "saturated-64B", {"shmring": _past(plan, "shmring-saturated", 0, PAYLOAD_BYTES)}, 1
    )
    yield from alternate(
        plan,
        "saturated-64B-busy",
        {"shmring": _beside_a_loop(plan, _past(plan, "shmring-saturated", 0, PAYLOAD_BYTES))},
        1,
    )


def _schedule(plan: Plan, system: str, rate_hz: int, seconds: float) -> Callable[[], Figures]:
    def measure() -> Figures:
        wanted = max(10, round(plan.run_s(seconds) * rate_hz))
        count = _fitting(plan, f"{rate_hz} Hz", wanted, PAYLOAD_BYTES)
        with floor.Receiver(count, cpu=plan.other_cpu) as receiver:
            job = senders.Job(
                receiver.port, count, round(1e9 / rate_hz), PAYLOAD_BYTES, plan.worker_cpu
            )
            facts = senders.run(system, job, plan.namespace)
            plan.lacking.update(facts["lacking"])
            received = receiver.result(10)
        late = received.lateness
        return {
            ("error_p50", "ns"): late.error_ns(0.5),
            ("error_p99", "ns"): late.error_ns(0.99),
            ("error_p999", "ns"): late.error_ns(0.999),
            ("error_max", "ns"): late.max_ns,
            ("signed_p50", "ns"): late.signed_ns(0.5),
            ("lost", "percent"): 100 * (count - received.packets) / count,
        }

    return measure


def _fitting(plan: Plan, case: str, wanted: int, payload_bytes: int) -> int:
    return plan.fitting(case, "packets", wanted, lambda n: senders.shm_bytes(n, payload_bytes))


def _past(plan: Plan, system: str, count: int, payload_bytes: int) -> Callable[[], Figures]:
    """Send packets that are already late, as fast as possible: `count` of them, or for
    some time."""

    def measure() -> Figures:
        with (
            plan.on_other_core(),
            floor.Receiver(0, cpu=plan.other_cpu, gro=True) as receiver,
        ):
            job = senders.Job(
                receiver.port,
                _fitting(plan, "packets that are late", count, payload_bytes) if count else 0,
                1,
                payload_bytes,
                plan.worker_cpu,
                seconds=0 if count else plan.run_s(20),
                ahead=_fitting(plan, "saturation", senders.AHEAD, payload_bytes),
            )
            facts = senders.run(system, job, plan.namespace)
            received = receiver.result(10)
        plan.lacking.update(facts["lacking"])
        return {
            ("rate", "pps"): received.rate_pps,
            ("longest_hole", "ns"): received.longest_gap_ns,
            ("lost", "percent"): 100 * (facts["sent"] - received.packets) / facts["sent"],
        }

    return measure


def _beside_a_loop(plan: Plan, measure: Callable[[], Figures]) -> Callable[[], Figures]:
    """Let an ordinary program want the worker's core all the time."""

    def beside() -> Figures:
        if plan.worker_cpu is None:
            raise Unavailable("the worker has no core of its own")
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as loop:
            try:
                os.sched_setaffinity(loop.pid, {plan.worker_cpu})
                return measure()
            finally:
                loop.kill()

    return beside
