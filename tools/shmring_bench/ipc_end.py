"""The ends of a round trip between two processes, for `shmring bench ipc` and `rtt`, by several
means.

A link is made in the asking process and passed to the answering one, which calls `answer`.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import shmring
from shmring_bench import peers
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


CONNECT: dict[str, Connect] = {
    "shmring": shmring_ends,
    "udp-channel": channel_ends,
    "socket": socket_ends,
}


def connect(system: str, text: str, answers: bool) -> Ends:
    """Make the ends of one process. Raises `Unavailable`."""
    return (CONNECT.get(system) or peers.load("ipc").CONNECT[system])(text, answers)


def answer(system: str, text: str, ready: Any, cpu: int | None, queues: Any = None) -> None:
    """Run the answering process until `LAST` arrives."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    if queues is None:
        send, receive = connect(system, text, True)
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
    ends = None if queues else connect(system, text, False)
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
