"""Pool and worker die at once: programs that wait for them are told."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring

pytestmark = pytest.mark.check

SOON_S = 10.0

OWNER = """
import sys, shmring
pool = shmring.Pool(policy='other')
pool.open('ctl', shmring.Udp(tx=16), local=('127.0.0.1', 0))
print(pool.workers()[0].pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owner(
    python: Callable[..., Any],
    shmring_namespace: str,
    leftovers: Callable[[], list[str]],
    eventually: Callable[..., Any],
) -> Iterator[Any]:
    process = python(OWNER)
    process.worker = int(process.line())
    yield process
    process.close()

    def nothing_is_left() -> bool:  # a worker that lives clears up after its pool by itself
        shmring.gc(namespace=shmring_namespace)
        return leftovers() == []

    eventually(nothing_is_left)


@pytest.mark.parametrize("readonly", [False, True])
def test_a_receiver_learns_of_it(owner: Any, readonly: bool) -> None:
    channel = shmring.attach("ctl", readonly=readonly)
    with pytest.raises(shmring.ReceiveTimeout):
        channel.recv(timeout=0.01)
    owner.kill_with(owner.worker)
    began = time.monotonic()
    with pytest.raises(shmring.ChannelClosed, match="its pool and its worker have ended"):
        channel.recv()
    assert time.monotonic() - began < SOON_S
    assert channel.state == "closed"
    channel.close()


def test_a_receiver_in_an_event_loop_learns_of_it(owner: Any) -> None:
    async def receive() -> None:
        channel = shmring.attach("ctl")
        with pytest.raises(shmring.ReceiveTimeout):
            await channel.aio.recv(timeout=0.01)
        owner.kill_with(owner.worker)
        with pytest.raises(shmring.ChannelClosed):
            await asyncio.wait_for(channel.aio.recv(), SOON_S)
        channel.close()

    asyncio.run(receive())


def test_a_sender_learns_of_it(owner: Any) -> None:
    channel = shmring.attach("ctl")
    channel.send(b"first", to=channel.local)
    owner.kill_with(owner.worker)
    batch = [b"x"] * 1000
    with pytest.raises(shmring.ChannelClosed):
        channel.send_many(batch, to=("127.0.0.1", 9), timeout=SOON_S)
    with pytest.raises(shmring.ChannelClosed):
        channel.flush(timeout=SOON_S)
    channel.close()


def test_a_channel_whose_worker_stands_still_stays_open(owner: Any) -> None:
    channel = shmring.attach("ctl")
    channel.send(b"first", to=channel.local)
    assert channel.recv(timeout=20).data == b"first"
    os.kill(owner.worker, signal.SIGSTOP)
    try:
        with pytest.raises(shmring.ReceiveTimeout):
            channel.recv(timeout=1.5)
        assert channel.state == "open"
    finally:
        os.kill(owner.worker, signal.SIGCONT)
    channel.send(b"x", to=channel.local)
    assert channel.recv(timeout=20).data == b"x"
    channel.close()
