"""`aio.send_many`: it waits for room, and says how many packets it queued when it ends early."""

from __future__ import annotations

import array
import asyncio
import threading
import time

import pytest

import shmring

HERE = "127.0.0.1"
WAIT_S = 0.3
COUNT = 100


@pytest.fixture
def narrow(shmring_pool):
    """A held channel with room for a few packets, and one that receives what it sends."""
    far = shmring_pool.open("far", shmring.Udp(tx=1024), local=(HERE, 0))
    near = shmring_pool.open(
        "near",
        shmring.Udp(tx=shmring.Queue(8, 16)),
        remote=far.local,
        held=True,
    )
    return near, far


def arrived(far: shmring.Channel, count: int) -> list[bytes]:
    got: list[bytes] = []
    while len(got) < count:
        got += [bytes(packet.data) for packet in far.recv_many(timeout=20)]
    assert far.try_recv() is None
    return got


def test_room_is_awaited_without_polling(run, narrow):
    near, far = narrow
    threading.Timer(WAIT_S, near.release).start()
    sequences = array.array("Q", bytes(8 * COUNT))

    async def main():
        began = time.process_time()
        first = await near.aio.send_many((b"%d" % i for i in range(COUNT)), sequences=sequences)
        assert first == 0
        assert time.process_time() - began < WAIT_S / 2

    run(main)
    assert arrived(far, COUNT) == [b"%d" % i for i in range(COUNT)]
    assert list(sequences) == list(range(COUNT))


def test_one_buffer_is_continued_where_it_stopped(run, narrow):
    near, far = narrow
    sizes = [1 + i % 9 for i in range(COUNT)]
    data = bytes(range(256)) * 4
    offsets = array.array("q", range(COUNT))

    async def main():
        near.release()
        due = near.now_ns()
        await near.aio.send_many(data[: sum(sizes)], sizes=sizes, at=[due] * COUNT)
        await near.aio.send_many(data, offsets=offsets, sizes=sizes, at=due, interval_ns=1)

    run(main)
    got = arrived(far, 2 * COUNT)
    starts = [sum(sizes[:i]) for i in range(COUNT)]
    cut = [data[at : at + size] for at, size in zip(starts, sizes, strict=True)]
    assert got[:COUNT] == cut
    assert got[COUNT:] == [data[i : i + size] for i, size in enumerate(sizes)]
    assert {report.scheduled_ns for report in near.reports(timeout=0)} != {0}


def test_a_timeout_says_how_many_were_queued(run, narrow):
    near, far = narrow

    async def main():
        with pytest.raises(shmring.errors.SendTimeout, match="is held") as full:
            await near.aio.send_many([b"x"] * COUNT, timeout=0.05)
        assert (full.value.sent, full.value.first_sequence) == (near.tx_waiting, 0)
        with pytest.raises(shmring.errors.SendTimeout) as full:
            await near.aio.send_many([b"x"], timeout=0)
        assert (full.value.sent, full.value.first_sequence) == (0, None)

    run(main)
    queued = near.tx_waiting
    assert 0 < queued < COUNT
    near.release()
    assert len(arrived(far, queued)) == queued


def test_a_cancelled_call_says_how_many_were_queued(run, narrow):
    near, far = narrow
    packets = [b"%d" % i for i in range(COUNT)]
    sent: list[int] = []

    async def send():
        try:
            await near.aio.send_many(packets)
        except BaseException as caught:
            sent.append(vars(caught)["sent"])
            raise

    async def main():
        anyio = pytest.importorskip("anyio")
        with anyio.move_on_after(0.1):
            await send()
        assert sent == [near.tx_waiting]
        near.release()
        await near.aio.send_many(packets[sent[0] :])

    run(main)
    assert 0 < sent[0] < COUNT
    assert arrived(far, COUNT) == packets


def test_a_close_ends_the_wait(run, narrow):
    near = narrow[0]
    threading.Timer(0.1, near.detach).start()

    async def main():
        with pytest.raises(shmring.ChannelClosed) as closed:
            await near.aio.send_many([b"x"] * COUNT)
        assert 0 < vars(closed.value)["sent"] < COUNT

    run(main)


def test_bad_arguments_queue_nothing(narrow):
    near = narrow[0]

    async def main():
        with pytest.raises(ValueError, match="no packets"):
            await near.aio.send_many([])
        with pytest.raises(TypeError, match="must be split"):
            await near.aio.send_many(b"xx")
        with pytest.raises(ValueError, match="timeout is -1"):
            await near.aio.send_many([b"x"], timeout=-1)
        with pytest.raises(TypeError):
            await near.aio.send_many([1])

    asyncio.run(main())
    assert near.tx_waiting == 0


def test_the_buffer_is_free_after_the_call(narrow):
    near = narrow[0]
    data = bytearray(COUNT)

    async def main():
        with pytest.raises(shmring.errors.SendTimeout):
            await near.aio.send_many(data, size=1, timeout=0.05)
        data.append(0)  # BufferError while a batch has it

    asyncio.run(main())


def test_frames_of_rtp(shmring_pool):
    ch = shmring_pool.open(
        "rtp",
        shmring.Rtp(tx=shmring.Queue(4, 400)),
        remote=(HERE, 9),
        held=True,
    )

    async def main():
        with pytest.raises(shmring.errors.SendTimeout) as full:
            await ch.aio.send_many([bytes(160)] * COUNT, timeout=0.05)
        assert full.value.sent == ch.tx_waiting
        ch.purge()
        assert await ch.aio.send_many([bytes(160)] * 2, timeout=20) == full.value.sent

    asyncio.run(main())
