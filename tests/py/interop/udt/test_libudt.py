"""shmring.udt and udt4 with the real libudt: both roles, streams, messages, meeting, files."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
import udt4
from shmring import udt
from udt4.pyudt import UdtSocket

pytestmark = pytest.mark.usefixtures("shmring_namespace")

HERE = "127.0.0.1"
PATIENCE_S = 60.0
STREAM_BYTES = 1_500_000
MESSAGES = 150
FILE_BYTES = 3_000_000
BAD: udt.PortOptions = {"impair": shmring.Impairment(loss=0.02, duplicate=0.02, seed=11)}

Start = Callable[..., Any]
FreePort = Callable[[], int]


def stream(start: int, count: int) -> bytes:
    """As interop_byte of the program: what a stream has from a position on."""
    return bytes(
        (at * 167 + (at >> 8) * 13 + (at >> 16)) & 0xFF for at in range(start, start + count)
    )


def message(number: int) -> bytes:
    """As interop_message of the program."""
    return number.to_bytes(8, "little") + stream(number + 8, number * 7919 % 30000)


def talk(sock: udt.UdtSocket) -> None:
    """Send what the program expects, and expect what it sends."""
    failures: list[BaseException] = []

    def send() -> None:
        try:
            if sock.mode == "stream":
                sock.sendall(stream(0, STREAM_BYTES), timeout=PATIENCE_S)
            else:
                for number in range(MESSAGES):
                    sock.sendmsg(message(number), in_order=True, timeout=PATIENCE_S)
        except BaseException as caught:
            failures.append(caught)

    sender = threading.Thread(target=send)
    sender.start()
    if sock.mode == "stream":
        got = bytearray()
        while len(got) < STREAM_BYTES:
            got += sock.recv(timeout=PATIENCE_S)
        assert got == stream(0, STREAM_BYTES)
    else:
        for number in range(MESSAGES):
            assert sock.recvmsg(timeout=PATIENCE_S) == message(number)
    sender.join(PATIENCE_S)
    assert failures == []
    # The program leaves when it has everything, perhaps before it said so.
    with contextlib.suppress(udt.UdtClosed):
        sock.flush(PATIENCE_S)


def arguments(mode: str, own_port: int, peer_port: int) -> list[object]:
    """What the program is told."""
    kind, count = ("stream", STREAM_BYTES) if mode == "stream" else ("message", MESSAGES)
    return [kind, own_port, peer_port, count, count, 1500, -1, 4]


@pytest.fixture(params=["stream", "messages"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("link", [{}, BAD], ids=["clean", "bad"])
def test_we_connect(
    peer_program: Path, start: Start, free_port: FreePort, mode: str, link: udt.PortOptions
) -> None:
    port = free_port()
    program = start(peer_program, "serve", *arguments(mode, port, 9))
    with udt.connect((HERE, port), timeout=PATIENCE_S, mode=mode, port_options=link) as sock:
        talk(sock)
        program.ended_well()


@pytest.mark.parametrize("link", [{}, BAD], ids=["clean", "bad"])
def test_we_accept(
    peer_program: Path, start: Start, mode: str, link: udt.PortOptions
) -> None:
    with udt.listen((HERE, 0), mode=mode, port_options=link) as listener:
        program = start(peer_program, "connect", *arguments(mode, 0, listener.local[1]))
        sock, _ = listener.accept(timeout=PATIENCE_S)
        with sock:
            talk(sock)
            program.ended_well()


def test_we_meet(peer_program: Path, start: Start, free_port: FreePort, mode: str) -> None:
    theirs = free_port()
    with udt.Port((HERE, 0)) as port:
        program = start(peer_program, "meet", *arguments(mode, theirs, port.local[1]))
        with udt.rendezvous((HERE, theirs), port=port, mode=mode) as sock:
            talk(sock)
            program.ended_well()


def test_their_listener_refuses_the_other_mode(
    peer_program: Path, start: Start, free_port: FreePort
) -> None:
    port = free_port()
    program = start(peer_program, "serve", *arguments("stream", port, 9))
    with pytest.raises(udt.UdtRefused):
        udt.connect((HERE, port), timeout=PATIENCE_S, mode="messages")
    with udt.connect((HERE, port), timeout=PATIENCE_S) as sock:
        talk(sock)
        program.ended_well()


# --- files, by the drop-in ------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(random.Random(5).randbytes(FILE_BYTES))
    return path


def until_connected(address: tuple[str, int]) -> UdtSocket:
    """The program may need a while until it listens; one attempt lasts 3 s."""
    sock = UdtSocket()
    for _ in range(10):
        if sock.connect_ex(address) == 0:
            return sock
    raise AssertionError("nobody listens")


def test_a_file_to_their_listener(
    file_program: Path, start: Start, free_port: FreePort, source: Path, tmp_path: Path
) -> None:
    port, target = free_port(), tmp_path / "target"
    program = start(file_program, "serve", "receive", port, target, FILE_BYTES)
    with until_connected((HERE, port)) as sock:
        assert sock.sendfile(source) == FILE_BYTES
        program.ended_well()
    assert target.read_bytes() == source.read_bytes()


def test_a_file_from_their_listener(
    file_program: Path, start: Start, free_port: FreePort, source: Path, tmp_path: Path
) -> None:
    port, target = free_port(), tmp_path / "target"
    program = start(file_program, "serve", "send", port, source, FILE_BYTES)
    with until_connected((HERE, port)) as sock:
        assert sock.recvfile(target, 0, FILE_BYTES) == FILE_BYTES
    program.ended_well()
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("what", ["send", "receive"])
def test_a_file_with_their_client(
    file_program: Path, start: Start, source: Path, tmp_path: Path, what: str
) -> None:
    target = tmp_path / "target"
    with UdtSocket() as server:
        server.bind((HERE, 0))
        server.listen(1)
        port = server.getsockname()[1]
        theirs = source if what == "send" else target
        program = start(file_program, "connect", what, port, theirs, FILE_BYTES)
        sock, _ = server.accept()
        with sock:
            if what == "send":
                assert udt4.recvfile(sock.UDTSOCKET, target, 0, FILE_BYTES) == FILE_BYTES
            else:
                assert udt4.sendfile(sock.UDTSOCKET, source, 0, FILE_BYTES) == FILE_BYTES
            program.ended_well()
    assert target.read_bytes() == source.read_bytes()
