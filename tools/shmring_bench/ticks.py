"""`shmring bench ticks`: how late programs wake up for an instant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import shmring
from shmring_bench import floor
from shmring_bench.measure import Figures, Plan, Row, Unavailable, alternate
from shmring_bench.samples import quantile

PERIOD_NS = 1_000_000
WARM_UP = 50
RUN_S = 5.0

Program = Callable[[Plan, int], Coroutine[Any, Any, list[int]]]


def run(plan: Plan) -> Iterator[Row]:
    yield from alternate(
        plan,
        "task-1ms",
        {
            "shmring": _in_loop(plan, _ticks),
            "floor": lambda: _floor(plan),
            "shmring-uvloop": _in_loop(plan, _ticks, uvloop=True),
            "sleep_until": _in_loop(plan, _sleep_until),
            "sleep_until-uvloop": _in_loop(plan, _sleep_until, uvloop=True),
            "asyncio.sleep": _in_loop(plan, _sleep),
            "uvloop": _in_loop(plan, _sleep, uvloop=True),
        },
    )
    yield from alternate(
        plan,
        "thread-1ms",
        {
            "shmring": _in_thread(plan, _ticks_in_thread),
            "floor": lambda: _floor(plan),
            "block_until": _in_thread(plan, _block_until),
            "time.sleep": _in_thread(plan, _sleep_in_thread),
        },
    )


def _count(plan: Plan) -> int:
    return max(10, round(plan.run_s(RUN_S) * 1e9 / PERIOD_NS))


def _figures(late_ns: list[int], cpu_s: float, elapsed_s: float) -> Figures:
    late_ns = sorted(late_ns)
    return {
        ("late_p50", "ns"): quantile(late_ns, 0.5),
        ("late_p99", "ns"): quantile(late_ns, 0.99),
        ("late_p999", "ns"): quantile(late_ns, 0.999),
        ("late_max", "ns"): late_ns[-1],
        ("cpu", "percent"): 100 * cpu_s / elapsed_s,
    }


def _measured(plan: Plan, work: Callable[[int], list[int]]) -> Figures:
    """Run `work` on the core that the worker does not use."""
    count = _count(plan) + WARM_UP
    with plan.on_other_core():
        began_s, cpu_s = time.monotonic(), time.process_time()
        late_ns = work(count)
        spent_s = time.process_time() - cpu_s
        return _figures(late_ns[WARM_UP:], spent_s, time.monotonic() - began_s)


def _floor(plan: Plan) -> Figures:
    (found,) = floor.run(
        "tick",
        timeout_s=plan.run_s(RUN_S) + 20,
        count=_count(plan),
        interval_ns=PERIOD_NS,
        cpu=plan.worker_cpu,
        other_cpu=plan.other_cpu,
    )
    return {
        ("late_p50", "ns"): found["p50"],
        ("late_p99", "ns"): found["p99"],
        ("late_p999", "ns"): found["p999"],
        ("late_max", "ns"): found["max"],
    }


# --- tasks ----------------------------------------------------------------------------------------


def _in_loop(plan: Plan, program: Program, *, uvloop: bool = False) -> Callable[[], Figures]:
    def measure() -> Figures:
        with asyncio.Runner(loop_factory=_uvloop_factory() if uvloop else None) as runner:
            return _measured(plan, lambda count: runner.run(program(plan, count)))

    return measure


def _uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        raise Unavailable("it is not installed: pip install uvloop") from None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _ticks(plan: Plan, count: int) -> list[int]:
    late_ns: list[int] = []
    with shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool:
        async with shmring.ticks(PERIOD_NS, pool=pool) as ticks:
            async for tick in ticks:
                late_ns.append(time.monotonic_ns() - tick.due_ns)
                if len(late_ns) == count:
                    break
    return late_ns


async def _sleep_until(_plan: Plan, count: int) -> list[int]:
    late_ns = []
    for _ in range(count):
        at_ns = time.monotonic_ns() + PERIOD_NS
        await shmring.sleep_until(at_ns)
        late_ns.append(time.monotonic_ns() - at_ns)
    return late_ns


async def _sleep(_plan: Plan, count: int) -> list[int]:
    late_ns = []
    for _ in range(count):
        at_ns = time.monotonic_ns() + PERIOD_NS
        await asyncio.sleep(PERIOD_NS / 1e9)
        late_ns.append(time.monotonic_ns() - at_ns)
    return late_ns


# --- threads --------------------------------------------------------------------------------------


def _in_thread(plan: Plan, work: Callable[[Plan, int], list[int]]) -> Callable[[], Figures]:
    return lambda: _measured(plan, lambda count: work(plan, count))


def _ticks_in_thread(plan: Plan, count: int) -> list[int]:
    late_ns: list[int] = []
    with (
        shmring.Pool(cpus=plan.cpus, namespace=plan.namespace) as pool,
        shmring.ticks(PERIOD_NS, pool=pool) as ticks,
    ):
        for tick in ticks:
            late_ns.append(time.monotonic_ns() - tick.due_ns)
            if len(late_ns) == count:
                break
    return late_ns


def _block_until(_plan: Plan, count: int) -> list[int]:
    late_ns = []
    for _ in range(count):
        at_ns = time.monotonic_ns() + PERIOD_NS
        shmring.block_until(at_ns)
        late_ns.append(time.monotonic_ns() - at_ns)
    return late_ns


def _sleep_in_thread(_plan: Plan, count: int) -> list[int]:
    late_ns = []
    for _ in range(count):
        at_ns = time.monotonic_ns() + PERIOD_NS
        time.sleep(PERIOD_NS / 1e9)
        late_ns.append(time.monotonic_ns() - at_ns)
    return late_ns
