"""Hundreds of tasks at one channel, cancelled anywhere, while workers die and processes fork."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import threading

import pytest

import shmring

HERE = "127.0.0.1"
PATIENCE_S = 60.0
TASKS = 200


@pytest.fixture
def ends(shmring_pool):
    """A channel with little room, and one with much: (near, far)."""
    far = shmring_pool.open("far", shmring.Udp(tx=8192), local=(HERE, 0))
    near = shmring_pool.open(
        "near",
        shmring.Udp(tx=shmring.Queue(4, 16), report_capacity=4096),
        remote=far.local,
    )
    return near, far


def taken(far: shmring.Channel) -> list[int]:
    got: list[int] = []
    with contextlib.suppress(shmring.ReceiveTimeout):
        while True:
            got += [int(packet.data) for packet in far.recv_many(timeout=1.5)]
    return got


def test_what_senders_count_is_what_arrives(serve, ends):
    draw, (near, far) = random.Random(7), ends
    sent: list[int] = []

    async def one(first: int):
        await near.aio.send(b"%d" % first)
        sent.append(first)

    async def many(first: int):
        numbers = range(first, first + 20)
        try:
            await near.aio.send_many([b"%d" % number for number in numbers])
        except asyncio.CancelledError as caught:
            sent.extend(numbers[: vars(caught)["sent"]])
            raise
        sent.extend(numbers)

    async def other(first: int):
        if first % 200 == 0:
            await near.aio.flush()
        else:
            await shmring.sleep_until(near.now_ns() + first * 100)

    async def main():
        tasks = []
        for i in range(TASKS):
            tasks.append(asyncio.create_task(draw.choice((one, many, other))(100 * i)))
            await asyncio.sleep(draw.choice((0, 0, 0.001)))
            if draw.random() < 0.4:
                draw.choice(tasks).cancel()
        await asyncio.wait(tasks, timeout=PATIENCE_S)
        await near.aio.flush(timeout=PATIENCE_S)

    serve(main)
    assert sorted(taken(far)) == sorted(sent)
    assert len(sent) > TASKS


def test_a_worker_dies_while_tasks_wait(run, shmring_pool):
    far = shmring_pool.open("far", local=(HERE, 0))
    got: list[bytes] = []

    async def take(group):
        got.append((await far.aio.recv(timeout=PATIENCE_S)).data)
        if len(got) == 50:
            group.cancel_scope.cancel()

    async def main():
        anyio = pytest.importorskip("anyio")
        async with anyio.create_task_group() as group:
            for _ in range(TASKS):
                group.start_soon(take, group)
            await anyio.sleep(0.01)
            worker = shmring_pool.workers()[0].pid
            os.kill(worker, signal.SIGKILL)
            while shmring_pool.workers()[0].pid in (0, worker):
                await anyio.sleep(0.002)
            while len(got) < 50:
                await far.aio.send(b"x", to=far.local)
                await anyio.sleep(0.002)

    run(main)
    assert len(got) >= 50


def test_loops_of_two_threads_share_a_channel(ends, eventually):
    near, far = ends
    got: list[int] = []
    total = 600

    async def take():
        with contextlib.suppress(shmring.ChannelClosed):
            async for packet in far:
                got.append(int(packet.data))

    async def main(first: int):
        tasks = [asyncio.create_task(take()) for _ in range(20)]
        for i in range(first, first + total // 2):
            await near.aio.send(b"%d" % i)
            if i % 10 == 0:
                tasks[0].cancel()
                tasks = [*tasks[1:], asyncio.create_task(take())]
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENCE_S)

    threads = [
        threading.Thread(target=asyncio.run, args=(main(i * total // 2),)) for i in range(2)
    ]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(got) >= total)
    finally:
        far.close()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert sorted(got) == list(range(total))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, of any threads
def test_a_child_has_a_loop_of_its_own(serve, pair):
    near, far = pair

    async def in_child():
        await near.aio.send(b"child")
        await near.aio.flush(timeout=PATIENCE_S)
        await shmring.sleep_until(near.now_ns() + 1_000_000)

    def child():
        code = 1
        try:
            thread = threading.Thread(target=asyncio.run, args=(in_child(),))
            thread.start()
            thread.join()
            code = 0
        finally:
            os._exit(code)

    async def main():
        waiting = asyncio.create_task(far.aio.recv(timeout=PATIENCE_S))
        await asyncio.sleep(0.01)
        pid = os.fork()
        if pid == 0:
            child()
        assert (await waiting).data == b"child"
        status = (await asyncio.to_thread(os.waitpid, pid, 0))[1]
        assert os.waitstatus_to_exitcode(status) == 0
        near.send(b"parent")
        assert (await far.aio.recv(timeout=PATIENCE_S)).data == b"parent"

    serve(main)
