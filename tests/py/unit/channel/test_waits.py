"""Nothing polls: a call that waits for the worker sleeps until it is woken."""

import asyncio
import gc
import resource
import threading
import time

import pytest

from shmring._aio import SharedLock
from shmring._ring import lib

WAIT_S = 0.5
# A wake-up for every check of whether the channel is served (50 ms), and as many for other reasons.
# A poll every 2 ms would make 250.
MOST_WAKES = 40


def wakes() -> int:
    """How often this thread has gone to sleep."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def test_flush_sleeps_until_missing_reports_come(loop, monkeypatch):
    ch = loop(reports="all", report_capacity=16)
    awaited = [1]
    monkeypatch.setattr("shmring._channel_base.lib", Replaced(awaited))
    before = wakes()
    began = time.monotonic()
    ch.flush()  # a report never comes
    assert time.monotonic() - began >= WAIT_S * 0.9
    assert wakes() - before < MOST_WAKES
    awaited[0] = 2

    def comes():
        awaited[0] = 1
        ch.send(b"x", to=ch.home)  # its verdict is the event

    threading.Timer(0.1, comes).start()
    began = time.monotonic()
    ch.flush()
    assert time.monotonic() - began < WAIT_S * 0.9


class Replaced:
    """The C library, with a number of awaited reports that the test chooses."""

    def __init__(self, awaited):
        self._awaited = awaited

    def __getattr__(self, name):
        return getattr(lib, name)

    def channel_reports_awaited(self, _segment):
        return self._awaited[0]


def test_flush_hears_of_a_report_whose_timestamp_came_late(loop):
    ch = loop(reports="all", report_capacity=64, tx_stamp="kernel", stamp_every=1)
    slowest = 0.0
    for _ in range(20):
        ch.send(b"x", to=ch.home)
        began = time.monotonic()
        ch.flush()
        slowest = max(slowest, time.monotonic() - began)
        assert len(list(ch.reports(timeout=0))) == 1
    assert slowest < 0.4


def test_a_shared_lock_goes_from_task_to_thread_to_task():
    lock = SharedLock()
    order = []

    async def task(number):
        await lock.acquire_in_task()
        order.append(number)
        lock.release()

    def thread(number):
        lock.acquire()
        order.append(number)
        lock.release()

    async def main():
        lock.acquire()
        first = asyncio.create_task(task(1))
        await asyncio.sleep(0)
        second = threading.Thread(target=thread, args=(2,))
        second.start()
        while len(lock._turns) < 2:
            await asyncio.sleep(0.001)
        dropped = asyncio.create_task(task(0))
        third = asyncio.create_task(task(3))
        await asyncio.sleep(0)
        dropped.cancel()
        before = wakes()
        await asyncio.sleep(WAIT_S)
        assert wakes() - before < MOST_WAKES
        lock.release()
        await asyncio.gather(first, third)
        second.join()

    asyncio.run(main())
    assert order == [1, 2, 3]
    lock.acquire()  # nobody holds it


def test_a_task_that_is_cancelled_with_the_lock_passes_it_on():
    lock = SharedLock()

    async def main():
        lock.acquire()
        task = asyncio.create_task(lock.acquire_in_task())
        await asyncio.sleep(0)
        lock.release()  # it is the task's turn, which has not run since
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(lock.acquire_in_task(), 10)

    asyncio.run(main())


def test_a_task_whose_loop_is_closed_is_passed_over():
    lock = SharedLock()
    lock.acquire()
    closed = asyncio.new_event_loop()
    task = closed.create_task(lock.acquire_in_task())
    task._log_destroy_pending = False
    closed.run_until_complete(asyncio.sleep(0))
    got_it = threading.Event()
    thread = threading.Thread(target=lambda: (lock.acquire(), got_it.set()), daemon=True)
    thread.start()
    while len(lock._turns) < 2:
        time.sleep(0.001)
    closed.close()
    lock.release()
    assert got_it.wait(10)
    del task
    gc.collect()  # which ends the task, and must not pass on what it never had
    assert lock._held
    lock.release()
    assert not lock._held
