"""select, selectors and asyncio."""

import asyncio
import os
import select
import signal
import threading
import time

import shmring


def readable(channel, timeout=20.0):
    return bool(select.select([channel], [], [], timeout)[0])


def becomes_unreadable(channel):
    """The worker rings after it has written a packet, so one that was taken meanwhile, without
    waiting for the descriptor, leaves it readable once."""
    if readable(channel, 0.05):
        assert channel.try_recv() is None
    return not readable(channel, 0.05)


def test_readable_while_packets_are_there(loop):
    ch = loop()
    assert not readable(ch, 0)
    ch.send(b"a", to=ch.home)
    assert readable(ch)
    assert ch.recv(timeout=0).data == b"a"
    assert not readable(ch, 0.02)
    ch.send_many([b"b", b"c", b"d"], to=ch.home)
    while ch.rx_waiting < 3:
        time.sleep(0.001)
    assert readable(ch)
    ch.recv(timeout=20)
    assert readable(ch, 0)
    ch.recv(timeout=20)
    assert readable(ch, 0)
    ch.recv(timeout=20)
    assert not readable(ch, 0.02)


def test_readable_again_after_each_kind_of_receive(loop):
    ch = loop()
    ch.fileno()
    takers = (
        ch.try_recv,
        lambda: ch.recv_into(bytearray(10), timeout=0),
        lambda: ch.recv_many(timeout=0),
    )
    for take in takers:
        ch.send(b"a", to=ch.home)
        assert readable(ch)
        assert take() is not None
        assert not readable(ch, 0.02)


def test_packets_that_came_before_fileno_are_seen(loop):
    ch = loop()
    ch.send(b"a", to=ch.home)
    while not ch.rx_waiting:
        time.sleep(0.001)
    assert readable(ch, 0)


def test_shared_readers_can_be_selected_on(loop):
    ch = loop(reading="shared")
    other = shmring.attach(ch.name)
    assert not readable(ch, 0)
    assert not readable(other, 0)
    ch.send(b"a", to=ch.home)
    assert readable(ch)
    assert readable(other)
    assert ch.recv(timeout=0).data == b"a"
    assert other.try_recv() is None
    assert not readable(other, 0.02)


def test_selecting_survives_a_replaced_worker(loop, shmring_pool):
    ch = loop()
    sender = shmring.attach(ch.name)
    assert not readable(ch, 0)
    epoch = ch.stats().epoch
    os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
    give_up = time.monotonic() + 10
    wakes = 0
    while ch.stats().epoch == epoch or ch._endpoint.attachment.fileno() < 0:
        assert time.monotonic() < give_up
        if readable(ch, 1):
            assert ch.try_recv() is None
            wakes += 1
    assert wakes < 200  # the dead connection is not polled all the time
    sender.send(b"x", to=ch.home)
    assert readable(ch)
    packet = ch.try_recv() or ch.recv(timeout=20)
    assert packet.data == b"x"
    assert becomes_unreadable(ch)


def test_selecting_survives_a_request_that_finds_the_next_worker_first(loop, shmring_pool):
    ch = loop()
    sender = shmring.attach(ch.name)
    assert not readable(ch, 0)
    os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
    ch.release()  # connects, and attaches nothing
    sender.send(b"x", to=ch.home)
    packet = None
    while packet is None:
        assert readable(ch)
        packet = ch.try_recv()
    assert packet.data == b"x"
    assert becomes_unreadable(ch)


def test_asyncio_taps(loop):
    ch = loop()
    tap = shmring.attach(ch.name, readonly=True)

    async def main():
        waiting = asyncio.create_task(tap.aio.recv(timeout=10))
        await asyncio.sleep(0.01)
        ch.send(b"a", to=ch.home)
        return (await waiting).data

    assert asyncio.run(main()) == b"a"


def test_asyncio_iterates_until_the_channel_is_closed(loop):
    ch = loop()

    async def main():
        got = []
        async for packet in ch:
            got.append(packet.data)
            if len(got) == 3:
                threading.Timer(0.05, ch.close).start()
        return got

    ch.send_many([b"a", b"b", b"c"], to=ch.home)
    assert asyncio.run(main()) == [b"a", b"b", b"c"]
