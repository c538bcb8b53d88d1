"""The asynchronous forms of calls that would block an event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

import shmring

HERE = "127.0.0.1"
MS = 1_000_000


def test_verdicts_are_awaited(run, pair):
    near, _ = pair

    async def main():
        due = near.now_ns() + 50 * MS
        late = near.send(b"later", at=due)
        soon = near.send(b"now")
        report = await near.aio.verdict(soon, timeout=20)
        assert report.sequence == soon
        report = await near.aio.verdict(late)
        assert (report.sequence, report.scheduled_ns) == (late, due)
        assert report.sent_ns >= due
        waits = near.send(b"never", at=near.now_ns() + 3600_000 * MS)
        with pytest.raises(shmring.errors.SendTimeout, match="no verdict"):
            await near.aio.verdict(waits, timeout=0.05)
        near.cancel(waits)
        assert (await near.aio.verdict(waits)).verdict is shmring.Verdict.CANCELLED

    run(main)
    assert sorted(report.sequence for report in near.reports(timeout=0)) == [0, 1, 2]  # still there


def test_verdict_blocks_and_refuses(shmring_pool):
    ch = shmring_pool.open("ctl", shmring.Udp(report_capacity=4), remote=(HERE, 9))
    first = ch.send(b"x", at=ch.now_ns() + 20 * MS)
    assert ch.verdict(first, timeout=20).sequence == first
    with pytest.raises(ValueError, match="has queued 1 packets"):
        ch.verdict(1)
    with pytest.raises(shmring.errors.SendTimeout):
        ch.verdict(ch.send(b"x", at=ch.now_ns() + 3600_000 * MS), timeout=0)
    ch.cancel(1)
    for _ in range(10):
        ch.send(b"x")
    ch.flush()
    with pytest.raises(shmring.errors.TooLate, match="overwritten"):
        ch.verdict(first)
    quiet = shmring_pool.open("quiet", shmring.Udp(reports="late"), remote=(HERE, 9))
    with pytest.raises(shmring.errors.BadConfig, match="reports"):
        quiet.verdict(quiet.send(b"x"))


def test_many_tasks_await_verdicts(pair):
    near, _ = pair

    async def main():
        now = near.now_ns()
        sent = [near.send(b"x", at=now + (i % 50) * MS) for i in range(200)]
        found = await asyncio.gather(*map(near.aio.verdict, sent))
        assert [report.sequence for report in found] == sent

    asyncio.run(main())


def test_flush_is_awaited(run, pair):
    near, _ = pair

    async def main():
        near.hold()
        near.send(b"x")
        with pytest.raises(shmring.errors.SendTimeout):
            await near.aio.flush(timeout=0.01)
        gc.disable()  # a collection in a process of many tests takes longer
        try:
            began = time.thread_time()
            threading.Timer(0.5, near.release).start()
            await near.aio.flush()
            assert time.thread_time() - began < 0.1
        finally:
            gc.enable()
        assert near.tx_waiting == 0
        assert len(list(near.reports(timeout=0))) == 1

    run(main)


def test_many_packets_are_awaited(run, pair):
    near, far = pair

    async def main():
        with pytest.raises(shmring.ReceiveTimeout):
            await far.aio.recv_many(timeout=0.01)
        near.send_many([b"a", b"b", b"c"])
        got = []
        while len(got) < 3:
            got += [packet.data for packet in await far.aio.recv_many(timeout=20)]
        assert got == [b"a", b"b", b"c"]

    run(main)


def test_the_loop_goes_on_while_a_channel_opens(shmring_pool):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        began = time.monotonic()
        ch = await shmring_pool.aio.open("big", shmring.Udp(tx=1 << 16), local=(HERE, 0))
        took = time.monotonic() - began
        assert ticks > took / 0.1
        await ch.aio.close()
        assert ch.closed
        ticking.cancel()

    asyncio.run(main())


def test_a_cancelled_open_leaves_nothing_behind(shmring_pool):
    async def main():
        for _ in range(5):
            task = asyncio.create_task(shmring_pool.aio.open("ctl", local=(HERE, 0)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert shmring_pool.channels() == []
        async with await shmring_pool.aio.open("ctl", local=(HERE, 0)) as ch:
            assert ch.name == "ctl"
        with pytest.raises(shmring.errors.BadConfig):
            await shmring_pool.aio.open("ctl", shmring.Udp(tx=0))

    asyncio.run(main())
