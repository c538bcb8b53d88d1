"""What one listener answers is no request to any other: a forged source cannot make two of them
talk to each other for ever."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

import shmring
from shmring import udt
from shmring.net import probes

pytestmark = pytest.mark.check

HERE = ("127.0.0.1", 0)
PATIENCE_S = 20.0
QUIET_S = 0.3
MOST_ANSWERS = 100
SELDOM_NS = 3600 * 10**9  # beyond the end of the test
SSRC = 0x5EED


class Listener(NamedTuple):
    address: tuple[str, int]
    answers: list[bytes]
    """All kinds of datagrams that it sends to whoever asks it."""


Opener = Callable[[shmring.Pool, socket.socket, contextlib.ExitStack], Listener]


def arrivals(sock: socket.socket, of: tuple[str, int] | None = None) -> list[bytes]:
    """All datagrams (of one listener), until none has come for a while, or there is no end."""
    found: list[bytes] = []
    sock.settimeout(QUIET_S)
    with contextlib.suppress(TimeoutError):
        while len(found) < MOST_ANSWERS:
            data, source = sock.recvfrom(65536)
            if of in (None, source):
                found.append(data)
    return found


def ask(sock: socket.socket, to: tuple[str, int], *requests: bytes) -> list[bytes]:
    for request in requests:
        sock.sendto(request, to)
    return arrivals(sock, to)


# --- the protocols, by hand -----------------------------------------------------------------------


def udt_control(kind: int, to: int, body: bytes = bytes(4), info: int = 0) -> bytes:
    return struct.pack("!IIII", 1 << 31 | kind << 16, info, 0, to) + body


def udt_handshake(kind: int, socket_id: int, cookie: int = 0, version: int = 4) -> bytes:
    words = (version, 1, 77, 1500, 8192, kind & 0xFFFFFFFF, socket_id, cookie)
    return udt_control(0, 0, struct.pack("!8I", *words) + bytes(16))


def udt_listener(pool: shmring.Pool, sock: socket.socket, stack: contextlib.ExitStack) -> Listener:
    listener = stack.enter_context(udt.listen(HERE, pool=pool))
    to = listener.local
    found = [ask(sock, to, udt_handshake(1, socket_id)) for socket_id in (0, 1, 2**31 - 1, 2**31)]
    answers = [answer for some in found for answer in some]
    cookie = struct.unpack("!I", found[1][0][44:48])[0]
    answers += ask(sock, to, udt_handshake(-1, 0, cookie), udt_handshake(-1, 3, cookie, version=5))
    with udt.connect(to, pool=pool) as client:
        client.sendall(b"data of a connection that the forged answers may meet")
        answers += ask(sock, to, udt_handshake(-1, 9, cookie))
        ours = struct.unpack("!I", answers[-1][40:44])[0]
        data = struct.pack("!IIII", 77, 3 << 30 | 1, 0, ours) + b"data"
        answers += ask(sock, to, data, udt_control(6, ours, info=1))
        accepted, _ = listener.accept(timeout=PATIENCE_S)
        stack.callback(accepted.close, linger=0)
        other, _ = listener.accept(timeout=PATIENCE_S)
        other.close(linger=0)
        answers += arrivals(sock)
    assert {answer[40:44] for answer in answers if len(answer) == 64}
    return Listener(to, answers)


def stamp_reflector(
    pool: shmring.Pool, sock: socket.socket, stack: contextlib.ExitStack
) -> Listener:
    reflector = stack.enter_context(probes.Reflector(HERE, pool=pool))
    thread = threading.Thread(target=reflector.serve)
    thread.start()
    stack.callback(thread.join)
    stack.callback(reflector.stop)
    request = struct.pack("!IIIHH", 1, 3_900_000_000, 0, 1, 0) + bytes(28)
    return Listener(reflector.local, ask(sock, reflector.local, request))


def rtp_ends(pool: shmring.Pool, sock: socket.socket, stack: contextlib.ExitStack) -> Listener:
    """A talkative channel, which is gone afterwards, gives the answers: reports, requests for
    missing packets, packets sent again, a goodbye. A quiet one listens."""
    answers = []
    for name, interval_ns in (("talks", 20_000_000), ("listens", SELDOM_NS)):
        options = shmring.Rtp(
            rtcp=shmring.rtp.Rtcp(
                interval_ns=interval_ns, bandwidth_bps=1e6, nack=shmring.rtp.Nack()
            ),
        )
        channel = pool.open(name, options, local=HERE, remote=sock.getsockname())
        to = channel.local
        assert to is not None
        channel.send_many([b"%d" % number for number in range(4)], timeout=PATIENCE_S)
        first = arrivals(sock)
        sequence = next(struct.unpack("!H", raw[2:4])[0] for raw in first if raw[1] < 192)
        media = [
            struct.pack("!BBHII", 0x80, 0, number, 160 * number, SSRC) + bytes(160)
            for number in (*range(10), 13, 14)
        ]
        again = struct.pack("!BBHIIHH", 0x81, 205, 3, SSRC, channel.ssrc, sequence, 1)
        report = struct.pack("!BBHI", 0x80, 201, 1, SSRC)
        answers += first + ask(sock, to, *media, report + again)
        if name == "talks":
            pool.end(name)
            answers += arrivals(sock)
    kinds = {raw[1] for raw in answers}
    assert kinds & {200, 201}
    assert any(b"\x81\xcd" in raw for raw in answers), "it requested nothing"
    one_of_each = {(len(raw), raw[:2]): raw for raw in answers}
    return Listener(to, list(one_of_each.values()))


def netflux_link(pool: shmring.Pool, sock: socket.socket, stack: contextlib.ExitStack) -> Listener:
    """As with RTP, since its datagrams come by the clock."""
    answers = []
    for name, cycle_ns in (("moves", 10_000_000), ("rests", SELDOM_NS)):
        options = shmring.Netflux(send=4, receive=4, cycle_ns=cycle_ns, watchdog_ns=0)
        link = pool.open(name, options, local=HERE, remote=sock.getsockname())
        to = link.local
        assert to is not None
        link.update(b"word")
        answers += ask(sock, to, b"\x01\x00" + bytes(4))
        if name == "moves":
            pool.end(name)
            arrivals(sock)
    return Listener(to, answers[:1])


def proxy_of_a_listener(
    pool: shmring.Pool, sock: socket.socket, stack: contextlib.ExitStack
) -> Listener:
    server = stack.enter_context(udt.listen(HERE, pool=pool))
    proxy = pool.open("link", shmring.Proxy(), local=HERE, remote=server.local)
    assert proxy.local is not None
    asked = [udt_handshake(1, socket_id) for socket_id in (0, 1)]
    return Listener(proxy.local, ask(sock, proxy.local, *asked))


LISTENERS: dict[str, Opener] = {
    "udt": udt_listener,
    "stamp": stamp_reflector,
    "rtp": rtp_ends,
    "netflux": netflux_link,
    "proxy": proxy_of_a_listener,
}


@pytest.fixture
def listeners(shmring_pool: shmring.Pool) -> Iterator[tuple[socket.socket, dict[str, Listener]]]:
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind(HERE)
        made = {name: opens(shmring_pool, sock, stack) for name, opens in LISTENERS.items()}
        yield sock, made


def test_no_answer_is_answered(
    listeners: tuple[socket.socket, dict[str, Listener]],
) -> None:
    sock, made = listeners
    for name, listener in made.items():
        assert listener.answers, name
    arrivals(sock)
    answered = {
        f"{name} answers {other}": [answer.hex() for answer in got]
        for name, listener in made.items()
        for other, its in made.items()
        if (got := ask(sock, listener.address, *its.answers))
    }
    assert not answered
