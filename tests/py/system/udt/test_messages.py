"""UDT messages between two ends."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator

import pytest

import shmring
from shmring import udt

HERE = "127.0.0.1"
PATIENCE_S = 20.0
Pair = tuple[udt.UdtSocket, udt.UdtSocket]


@pytest.fixture
def pair(shmring_namespace: str) -> Iterator[Pair]:
    with (
        udt.listen((HERE, 0), messages=True) as listener,
        udt.connect(listener.local, messages=True) as client,
    ):
        server, _ = listener.accept(timeout=PATIENCE_S)
        with server:
            yield client, server


def test_messages_of_all_sizes(pair: Pair) -> None:
    client, server = pair
    chance = random.Random(3)
    sent = [chance.randbytes(size) for size in (1, 10, 1456, 1457, 65_519, 65_520, 3_000_000)]
    sender = threading.Thread(
        target=lambda: [client.sendmsg(message, in_order=True) for message in sent]
    )
    sender.start()
    assert [server.recvmsg(timeout=PATIENCE_S) for _ in sent] == sent
    sender.join(PATIENCE_S)


def test_what_is_too_long_for_the_reader_is_cut(pair: Pair) -> None:
    client, server = pair
    client.sendmsg(b"0123456789")
    client.sendmsg(b"next", in_order=True)
    assert server.recvmsg(4, timeout=PATIENCE_S) == b"0123"
    assert server.recvmsg(timeout=PATIENCE_S) == b"next"


def test_what_is_too_long_for_the_sender(pair: Pair) -> None:
    client, _ = pair
    with pytest.raises(udt.UdtError) as caught:
        client.sendmsg(bytes(client.max_message + 1))
    assert caught.value.code == udt.Code.ELARGEMSG
    with pytest.raises(ValueError, match="ttl_ms"):
        client.sendmsg(b"x", ttl_ms=-5)


def test_the_other_mode_is_refused(pair: Pair) -> None:
    client, _ = pair
    for call in (lambda: client.send(b"x"), client.recv, lambda: client.recv_into(bytearray(1))):
        with pytest.raises(udt.UdtError) as caught:
            call()
        assert caught.value.code == udt.Code.EDGRAMILL
    with udt.listen((HERE, 0)) as listener, pytest.raises(udt.UdtRefused):
        udt.connect(listener.local, messages=True)


def test_iterating(pair: Pair) -> None:
    client, server = pair
    for number in range(100):
        client.sendmsg(b"%d" % number, in_order=True)
    client.close()
    assert list(server) == [b"%d" % number for number in range(100)]


def test_several_threads_send(pair: Pair) -> None:
    client, server = pair

    def send(letter: bytes) -> None:
        for _ in range(20):
            client.sendmsg(letter * 150_000)

    threads = [threading.Thread(target=send, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for _ in range(60):
        message = server.recvmsg(timeout=PATIENCE_S)
        assert len(message) == 150_000
        assert len(set(message)) == 1
    for thread in threads:
        thread.join(PATIENCE_S)


def test_messages_whose_time_is_over(shmring_namespace: str) -> None:
    bad: udt.PortOptions = {"impair": shmring.Impairment(loss=0.2, seed=5)}
    how: udt.UdtOptions = {"congestion": "fixed", "max_bandwidth": 1_000_000}
    with (
        udt.listen((HERE, 0), messages=True) as listener,
        udt.connect(listener.local, messages=True, port_options=bad, **how) as client,
    ):
        server, _ = listener.accept(timeout=PATIENCE_S)
        with server:
            for number in range(300):
                client.sendmsg(b"%d" % number, ttl_ms=0)
            client.sendmsg(b"the last", in_order=True)
            got = []
            while (message := server.recvmsg(timeout=PATIENCE_S)) != b"the last":
                got.append(int(message))
            # A worker that was away for a moment may have given up all of them.
            assert set(got) <= set(range(300))
            assert len(set(got)) == len(got)


def test_a_message_that_a_signal_interrupts_goes_out_whole(shmring_namespace: str) -> None:
    """What was queued of it must not become the beginning of the next one."""

    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    how: udt.UdtOptions = {
        "messages": True, "ring_bytes": 1 << 16, "send_bytes": 1 << 20, "receive_packets": 1024,
    }  # fmt: skip

    def content(number: int) -> bytes:
        return b"%04d" % number * 200_000

    with udt.listen((HERE, 0), **how) as listener, udt.connect(listener.local, **how) as client:
        server, _ = listener.accept(timeout=PATIENCE_S)
        before = signal.signal(signal.SIGALRM, ring)
        sent = 0

        def send_on() -> None:
            nonlocal sent
            while True:
                client.sendmsg(content(sent), in_order=True)
                sent += 1

        with server:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.3)
                with pytest.raises(Alarm):
                    send_on()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
            got = [server.recvmsg(timeout=PATIENCE_S) for _ in range(sent)]
            last = threading.Thread(target=lambda: client.sendmsg(b"end", in_order=True))
            last.start()
            while (message := server.recvmsg(timeout=PATIENCE_S)) != b"end":
                got.append(message)
            last.join(PATIENCE_S)
        assert got == [content(number) for number in range(len(got))]
        assert sent <= len(got) <= sent + 1
