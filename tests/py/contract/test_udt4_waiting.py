"""Calls of udt4 that wait: a signal interrupts each, and the other threads go on meanwhile."""

from __future__ import annotations

import contextlib
import io
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kit.waiting import until

import udt4
from udt4.pyudt import Epoll, UdtSocket

pytestmark = pytest.mark.usefixtures("shmring_namespace")

HERE = "127.0.0.1"
MUCH = bytes(64 << 20)
SMALL = 50_000


class Alarm(Exception):
    """What the handler of the signal raises."""


@dataclass
class Scene:
    """A listener, two connections between which nothing moves, and an address that is silent."""

    listener: UdtSocket
    client: UdtSocket
    accepted: UdtSocket  # which nobody reads
    messages: UdtSocket
    silent: tuple[str, int]
    folder: Path


def connected(kind: int) -> tuple[UdtSocket, UdtSocket, UdtSocket]:
    """Listener, client, accepted; with little room between them."""
    server, client = UdtSocket(type=kind), UdtSocket(type=kind)
    server.setsockopt(udt4.UDT_RCVBUF, SMALL)
    client.setsockopt(udt4.UDT_SNDBUF, SMALL)
    server.bind((HERE, 0))
    server.listen(1)
    client.connect(server.getsockname())
    accepted, _ = server.accept()
    return server, client, accepted


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent.bind((HERE, 0))
        streams = connected(socket.SOCK_STREAM)
        messages = connected(socket.SOCK_DGRAM)
        for sock in (*streams, *messages):
            stack.callback(sock.close)
            sock.setsockopt(udt4.UDT_LINGER, (0, 0))
        (tmp_path / "much").write_bytes(MUCH)
        address = silent.getsockname()
        yield Scene(*streams, messages[1], address, tmp_path)


def send_messages(scene: Scene) -> None:
    while True:
        udt4.sendmsg(scene.messages.UDTSOCKET, bytes(30_000))


def send(scene: Scene) -> None:
    while True:
        udt4.send(scene.client.UDTSOCKET, MUCH)


def connect(scene: Scene) -> None:
    with UdtSocket() as sock:
        while True:  # one attempt lasts 3 s
            sock.connect_ex(scene.silent)


def meet(scene: Scene) -> None:
    with UdtSocket() as sock:
        sock.setsockopt(udt4.UDT_RENDEZVOUS, True)
        sock.bind((HERE, 0))
        sock.connect(scene.silent)


def fill(scene: Scene) -> None:
    """More than fits is sent to an end that nobody reads: closing waits for it."""
    scene.client.setblocking(False, True)
    with contextlib.suppress(udt4.UDTException):
        while True:
            scene.client.send(MUCH)
    scene.client.setblocking(True)
    scene.client.setsockopt(udt4.UDT_LINGER, (1, 100))


def linger(scene: Scene) -> None:
    fill(scene)
    scene.client.close()


def watch(scene: Scene) -> None:
    epoll = Epoll()
    epoll.add_usock(scene.client, udt4.UDT_EPOLL_IN)
    epoll.wait(True, False, -1)


CALLS: dict[str, Callable[[Scene], Any]] = {
    "accept": lambda scene: udt4.accept(scene.listener.UDTSOCKET),
    "connect": connect,
    "rendezvous": meet,
    "recv": lambda scene: udt4.recv(scene.client.UDTSOCKET, 1),
    "recv_into": lambda scene: scene.client.recv_into(bytearray(1)),
    "recvmsg": lambda scene: udt4.recvmsg(scene.messages.UDTSOCKET, 1),
    "send": send,
    "sendall": lambda scene: scene.client.sendall(MUCH),
    "sendmsg": send_messages,
    "sendfile": lambda scene: scene.client.sendfile(scene.folder / "much"),
    "sendfile, an object": lambda scene: scene.client.sendfile(io.BytesIO(MUCH)),
    "recvfile": lambda scene: scene.client.recvfile(scene.folder / "got", 0, 1),
    "makefile": lambda scene: scene.client.makefile("rb").read(1),
    "close": linger,
    "wait": watch,
}


@pytest.mark.check
@pytest.mark.parametrize("what", CALLS)
def test_it_can_be_interrupted_and_stops_nobody_else(scene: Scene, what: str) -> None:
    counted = 0
    has_rung = False
    over = threading.Event()

    def count() -> None:
        nonlocal counted
        while not over.wait(0.001):
            counted += 1

    def ring(*_: object) -> None:
        nonlocal has_rung
        # On a busy machine the others may have had no turn yet.
        if counted >= 20 and not has_rung:
            has_rung = True  # once: the next alarm may come before the timer is stopped
            raise Alarm

    others = threading.Thread(target=count)
    before = signal.signal(signal.SIGALRM, ring)
    others.start()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        with pytest.raises(Alarm):
            CALLS[what](scene)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        over.set()
        others.join()


def test_closing_that_is_interrupted_closes(scene: Scene) -> None:
    def ring(*_: object) -> None:
        raise Alarm

    fill(scene)  # which may take longer than the alarm
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Alarm):
            scene.client.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert scene.client.getsockstate() == udt4.UDTSTATUS_CLOSED
    # The other end learns of it, with what was acknowledged.
    until(lambda: scene.accepted.getsockstate() == udt4.UDTSTATUS_BROKEN)
