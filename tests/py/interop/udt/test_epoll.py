"""Epolls of udt4 and of the real libudt, asked the same questions."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import udt4

pytestmark = [pytest.mark.check, pytest.mark.usefixtures("shmring_namespace")]

HERE = "127.0.0.1"
PATIENCE_S = 60
EXPECTED = [
    "error 5003",  # nothing is watched, and no time limit
    *("error 6003", "error 6003"),
    "error 6003",  # nothing came
    *("ready 1 0", "got 3", "ready 1 0", "got 2"),
    "error 6003",
    *("ready 1 0", "got 4", "error 2001"),  # what was left, and the end
    "error 6003",  # which is not news any more
    "error 5003",
]


def answers() -> list[str]:
    """What udt4 says to the questions of libudt_epoll.cpp."""
    said: list[str] = []
    poll = udt4.UDTepoll()

    def ask(timeout_ms: int) -> None:
        try:
            to_read, to_write, _, _ = poll.wait(True, True, timeout_ms)
        except udt4.UDTException as caught:
            said.append(f"error {caught.code}")
        else:
            said.append(f"ready {len(to_read)} {len(to_write)}")

    def receive(sock: udt4.UDTSOCKET, size: int) -> None:
        try:
            said.append(f"got {len(udt4.recv(sock, size))}")
        except udt4.UDTException as caught:
            said.append(f"error {caught.code}")

    server, client = udt4.socket(2, 1, 0), udt4.socket(2, 1, 0)
    udt4.bind(server, HERE, 0)
    udt4.listen(server, 5)
    udt4.connect(client, *udt4.getsockname(server))
    accepted, _ = udt4.accept(server)
    for timeout_ms in (-1, 0, 20):
        ask(timeout_ms)
    poll.add_usock(accepted, udt4.UDT_EPOLL_IN)
    ask(20)
    udt4.send(client, b"hello")
    ask(20_000)
    receive(accepted, 3)
    ask(0)
    receive(accepted, 3)
    ask(20)
    udt4.send(client, b"rest")
    udt4.close(client)
    ask(20_000)
    receive(accepted, 9)
    receive(accepted, 9)
    ask(20)
    ask(-1)
    for sock in (accepted, server):
        udt4.close(sock)
    return said


def test_the_same_answers(epoll_program: Path) -> None:
    done = subprocess.run(
        [epoll_program], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == EXPECTED
    assert answers() == EXPECTED
