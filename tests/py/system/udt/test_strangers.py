"""What strangers may cost a listener, and what they may do to others' connections."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from kit.wire import udp

import shmring
from rtworkers import paths
from shmring import udt
from shmring.udt import compat

HERE = "127.0.0.1"
PATIENCE_S = 20.0
KB = 1024

pytestmark = [pytest.mark.check, pytest.mark.usefixtures("shmring_namespace")]

Eventually = Callable[[Callable[[], object]], object]


def control(kind: int, to: int, body: bytes = bytes(4)) -> bytes:
    return struct.pack("!IIII", 1 << 31 | kind << 16, 0, 0, to) + body


def handshake(kind: int, socket_id: int, cookie: int = 0) -> bytes:
    words = (4, 1, 77, 1500, 8192, kind & 0xFFFFFFFF, socket_id, cookie)
    return control(0, 0, struct.pack("!8I", *words) + bytes(16))


def answer(sock: socket.socket) -> tuple[int, int, int]:
    """Kind, socket id and cookie of the next handshake that comes."""
    while True:
        got = sock.recv(2048)
        if len(got) == 64:
            kind, socket_id, cookie = struct.unpack("!iII", got[36:48])
            return kind, socket_id, cookie


class Stranger:
    """A client by hand, which says nothing after its handshakes."""

    def __init__(self, to: tuple[str, int]) -> None:
        self.sock = udp()
        self.sock.connect(to)
        self.sock.send(handshake(1, 1))
        self.cookie = answer(self.sock)[2]

    def shake_hands(self, socket_id: int) -> int | None:
        """Our socket id at the listener. None: refused."""
        self.sock.send(handshake(-1, socket_id, self.cookie))
        kind, their_id, _ = answer(self.sock)
        return their_id if kind == -1 else None


@pytest.fixture
def stranger() -> Iterator[Callable[[tuple[str, int]], Stranger]]:
    with contextlib.ExitStack() as stack:

        def make(to: tuple[str, int]) -> Stranger:
            made = Stranger(to)
            stack.callback(made.sock.close)
            return made

        yield make


def taken_bytes(namespace: str) -> int:
    """Shared memory that the files of all channels really take."""
    sizes: list[int] = []
    for name in paths.shm_names(namespace):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(os.stat(f"/dev/shm{name.posix_name}").st_blocks * 512)
    return sum(sizes)


def test_handshakes_cost_little_and_not_for_long(
    stranger: Callable[[tuple[str, int]], Stranger],
    shmring_namespace: str,
    eventually: Eventually,
) -> None:
    with udt.listen((HERE, 0)) as listener:
        before = taken_bytes(shmring_namespace)
        assert before > 0
        idler = stranger(listener.local)
        for number in range(40):
            assert idler.shake_hands(100 + number)
        eventually(lambda: listener.waiting == 40)
        assert taken_bytes(shmring_namespace) - before < 40 * 64 * KB
        eventually(lambda: listener.waiting == 0)
        eventually(lambda: taken_bytes(shmring_namespace) - before < 64 * KB)
        with udt.connect(listener.local) as client:
            time.sleep(6)  # it says nothing, and lives
            client.sendall(b"late")
            sock, _ = listener.accept(timeout=PATIENCE_S)
            assert sock.recv(timeout=PATIENCE_S) == b"late"
            sock.close(linger=0)


def test_one_source_may_have_so_many_connections(
    stranger: Callable[[tuple[str, int]], Stranger],
) -> None:
    with udt.listen((HERE, 0), port_options={"max_per_source": 3}) as listener:
        greedy = stranger(listener.local)
        found = [greedy.shake_hands(100 + number) for number in range(5)]
        assert [each is not None for each in found] == [True] * 3 + [False] * 2
        with pytest.raises(udt.UdtRefused):
            udt.connect(listener.local)
        accepted = [listener.accept(timeout=PATIENCE_S)[0] for _ in range(3)]
        accepted[0].close(linger=0)
        udt.connect(listener.local).close(linger=0)
        for sock in accepted:
            sock.close(linger=0)


def test_accepted_connections_may_need_so_much_memory(
    stranger: Callable[[tuple[str, int]], Stranger],
) -> None:
    with pytest.raises(shmring.errors.BadConfig, match="max_bytes is 0"):
        udt.listen((HERE, 0), port_options={"max_bytes": 0})
    options: udt.PortOptions = {"max_bytes": 600 * KB}
    with udt.listen((HERE, 0), ring_bytes=64 * KB, port_options=options) as listener:
        greedy = stranger(listener.local)
        found = [greedy.shake_hands(100 + number) for number in range(6)]
        assert found[0] is not None
        assert found[-1] is None
        assert listener.port.stats().refused >= 1


def test_ids_of_others_cannot_be_told_from_ones_own(
    stranger: Callable[[tuple[str, int]], Stranger],
) -> None:
    """Nobody may end a connection by counting from the id of his own."""
    with udt.listen((HERE, 0)) as listener, udt.connect(listener.local) as client:
        sock, _ = listener.accept(timeout=PATIENCE_S)
        with sock:
            own = stranger(listener.local).shake_hands(5)
            assert own is not None
            assert abs(own - compat.facts(sock).socket_id) > 1000
            assert abs(own - compat.facts(client).socket_id) > 1000


FULL = """
import os, sys, threading
from shmring import udt

with udt.listen(("127.0.0.1", 0), ring_bytes=1 << 20) as listener:
    with udt.connect(listener.local, ring_bytes=1 << 20) as client:
        accepted, _ = listener.accept(timeout=20)
        with open("/dev/shm/filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
        try:
            if sys.argv[1] == "receives":
                client.sendall(bytes(500_000))
                while accepted.recv(timeout=20):
                    pass
            else:
                accepted.sendall(bytes(500_000))
        except (udt.UdtClosed, udt.UdtNotConnected):
            print("ended")
        os.unlink("/dev/shm/filler")
        accepted.close(linger=0)
    with udt.connect(listener.local, ring_bytes=1 << 20) as client:
        client.sendall(b"another")
        print(listener.accept(timeout=20)[0].recv(timeout=20))
"""


@pytest.mark.needs("mount")
@pytest.mark.parametrize("what", ["receives", "sends"])
def test_an_accepted_connection_ends_when_there_is_no_memory_for_its_rings(what: str) -> None:
    """They are taken when they are used. The worker and the other connections go on."""
    mount = "mount -t tmpfs -o size=16m,mode=1777 shm /dev/shm"
    program = [sys.executable, "-c", FULL, what]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh", *program],
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    assert done.stdout == "ended\nb'another'\n", done.stderr
