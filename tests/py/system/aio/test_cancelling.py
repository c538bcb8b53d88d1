"""Whatever is cancelled, and whenever: no packet is lost, and none comes twice."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import weakref

import pytest

import shmring
from shmring._endpoint import Endpoint

HERE = "127.0.0.1"
PACKETS = 400
PATIENCE_S = 60.0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("many", [False, True])
def test_packets_survive_cancelled_receivers(shmring_pool, seed, many):
    draw = random.Random(seed)
    far = shmring_pool.open("far", shmring.Udp(tx=1024), local=(HERE, 0))
    near = shmring_pool.open("near", shmring.Udp(tx=1024), remote=far.local)
    got: list[int] = []

    async def take():
        if many:
            batch = await far.aio.recv_many(draw.randrange(1, 5))
            got.extend(int(packet.data) for packet in batch)
        else:
            got.append(int((await far.aio.recv(timeout=PATIENCE_S)).data))

    async def send():
        for i in range(PACKETS):
            await near.aio.send(b"%d" % i)
            if draw.random() < 0.3:
                await asyncio.sleep(draw.random() * 0.002)

    async def main():
        sending = asyncio.create_task(send())
        while len(got) < PACKETS:
            task = asyncio.create_task(take())
            await asyncio.sleep(draw.choice((0, 0, 0.0005, 0.002)))
            if draw.random() < 0.5:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await sending

    asyncio.run(asyncio.wait_for(main(), PATIENCE_S))
    assert got == list(range(PACKETS)), f"seed {seed}"


@pytest.mark.parametrize("seed", range(3))
def test_cancelled_senders_send_once_or_never(shmring_pool, seed):
    draw = random.Random(seed)
    far = shmring_pool.open("far", shmring.Udp(tx=1024), local=(HERE, 0))
    near = shmring_pool.open(
        "near",
        shmring.Udp(tx=shmring.Queue(4, 8)),
        remote=far.local,
        held=True,
    )
    sent: list[int] = []
    started: list[int] = []

    async def send(i):
        started.append(i)
        await near.aio.send(b"%d" % i)
        sent.append(i)

    async def main():
        tasks = [asyncio.create_task(send(i)) for i in range(60)]
        await asyncio.sleep(0.01)
        for task in draw.sample(tasks, 20):
            task.cancel()
        near.release()
        await asyncio.gather(*tasks, return_exceptions=True)
        await near.aio.flush(timeout=PATIENCE_S)

    asyncio.run(asyncio.wait_for(main(), PATIENCE_S))
    arrived = []
    while len(arrived) < len(sent):
        arrived.append(int(far.recv(timeout=20).data))
    with pytest.raises(shmring.ReceiveTimeout):
        far.recv(timeout=0.02)
    assert sorted(arrived) == sorted(sent)
    assert 40 <= len(sent) <= 60


TASKS = 100


def test_a_packet_wakes_one_of_many_tasks(serve, shmring_pool):
    looks = 0

    class Counted(shmring.Channel):
        def try_recv(self):
            nonlocal looks
            looks += 1
            return super().try_recv()

    near = shmring_pool.open("far", shmring.Udp(tx=1024), local=(HERE, 0))
    far = Counted(Endpoint("far", namespace=shmring_pool.namespace))

    async def main():
        tasks = [asyncio.create_task(far.aio.recv()) for _ in range(TASKS)]
        await asyncio.sleep(0.01)
        for i in range(TASKS):
            near.send(b"%d" % i, to=near.local)
            await asyncio.sleep(0.001)
        got = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)
        assert sorted(int(packet.data) for packet in got) == list(range(TASKS))

    serve(main)
    assert looks < 10 * TASKS  # it was about TASKS * TASKS / 2


def test_the_next_task_gets_what_a_cancelled_one_was_woken_for(serve, pair):
    near, far = pair

    async def main():
        for _ in range(50):
            tasks = [asyncio.create_task(far.aio.recv()) for _ in range(5)]
            await asyncio.sleep(0)
            near.send(b"x")
            near.flush()
            tasks[0].cancel()  # the one that is woken first
            done, waiting = await asyncio.wait(
                tasks[1:], timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
            )
            assert len(done) == 1
            for task in waiting:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    serve(main)


def test_tasks_of_a_closed_loop_are_passed_over(pair):
    near, far = pair
    loop = asyncio.new_event_loop()
    task = loop.create_task(far.aio.recv())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    task._log_destroy_pending = False

    async def main():
        asyncio.get_running_loop().call_later(0.05, near.send, b"x")
        assert (await far.aio.recv(timeout=PATIENCE_S)).data == b"x"

    asyncio.run(main())
    gone = weakref.ref(task)
    del task
    gc.collect()
    assert gone() is None  # nothing waits for ever
