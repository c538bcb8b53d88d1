"""Sockets of udt4 that are not connected: making, binding, options, states, what they refuse.

What is known of the original is in test_parity_tables.py.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.calls import gives
from kit.waiting import until
from kit.wire import udp

import udt4
from udt4 import UDTSOCKET, UDTException

pytestmark = pytest.mark.usefixtures("own_workers")

HERE = "127.0.0.1"


@pytest.fixture
def sock() -> Iterator[UDTSOCKET]:
    made = udt4.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    yield made
    udt4.close(made)


def fails(code: int, call: Callable[..., Any], *args: Any) -> None:
    with pytest.raises(UDTException) as caught:
        call(*args)
    assert caught.value.code == code


def test_debug_prints(sock: UDTSOCKET, capfd: pytest.CaptureFixture[str]) -> None:
    sock.debug()
    assert "state 1" in capfd.readouterr().err


def test_startup_and_cleanup() -> None:
    assert udt4.startup() is None
    assert udt4.startup() is None
    made = udt4.socket(2, 1, 0)
    udt4.bind(made, HERE, 0)
    assert udt4.cleanup() is None
    assert udt4.getsockstate(made) == udt4.UDTSTATUS_OPENED
    assert udt4.cleanup() is None
    assert udt4.getsockstate(made) >= udt4.UDTSTATUS_CLOSED
    assert udt4.cleanup() is None


# --- binding --------------------------------------------------------------------------------------


def test_sockets_share_a_port(sock: UDTSOCKET) -> None:
    udt4.bind(sock, HERE, 0)
    port = udt4.getsockname(sock)[1]
    other = udt4.socket(2, 1, 0)
    udt4.bind(other, HERE, port)
    assert udt4.getsockname(other) == udt4.getsockname(sock)
    udt4.listen(sock, 1)
    fails(udt4.EDUPLISTEN, udt4.listen, other, 1)
    udt4.close(other)
    alone = udt4.socket(2, 1, 0)
    udt4.setsockopt(alone, udt4.UDT_REUSEADDR, False)
    fails(udt4.ESOCKFAIL, udt4.bind, alone, HERE, port)
    udt4.close(alone)


def test_a_foreign_port_is_taken(sock: UDTSOCKET) -> None:
    with udp() as foreign:
        fails(udt4.ESOCKFAIL, udt4.bind, sock, HERE, foreign.getsockname()[1])
    assert udt4.getsockstate(sock) == udt4.UDTSTATUS_INIT


def test_a_port_is_free_again_at_once(sock: UDTSOCKET) -> None:
    udt4.bind(sock, HERE, 0)
    port = udt4.getsockname(sock)[1]
    udt4.listen(sock, 1)
    udt4.close(sock)
    udp(port=port).close()


def test_binding_to_a_udp_socket(sock: UDTSOCKET) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((HERE, 0))
        assert udt4.bind_to_udp(sock, udp.fileno()) is None
        assert udt4.getsockname(sock) == udp.getsockname()
    assert udt4.getsockstate(sock) == udt4.UDTSTATUS_OPENED


def test_a_closed_socket_is_forgotten() -> None:
    sock = udt4.socket(2, 1, 0)
    udt4.bind(sock, HERE, 0)
    udt4.close(sock)
    until(lambda: udt4.getsockstate(sock) == udt4.UDTSTATUS_NONEXIST)


def test_a_context_closes() -> None:
    with udt4.socket(2, 1, 0) as sock:
        assert udt4.bind(sock, "127.0.0.1", 0) == 0
    assert sock.closed
    with sock:  # again does no harm
        pass


def test_a_forgotten_socket_is_closed() -> None:
    sock = udt4.socket(2, 1, 0)
    udt4.bind(sock, HERE, 0)
    udt4.listen(sock, 1)
    port = udt4.getsockname(sock)[1]
    del sock
    gc.collect()
    deadline = time.monotonic() + 20
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
            try:
                foreign.bind((HERE, port))
                return
            except OSError:
                assert time.monotonic() < deadline
        time.sleep(0.01)


# --- single calls ---------------------------------------------------------------------------------

SET, GET = "udt4.setsockopt", "udt4.getsockopt"
NO_SOCKET = """
    bind({},'127.0.0.1',0) bind_to_udp({},0) listen({},1) accept({}) connect({},'127.0.0.1',1)
    close({}) getpeername({}) getsockname({}) setsockopt({},0,1500) getsockopt({},0)
    getsockstate({}) send({},b'x') sendmsg({},b'x') recv({},1) recvmsg({},1) sendfile({},'x')
    recvfile({},'x') perfmon({}) UDTepoll().add_usock({}) UDTepoll().remove_usock({})"""
OF_A_CLOSED_ONE = """
    bind(b,'127.0.0.1',0) accept(b) connect(b,'127.0.0.1',1) getpeername(b) getsockopt(b,0)
    setsockopt(b,1,True) send(b,b'x') recv(b,1) perfmon(b)"""
# A call and the repr of what it returns, or the exception with words of its text. s: new, b: bound,
# l: listens, m: of messages. kept(option, value): the number of the error if nothing has changed.
CALLS = [
    ("[s.family, s.domain, s.type, s.protocol]", "[2, 2, 1, 0]"),
    ("[s.UDTSOCKET == s.fileno() > 0, s.UDTSOCKET != m.UDTSOCKET, s != m]", "[True, True, True]"),
    ("[(o := udt4.socket(2, 2, 17)).type, o.protocol, udt4.close(o)]", "[2, 17, -1]"),
    *[
        (f"setattr(s, '{name}', 1)", "AttributeError")
        for name in ("family", "domain", "type", "protocol", "UDTSOCKET")
    ],
    ("udt4.UDTSOCKET()", "TypeError: udt4.socket"),
    ("udt4.socket(10, 1, 0)", "ValueError: AF_INET"),
    *[
        (f"udt4.{call.format(thing)}", "TypeError: UDTSOCKET")
        for call in NO_SOCKET.split()
        for thing in ("None", "7", "'socket'", "object()")
    ],
    ("udt4.getsockname(b)[1] > 0", "True"),
    *[
        row
        for host in ("", "localhost", "256.1.1.1", "::1", "127.0.0.1\0")
        for row in (
            (f"udt4.bind(s, {host!r}, 0)", "ValueError: address"),
            (f"udt4.connect(s, {host!r}, 9)", "RuntimeError: address"),
        )
    ],
    ("udt4.bind(s, '127.0.0.1', -1)", "ValueError: port"),
    ("udt4.bind(s, '127.0.0.1', 65536)", "ValueError: port"),
    ("udt4.bind(s, '127.0.0.1', '80')", "TypeError: port"),
    ("udt4.bind(s)", "TypeError: host and port"),
    ("udt4.bind(s, '127.0.0.1', 0, 0)", "TypeError: host and port"),
    ("[udt4.bind(s, udp.fileno()), udt4.getsockname(s) == udp.getsockname()]", "[0, True]"),
    ("udt4.bind_to_udp(s, 10**6)", "UDTException 1003"),
    ("udt4.listen(s, 0)", "ValueError: backlog"),
    ("udt4.listen(s, -1)", "ValueError: backlog"),
    ("udt4.listen(b, 10**6)", "0"),
    ("udt4.send(l, b'x')", "UDTException 2002"),
    (f"{SET}(b, 12, True) or udt4.accept(b)", "UDTException 5007"),
    ("udt4.sendfile(s, __file__)", "UDTException 2002"),
    ("udt4.recvfile(s, '/dev/null')", "UDTException 2002"),
    ("udt4.sendfile(m, __file__)", "UDTException 5010"),
    ("udt4.recvfile(m, '/dev/null')", "UDTException 5010"),
    *[(f"[udt4.close(b), udt4.{call}]", "UDTException 5004") for call in OF_A_CLOSED_ONE.split()],
    ("[udt4.close(s), udt4.getsockstate(s)]", "[-1, 8]"),
    (f"{GET}(s, 18)", "0"),
    *[
        (f"[{SET}(s, {option}, {value}), {GET}(s, {option})]", f"[0, {then}]")
        for option, value, then in (
            (0, 9000, 9000), (0, 76, 76), (0, 9_000_000, 65535), (0, "True + 99", 100),
            (1, False, False), (2, False, False), (4, 100, 100), (4, 1, 32), (5, 65536, 64768),
            (5, 1, 1472), (6, 64, 47104), (6, 10**8, 37_683_200), (7, (0, 0), (0, 0)),
            (7, (True, 5), (1, 5)), (8, 100_000, 100_000), (8, 10, 1500), (9, 10, 1500),
            (12, True, True), (13, 5, 5), (14, 5, 5), (15, False, False), (16, 2**40, 2**40),
        )
    ],
    *[(f"kept({option}, {value})", "5003") for option, value in ((0, 75), (4, 0), (5, 0), (6, -1))],
    *[
        (f"{SET}(s, {option}, {value})", "TypeError")
        for option, value in (
            (0, "'1500'"), (0, 1500.0), (1, 1), (12, None), (7, [1, 180]), (7, (1,)),
            (7, ("a", 1)), (16, 1.5),
        )
    ],
    *[
        (f"{call}(s, {option}{more})", "ValueError: option")
        for option in (3, 10, 11, 99)
        for call, more in ((GET, ""), (SET, ", 1"))
    ],
    *[(f"{SET}(s, {option}, 1)", "ValueError: set") for option in (17, 18, 19, 20)],
    (f"{SET}(s, 0, 2**40)", "ValueError: fit"),
    (f"{SET}(s, 7, (1, 2**31))", "ValueError: fit"),
    *[
        (f"{SET}({sock}, {option}, {value})", "0")
        for sock in "bl"
        for option, value in ((4, 100), (12, True), (7, (1, 1)), (13, 1), (16, 1))
    ],
]  # fmt: skip


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    made = {name: udt4.socket(2, 1 + (name == "m"), 0) for name in "sblm"}
    udt4.bind(made["b"], HERE, 0)
    udt4.bind(made["l"], HERE, 0)
    udt4.listen(made["l"], 1)

    def kept(option: int, value: int) -> int:
        before = udt4.getsockopt(made["s"], option)
        with pytest.raises(UDTException) as caught:
            udt4.setsockopt(made["s"], option, value)
        assert udt4.getsockopt(made["s"], option) == before
        return int(caught.value.code)

    with udp() as plain:
        yield made | {"udt4": udt4, "udp": plain, "kept": kept, "__file__": __file__}
    for sock in made.values():
        udt4.close(sock)


@pytest.mark.parametrize(("call", "expected"), CALLS)
def test_calls(call: str, expected: str, names: dict[str, Any]) -> None:
    gives(call, expected, names)
