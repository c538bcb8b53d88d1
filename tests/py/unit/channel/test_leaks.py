"""No call keeps an object: allocated blocks stay where they are, on success and on failure."""

import contextlib
import gc
import sys
import sysconfig
import time

import numpy as np
import pytest

import shmring

ROUNDS = 400
# What caches and the interpreter itself may take meanwhile; one leaked object a round is far above.
SLACK = 150

pytestmark = [
    pytest.mark.check,
    pytest.mark.skipif(
        not hasattr(sys, "getallocatedblocks") or bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        reason="this Python does not count its blocks, or frees them later",
    ),
]


def growth(call):
    """Blocks that calls leave behind. Other threads of this process allocate, too: what does not
    grow every time is theirs."""
    for _ in range(50):
        call()
    least = sys.maxsize
    for _ in range(3):
        least = min(least, growth_once(call))
        if least < SLACK:
            break
    return least


def growth_once(call):
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(ROUNDS):
        call()
    gc.collect()
    return sys.getallocatedblocks() - before


def failing(call):
    def attempt():
        with contextlib.suppress(Exception):
            call()

    return attempt


def test_sending(loop):
    ch = loop(max_payload=100, tx=64)
    table = np.zeros((4, 8), np.uint8)
    destinations = iter(range(10**6))
    calls = {
        "send": lambda: ch.send(b"x", to=ch.home, timeout=20),
        "send at": lambda: ch.send(bytearray(5), at=time.monotonic_ns(), to=ch.home, timeout=20),
        "send to": lambda: ch.send(b"x", to=("127.0.0.1", next(destinations) % 60 + 1), timeout=20),
        "send_many": lambda: ch.send_many(table, to=ch.home, at=[0, 0, 0, 0], timeout=20),
        "send_many items": lambda: ch.send_many([b"a", b"b"], to=ch.home, timeout=20),
        "late replace": failing(lambda: ch.replace(0, b"x", to=ch.home)),
        "too long": failing(lambda: ch.send(bytes(101), to=ch.home)),
        "bad time": failing(lambda: ch.send(b"x", at=1.5, to=ch.home)),
        "bad data": failing(lambda: ch.send("text", to=ch.home)),
        "bad address": failing(lambda: ch.send(b"x", to=("nowhere", 1))),
        "bad timeout": failing(lambda: ch.send(b"x", to=ch.home, timeout=-1)),
        "bad items": failing(lambda: ch.send_many([b"a", None], to=ch.home, timeout=20)),
        "bad cut": failing(lambda: ch.send_many(bytes(9), size=2, to=ch.home)),
        "bad times": failing(lambda: ch.send_many(bytes(4), size=2, at=[0, None], to=ch.home)),
        "bad word": failing(lambda: ch.send(b"x", when=3)),
    }
    for name, call in calls.items():
        assert growth(call) < SLACK, name


def test_receiving(loop):
    ch = loop(max_payload=100, rcvbuf_bytes=1 << 22, rx=shmring.Queue(200_000, 8))
    buffer = bytearray(100)

    def fill():
        ch.send(b"12345678", to=ch.home, timeout=20)
        ch.flush(timeout=5)

    def receive(take):
        def call():
            fill()
            return take()

        return call

    calls = {
        "recv": receive(lambda: ch.recv(timeout=20).source),
        "recv_into": receive(lambda: ch.recv_into(buffer, timeout=20)),
        "recv_many": receive(lambda: list(ch.recv_many(timeout=20))),
        "recv_many out": receive(lambda: ch.recv_many(timeout=5, out=buffer).array),
        "try_recv": ch.try_recv,
        "nothing": failing(lambda: ch.recv(timeout=0)),
        "no room": failing(lambda: ch.recv_into(bytearray(1), timeout=0)),
        "read-only": failing(lambda: ch.recv_into(b"1234", timeout=0)),
        "bad max": failing(lambda: ch.recv_many(0)),
        "reports": lambda: list(ch.reports(timeout=0)),
        "stats": lambda: ch.stats().to_dict(),
    }
    for name, call in calls.items():
        assert growth(call) < SLACK, name


def test_attaching(loop):
    ch = loop()

    def attach():
        with shmring.attach(ch.name) as other:
            other.try_recv()
            other.fileno()
            with contextlib.suppress(shmring.errors.NoSpace):
                other.send(b"x", to=ch.home)

    assert growth(attach) < SLACK


def test_cyclic_links(shmring_pool):
    one = shmring_pool.open(
        "one",
        shmring.Netflux(send=8, receive=8, values=b"8" * 8),
        local=("127.0.0.1", 0),
    )
    two = shmring_pool.open(
        "two",
        shmring.Netflux(send=8, receive=8, values=b"8" * 8),
        remote=one.local,
    )
    one.aim(two.local)
    give_up = time.monotonic() + 20
    while two.snapshot() is None or one.snapshot() is None:
        assert time.monotonic() < give_up
    calls = {
        "update": lambda: one.update(b"12345678"),
        "update of a view": lambda: one.update(memoryview(bytes(8))),
        "snapshot": one.snapshot,
        "decoded": lambda: one._endpoint.snapshot(len),
        "sent_values": one.sent_values,
        "link": one.link,
        "statistics": one.netflux_stats,
        "settings": lambda: one.settings,
        "too short": failing(lambda: one.update(b"1")),
        "bad data": failing(lambda: one.update("text")),
        "not decoded": failing(lambda: one._endpoint.snapshot(ord)),
        "no function": failing(lambda: one._endpoint.snapshot(5)),
    }
    for name, call in calls.items():
        assert growth(call) < SLACK, name
