"""No request keeps a worker from its other channels: the longest pass of its loop while it carries
out each request at its limits."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.waiting import until

import shmring
from rtworkers import paths
from rtworkers.control import LIST, Connection, Request, channel_body
from rtworkers.layout import Op
from shmring import Impairment, Proxy, observe
from shmring.net import tap

pytestmark = [pytest.mark.check, pytest.mark.needs("fifo"), pytest.mark.shm_mb(400)]

HERE = ("127.0.0.1", 0)
NOWHERE = ("127.0.0.1", 9)
MS = 10**6
MOST_NS = 5 * MS
PACKETS = 200_000
AN_HOUR_NS = 3600 * 10**9


class Place:
    """A pool whose channels are large."""

    def __init__(self, pool: shmring.Pool, stack: contextlib.ExitStack) -> None:
        self.pool = pool
        self.stack = stack

    def large(self) -> shmring.Channel:
        return self.pool.open(
            "large",
            shmring.Udp(tx=shmring.Queue(PACKETS, 500)),
            local=HERE,
            remote=NOWHERE,
            share=shmring.Share(producers=1023, readers=1024),
        )

    def full(self) -> shmring.Channel:
        """All its packets wait."""
        channel = self.large()
        at = channel.now_ns() + AN_HOUR_NS
        for _ in range(0, PACKETS, 4000):
            channel.send_many([bytes(200)] * 4000, at=[at] * 4000)
        return channel

    def ask(self, op: Op, body: bytes) -> None:
        """Ask the worker, as its pool's user."""
        path = paths.worker_socket(paths.pool_directory(self.pool.namespace, self.pool.name), 0)
        with contextlib.closing(Connection.connect(path)) as connection:
            connection.request(Request(op, body)).close()

    def longest_pass_ns(self, since_mono_ns: int) -> int:
        """The time on the core. The worker records passes of more than a millisecond."""
        return max(
            (
                event.numbers["took_ns"] - event.numbers["off_cpu_ns"]
                for event in observe.events(self.pool.name, self.pool.namespace)
                if event.kind == "long_loop" and event.last_mono_ns > since_mono_ns
            ),
            default=0,
        )


@pytest.fixture
def place(shmring_namespace: str) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        pool = shmring.Pool("passes", namespace=shmring_namespace, policy="fifo")
        stack.callback(pool.close, linger=0)
        yield Place(pool, stack)


Act = Callable[[], object]


def open_large(place: Place) -> Act:
    return place.large


def end_full(place: Place) -> Act:
    channel = place.full()
    return lambda: channel.close(linger=0)


def come_and_go(place: Place) -> Act:
    place.large()

    def act() -> None:
        for _ in range(50):
            shmring.attach("large", namespace=place.pool.namespace).close()

    return act


def hold_and_release(place: Place) -> Act:
    channel = place.full()
    return lambda: (channel.hold(), channel.release())


def purge(place: Place) -> Act:
    return place.full().purge


def reset(place: Place) -> Act:
    return place.full().reset_stats


def list_many(place: Place) -> Act:
    for number in range(200):
        place.pool.open(f"many-{number}", shmring.Udp(tx=shmring.Queue(8, 64)), local=HERE)
    return lambda: place.ask(Op.LIST, LIST.pack(0, 0))


def export(place: Place) -> Act:
    place.full()
    return lambda: place.ask(Op.EXPORT, channel_body("large"))


def ping(place: Place) -> Act:
    place.full()
    return lambda: place.ask(Op.PING, b"")


def tap_and_mark(place: Place) -> Act:
    channel = place.large()

    def act() -> None:
        with tap.open("large", os.devnull, namespace=place.pool.namespace, keep=10) as one:
            channel.send(bytes(400))
            tap.trigger("large", namespace=place.pool.namespace)
            one.wait(timeout=0.2)

    return act


def set_a_filled_path(place: Place) -> Act:
    """More than 100 MB are on their way, and the new delay needs more memory. Then they arrive."""
    sink = place.stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    sink.bind(HERE)
    link: Any = place.pool.open(
        "link",
        Proxy(socket=shmring.Socket(rcvbuf_bytes=16 << 20)),
        local=HERE,
        remote=sink.getsockname(),
        impair=Impairment(delay_ns=900 * MS),
    )
    client = place.stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    client.connect(link.local)
    until_ns = time.monotonic_ns() + 800 * MS
    while time.monotonic_ns() < until_ns:
        client.send(bytes(60_000))

    def act() -> None:
        link.set(forward=Impairment(delay_ns=60_000 * MS))
        until(lambda: not link.proxy_stats().forward_waiting)
        time.sleep(0.5)

    return act


TABLE: dict[Callable[[Place], Act], tuple[Op, ...]] = {
    open_large: (Op.OPEN,),
    end_full: (Op.CLOSE,),
    come_and_go: (Op.ATTACH, Op.DETACH),
    hold_and_release: (Op.HOLD, Op.RELEASE),
    purge: (Op.PURGE,),
    reset: (Op.RESET,),
    list_many: (Op.LIST,),
    export: (Op.EXPORT,),
    ping: (Op.PING,),
    tap_and_mark: (Op.TAP, Op.MARK),
    set_a_filled_path: (Op.ENGINE,),
}
# At the beginning or the end of what a worker does for a pool, or a relay for a client.
ONCE = (Op.ADOPT, Op.QUIT, Op.HELLO, Op.CLIENT)


def test_no_request_is_left_out() -> None:
    assert set(itertools.chain(ONCE, *TABLE.values())) == set(Op)


@pytest.mark.parametrize("request_at_its_limits", TABLE, ids=lambda act: act.__name__)
def test_no_request_takes_long(place: Place, request_at_its_limits: Callable[[Place], Act]) -> None:
    act = request_at_its_limits(place)
    time.sleep(0.3)
    began_ns = time.monotonic_ns()
    act()
    time.sleep(0.3)
    longest_ns = place.longest_pass_ns(began_ns)
    assert longest_ns < MOST_NS
