"""Listening, connecting, meeting, refusing; ports that are shared."""

from __future__ import annotations

import gc
import os
import select
import socket
import threading
from collections.abc import Callable

import pytest
from kit.wire import udp

import shmring
from shmring import udt
from shmring.udt import compat

HERE = "127.0.0.1"
PATIENCE_S = 20.0

pytestmark = pytest.mark.usefixtures("shmring_namespace")


def test_nobody_is_there() -> None:
    with udp() as silent:
        with pytest.raises(udt.UdtTimeout) as caught:
            udt.connect(silent.getsockname(), timeout=0.3)
        assert caught.value.code == udt.Code.ENOSERVER
        sock = udt.begin_connect(silent.getsockname(), timeout=30)
        with sock:
            assert not compat.try_connected(sock)
            with pytest.raises(udt.UdtNotConnected):
                sock.send(b"x")
            with pytest.raises(udt.UdtNotConnected):
                compat.getpeername(sock)


def test_a_listener_answers_before_accept() -> None:
    with udt.listen((HERE, 0), backlog=3) as listener:
        clients = [udt.connect(listener.local) for _ in range(3)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        with pytest.raises(udt.UdtRefused):
            udt.connect(listener.local)
        assert listener.waiting == 3
        for number, client in enumerate(clients):
            sock, address = listener.accept(timeout=PATIENCE_S)
            assert address == (HERE, client.local[1])
            assert sock.recv(timeout=PATIENCE_S) == b"%d" % number
            sock.close()
            client.close()
        assert listener.waiting == 0


def test_waiting_to_accept() -> None:
    with udt.listen((HERE, 0)) as listener:
        assert select.select([listener], [], [], 0.01)[0] == []
        with pytest.raises(udt.UdtTimeout):
            listener.accept(timeout=0.01)
        with pytest.raises(udt.UdtWouldBlock):
            listener.accept(timeout=0)
        listener.settimeout(0.01)
        assert listener.gettimeout() == 0.01
        with pytest.raises(TimeoutError):
            listener.accept()
        with udt.connect(listener.local):
            assert select.select([listener], [], [], PATIENCE_S)[0] == [listener]
            listener.accept()[0].close()


def test_accepting_in_a_loop(eventually: Callable[[Callable[[], object]], object]) -> None:
    listener = udt.listen((HERE, 0))
    seen: list[bytes] = []

    def serve() -> None:
        for sock in listener:
            with sock:
                seen.append(sock.recv(timeout=PATIENCE_S))

    server = threading.Thread(target=serve)
    server.start()
    for _ in range(3):
        with udt.connect(listener.local) as client:
            client.sendall(b"x")
    assert eventually(lambda: len(seen) == 3)
    listener.close()
    server.join(PATIENCE_S)
    assert not server.is_alive()
    assert listener.closed
    with pytest.raises(udt.UdtError) as caught:
        listener.accept()
    assert caught.value.code == udt.Code.ENOLISTEN


def test_connections_outlive_their_listener() -> None:
    with udt.listen((HERE, 0)) as listener:
        client = udt.connect(listener.local)
        server, _ = listener.accept(timeout=PATIENCE_S)
        waiting = udt.connect(listener.local)
    with client, server, waiting:
        client.sendall(b"still there")
        assert server.recv(timeout=PATIENCE_S) == b"still there"
        with pytest.raises(udt.UdtClosed):  # nobody had accepted it
            waiting.recv(timeout=PATIENCE_S)


def test_one_port_for_all() -> None:
    with udt.Port((HERE, 0)) as port, udt.listen(port=port) as listener:
        with pytest.raises(udt.UdtError) as caught:
            udt.listen(port=port)
        assert caught.value.code == udt.Code.EDUPLISTEN
        with udt.connect(port.local, port=port) as client:
            server, address = listener.accept(timeout=PATIENCE_S)
            with server:
                assert address == port.local
                client.sendall(b"to ourselves")
                assert server.recv(timeout=PATIENCE_S) == b"to ourselves"
        assert port.stats().accepted == 1
        assert not port.closed
    assert port.closed
    with pytest.raises(TypeError, match="local"):
        udt.listen((HERE, 0), port=port)


def test_a_port_that_is_taken() -> None:
    with udt.listen((HERE, 0)) as listener:
        with pytest.raises(udt.UdtError) as caught:
            udt.listen(listener.local)
        assert caught.value.code == udt.Code.ESOCKFAIL


def test_a_port_is_free_again_after_its_last_connection() -> None:
    with udt.listen((HERE, 0)) as listener:
        local = listener.local
        client = udt.connect(local)
        server, _ = listener.accept(timeout=PATIENCE_S)
    server.close()
    client.close()
    with udt.listen(local) as listener:
        assert listener.local == local


def test_a_forgotten_listener_is_closed(
    eventually: Callable[[Callable[[], object]], object],
) -> None:
    listener = udt.listen((HERE, 0))
    local = listener.local
    del listener
    gc.collect()

    def is_free() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            try:
                other.bind(local)
            except OSError:
                return False
        return True

    assert eventually(is_free)


def test_rendezvous() -> None:
    with udt.Port((HERE, 0)) as one, udt.Port((HERE, 0)) as two:
        met: list[udt.UdtSocket] = []
        how: udt.ConnectOptions = {"rendezvous": True, "timeout": PATIENCE_S}
        other = threading.Thread(
            target=lambda: met.append(udt.connect(one.local, port=two, **how))
        )
        other.start()
        with udt.connect(two.local, port=one, **how) as sock:
            other.join(PATIENCE_S)
            sock.sendall(b"met")
            with met[0] as peer:
                assert peer.recv(timeout=PATIENCE_S) == b"met"
                peer.sendall(b"too")
                assert sock.recv(timeout=PATIENCE_S) == b"too"


def test_an_adopted_socket() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind((HERE, 0))
        with udt.listen(port_options={"socket": mine}) as listener:
            assert listener.local == mine.getsockname()
            with udt.connect(listener.local):
                listener.accept(timeout=PATIENCE_S)[0].close()


def test_nothing_stays_behind(
    leftovers: Callable[[], list[str]], open_files: Callable[[], int]
) -> None:
    def use() -> None:
        with udt.listen((HERE, 0)) as listener, udt.connect(listener.local) as client:
            server, _ = listener.accept(timeout=PATIENCE_S)
            with server:
                client.sendall(b"x")
                server.recv(timeout=PATIENCE_S)

    use()
    files, names = open_files(), len(leftovers())
    for _ in range(5):
        use()
    assert len(leftovers()) == names
    assert open_files() == files


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mss": 75}, "mss"),
        ({"mss": 65_536}, "mss"),
        ({"congestion": "cubic"}, "congestion"),
        ({"congestion": "fixed"}, "max_bandwidth"),
        ({"window_packets": 31}, "window_packets"),
        ({"send_bytes": 65_535}, "send_bytes"),
        ({"receive_packets": 31}, "receive_packets"),
        ({"linger": -1}, "linger"),
        ({"linger": 1e12}, "linger"),
        ({"ring_bytes": 100}, "ring_bytes"),
        ({"max_bandwidth": -1}, "max_bandwidth"),
    ],
)
def test_options_out_of_range(options: dict[str, object], text: str) -> None:
    with pytest.raises(shmring.errors.BadConfig, match=text):
        udt.listen((HERE, 0), **options)  # type: ignore[arg-type]


