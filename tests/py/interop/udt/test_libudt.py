"""udt4 with the real libudt, in all roles; and what only single connections show."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import udt4
from shmring import udt
from udt4.pyudt import UdtSocket

pytestmark = [pytest.mark.check, pytest.mark.usefixtures("shmring_namespace")]

HERE = "127.0.0.1"
PATIENCE_S = 60.0
FILE_BYTES = 3_000_000

Start = Callable[..., Any]
FreePort = Callable[[], int]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(random.Random(5).randbytes(FILE_BYTES))
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def socket_for(kind: str) -> UdtSocket:
    return UdtSocket(type=socket.SOCK_DGRAM if kind == "message" else socket.SOCK_STREAM)


def until_connected(sock: UdtSocket, address: tuple[str, int]) -> None:
    """The program may need a while until it listens; one attempt lasts 3 s."""
    for _ in range(10):
        if sock.connect_ex(address) == 0:
            return
    raise AssertionError("nobody listens")


def message_bytes(number: int) -> int:
    """As in libudt_end."""
    return 1 + number * 7919 % 30_000


def give(sock: UdtSocket, kind: str, source: Path) -> None:
    data, number = source.read_bytes(), 0
    if kind == "file":
        assert sock.sendfile(source) == FILE_BYTES
    elif kind == "stream":
        sock.sendall(data)
    else:
        while data:
            part, data = data[: message_bytes(number)], data[message_bytes(number) :]
            assert sock.sendmsg(part, inorder=True) == len(part)
            number += 1


def take(sock: UdtSocket, kind: str, target: Path) -> None:
    if kind == "file":
        assert sock.recvfile(target, 0, FILE_BYTES) == FILE_BYTES
        return
    got = bytearray()
    while len(got) < FILE_BYTES:
        got += sock.recv(1 << 20) if kind == "stream" else sock.recvmsg(1 << 20)
    target.write_bytes(got)


def theirs(role: str, kind: str, ports: tuple[int, int], files: tuple[object, object]) -> Any:
    """What libudt_end is told."""
    return [role, kind, *ports, 1500, 4, *files, FILE_BYTES]


@pytest.mark.parametrize("we", ["give", "take"])
@pytest.mark.parametrize("kind", ["stream", "message", "file"])
@pytest.mark.parametrize("role", ["connect", "accept", "meet"])
def test_the_drop_in(
    end_program: Path,
    start: Start,
    free_port: FreePort,
    source: Path,
    target: Path,
    role: str,
    kind: str,
    we: str,
) -> None:
    files = ("-", target) if we == "give" else (source, "-")
    port = free_port()
    with socket_for(kind) as sock:
        sock.setsockopt(udt4.UDT_RENDEZVOUS, role == "meet")
        sock.bind((HERE, 0))
        ports = (port, sock.getsockname()[1])
        if role == "accept":
            sock.listen(1)
            program = start(end_program, *theirs("connect", kind, ports, files))
            used, (host, _) = sock.accept()
            assert host == HERE
        else:
            serves = "serve" if role == "connect" else "meet"
            program = start(end_program, *theirs(serves, kind, ports, files))
            until_connected(sock, (HERE, port))
            used = sock.dup()
        with used:
            (give if we == "give" else take)(used, kind, source if we == "give" else target)
            program.ended_well()
    assert target.read_bytes() == source.read_bytes()


def test_their_listener_refuses_the_other_mode(
    end_program: Path, start: Start, free_port: FreePort, source: Path
) -> None:
    port = free_port()
    program = start(end_program, *theirs("serve", "stream", (port, 9), (source, "-")))
    with pytest.raises(udt.UdtRefused):
        udt.connect((HERE, port), timeout=PATIENCE_S, messages=True)
    with udt.connect((HERE, port), timeout=PATIENCE_S) as sock:
        got = b"".join(sock)
    program.ended_well()
    assert got == source.read_bytes()


def test_their_file_error_is_told(
    end_program: Path, start: Start, free_port: FreePort, source: Path
) -> None:
    port = free_port()
    start(end_program, *theirs("serve", "file", (port, 9), ("-", "/dev/full")))
    # More than fits between the two, so that the sender still sends when it is told.
    much = source.read_bytes() * 20
    with (
        udt.connect((HERE, port), timeout=PATIENCE_S) as sock,
        pytest.raises((udt.UdtPeerError, udt.UdtClosed)),
    ):
        sock.sendall(much, timeout=PATIENCE_S)
