"""udt4.UDTepoll and udt4.pyudt.Epoll: what is ready, and when. test_udt4_connected.py has more."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from kit.udt import HERE, connection

import udt4
from udt4 import UDTSOCKET, UDTepoll, UDTException
from udt4.pyudt import Epoll, UdtSocket

pytestmark = pytest.mark.usefixtures("shmring_namespace")

PATIENCE_MS = 20_000


def is_over(poll: UDTepoll | Epoll, *wanted: object) -> bool:
    """Whether a wait ends because its time is over, as in the original."""
    with pytest.raises(UDTException) as caught:
        poll.wait(*wanted)  # type: ignore[arg-type]
    return caught.value.code == udt4.ETIMEOUT


@pytest.fixture
def pair() -> Iterator[tuple[UDTSOCKET, UDTSOCKET]]:
    with connection() as ends:
        yield ends


def test_writing(pair: tuple[UDTSOCKET, UDTSOCKET]) -> None:
    client, _ = pair
    poll = UDTepoll()
    poll.add_usock(client, udt4.UDT_EPOLL_OUT)
    assert poll.wait(False, True, PATIENCE_MS)[1] == {client}
    assert is_over(poll, True, False, 10)
    udt4.setsockopt(client, udt4.UDT_SNDSYN, False)

    def fill() -> None:
        while poll.wait(False, True, 0)[1]:
            with contextlib.suppress(UDTException):
                udt4.send(client, bytes(1_000_000))

    with pytest.raises(UDTException) as caught:
        fill()
    assert caught.value.code == udt4.ETIMEOUT
    udt4.setsockopt(client, udt4.UDT_SNDSYN, True)
    udt4.setsockopt(client, udt4.UDT_LINGER, (0, 0))


def test_a_loop_over_connections_that_end_does_not_spin(pair: tuple[UDTSOCKET, UDTSOCKET]) -> None:
    """As programs written for the original loop: they neither remove nor close what ended."""
    client, server = pair
    poll = UDTepoll()
    poll.add_usock(server)
    udt4.send(client, bytes(3000))
    udt4.close(client)
    got, turns = 0, 0
    began = time.monotonic()

    def loop() -> None:
        nonlocal got, turns
        while time.monotonic() < began + 60:
            turns += 1
            for sock in poll.wait(True, False, 500)[0]:
                with contextlib.suppress(UDTException):
                    got += len(udt4.recv(sock, 1000))

    with pytest.raises(UDTException) as caught:
        loop()
    assert caught.value.code == udt4.ETIMEOUT
    assert got == 3000
    assert turns < 100
    with pytest.raises(UDTException) as caught:
        poll.wait(True, True, -1)  # nothing can come any more
    assert caught.value.code == udt4.EINVPARAM


def test_a_writer_is_told_once_and_a_reader_may_still_read(
    pair: tuple[UDTSOCKET, UDTSOCKET],
) -> None:
    client, server = pair
    poll = UDTepoll()
    poll.add_usock(server)
    udt4.send(client, b"last")
    udt4.close(client)
    while udt4.getsockstate(server) != udt4.UDTSTATUS_BROKEN:
        time.sleep(0.01)
    assert poll.wait(True, True, PATIENCE_MS)[:2] == ({server}, {server})
    with pytest.raises(UDTException):
        udt4.send(server, b"x")
    assert poll.wait(True, True, PATIENCE_MS)[:2] == ({server}, set())
    assert udt4.recv(server, 9) == b"last"
    assert poll.wait(True, True, PATIENCE_MS)[:2] == ({server}, set())
    with pytest.raises(UDTException):
        udt4.recv(server, 9)
    assert is_over(poll, True, True, 10)


def test_the_epoll_of_objects() -> None:
    with UdtSocket() as server, UdtSocket() as client:
        server.bind((HERE, 0))
        server.listen(1)
        client.connect(server.getsockname())
        poll = Epoll()
        assert type(poll.epoll) is UDTepoll
        poll.add_usock(server)
        ready = poll.wait(True, False, PATIENCE_MS)[0]
        assert ready == {server}
        assert next(iter(ready)) is server
        accepted, _ = server.accept()
        here, there = socket.socketpair()
        with here, there, accepted:
            poll.add_ssock(here, udt4.UDT_EPOLL_IN)
            there.send(b"x")
            assert poll.wait(False, False, PATIENCE_MS, True, True)[2] == {here}
            poll.remove_ssock(here)
            with pytest.raises(AssertionError):
                poll.remove_ssock(here)
            poll.add_usock(accepted)
            assert accepted in poll.wait(False, True, PATIENCE_MS)[1]
            poll.remove_usock(accepted)
            poll.remove_usock(accepted)
            poll.add_ssock(here)
        poll.garbage_collect()
        assert is_over(poll, True, True, 10, True, True)


def test_the_epoll_of_objects_forgets_what_was_closed() -> None:
    epoll = Epoll()
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    epoll.add_ssock(plain)
    sock = UdtSocket()
    epoll.add_usock(sock)
    plain.close()
    sock.close()
    with pytest.raises(UDTException) as caught:
        epoll.wait(True, True, -1, True, True)
    assert caught.value.code == udt4.EINVPARAM
    assert is_over(epoll, True, True, 0, True, True)


def test_epolls_of_objects_can_share_what_they_watch() -> None:
    here, there = socket.socketpair()
    first = Epoll()
    for shared in (Epoll(first), Epoll(_epoll=first)):
        assert shared.epoll is first.epoll
    with here, there, UdtSocket() as server:
        server.bind((HERE, 0))
        server.listen(1)
        assert first.add_usock(udt_socket=server, events=udt4.UDT_EPOLL_IN) == 0
        assert first.add_ssock(sys_socket=here, events=udt4.UDT_EPOLL_IN) is None
        there.send(b"x")
        with UdtSocket() as client:
            client.connect(server.getsockname())
            while len(ready := shared.wait(True, False, wait=PATIENCE_MS, do_sread=True)[0]) < 1:
                pass
        assert ready == {server}
        assert shared.wait(False, False, 0, True)[2] == {here}
        assert shared.remove_ssock(sys_socket=here) is None
        assert shared.remove_usock(udt_socket=server) == 0
        assert is_over(first, True, True, 10, True, True)
    assert Epoll(UDTepoll()).epoll is not first.epoll
    with pytest.raises(TypeError, match="_epoll"):
        Epoll(1)  # type: ignore[arg-type]
