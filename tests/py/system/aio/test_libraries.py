"""The asynchronous calls in asyncio, uvloop and trio, alone and under anyio."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import threading
import time

import pytest

import shmring

HERE = "127.0.0.1"
def descriptors() -> int:
    gc.collect()  # an event loop may close its own late
    return len(os.listdir("/proc/self/fd"))


def test_timeouts(run, pair):
    near, far = pair

    async def main():
        began = time.monotonic()
        with pytest.raises(shmring.ReceiveTimeout):
            await far.aio.recv(timeout=0.05)
        with pytest.raises(shmring.ReceiveTimeout):
            await far.aio.recv(timeout=0)
        assert 0.05 <= time.monotonic() - began < 10
        near.send(b"x")
        assert (await far.aio.recv(timeout=20)).data == b"x"

    run(main)


def test_a_close_by_another_thread_ends_the_wait(run, pair):
    far = pair[1]
    threading.Timer(0.1, far.close).start()

    async def main():
        with pytest.raises(shmring.ChannelClosed):
            await far.aio.recv()

    run(main)


def test_an_end_of_the_loop_leaves_nothing_behind(run, pair):
    near, far = pair

    async def main():
        threading.Timer(0.02, near.send, (b"x",)).start()
        return await far.aio.recv(timeout=20)

    run(main)
    before = descriptors()
    counts = [before]
    for _ in range(15):
        run(main)
        counts.append(descriptors())
    # Other threads of this process open and close some, too: what does not grow is theirs.
    grown = [later - earlier for earlier, later in itertools.pairwise(counts[::5])]
    assert min(grown) <= 1
    far.close()
    near.close()
    assert descriptors() < counts[-1]


def test_many_tasks_of_trio_wait_at_one_channel(shmring_pool):
    trio = pytest.importorskip("trio")
    far = shmring_pool.open("far", local=(HERE, 0))
    near = shmring_pool.open("near", remote=far.local)
    got = []

    async def take():
        got.append(await far.aio.recv(timeout=20))

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(take)
            await trio.sleep(0.05)
            for _ in range(10):
                near.send(b"x")

    trio.run(main)
    assert len(got) == 10


def test_cancelled_in_trio(shmring_pool):
    trio = pytest.importorskip("trio")
    far = shmring_pool.open("far", local=(HERE, 0))

    async def main():
        with trio.move_on_after(0.05) as scope:
            await far.aio.recv()
        assert scope.cancelled_caught
        far.send(b"x", to=far.local)
        assert (await far.aio.recv(timeout=20)).data == b"x"

    trio.run(main)


def test_asyncio_needs_neither_trio_nor_anyio():
    script = (
        "import asyncio, sys, shmring\n"
        "async def main():\n"
        "    with shmring.open('x', local=('127.0.0.1', 0)) as ch:\n"
        "        ch.send(b'1', to=ch.local)\n"
        "        await ch.aio.recv(timeout=20)\n"
        "asyncio.run(main())\n"
        "assert not {'trio', 'anyio', 'sniffio', 'uvloop'} & sys.modules.keys()\n"
    )
    env = os.environ | {"SHMRING_NAMESPACE": f"aio-{os.getpid()}"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60, env=env)


def test_outside_of_a_loop_the_error_says_so(pair):
    with pytest.raises(RuntimeError, match="no running event loop"):
        pair[1].aio.recv().send(None)
