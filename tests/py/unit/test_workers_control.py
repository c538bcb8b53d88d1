"""The control connection against a partner that follows, or breaks, its rules."""

from __future__ import annotations

import array
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rtworkers import control, layout
from rtworkers.control import HEADER, Connection, Request
from rtworkers.layout import CTL_MAGIC, Op

Partner = Callable[[socket.socket], None]


@pytest.fixture
def connect() -> Iterator[Callable[[Partner], Connection]]:
    threads: list[threading.Thread] = []
    open_ends: list[Connection] = []

    def start(partner: Partner) -> Connection:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def run() -> None:
            with theirs:
                theirs.settimeout(20)
                partner(theirs)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        open_ends.append(Connection(ours))
        return open_ends[-1]

    yield start
    for connection in open_ends:
        connection.close()
    for thread in threads:
        thread.join(20)


def answer(
    sock: socket.socket, request: int, result: int = 0, body: bytes = b"", fds: tuple[int, ...] = ()
) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([HEADER.pack(CTL_MAGIC, 0, request, result, len(body), 0), body], rights)


def receive(sock: socket.socket) -> tuple[int, int, bytes]:
    data = sock.recv(layout.CTL_MAX_BYTES)
    _, op, request, _, _, _ = HEADER.unpack_from(data)
    return op, request, data[HEADER.size :]


def test_request_and_reply(connect: Callable[[Partner], Connection]) -> None:
    def partner(sock: socket.socket) -> None:
        op, request, body = receive(sock)
        assert (op, body) == (Op.CLOSE, control.channel_body("ctl"))
        answer(sock, request, 3, b"body")

    reply = connect(partner).request(Request(Op.CLOSE, control.channel_body("ctl")))
    assert (reply.result, reply.body, reply.fds) == (3, b"body", [])


def test_descriptors_travel_both_ways(connect: Callable[[Partner], Connection]) -> None:
    def partner(sock: socket.socket) -> None:
        data, ancillary, _, _ = sock.recvmsg(layout.CTL_MAX_BYTES, socket.CMSG_SPACE(16))
        fds = control.received_fds(ancillary)
        answer(sock, HEADER.unpack_from(data)[2], fds=tuple(fds))
        for fd in fds:
            os.close(fd)

    readable, writable = os.pipe()
    reply = connect(partner).request(Request(Op.EXPORT, fds=(readable,)))
    os.write(writable, b"x")
    assert os.read(reply.fds[0], 1) == b"x"
    assert not os.get_inheritable(reply.fds[0])
    reply.close()
    assert reply.fds == []
    os.close(readable)
    os.close(writable)


def test_a_refusal_carries_errno_and_text(connect: Callable[[Partner], Connection]) -> None:
    def partner(sock: socket.socket) -> None:
        _, request, _ = receive(sock)
        answer(sock, request, -errno.EADDRINUSE, b"port 9000 is taken: choose another\0")

    with pytest.raises(control.ControlError, match="port 9000") as caught:
        connect(partner).request(Request(Op.OPEN))
    assert caught.value.errno == errno.EADDRINUSE


def test_hang_up(connect: Callable[[Partner], Connection]) -> None:
    with pytest.raises(control.WorkerGone):
        connect(lambda sock: None).request(Request(Op.PING))


FULL = b"worker 0 has 4096 connections, the limit: close channels\0"


def test_a_refusal_before_the_request_says_why() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    answer(theirs, 0, -errno.EUSERS, FULL)
    theirs.close()
    connection = Connection(ours)
    with pytest.raises(control.ControlError, match="4096 connections"):
        connection.request(Request(Op.ATTACH))
    connection.close()


def test_a_refusal_that_leaves_the_request_unread_says_why(
    connect: Callable[[Partner], Connection],
) -> None:
    """A worker refuses a connection when it accepts it. The request may have arrived by then."""

    def partner(sock: socket.socket) -> None:
        sock.recv(1, socket.MSG_PEEK)
        answer(sock, 0, -errno.EUSERS, FULL)

    for _ in range(20):
        with pytest.raises(control.ControlError, match="4096 connections") as caught:
            connect(partner).request(Request(Op.ATTACH))
        assert caught.value.errno == errno.EUSERS


def test_an_end_that_comes_before_the_last_message(
    connect: Callable[[Partner], Connection],
) -> None:
    """The kernel may say so if the worker answers and hangs up during a look for its answer."""

    class Hasty(socket.socket):
        hasty = True

        def recvmsg(self, *arguments: Any) -> Any:
            if self.hasty:
                self.hasty = False
                return b"", [], 0, None
            return super().recvmsg(*arguments)

    def partner(sock: socket.socket) -> None:
        answer(sock, receive(sock)[1], 3)

    connection = connect(partner)
    connection._sock = Hasty(fileno=connection._sock.detach())
    assert connection.request(Request(Op.PING)).result == 3


