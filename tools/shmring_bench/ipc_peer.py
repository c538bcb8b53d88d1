"""The ends of a round trip between two processes, for `shmring bench ipc` and `rtt`, by several
means.

A link is made in the asking process and passed to the answering one, which calls `answer`.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import shmring
from shmring_bench.measure import Unavailable

PAYLOAD = bytes(64)
LAST = b"end"
WAIT_S = 10.0
SHARED_POOL = "shared"

Send = Callable[[bytes], Any]
Receive = Callable[[], bytes]
Ends = tuple[Send, Receive]
Connect = Callable[[str, bool], Ends]
"""Makes the two ends of one process. The text is what both processes know, the flag says whether
this is the answering one."""


def shmring_ends(text: str, answers: bool) -> Ends:
    names = ("ask", "answer")
    there, here = names if answers else names[::-1]
    source, target = (shmring.attach(name, namespace=text) for name in (there, here))
    source.try_recv()  # attaches: it reads what arrives from now on
    return target.send, lambda: bytes(source.recv(timeout=WAIT_S).data)


def channel_ends(text: str, answers: bool) -> Ends:
    """Two ports, a namespace, and the pool that both share. No pool: each has its own."""
    *ports, namespace, pool = text.split(" ")
    here, there = (("127.0.0.1", int(ports[i])) for i in (answers, not answers))
    name = "answer" if answers else "ask"
    channel = shmring.open(name, pool=pool or None, namespace=namespace, local=here, remote=there)
    channel.try_recv()  # attaches: it reads what arrives from now on
    return channel.send, lambda: channel.recv(timeout=WAIT_S).data


def socket_ends(text: str, answers: bool) -> Ends:
    ports = [int(port) for port in text.split()]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", ports[answers]))
    sock.connect(("127.0.0.1", ports[not answers]))
    sock.settimeout(WAIT_S)
    return sock.send, lambda: sock.recv(2048)


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


CONNECT: dict[str, Connect] = {
    "shmring": shmring_ends,
    "udp-channel": channel_ends,
    "socket": socket_ends,
    "zeromq-ipc": zeromq_ends,
    "iceoryx2": iceoryx2_ends,
}


def answer(system: str, text: str, ready: Any, cpu: int | None, queues: Any = None) -> None:
    """Run the answering process until `LAST` arrives."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    if queues is None:
        send, receive = CONNECT[system](text, True)
    else:
        send, receive = queues[1].put, queues[0].get
    ready.set()
    while not (data := receive()).startswith(LAST):
        send(data)


@contextmanager
def asking(system: str, text: str, cpu: int | None) -> Iterator[Ends]:
    """The asking end of this process, with a process that answers during the block."""
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    queues = (spawn.Queue(), spawn.Queue()) if system == "mp-queue" else None
    ends = None if queues else CONNECT[system](text, False)
    process = spawn.Process(target=answer, args=(system, text, ready, cpu, queues), daemon=True)
    process.start()
    try:
        if not ready.wait(WAIT_S):
            raise Unavailable("the answering process did not start")
        send, receive = ends or (queues[0].put, queues[1].get)  # type: ignore[index]
        yield send, receive
        send(LAST)
        process.join(WAIT_S)
    finally:
        process.kill()
        process.join()


@contextmanager
def known_to_both(system: str, namespace: str) -> Iterator[str]:
    """What both processes know of a link: ports, a path, or names."""
    if system in ("socket", "udp-channel"):
        with socket.socket(type=socket.SOCK_DGRAM) as a, socket.socket(type=socket.SOCK_DGRAM) as b:
            for sock in (a, b):
                sock.bind(("127.0.0.1", 0))
            text = " ".join(str(sock.getsockname()[1]) for sock in (a, b))
        yield text if system == "socket" else f"{text} {namespace}"
    elif system == "zeromq-ipc":
        with tempfile.TemporaryDirectory(prefix="shmring-bench-") as folder:
            yield f"{folder}/pair"
    else:
        yield namespace
