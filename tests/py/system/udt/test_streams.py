"""UDT streams between two ends, over real workers and sockets."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable

import pytest

import shmring
from shmring import udt
from shmring.udt import compat

HERE = "127.0.0.1"
PATIENCE_S = 20.0
LOSSY = shmring.Impairment(loss=0.03, reorder=0.02, duplicate=0.02, seed=7)

Pair = tuple[udt.UdtSocket, udt.UdtSocket]


def read(sock: udt.UdtSocket, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        got += sock.recv(count - len(got), timeout=PATIENCE_S)
    return bytes(got)


def exchange(client: udt.UdtSocket, server: udt.UdtSocket, count: int) -> None:
    data = random.Random(1).randbytes(count)
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    got = read(server, count)
    sender.join(PATIENCE_S)
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


def test_what_an_end_knows_of_itself(pair: Pair) -> None:
    client, server = pair
    assert client.remote == server.local == compat.getpeername(client)
    assert compat.getpeername(server)[1] == client.local[1]
    assert client.connected
    assert not client.messages
    assert "connected" in repr(client)
    assert compat.facts(client).socket_id != compat.facts(server).socket_id
    assert compat.facts(client).peer_id == compat.facts(server).socket_id


def test_a_small_read_leaves_the_rest(pair: Pair) -> None:
    client, server = pair
    client.sendall(b"abcdefgh")
    assert read(server, 2) == b"ab"
    room = bytearray(3)
    assert server.recv_into(room, timeout=PATIENCE_S) == 3
    assert room == b"cde"
    assert server.recv(timeout=0) == b"fgh"
    with pytest.raises(udt.UdtWouldBlock):
        server.recv(timeout=0)


def test_much_data(pair: Pair) -> None:
    exchange(*pair, 20_000_000)


def test_both_ways_at_once(pair: Pair) -> None:
    client, server = pair
    other = threading.Thread(target=exchange, args=(server, client, 3_000_000))
    other.start()
    exchange(client, server, 3_000_000)
    other.join(PATIENCE_S)
    assert not other.is_alive()


@pytest.mark.parametrize("congestion", ["daimd", "bbr", "fixed"])
def test_a_bad_link(shmring_namespace: str, congestion: str) -> None:
    how: udt.UdtOptions = {"congestion": congestion, "max_bandwidth": 20_000_000}
    bad: udt.PortOptions = {"impair": LOSSY}
    with (
        udt.listen((HERE, 0), port_options=bad, **how) as listener,
        udt.connect(listener.local, port_options=bad, **how) as client,
    ):
        server, _ = listener.accept(timeout=PATIENCE_S)
        with server:
            exchange(client, server, 1_000_000)
            assert client.stats().repeated > 0


@pytest.mark.parametrize("mss", [576, 9000])
def test_other_sizes_of_packets(shmring_namespace: str, mss: int) -> None:
    listening = udt.listen((HERE, 0), mss=9000)
    with listening as listener, udt.connect(listener.local, mss=mss) as client:
        server, _ = listener.accept(timeout=PATIENCE_S)
        with server:
            exchange(client, server, 1_000_000)
            assert server.stats().mss_bytes == mss


@pytest.mark.needs("ipv6")
def test_ipv6(shmring_namespace: str) -> None:
    with udt.listen(("::1", 0)) as listener, udt.connect(listener.local) as client:
        server, address = listener.accept(timeout=PATIENCE_S)
        with server:
            assert address[0] == "::1"
            exchange(client, server, 100_000)


def test_a_small_ring(shmring_namespace: str) -> None:
    how: udt.UdtOptions = {"ring_bytes": 1 << 16, "send_bytes": 1 << 16, "receive_packets": 64}
    with udt.listen((HERE, 0), **how) as listener, udt.connect(listener.local, **how) as client:
        server, _ = listener.accept(timeout=PATIENCE_S)
        with server:
            exchange(client, server, 2_000_000)


def test_a_full_path_and_timeouts(shmring_namespace: str) -> None:
    how: udt.UdtOptions = {"ring_bytes": 1 << 16, "send_bytes": 1 << 16, "receive_packets": 64}
    with udt.listen((HERE, 0), **how) as listener, udt.connect(listener.local, **how) as client:
        server, _ = listener.accept(timeout=PATIENCE_S)
        with server:
            with pytest.raises(udt.UdtTimeout) as caught:
                client.sendall(bytes(10_000_000), timeout=0.3)
            sent = caught.value.sent  # type: ignore[attr-defined]
            assert 0 < sent < 10_000_000
            assert not compat.can_send(client)
            with pytest.raises(udt.UdtWouldBlock):
                client.send(bytes(65536), timeout=0)
            assert read(server, sent) == bytes(sent)
            client.settimeout(PATIENCE_S)
            client.sendall(b"again")
            assert read(server, 5) == b"again"


def test_waiting_has_an_end(pair: Pair) -> None:
    client, _ = pair
    with pytest.raises(udt.UdtTimeout):
        client.recv(timeout=0.01)
    with pytest.raises(udt.UdtWouldBlock):
        client.recv(timeout=0)
    client.settimeout(0.01)
    with pytest.raises(TimeoutError):
        client.recv()
    client.settimeout(0)
    with pytest.raises(BlockingIOError):
        client.recv()


def test_the_end_of_a_stream(pair: Pair) -> None:
    client, server = pair
    client.sendall(b"last words")
    client.close()
    assert client.closed
    assert b"".join(server) == b"last words"
    with pytest.raises(udt.UdtClosed) as caught:
        server.recv(timeout=PATIENCE_S)
    assert caught.value.code == udt.Code.ECONNLOST
    with pytest.raises(ConnectionResetError):
        server.sendall(b"x")
    with pytest.raises(udt.UdtError) as closed:
        client.recv()
    assert closed.value.code == udt.Code.EINVSOCK


def test_a_peer_that_leaves_in_the_middle_is_told(pair: Pair) -> None:
    """Of a connection that ended the worker empties the ring: to queue more is not to send it."""
    client, server = pair

    def leave() -> None:
        read(server, 100_000)
        server.close()

    leaving = threading.Thread(target=leave)
    leaving.start()
    with pytest.raises(udt.UdtClosed) as caught:
        client.sendall(bytes(200_000_000), timeout=PATIENCE_S)
    assert 0 < caught.value.sent < 200_000_000  # type: ignore[attr-defined]
    leaving.join(PATIENCE_S)


def test_flush_waits_for_the_peer(pair: Pair) -> None:
    client, server = pair
    client.sendall(b"x" * 100_000)
    client.flush(timeout=PATIENCE_S)
    assert client.stats().unsent_bytes == 0
    assert read(server, 100_000) == b"x" * 100_000


def test_flush_sleeps_until_the_peer_has_acknowledged(pair: Pair) -> None:
    client, server = pair
    with pytest.raises(udt.UdtError):  # nobody reads, so all buffers fill
        client.sendall(bytes(100_000_000), timeout=2)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    with pytest.raises(udt.UdtError):
        client.flush(timeout=0.5)
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before < 60
    server.close()


def test_a_forgotten_socket_says_what_it_was_given(pair: Pair) -> None:
    _, _server = pair
    with udt.listen((HERE, 0)) as listener:
        client = udt.connect(listener.local)
        accepted, _ = listener.accept(timeout=PATIENCE_S)
        data = bytes(range(256)) * 4000
        client.sendall(data)
        client.me = client  # type: ignore[attr-defined]  # a cycle of garbage
        del client
        gc.collect()
        assert read(accepted, len(data)) == data
        with pytest.raises(udt.UdtClosed):
            accepted.recv(timeout=PATIENCE_S)
        accepted.close()


def test_closing_wakes_those_who_wait(pair: Pair) -> None:
    client, _ = pair
    caught: list[int] = []

    def wait() -> None:
        try:
            client.recv()
        except udt.UdtError as end:
            caught.append(end.code)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.1)
    client.close()
    waiting.join(PATIENCE_S)
    assert caught[0] in (udt.Code.EINVSOCK, udt.Code.ECONNLOST)


def test_one_thread_closes_while_another_lingers(pair: Pair) -> None:
    """The one that lingers goes on to discard data, in memory that may be unmapped meanwhile."""
    client, _ = pair
    connection = client._connection
    client.close(linger=0)
    with pytest.raises(udt.UdtError, match="socket"):
        connection._discard()


def test_statistics(pair: Pair) -> None:
    client, server = pair
    exchange(client, server, 1_000_000)
    client.flush(timeout=PATIENCE_S)
    stats = client.stats()
    assert stats.sent_bytes == stats.to_dict()["sent_bytes"] == 1_000_000
    assert server.stats().received_bytes == 1_000_000
    assert stats.rtt_s > 0
    assert stats.period_us > 0
    assert set(stats.to_dict()) > {"sent", "repeated", "naks_received", "cwnd_packets"}
    assert udt.UdtStats(**stats.to_dict()) == stats


def test_bandwidth_may_be_limited_later(pair: Pair) -> None:
    client, server = pair
    client.set_max_bandwidth(2_000_000)
    began = time.monotonic()
    exchange(client, server, 1_000_000)
    assert time.monotonic() - began > 0.2
    client.set_max_bandwidth(None)


def test_a_worker_that_dies_ends_the_connection(
    shmring_namespace: str, eventually: Callable[[Callable[[], object]], object]
) -> None:
    pool = shmring.Pool(policy="other")
    with pool, udt.listen((HERE, 0), pool=pool) as listener:
        with udt.connect(listener.local, pool=pool) as client:
            server, _ = listener.accept(timeout=PATIENCE_S)
            with server:
                os.kill(pool.workers()[0].pid, signal.SIGKILL)
                with pytest.raises(udt.UdtClosed):
                    server.recv(timeout=PATIENCE_S)
                with pytest.raises(udt.UdtClosed):
                    client.sendall(bytes(100_000_000), timeout=PATIENCE_S)

        def again() -> bool:
            with udt.connect(listener.local, pool=pool) as client:
                client.sendall(b"back")
                server, _ = listener.accept(timeout=PATIENCE_S)
                with server:
                    return read(server, 4) == b"back"

        assert eventually(again)
