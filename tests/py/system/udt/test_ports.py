"""Ports and addresses of UDT: both versions of IP, names, many sockets, strangers, floods."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

import shmring
from shmring import udt
from shmring.udt import compat

pytestmark = pytest.mark.usefixtures("shmring_namespace")

HERE = "127.0.0.1"
PATIENCE_S = 20.0

# A datagram of the protocol: a header of four words, the body of twelve.
HANDSHAKE = struct.Struct(">4I8i4I")


def handshake(request: int, *, socket_id: int = 77, cookie: int = 0, version: int = 4) -> bytes:
    return HANDSHAKE.pack(
        0x80000000, 0, 0, 0, version, 1, 1000, 1500, 8192, request, socket_id, cookie, 0, 0, 0, 0
    )


def exchange(client: udt.UdtSocket, server: udt.UdtSocket) -> None:
    client.sendall(b"there", timeout=PATIENCE_S)
    assert server.recv(timeout=PATIENCE_S) == b"there"
    server.sendall(b"back", timeout=PATIENCE_S)
    assert client.recv(timeout=PATIENCE_S) == b"back"


@pytest.mark.needs("ipv6")
def test_one_listener_for_both_versions_of_ip() -> None:
    with udt.listen(("::", 0)) as listener:
        port = listener.local[1]
        for host in (HERE, "::1"):
            with udt.connect((host, port), timeout=PATIENCE_S) as client:
                server, address = listener.accept(timeout=PATIENCE_S)
                with server:
                    exchange(client, server)
                    assert address[1] == client.local[1]


@pytest.mark.needs("ipv6")
def test_a_listener_for_ipv6_alone_leaves_ipv4_to_others() -> None:
    """A socket that never answers has the port there, so no other program has it."""
    for _ in range(20):
        with (
            udt.listen(("::", 0), port_options={"v6only": True}) as listener,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
        ):
            try:
                silent.bind((HERE, listener.local[1]))
            except OSError:
                continue
            with pytest.raises(udt.UdtTimeout):
                udt.connect(silent.getsockname(), timeout=0.5)
            return
    pytest.fail("no port is free in both versions of IP")


def test_names_are_looked_up() -> None:
    with udt.listen((HERE, 0)) as listener, udt.Port((HERE, 0)) as port:
        try:
            found = socket.getaddrinfo("localhost", None, type=socket.SOCK_DGRAM)[0][4][0]
        except OSError:
            pytest.skip("localhost is no name here")
        if found != HERE:
            pytest.skip("localhost is not 127.0.0.1")
        with udt.connect(("localhost", listener.local[1]), port=port) as client:
            server, _ = listener.accept(timeout=PATIENCE_S)
            with server:
                exchange(client, server)
                assert client.remote == listener.local
    with pytest.raises(OSError, match=r".+"):
        udt.connect(("no such name.invalid", 9))
    with pytest.raises(TypeError, match="pair"):
        udt.connect("localhost")  # type: ignore[arg-type]


def test_connections_on_one_port_keep_apart() -> None:
    """Both ways at once on each of many, with losses."""
    bad: udt.PortOptions = {"impair": shmring.Impairment(loss=0.02, reorder=0.02, seed=3)}
    with (
        udt.listen((HERE, 0), ring_bytes=1 << 16) as listener,
        udt.Port((HERE, 0), **bad) as port,
    ):
        pairs = []
        for _ in range(12):
            client = udt.connect(listener.local, port=port, ring_bytes=1 << 16)
            pairs.append((client, listener.accept(timeout=PATIENCE_S)[0]))
        ends = [(sock, number * 2 + way) for number, pair in enumerate(pairs)
                for way, sock in enumerate(pair)]  # fmt: skip

        def send(sock: udt.UdtSocket, tag: int) -> None:
            sock.sendall(bytes([tag]) * 30_000, timeout=PATIENCE_S)

        threads = [threading.Thread(target=send, args=end) for end in ends]
        for thread in threads:
            thread.start()
        for sock, tag in ends:
            got = bytearray()
            while len(got) < 30_000:
                got += sock.recv(timeout=PATIENCE_S)
            assert got == bytes([tag ^ 1]) * 30_000
        for thread in threads:
            thread.join(PATIENCE_S)
        for sock, _ in ends:
            sock.close(linger=0)


def test_a_cookie_is_needed(eventually: Callable[[Callable[[], object]], object]) -> None:
    with (
        udt.listen((HERE, 0)) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        stranger.settimeout(PATIENCE_S)
        stranger.connect(listener.local)
        # A guess is not answered; what is asked for is, and gives one.
        stranger.send(handshake(-1, cookie=12345))
        stranger.send(handshake(1))
        words = HANDSHAKE.unpack(stranger.recv(2000))
        request, cookie = words[9], words[11]
        assert request == 1
        assert listener.waiting == 0
        stranger.send(handshake(-1, cookie=cookie ^ 1))
        stranger.send(handshake(-1, cookie=cookie, version=5))
        assert HANDSHAKE.unpack(stranger.recv(2000))[9] == 1002  # refused
        stranger.send(handshake(-1, cookie=cookie))
        words = HANDSHAKE.unpack(stranger.recv(2000))
        assert words[9] == -1
        assert words[10] not in (0, 77)
        assert eventually(lambda: listener.waiting == 1)
        # It is for this address only.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.connect(listener.local)
            other.send(handshake(-1, cookie=cookie))
            other.send(handshake(1))
            other.settimeout(PATIENCE_S)
            assert HANDSHAKE.unpack(other.recv(2000))[9] == 1
            assert listener.waiting == 1
        listener.accept(timeout=PATIENCE_S)[0].close(linger=0)


def test_a_flood_of_requests_keeps_nobody_out() -> None:
    with (
        udt.listen((HERE, 0)) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        over = threading.Event()

        def flood() -> None:
            number = 0
            while not over.is_set():
                for _ in range(50):
                    number += 1
                    with contextlib.suppress(OSError):
                        stranger.sendto(handshake(1, socket_id=number), listener.local)
                time.sleep(0.001)

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            for _ in range(3):
                with udt.connect(listener.local, timeout=PATIENCE_S) as client:
                    server, _ = listener.accept(timeout=PATIENCE_S)
                    with server:
                        exchange(client, server)
        finally:
            over.set()
            flooding.join()
        stats = listener.port.stats()
        assert stats.accepted == 3  # to ask is not to be taken in
        assert stats.cookies > 3


def test_linger_has_an_end() -> None:
    """Nobody reads: what does not fit waits, as long as the socket was told to."""
    small: udt.UdtOptions = {"receive_packets": 32, "window_packets": 32, "ring_bytes": 1 << 16}
    with udt.listen((HERE, 0), **small) as listener:
        for linger in (0, 0.3):
            client = udt.connect(listener.local)
            server, _ = listener.accept(timeout=PATIENCE_S)
            client.sendall(bytes(1_000_000), timeout=PATIENCE_S)
            start = time.monotonic()
            client.close(linger=linger)
            assert linger <= time.monotonic() - start < PATIENCE_S
            got = sum(map(len, server))
            assert got < 1_000_000
            server.close()
        # A later one: close returns at once, and everything comes while somebody reads.
        client = udt.connect(listener.local)
        server, _ = listener.accept(timeout=PATIENCE_S)
        client.sendall(bytes(1_000_000), timeout=PATIENCE_S)
        compat.close_later(client, linger=100)
        assert sum(map(len, server)) == 1_000_000
        server.close()


def test_without_a_limit_close_waits_longer_than_the_option() -> None:
    small: udt.UdtOptions = {"receive_packets": 32, "window_packets": 32, "ring_bytes": 1 << 16}
    with udt.listen((HERE, 0), **small) as listener:
        client = udt.connect(listener.local, linger=0)
        server, _ = listener.accept(timeout=PATIENCE_S)
        client.sendall(bytes(1_000_000), timeout=PATIENCE_S)
        closing = threading.Thread(target=client.close, kwargs={"linger": None})
        closing.start()
        assert sum(map(len, server)) == 1_000_000
        closing.join(PATIENCE_S)
        server.close()


def test_an_idle_connection_stays() -> None:
    with udt.listen((HERE, 0)) as listener, udt.connect(listener.local) as client:
        server, _ = listener.accept(timeout=PATIENCE_S)
        with server:
            before = client.stats().keepalives_sent + server.stats().keepalives_sent
            time.sleep(2.5)
            assert client.stats().keepalives_sent + server.stats().keepalives_sent > before
            exchange(client, server)


def test_messages_in_order_over_a_link_that_mixes() -> None:
    mixing: udt.PortOptions = {
        "impair": shmring.Impairment(
            loss=0.03, reorder=0.2, reorder_extra_ns=3_000_000, duplicate=0.1, seed=9
        )
    }
    with (
        udt.listen((HERE, 0), messages=True) as listener,
        udt.connect(listener.local, messages=True, port_options=mixing) as client,
    ):
        server, _ = listener.accept(timeout=PATIENCE_S)
        with server:
            for number in range(200):
                client.sendmsg(b"%d" % number * 100, in_order=True, timeout=PATIENCE_S)
            got = [server.recvmsg(timeout=PATIENCE_S) for _ in range(200)]
            assert got == [b"%d" % number * 100 for number in range(200)]
            # Without it each comes once, in whatever order.
            for number in range(200):
                client.sendmsg(b"%d" % number * 100, timeout=PATIENCE_S)
            got = [server.recvmsg(timeout=PATIENCE_S) for _ in range(200)]
            assert sorted(got) == sorted(b"%d" % number * 100 for number in range(200))
