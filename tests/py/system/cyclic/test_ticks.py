"""Ticks and sleeping until an instant: in threads, in event loops, and in several processes."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import anyio
import pytest
import trio
from needs import require_module

import shmring
from shmring._aio import Waiters
from shmring.cyclic import ticks as _ticks

PATIENCE_S = 20.0
PERIOD_NS = 2_000_000

FOLLOWER = """
import sys, shmring
with shmring.ticks(int(sys.argv[1]), name="grid") as ticks:
    for tick in ticks:
        print(tick.due_ns, flush=True)
"""

Runner = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


def on_trio(program: Callable[[], Coroutine[Any, Any, None]]) -> None:
    trio.run(program)


def on_asyncio(program: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(program())


def on_uvloop(program: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop = require_module("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(program())


LOOPS = pytest.mark.parametrize(
    "run", [on_asyncio, pytest.param(on_uvloop, marks=pytest.mark.check), on_trio]
)


def check_in_order(got: list[shmring.cyclic.Tick], ticks: shmring.cyclic.Ticks) -> None:
    for tick in got:
        assert tick.due_ns == tick.number * ticks.period_ns + ticks.phase_ns
        assert tick.late_ns >= 0
    for before, tick in itertools.pairwise(got):
        assert tick.number == before.number + 1 + tick.missed


def test_ticks_come_on_their_grid(shmring_pool: shmring.Pool, eventually: Any) -> None:
    with shmring.ticks(PERIOD_NS, phase_ns=300_000, pool=shmring_pool) as ticks:
        assert (ticks.period_ns, ticks.phase_ns) == (PERIOD_NS, 300_000)
        got = []
        for tick in itertools.islice(ticks, 50):
            assert time.monotonic_ns() >= tick.due_ns
            got.append(tick)
        check_in_order(got, ticks)
        # The worker counts a cycle after it has published it.
        eventually(lambda: ticks.channel.stats().tx_sent >= 50)
    assert list(ticks) == []


def test_a_grid_opens_when_a_tick_is_awaited(shmring_pool: shmring.Pool) -> None:
    ticks = shmring.ticks(PERIOD_NS, pool=shmring_pool)
    assert shmring_pool.channels() == []
    ticks.close()
    assert list(ticks) == []
    with pytest.raises(shmring.errors.BadConfig, match="period_ns"):
        shmring.ticks(1, pool=shmring_pool)


@LOOPS
def test_ticks_come_in_every_event_loop(shmring_pool: shmring.Pool, run: Runner) -> None:
    async def program() -> None:
        got = []
        async with shmring.ticks(PERIOD_NS, pool=shmring_pool) as ticks:
            async for tick in ticks:
                assert time.monotonic_ns() >= tick.due_ns
                got.append(tick)
                if len(got) == 30:
                    break
            check_in_order(got, ticks)

    run(program)


def test_a_program_that_stalls_misses_ticks(shmring_pool: shmring.Pool) -> None:
    with shmring.ticks(PERIOD_NS, pool=shmring_pool) as ticks:
        first = ticks.next(timeout=PATIENCE_S)
        time.sleep(0.1)
        second = ticks.next(timeout=PATIENCE_S)
        assert second.missed >= 40
        assert second.number == first.number + second.missed + 1
        ticks.channel.hold()
        time.sleep(0.05)
        if ticks.channel.rx_waiting:  # those before it was held
            ticks.next(timeout=0)
        with pytest.raises(shmring.ReceiveTimeout):
            ticks.next(timeout=0.05)


def test_nothing_is_left(shmring_pool: shmring.Pool) -> None:
    shmring.ticks(PERIOD_NS, pool=shmring_pool).close()

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def program() -> None:
        async with shmring.ticks(PERIOD_NS, pool=shmring_pool) as ticks:
            await ticks.aio.next()

    asyncio.run(program())
    before = descriptors()
    for _ in range(5):
        asyncio.run(program())
    assert descriptors() <= before  # garbage of other tests may have been collected
    assert shmring_pool.channels() == []


@pytest.fixture
def follower(shmring_namespace: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts processes that print the ticks of the grid ``grid``."""
    running: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", FOLLOWER, str(PERIOD_NS)],
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def due_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_processes_share_a_grid_until_the_last(
    shmring_namespace: str, follower: Callable[[], subprocess.Popen[str]]
) -> None:
    opener = follower()
    phase_ns = due_of(opener) % PERIOD_NS
    with shmring.ticks(PERIOD_NS, name="grid") as ticks:
        assert not ticks.channel.created
        assert ticks.phase_ns == phase_ns
        other = follower()
        assert due_of(other) % PERIOD_NS == phase_ns
        with pytest.raises(shmring.errors.BadConfig, match="the grid 'grid' has 2000000"):
            shmring.ticks(PERIOD_NS * 2, name="grid").next()
        with pytest.raises(shmring.errors.BadConfig, match=f"the grid 'grid' has {phase_ns}"):
            shmring.ticks(PERIOD_NS, phase_ns=(phase_ns + 1) % PERIOD_NS, name="grid").next()
        last = ticks.next(timeout=PATIENCE_S)
        opener.send_signal(signal.SIGKILL)
        opener.wait()
        until = time.monotonic() + PATIENCE_S
        while ticks.channel.state is shmring.State.OPEN and time.monotonic() < until:
            ticks.next(timeout=PATIENCE_S)
        now = [ticks.next(timeout=PATIENCE_S) for _ in range(10)]
        assert now[-1].number > last.number
        assert {tick.due_ns % PERIOD_NS for tick in now} == {phase_ns}
        assert {due_of(other) % PERIOD_NS for _ in range(10)} == {phase_ns}