def test_none_is_the_default_of_every_option_to_connect() -> None:
    options: udt.ConnectOptions = dict.fromkeys(udt.ConnectOptions.__annotations__)  # type: ignore[assignment]
    with udt.listen((HERE, 0)) as listener, udt.connect(listener.local, **options) as client:
        assert not client.messages
    with udt.listen((HERE, 0)) as listener, pytest.raises(TypeError, match="rendezvous must be"):
        udt.connect(listener.local, rendezvous="yes")  # type: ignore[arg-type]


def test_options_that_are_not_there() -> None:
    with pytest.raises(TypeError, match="did you mean 'linger'"):
        udt.listen((HERE, 0), lingre=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="UDT port"):
        udt.Port((HERE, 0), nothing=1)  # type: ignore[call-arg]
    with pytest.raises(shmring.errors.BadConfig, match="backlog"):
        udt.listen((HERE, 0), backlog=0)
    with pytest.raises(TypeError, match="pair"):
        udt.connect("127.0.0.1")  # type: ignore[arg-type]
    with pytest.raises(shmring.errors.BadAddress):
        udt.connect((HERE, 0))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_disturbs_nothing() -> None:
    with udt.listen((HERE, 0)) as listener, udt.connect(listener.local) as client:
        server, _ = listener.accept(timeout=PATIENCE_S)
        with server:
            child = os.fork()
            if child == 0:
                try:
                    client.close()
                    server.close()
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            client.sendall(b"still there")
            assert server.recv(timeout=PATIENCE_S) == b"still there"
