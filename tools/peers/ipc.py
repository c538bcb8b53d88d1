"""Ends of a round trip over ZeroMQ and iceoryx2, for `shmring bench ipc`."""

from __future__ import annotations

import ctypes
from typing import Any

from shmring_bench.ipc_end import WAIT_S, Connect, Ends
from shmring_bench.measure import Unavailable


def zeromq_ends(text: str, answers: bool) -> Ends:
    zmq = _package("zmq", "pyzmq")
    sock = zmq.Context.instance().socket(zmq.PAIR)
    sock.setsockopt(zmq.RCVTIMEO, int(WAIT_S * 1000))
    (sock.connect if answers else sock.bind)(f"ipc://{text}")
    return sock.send, sock.recv


class _Payload(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_uint8 * 64),)

    @staticmethod
    def type_name() -> str:
        return "Bytes64"


def iceoryx2_ends(text: str, answers: bool) -> Ends:
    """Samples by publish and subscribe, and an event to wake the other end."""
    iox2 = _package("iceoryx2", "iceoryx2")
    iox2.set_log_level(iox2.LogLevel.Error)
    node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)

    def service(way: str) -> Any:
        return node.service_builder(iox2.ServiceName.new(f"{text}/{way}"))

    ways = ("ask", "answer")
    there, here = ways if answers else ways[::-1]
    topics = {way: service(way).publish_subscribe(_Payload).open_or_create() for way in ways}
    events = {way: service(f"{way}-event").event().open_or_create() for way in ways}
    publisher = topics[here].publisher_builder().create()
    subscriber = topics[there].subscriber_builder().create()
    notifier = events[here].notifier_builder().create()
    listener = events[there].listener_builder().create()
    wait = iox2.Duration.from_secs(int(WAIT_S))

    def send(data: bytes) -> None:
        payload = _Payload()
        ctypes.memmove(payload.bytes, data, len(data))
        publisher.send_copy(payload)
        notifier.notify()

    def receive() -> bytes:
        while (sample := subscriber.receive()) is None:
            listener.timed_wait(wait)
        return bytes(sample.payload().contents.bytes)

    return send, receive


def _package(module: str, distribution: str) -> Any:
    try:
        return __import__(module)
    except ImportError:
        raise Unavailable(f"not installed: pip install {distribution}") from None


CONNECT: dict[str, Connect] = {"zeromq-ipc": zeromq_ends, "iceoryx2": iceoryx2_ends}