def test_a_channel_that_sends_is_no_grid(shmring_pool: shmring.Pool) -> None:
    sending = shmring.Cyclic(period_ns=PERIOD_NS, payload=b"x", max_payload=4)
    with (
        shmring_pool.open("sends", sending, remote=("127.0.0.1", 9)),
        pytest.raises(shmring.errors.BadConfig, match="'sends' has a payload"),
    ):
        shmring.ticks(PERIOD_NS, name="sends", pool=shmring_pool).next(timeout=1.0)


# --- sleeping -------------------------------------------------------------------------------------


@LOOPS
def test_a_task_wakes_at_its_time_and_never_before(run: Runner) -> None:
    async def program() -> None:
        for wait_ns in (0, 1_000, 100_000, 1_000_000, 5_000_000):
            at_ns = time.monotonic_ns() + wait_ns
            await shmring.sleep_until(at_ns)
            assert at_ns <= time.monotonic_ns() < at_ns + PATIENCE_S * 1e9
        await shmring.sleep_until(0)

    run(program)


@LOOPS
def test_many_tasks_sleep_and_wake_in_order(run: Runner) -> None:
    woken: list[int] = []

    async def sleeper(at_ns: int) -> None:
        await shmring.sleep_until(at_ns)
        assert time.monotonic_ns() >= at_ns
        woken.append(at_ns)

    async def program() -> None:
        start_ns = time.monotonic_ns() + 20_000_000
        times = [start_ns + i * 50_000 for i in range(200)]
        async with anyio.create_task_group() as group:
            for at_ns in reversed(times):
                group.start_soon(sleeper, at_ns)
        assert sorted(woken) == times

    run(program)


@LOOPS
def test_cancelling_leaves_nothing(run: Runner) -> None:
    async def program() -> None:
        hour_ns = time.monotonic_ns() + 3600 * 10**9
        for _ in range(3):
            with anyio.move_on_after(0.01):
                async with anyio.create_task_group() as group:
                    for i in range(20):
                        group.start_soon(shmring.sleep_until, hour_ns + i)
        soon_ns = time.monotonic_ns() + 1_000_000
        await shmring.sleep_until(soon_ns)

    run(program)
    alarm = _ticks._this_alarm()
    assert (alarm._times, alarm._asleep) == ([], set())


def test_a_loop_that_does_not_run_keeps_no_other_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Waiters] = []
    look = Waiters.look

    def noted(waiters: Waiters) -> None:
        looks.append(waiters)
        look(waiters)

    monkeypatch.setattr(Waiters, "look", noted)
    halted = asyncio.new_event_loop()
    task = halted.create_task(shmring.sleep_until(time.monotonic_ns() + 5_000_000))
    halted.run_until_complete(asyncio.sleep(0))
    asyncio.run(shmring.sleep_until(time.monotonic_ns() + 50_000_000))
    assert len(looks) < 10
    halted.run_until_complete(task)
    halted.close()


def test_a_thread_wakes_at_its_time_and_never_before() -> None:
    for wait_ns in (0, 1_000, 100_000, 1_000_000, 5_000_000):
        at_ns = time.monotonic_ns() + wait_ns
        shmring.block_until(at_ns)
        assert time.monotonic_ns() >= at_ns


def test_a_signal_handler_ends_a_sleep() -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            shmring.block_until(time.monotonic_ns() + int(PATIENCE_S * 1e9))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def test_times_that_cannot_be_are_refused() -> None:
    with pytest.raises(TypeError, match="at_ns must be an integer"):
        shmring.block_until(1.5)  # type: ignore[arg-type]
    with pytest.raises(shmring.errors.BadConfig, match="at_ns is -1"):
        shmring.block_until(-1)
    with pytest.raises(shmring.errors.BadConfig, match="at_ns is"):
        asyncio.run(shmring.sleep_until(time.time_ns()))


def test_threads_share_one_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[_ticks._Alarm] = []

    class Slow(_ticks._Alarm):
        def __init__(self) -> None:
            time.sleep(0.05)  # the other thread looks meanwhile
            super().__init__()
            made.append(self)

    monkeypatch.setattr(_ticks, "_alarm", None)
    monkeypatch.setattr(_ticks, "_Alarm", Slow)
    threads = [threading.Thread(target=_ticks._this_alarm) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for alarm in made:
        os.close(alarm._fd)
    assert len(made) == 1
