"""Waiting for room: nobody polls, and nobody sleeps on when there is some."""

import asyncio
import os
import signal
import threading
import time

import pytest

import shmring

FULL_S = 0.5
WAKE_S = 0.25
CAPACITY = 8


@pytest.fixture
def full(shmring_pool):
    """A channel that is held, with a full queue."""
    ch = shmring_pool.open(
        "full",
        shmring.Udp(tx=CAPACITY, direction="tx"),
        remote=("127.0.0.1", 9),
        held=True,
    )
    while ch.try_send(b"x") is not None:
        pass
    return ch


def test_a_blocked_send_async_costs_nothing_and_wakes_at_once(full):
    async def run():
        sending = asyncio.create_task(full.aio.send(b"late"))
        await asyncio.sleep(0.1)
        began = time.process_time()
        await asyncio.sleep(FULL_S)
        used = time.process_time() - began
        assert not sending.done()
        full.release()
        released = time.monotonic()
        await sending
        return used, time.monotonic() - released

    used, woke_after = asyncio.run(run())
    assert used < FULL_S * 0.05  # at one look per ms it was 10 % and more
    assert woke_after < WAKE_S


def test_many_tasks_wait_without_a_thread(full):
    before = threading.active_count()

    async def run():
        tasks = [asyncio.create_task(full.aio.send(b"%d" % i)) for i in range(50)]
        await asyncio.sleep(0.2)
        assert threading.active_count() <= before
        full.release()
        return await asyncio.wait_for(asyncio.gather(*tasks), 20)

    assert len(set(asyncio.run(run()))) == 50


def test_a_timeout_and_a_cancellation_end_the_wait(full):
    async def run():
        began = time.monotonic()
        with pytest.raises(shmring.errors.SendTimeout):
            await full.aio.send(b"x", timeout=0.05)
        assert time.monotonic() - began < 5
        task = asyncio.create_task(full.aio.send(b"x"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_tasks_of_two_loops_wait_at_once(full):
    sent = []

    def loop_of_its_own():
        sent.append(asyncio.run(full.aio.send(b"x", timeout=20)))

    threads = [threading.Thread(target=loop_of_its_own) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    full.release()
    for thread in threads:
        thread.join(20)
    assert len(set(sent)) == 2


def test_a_wait_goes_on_with_the_next_worker(full, shmring_pool):
    async def run():
        sending = asyncio.create_task(full.aio.send(b"late"))
        await asyncio.sleep(0.1)
        epoch = full.stats().epoch
        os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
        while full.stats().epoch == epoch:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert not sending.done()
        full.release()
        await asyncio.wait_for(sending, 20)

    asyncio.run(run())


def test_flush_wakes_with_the_last_verdict(full):
    found = []

    def flush():
        began = time.thread_time()
        full.flush()
        found.append((time.monotonic(), time.thread_time() - began))

    thread = threading.Thread(target=flush)
    thread.start()
    time.sleep(FULL_S)
    assert full.tx_waiting > 0
    full.release()
    while full.tx_waiting:
        time.sleep(0.001)
    empty = time.monotonic()
    thread.join(10)
    returned, used = found[0]
    assert returned - empty < WAKE_S
    assert used < FULL_S * 0.05
