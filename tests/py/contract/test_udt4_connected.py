"""Connected sockets of udt4: data both ways, messages, files, statistics, ends, refusals."""

from __future__ import annotations

import gc
import io
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from kit.waiting import until
from kit.wire import free_port, udp

import udt4
from udt4 import UDTSOCKET, UDTException, UdtSocket

pytestmark = pytest.mark.usefixtures("shmring_namespace")

HERE = "127.0.0.1"
TIMEOUT_S = 20.0
Pair = tuple[UDTSOCKET, UDTSOCKET]


def fails(code: int, call: Callable[..., Any], *args: Any) -> None:
    with pytest.raises(UDTException) as caught:
        call(*args)
    assert caught.value.code == code


def tell_when_in(file: str, inside: threading.Event) -> None:
    """Set the event when this thread calls a function of a file.

    Another thread cannot look for that itself: CPython 3.11 may crash when it walks the frames of a
    thread that runs.
    """

    def called(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.endswith(file):
            sys.setprofile(None)
            inside.set()

    sys.setprofile(called)


def listener(kind: int = socket.SOCK_STREAM) -> UDTSOCKET:
    sock = udt4.socket(socket.AF_INET, kind, 0)
    udt4.bind(sock, HERE, 0)
    udt4.listen(sock, 10)
    return sock


def connected(kind: int) -> Iterator[Pair]:
    server = listener(kind)
    client = udt4.socket(socket.AF_INET, kind, 0)
    udt4.connect(client, *udt4.getsockname(server))
    accepted, _ = udt4.accept(server)
    for sock in (client, accepted):
        udt4.setsockopt(sock, udt4.UDT_RCVTIMEO, int(TIMEOUT_S * 1000))
    yield client, accepted
    for sock in (client, accepted, server):
        udt4.close(sock)


@pytest.fixture
def streams() -> Iterator[Pair]:
    yield from connected(socket.SOCK_STREAM)


@pytest.fixture
def messages() -> Iterator[Pair]:
    yield from connected(socket.SOCK_DGRAM)


def read(sock: UDTSOCKET, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        got += udt4.recv(sock, count - len(got))
    return bytes(got)


# --- connecting -----------------------------------------------------------------------------------


def test_connect_and_accept() -> None:
    server = listener()
    client = udt4.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    assert udt4.connect(client, *udt4.getsockname(server)) == 0
    assert udt4.getsockstate(client) == udt4.UDTSTATUS_CONNECTED
    accepted, address = udt4.accept(server)
    assert type(accepted) is UDTSOCKET
    assert address == (HERE, udt4.getsockname(client)[1])
    assert udt4.getpeername(accepted) == address
    assert udt4.getpeername(client) == udt4.getsockname(server)
    assert udt4.getsockname(accepted) == udt4.getsockname(server)
    assert udt4.getsockstate(accepted) == udt4.UDTSTATUS_CONNECTED
    fails(udt4.ECONNSOCK, udt4.connect, client, HERE, 9)
    for sock in (client, accepted, server):
        assert udt4.close(sock) == 0


def test_accept_gives_the_oldest_first() -> None:
    server = listener()
    clients = [udt4.socket(2, 1, 0) for _ in range(3)]
    for client in clients:
        udt4.connect(client, *udt4.getsockname(server))
    ports = [udt4.accept(server)[1][1] for _ in clients]
    assert ports == [udt4.getsockname(client)[1] for client in clients]


def test_a_connection_may_wait_for_accept_and_send_already() -> None:
    server = listener()
    client = udt4.socket(2, 1, 0)
    udt4.connect(client, *udt4.getsockname(server))
    udt4.send(client, b"early")
    accepted, _ = udt4.accept(server)
    assert read(accepted, 5) == b"early"


def test_accepted_sockets_inherit_options() -> None:
    server = udt4.socket(2, 1, 0)
    udt4.setsockopt(server, udt4.UDT_LINGER, (1, 7))
    udt4.setsockopt(server, udt4.UDT_RCVTIMEO, 1234)
    udt4.setsockopt(server, udt4.UDT_MSS, 1400)
    udt4.bind(server, HERE, 0)
    udt4.listen(server, 1)
    client = udt4.socket(2, 1, 0)
    udt4.connect(client, *udt4.getsockname(server))
    accepted, _ = udt4.accept(server)
    assert udt4.getsockopt(accepted, udt4.UDT_LINGER) == (1, 7)
    assert udt4.getsockopt(accepted, udt4.UDT_RCVTIMEO) == 1234
    assert udt4.getsockopt(accepted, udt4.UDT_MSS) == 1400


def test_options_as_large_as_they_can_be() -> None:
    server = listener()
    client = udt4.socket(2, 1, 0)
    for option in (udt4.UDP_SNDBUF, udt4.UDP_RCVBUF, udt4.UDT_FC):
        udt4.setsockopt(client, option, 2**31 - 1)
    udt4.setsockopt(client, udt4.UDT_LINGER, (1, 2**31 - 1))
    udt4.setsockopt(client, udt4.UDT_MAXBW, 2**63 - 1)
    udt4.connect(client, *udt4.getsockname(server))
    udt4.setsockopt(client, udt4.UDT_MAXBW, 2**63 - 1)
    udt4.send(client, b"large")
    accepted, _ = udt4.accept(server)
    assert read(accepted, 5) == b"large"
    assert udt4.close(client) == 0


@pytest.mark.check
def test_nobody_answers() -> None:
    client = udt4.socket(2, 1, 0)
    with udp() as silent:
        fails(udt4.ENOSERVER, udt4.connect, client, HERE, silent.getsockname()[1])
    assert udt4.getsockstate(client) == udt4.UDTSTATUS_OPENED
    server = listener()
    udt4.connect(client, *udt4.getsockname(server))  # it may be tried again
    assert udt4.getsockstate(client) == udt4.UDTSTATUS_CONNECTED


def test_the_server_may_start_after_the_client() -> None:
    port = free_port()
    client = udt4.socket(2, 1, 0)
    outcome: list[object] = []
    thread = threading.Thread(target=lambda: outcome.append(udt4.connect(client, HERE, port)))
    thread.start()
    server = udt4.socket(2, 1, 0)
    udt4.bind(server, HERE, port)
    udt4.listen(server, 1)
    thread.join(TIMEOUT_S)
    assert outcome == [0]


def test_a_stream_socket_is_refused_by_a_message_listener() -> None:
    server = listener(socket.SOCK_DGRAM)
    client = udt4.socket(2, socket.SOCK_STREAM, 0)
    fails(udt4.ECONNREJ, udt4.connect, client, *udt4.getsockname(server))


def test_connecting_without_waiting() -> None:
    server = listener()
    client = udt4.socket(2, 1, 0)
    udt4.setsockopt(client, udt4.UDT_RCVSYN, False)
    assert udt4.connect(client, *udt4.getsockname(server)) == 0
    until(lambda: udt4.getsockstate(client) == udt4.UDTSTATUS_CONNECTED)
    udt4.send(client, b"x")
    assert read(udt4.accept(server)[0], 1) == b"x"


def test_connecting_without_waiting_in_vain() -> None:
    server = listener(socket.SOCK_DGRAM)
    client = udt4.socket(2, socket.SOCK_STREAM, 0)
    udt4.setsockopt(client, udt4.UDT_RCVSYN, False)
    udt4.connect(client, *udt4.getsockname(server))
    until(lambda: udt4.getsockstate(client) == udt4.UDTSTATUS_BROKEN)
    fails(udt4.ECONNREJ, udt4.send, client, b"x")
    fails(udt4.ECONNREJ, udt4.recv, client, 1)
    other = listener()
    udt4.setsockopt(client, udt4.UDT_RCVSYN, True)
    udt4.connect(client, *udt4.getsockname(other))
    assert udt4.getsockstate(client) == udt4.UDTSTATUS_CONNECTED


def test_closing_while_it_connects() -> None:
    client = udt4.socket(2, 1, 0)
    with udp() as silent:
        timer = threading.Timer(0.2, udt4.close, (client,))
        timer.start()
        fails(udt4.ECONNSETUP, udt4.connect, client, HERE, silent.getsockname()[1])
        timer.join()


def test_closing_a_listener_wakes_accept() -> None:
    server = listener()
    timer = threading.Timer(0.2, udt4.close, (server,))
    timer.start()
    fails(udt4.ENOLISTEN, udt4.accept, server)
    timer.join()


def test_rendezvous() -> None:
    ends = [udt4.socket(2, 1, 0) for _ in range(2)]
    for sock in ends:
        udt4.setsockopt(sock, udt4.UDT_RENDEZVOUS, True)
        udt4.bind(sock, HERE, 0)
    names = [udt4.getsockname(sock) for sock in ends]
    thread = threading.Thread(target=udt4.connect, args=(ends[0], *names[1]))
    thread.start()
    udt4.connect(ends[1], *names[0])
    thread.join(TIMEOUT_S)
    udt4.send(ends[0], b"from one")
    udt4.send(ends[1], b"from two")
    assert read(ends[1], 8) == b"from one"
    assert read(ends[0], 8) == b"from two"
    for sock in ends:
        udt4.close(sock)


# --- streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "length", "arrives"),
    [
        (b"bytes", -1, b"bytes"),
        ("stra\u00dfe", -1, "stra\u00dfe".encode()),
        (bytearray(b"array"), 0, b"array"),
        (memoryview(b"view"), -1, b"view"),
        (b"longer", 3, b"lon"),
        (b"pad", 6, b"pad\0\0\0"),
        ("s" * 45, 64, b"s" * 45 + bytes(19)),
    ],
)
def test_send(streams: Pair, data: object, length: int, arrives: bytes) -> None:
    client, server = streams
    assert udt4.send(client, data, length) == len(arrives)
    got = read(server, len(arrives))
    assert type(got) is bytes
    assert got == arrives


def test_send_refuses(streams: Pair) -> None:
    client, _ = streams
    with pytest.raises(ValueError, match="send buffer"):
        udt4.send(client, b"x", 20_000_000)
    for data in (7, None, ["x"]):
        with pytest.raises(TypeError, match="data"):
            udt4.send(client, data)
    with pytest.raises(TypeError, match="length"):
        udt4.send(client, b"x", "1")  # type: ignore[arg-type]
    assert udt4.send(client, b"") == 0
    fails(udt4.ESTREAMILL, udt4.sendmsg, client, b"x")
    fails(udt4.ESTREAMILL, udt4.recvmsg, client, 1)


def test_recv_takes_pieces(streams: Pair) -> None:
    client, server = streams
    udt4.send(client, b"abcdefgh")
    assert read(server, 3) == b"abc"
    assert udt4.recv(server, 0) == b""
    assert read(server, 5) == b"defgh"
    with pytest.raises(ValueError, match="size"):
        udt4.recv(server, -1)
    with pytest.raises(TypeError, match="size"):
        udt4.recv(server, "1")  # type: ignore[arg-type]


def test_recv_without_waiting(streams: Pair) -> None:
    _, server = streams
    udt4.setsockopt(server, udt4.UDT_RCVSYN, False)
    fails(udt4.EASYNCRCV, udt4.recv, server, 1)


def test_recv_with_a_timeout(streams: Pair) -> None:
    _, server = streams
    udt4.setsockopt(server, udt4.UDT_RCVTIMEO, 50)
    began = time.monotonic()
    fails(udt4.ETIMEOUT, udt4.recv, server, 1)
    assert time.monotonic() - began >= 0.04


@pytest.mark.check
def test_a_full_buffer(shmring_namespace: str) -> None:
    server = udt4.socket(2, 1, 0)
    udt4.setsockopt(server, udt4.UDT_RCVBUF, 50_000)
    udt4.bind(server, HERE, 0)
    udt4.listen(server, 1)
    client = udt4.socket(2, 1, 0)
    udt4.setsockopt(client, udt4.UDT_SNDBUF, 50_000)
    udt4.connect(client, *udt4.getsockname(server))
    udt4.setsockopt(client, udt4.UDT_SNDSYN, False)
    sent = 0

    def send_until_refused() -> int:
        nonlocal sent
        try:
            for _ in range(100_000):
                sent += udt4.send(client, b"x" * 10_000)
        except UDTException as caught:
            return caught.code
        return 0

    assert send_until_refused() == udt4.EASYNCSND
    assert udt4.getsockopt(client, udt4.UDT_SNDDATA) > 0
    udt4.setsockopt(client, udt4.UDT_SNDSYN, True)
    udt4.setsockopt(client, udt4.UDT_SNDTIMEO, 50)
    # What the receiver's buffer takes meanwhile is sent.
    assert send_until_refused() == udt4.ETIMEOUT
    accepted, _ = udt4.accept(server)
    assert read(accepted, sent) == b"x" * sent
    for sock in (client, accepted, server):
        udt4.close(sock)


def test_much_data_both_ways(streams: Pair) -> None:
    count = 3_000_000
    block = bytes(range(256)) * 64
    data = (block * (count // len(block) + 1))[:count]
    got: dict[int, bytes] = {}

    def send(sock: UDTSOCKET) -> None:
        at = 0
        while at < count:
            at += udt4.send(sock, data[at : at + 100_000])

    def receive(which: int) -> None:
        got[which] = read(streams[which], count)

    threads = [threading.Thread(target=send, args=(sock,)) for sock in streams]
    threads += [threading.Thread(target=receive, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert got[0] == got[1] == data


# --- messages -------------------------------------------------------------------------------------


def test_messages_keep_their_ends(messages: Pair) -> None:
    client, server = messages
    for size in (1, 1456, 1457, 70_000, 300_000):
        assert udt4.sendmsg(client, b"m" * size, -1, -1, True) == size
    for size in (1, 1456, 1457, 70_000, 300_000):
        assert udt4.recvmsg(server, 1_000_000) == b"m" * size


def test_message_arguments(messages: Pair) -> None:
    client, server = messages
    assert udt4.sendmsg(client, "text", 6, 1000, True) == 6
    assert udt4.recvmsg(server, 100) == b"text\0\0"
    assert udt4.sendmsg(client, b"cut here", 3) == 3
    assert udt4.recvmsg(server, 100) == b"cut"
    udt4.sendmsg(client, b"a long one")
    assert udt4.recvmsg(server, 6) == b"a long"
    udt4.sendmsg(client, b"next")
    assert udt4.recvmsg(server, 6) == b"next"
    with pytest.raises(TypeError, match="ttl"):
        udt4.sendmsg(client, b"x", -1, "1")  # type: ignore[arg-type]
    fails(udt4.EDGRAMILL, udt4.send, client, b"x")
    fails(udt4.EDGRAMILL, udt4.recv, client, 1)
    fails(udt4.EDGRAMILL, udt4.sendfile, client, __file__)
    fails(udt4.EDGRAMILL, udt4.recvfile, client, "/dev/null")
    fails(udt4.ELARGEMSG, udt4.sendmsg, client, bytes(12_058_625))


def test_recvmsg_waits_as_it_is_told(messages: Pair) -> None:
    _, server = messages
    udt4.setsockopt(server, udt4.UDT_RCVTIMEO, 20)
    fails(udt4.ETIMEOUT, udt4.recvmsg, server, 10)
    udt4.setsockopt(server, udt4.UDT_RCVSYN, False)
    fails(udt4.EASYNCRCV, udt4.recvmsg, server, 10)


# --- ends -----------------------------------------------------------------------------------------


def test_what_was_sent_is_there_after_close(streams: Pair) -> None:
    client, server = streams
    data = b"z" * 1_000_000
    at = 0
    while at < len(data):
        at += udt4.send(client, data[at:])
    assert udt4.close(client) == 0
    assert read(server, len(data)) == data
    fails(udt4.ECONNLOST, udt4.recv, server, 1)
    fails(udt4.ECONNLOST, udt4.send, server, b"x")
    fails(udt4.ECONNLOST, udt4.perfmon, server)
    fails(udt4.ECONNLOST, udt4.setsockopt, server, udt4.UDT_SNDTIMEO, 1)
    fails(udt4.ENOCONN, udt4.getpeername, server)
    assert udt4.getsockstate(server) == udt4.UDTSTATUS_BROKEN
    assert udt4.getsockopt(server, udt4.UDT_EVENT) == udt4.UDT_EPOLL_ERR
    assert udt4.close(server) == 0


def test_close_wakes_recv(streams: Pair) -> None:
    _, server = streams
    timer = threading.Timer(0.2, udt4.close, (server,))
    timer.start()
    with pytest.raises(UDTException) as caught:
        udt4.recv(server, 1)
    assert caught.value.code == udt4.ECONNLOST
    timer.join()


def test_close_wakes_send(streams: Pair) -> None:
    client, _ = streams
    codes = []

    def send() -> None:
        try:
            while True:
                udt4.send(client, bytes(1_000_000))
        except UDTException as caught:
            codes.append(caught.code)

    sending = threading.Thread(target=send)
    sending.start()

    def queued_after(seconds: float) -> int:
        time.sleep(seconds)
        return int(udt4.getsockopt(client, udt4.UDT_SNDDATA))

    until(lambda: queued_after(0) == queued_after(0.2) > 1000)  # it waits for room
    udt4.setsockopt(client, udt4.UDT_LINGER, (0, 0))
    udt4.close(client)
    sending.join()
    assert codes == [udt4.ECONNLOST]


@pytest.mark.check
def test_a_call_that_waits_when_another_thread_closes_lost_its_connection() -> None:
    """2001, as the original says it, at whatever point of the call that happens."""
    with UdtSocket() as server:
        server.bind((HERE, 0))
        server.listen(60)
        codes = []
        for turn in range(60):
            client = UdtSocket()
            client.connect(server.getsockname())
            accepted, _ = server.accept()
            accepted.setsockopt(udt4.UDT_LINGER, (0, 0))

            inside = threading.Event()

            def receive(sock: UdtSocket = accepted, inside: threading.Event = inside) -> None:
                tell_when_in("shmring/udt/socket.py", inside)
                try:
                    sock.recv(1)
                except udt4.UDTException as caught:
                    codes.append(caught.code)

            waiting = threading.Thread(target=receive)
            waiting.start()
            assert inside.wait(TIMEOUT_S)
            time.sleep(turn * 0.0002)
            accepted.close()
            waiting.join()
            client.close()
    assert codes == [udt4.ECONNLOST] * 60


def test_a_forgotten_connection_is_closed(streams: Pair) -> None:
    server = listener()
    client = udt4.socket(2, 1, 0)
    udt4.connect(client, *udt4.getsockname(server))
    accepted, _ = udt4.accept(server)
    udt4.send(client, b"last words")
    del client
    gc.collect()
    assert read(accepted, 10) == b"last words"
    fails(udt4.ECONNLOST, udt4.recv, accepted, 1)


def test_signals_interrupt_waiting(streams: Pair) -> None:
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    _, server = streams
    before = signal.signal(signal.SIGALRM, ring)
    try:
        for call, args in ((udt4.recv, (server, 1)), (udt4.accept, (listener(),))):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Alarm):
                call(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- what there is to know ------------------------------------------------------------------------


def test_perfmon(streams: Pair) -> None:
    client, server = streams
    for _ in range(10):
        udt4.send(client, b"q" * 1456)
    read(server, 14_560)
    until(lambda: udt4.getsockopt(client, udt4.UDT_SNDDATA) == 0)
    info = udt4.perfmon(client, False)
    assert type(info) is udt4.TRACEINFO
    assert info.pktSent == info.pktSentTotal >= 10
    assert info.mbpsSendRate > 0
    assert info.msRTT > 0
    assert info.pktFlowWindow > 0
    assert info.byteAvailSndBuf == 8192 * 1500
    assert udt4.perfmon(client).pktSent >= 10
    after = udt4.perfmon(client)
    assert after.pktSent < 10
    assert after.pktSentTotal >= 10
    assert after.msTimeStamp >= info.msTimeStamp
    assert udt4.perfmon(server).pktRecvTotal >= 10


def test_events_and_amounts(streams: Pair) -> None:
    client, server = streams
    assert udt4.getsockopt(client, udt4.UDT_EVENT) == udt4.UDT_EPOLL_OUT
    assert udt4.getsockopt(client, udt4.UDT_STATE) == udt4.UDTSTATUS_CONNECTED
    udt4.send(client, b"x")
    both = udt4.UDT_EPOLL_OUT | udt4.UDT_EPOLL_IN
    until(lambda: udt4.getsockopt(server, udt4.UDT_EVENT) == both)
    assert udt4.getsockopt(server, udt4.UDT_RCVDATA) == 1
    read(server, 1)
    assert udt4.getsockopt(server, udt4.UDT_RCVDATA) == 0


def test_bandwidth_is_set_while_connected(streams: Pair) -> None:
    client, server = streams
    udt4.setsockopt(client, udt4.UDT_MAXBW, 10_000_000)
    udt4.send(client, b"x")
    assert read(server, 1) == b"x"


def test_options_that_are_fixed_once_connected(streams: Pair) -> None:
    client, _ = streams
    fails(udt4.ECONNSOCK, udt4.setsockopt, client, udt4.UDT_FC, 100)
    fails(udt4.EBOUNDSOCK, udt4.setsockopt, client, udt4.UDT_RENDEZVOUS, True)
    udt4.setsockopt(client, udt4.UDT_LINGER, (0, 0))


def test_a_connection_inherits_what_its_listener_was_told_last() -> None:
    listener = udt4.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    client = udt4.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    udt4.bind(listener, HERE, 0)
    udt4.listen(listener, 1)
    udt4.setsockopt(listener, udt4.UDT_FC, 100)
    udt4.connect(client, *udt4.getsockname(listener))
    server, _ = udt4.accept(listener)
    assert udt4.getsockopt(server, udt4.UDT_FC) == 100
    udt4.send(client, b"x")
    assert read(server, 1) == b"x"
    until(lambda: 0 < udt4.perfmon(client).pktFlowWindow <= 100)
    for sock in (client, server, listener):
        udt4.close(sock)


# --- files ----------------------------------------------------------------------------------------


def test_files(streams: Pair, tmp_path: Path) -> None:
    client, server = streams
    content = bytes(range(256)) * 4000
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    steps: list[tuple[int, int | None]] = []

    def send() -> None:
        udt4.sendfile(client, source, 1000, 500_000, 100_000, lambda *step: steps.append(step))

    thread = threading.Thread(target=send)
    thread.start()
    assert udt4.recvfile(server, target, 10, 500_000) == 500_000
    thread.join(TIMEOUT_S)
    assert target.read_bytes() == bytes(10) + content[1000:501_000]
    assert steps[-1] == (500_000, 500_000)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_files_end_early(streams: Pair, tmp_path: Path) -> None:
    client, server = streams
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"short")
    with source.open("rb") as opened:
        assert udt4.sendfile(client, opened, 1, 1_000_000) == 4
        assert udt4.sendfile(client, opened.fileno()) == 5
    udt4.close(client)
    with target.open("w+b") as opened:
        assert udt4.recvfile(server, opened, 0, 100) == 9
    assert target.read_bytes() == b"hortshort"


def test_files_that_were_opened_for_text(streams: Pair, tmp_path: Path) -> None:
    """In Python 2 there is no difference."""
    client, server = streams
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"\xff\r\nnot UTF-8")
    with source.open() as opened:
        assert udt4.sendfile(client, opened, 0, 12) == 12
    with target.open("w") as opened:
        opened.write("text")
        assert udt4.recvfile(server, opened, 4, 12) == 12
    assert target.read_bytes() == b"text\xff\r\nnot UTF-8"
    with pytest.raises(TypeError, match="text"):
        udt4.sendfile(client, io.StringIO("text"))


def test_a_file_that_cannot_be_written_is_told_to_the_sender(streams: Pair) -> None:
    class Full(io.RawIOBase):
        def seekable(self) -> bool:
            return True

        def seek(self, *_: object) -> int:
            return 0

        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    client, server = streams
    udt4.send(client, b"x")
    fails(udt4.EWRPERM, udt4.recvfile, server, Full(), 0, 1)

    def sent_until_told() -> bool:
        try:
            udt4.send(client, b"x")
        except UDTException as caught:
            return caught.code == udt4.EPEERERR
        return False

    until(sent_until_told)
    assert udt4.send(client, b"x") == 1  # it is told once


def test_offsets_that_cannot_be(streams: Pair) -> None:
    client, server = streams

    class Unseekable(io.RawIOBase):
        pass

    fails(udt4.EINVRDOFF, udt4.sendfile, client, Unseekable(), 5, 1)
    fails(udt4.EINVWROFF, udt4.recvfile, server, Unseekable(), 5, 1)
    with pytest.raises(ValueError, match="offset"):
        udt4.sendfile(client, __file__, -1)
    with pytest.raises(FileNotFoundError):
        udt4.sendfile(client, "/nowhere/at/all")