def test_an_answer_found_in_place_of_a_refusal_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker answered a request of a row, and died before it took the next."""
    real = control._parse
    came: list[tuple[int, bool]] = []

    def parse(data: bytes, fds: list[int]) -> control.Reply:
        came.extend((fd, os.get_inheritable(fd)) for fd in fds)
        return real(data, fds)

    monkeypatch.setattr(control, "_parse", parse)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    answer(theirs, 1, fds=(ours.fileno(),))
    theirs.close()
    connection = Connection(ours)
    with pytest.raises(control.WorkerGone):
        connection.request(Request(Op.OPEN))
    ((fd, inheritable),) = came
    assert not inheritable
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    connection.close()


def test_who_does_not_answer_is_named_with_what_helps() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection = Connection(ours, "worker 3 of pool 'plant'", os.getpid())
    with theirs:
        with pytest.raises(control.WorkerSilent) as silent:
            connection.request(Request(Op.HOLD), timeout=0.05)
        connection.close()
    assert silent.value.errno == errno.ETIMEDOUT
    pid = os.getpid()
    assert silent.value.strerror == (
        f"worker 3 of pool 'plant' (process {pid}) is alive, but did not answer HOLD within "
        f"0.05 s: have it replaced (kill -9 {pid})"
    )


def test_a_late_answer_is_not_taken_for_the_next(connect: Callable[[Partner], Connection]) -> None:
    late = threading.Event()

    def partner(sock: socket.socket) -> None:
        _, first, _ = receive(sock)
        late.wait(20)
        answer(sock, first, 1)
        _, second, _ = receive(sock)
        answer(sock, second, 2)

    connection = connect(partner)
    with pytest.raises(control.WorkerSilent):
        connection.request(Request(Op.PING), timeout=0.05)
    late.set()
    assert connection.request(Request(Op.PING)).result == 2


def test_a_row_keeps_its_order_and_outlives_a_refusal(
    connect: Callable[[Partner], Connection],
) -> None:
    count = 3 * control.ROW_WINDOW

    def partner(sock: socket.socket) -> None:
        for index in range(count):
            _, request, _ = receive(sock)
            answer(sock, request, -errno.EPROTO if index == 5 else index)

    replies = list(connect(partner).request_row(Request(Op.PING) for _ in range(count)))
    expected = [-errno.EPROTO if index == 5 else index for index in range(count)]
    assert [reply.result for reply in replies] == expected


@pytest.mark.parametrize(
    "message",
    [
        b"short",
        HEADER.pack(CTL_MAGIC + 1, 1, 1, 0, 0, 0),
        HEADER.pack(CTL_MAGIC, 1, 1, 0, 5, 0) + b"1234",
        HEADER.pack(CTL_MAGIC, 1, 1, 0, 3, 0) + b"1234",
    ],
)
def test_nonsense_is_an_error(connect: Callable[[Partner], Connection], message: bytes) -> None:
    def partner(sock: socket.socket) -> None:
        receive(sock)
        sock.send(message)

    with pytest.raises(OSError, match="malformed message") as caught:
        connect(partner).request(Request(Op.PING))
    assert caught.value.errno == errno.EPROTO


def test_list_of_channels() -> None:
    body = control.channel_body("one") + control.channel_body("x" * 64)
    assert control.parse_channels(body) == ["one", "x" * 64]
    assert control.parse_channels(b"") == []


def test_a_long_list_is_fetched_page_by_page(connect: Callable[[Partner], Connection]) -> None:
    names = [f"channel-{number}" for number in range(25)]

    def partner(sock: socket.socket) -> None:
        for _ in range(3):
            _op, request, body = receive(sock)
            first, _reserved = control.LIST.unpack(body)
            page = b"".join(map(control.channel_body, names[first : first + 10]))
            answer(sock, request, len(names), page)

    assert connect(partner).list_channels() == names


def test_a_list_that_shrinks_meanwhile_ends(connect: Callable[[Partner], Connection]) -> None:
    def partner(sock: socket.socket) -> None:
        for page in (control.channel_body("one"), b""):
            _op, request, _body = receive(sock)
            answer(sock, request, 2, page)

    assert connect(partner).list_channels() == ["one"]


def test_a_request_that_cannot_be_sent_does_not_end_its_row(
    connect: Callable[[Partner], Connection],
) -> None:
    """A closed descriptor is the sender's mistake, and that of one request alone."""

    def partner(sock: socket.socket) -> None:
        for _ in range(2):
            answer(sock, receive(sock)[1], 7)

    row = [Request(Op.OPEN), Request(Op.OPEN, fds=(-1,)), Request(Op.OPEN)]
    replies = list(connect(partner).request_row(row))
    assert [reply.result for reply in replies] == [7, -errno.EBADF, 7]
    assert control.refusal(replies[1]).errno == errno.EBADF
