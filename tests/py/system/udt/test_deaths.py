"""Who dies, and what nobody refers to any more: peers are told, and nothing stays behind."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from kit.wire import udp

import shmring
from shmring import udt

HERE = "127.0.0.1"
PATIENCE_S = 20.0

pytestmark = pytest.mark.usefixtures("shmring_namespace")

# A peer in another process: it connects, and sends for as long as it lives.
SENDER = """
import sys
from shmring import udt
sock = udt.connect(("127.0.0.1", int(sys.stdin.readline())))
print("connected", flush=True)
while True:
    sock.sendall(bytes(100_000))
"""


def test_a_program_that_is_killed_says_goodbye(python: Callable[..., Any]) -> None:
    with udt.listen((HERE, 0)) as listener:
        other = python(SENDER)
        other.tell(str(listener.local[1]))
        assert other.line() == "connected"
        sock, _ = listener.accept(timeout=PATIENCE_S)
        with sock:
            assert sock.recv(timeout=PATIENCE_S)
            other.kill()
            while True:  # not after the 46 s of silence that it takes without a word
                try:
                    sock.recv(timeout=PATIENCE_S)
                except udt.UdtClosed:
                    break


def test_deaths_of_workers_are_counted(
    eventually: Callable[[Callable[[], object]], object],
) -> None:
    pool = shmring.Pool(policy="other")
    with pool, udt.listen((HERE, 0), pool=pool) as listener:
        clients = [udt.connect(listener.local, pool=pool) for _ in range(3)]
        servers = [listener.accept(timeout=PATIENCE_S)[0] for _ in clients]
        os.kill(pool.workers()[0].pid, signal.SIGKILL)
        for sock in clients + servers:
            with pytest.raises(udt.UdtClosed) as caught:
                sock.recv(timeout=PATIENCE_S)
            assert caught.value.code == udt.Code.ECONNLOST
        eventually(lambda: listener.port.stats().lost == len(servers))
        for sock in clients + servers:
            sock.close()


@pytest.mark.parametrize("at_once", [True, False], ids=["closes-at-once", "waits"])
def test_peers_of_a_dead_worker_are_told(at_once: bool) -> None:
    """Whatever the program does when it learns of the loss: 46 s of silence help nobody."""
    with shmring.Pool(policy="other") as far, udt.listen((HERE, 0), pool=far) as listener:
        for _ in range(3):
            with shmring.Pool(policy="other") as near:
                sock = udt.connect(listener.local, pool=near)
                peer, _ = listener.accept(timeout=PATIENCE_S)
                os.kill(near.workers()[0].pid, signal.SIGKILL)
                with pytest.raises(udt.UdtClosed):
                    sock.recv(timeout=PATIENCE_S)
                if at_once:
                    sock.close()
                with pytest.raises(udt.UdtClosed):
                    peer.recv(timeout=5.0)
                sock.close()
                peer.close()


# Of sockets in cycles of garbage Python may warn that nobody closed them, and is right.
@pytest.mark.check
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_garbage_leaves_nothing_behind(
    open_files: Callable[[], int],
    leftovers: Callable[[], list[str]],
    eventually: Callable[[Callable[[], object]], object],
) -> None:
    pool = shmring.Pool(policy="other")
    with pool:
        _use_and_forget(pool)
        eventually(lambda: not _channels(leftovers))
        files = open_files()
        ports = [_use_and_forget(pool) for _ in range(3)]
        eventually(lambda: not _channels(leftovers))
        eventually(lambda: open_files() <= files)
    for port in ports:
        udp(port=port).close()


def _channels(leftovers: Callable[[], list[str]]) -> list[str]:
    gc.collect()
    return [name for name in leftovers() if ":c:" in name]


def _use_and_forget(pool: Any) -> int:
    """Connections, ports and listeners in cycles of garbage. Returns the number of a port."""
    listener = udt.listen((HERE, 0), pool=pool)
    number = listener.local[1]
    kept: list[Any] = [listener]
    for _ in range(3):
        client = udt.connect(listener.local, pool=pool)
        client.sendall(b"x")
        kept += [client, listener.accept(timeout=PATIENCE_S)[0]]
    kept += [udt.connect(listener.local, pool=pool)]  # which nobody accepts
    kept += [udt.Port((HERE, 0), pool=pool)]
    for thing in kept:
        thing.others = kept
    return number
