"""Sockets of udt4 that are not connected: making, binding, options, states, what they refuse."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.waiting import until
from kit.wire import udp

import udt4
from udt4 import UDTSOCKET, UDTException

pytestmark = pytest.mark.usefixtures("shmring_namespace")

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


# --- making ---------------------------------------------------------------------------------------


def test_what_a_socket_is(sock: UDTSOCKET) -> None:
    assert (sock.family, sock.domain, sock.type, sock.protocol) == (2, 2, 1, 0)
    assert sock.UDTSOCKET == sock.fileno() > 0
    other = udt4.socket(socket.AF_INET, socket.SOCK_DGRAM, 17)
    assert (other.type, other.protocol) == (2, 17)
    assert other.UDTSOCKET != sock.UDTSOCKET
    assert other != sock
    udt4.close(other)


def test_attributes_are_read_only(sock: UDTSOCKET) -> None:
    for name in ("family", "domain", "type", "protocol", "UDTSOCKET"):
        with pytest.raises(AttributeError):
            setattr(sock, name, 1)


def test_sockets_are_made_by_the_function_only() -> None:
    with pytest.raises(TypeError, match=r"udt4\.socket"):
        UDTSOCKET()


def test_wrong_arguments_of_socket() -> None:
    with pytest.raises(ValueError, match="AF_INET"):
        udt4.socket(socket.AF_INET6, socket.SOCK_STREAM, 0)
    fails(udt4.EINVPARAM, udt4.socket, socket.AF_INET, socket.SOCK_RAW, 0)
    with pytest.raises(TypeError):
        udt4.socket("x", 1, 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        udt4.socket(2, 1)  # type: ignore[call-arg]


@pytest.mark.parametrize("thing", [None, 7, "socket", object()])
@pytest.mark.parametrize(
    "call",
    [
        lambda s: udt4.bind(s, HERE, 0),
        lambda s: udt4.bind_to_udp(s, 0),
        lambda s: udt4.listen(s, 1),
        udt4.accept,
        lambda s: udt4.connect(s, HERE, 1),
        udt4.close,
        udt4.getpeername,
        udt4.getsockname,
        lambda s: udt4.setsockopt(s, udt4.UDT_MSS, 1500),
        lambda s: udt4.getsockopt(s, udt4.UDT_MSS),
        udt4.getsockstate,
        lambda s: udt4.send(s, b"x"),
        lambda s: udt4.sendmsg(s, b"x"),
        lambda s: udt4.recv(s, 1),
        lambda s: udt4.recvmsg(s, 1),
        lambda s: udt4.sendfile(s, "x"),
        lambda s: udt4.recvfile(s, "x"),
        udt4.perfmon,
        lambda s: udt4.UDTepoll().add_usock(s),
        lambda s: udt4.UDTepoll().remove_usock(s),
    ],
)
def test_what_is_no_socket_is_a_type_error(call: Callable[[Any], Any], thing: object) -> None:
    with pytest.raises(TypeError, match="UDTSOCKET"):
        call(thing)


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


def test_bind(sock: UDTSOCKET) -> None:
    assert udt4.getsockstate(sock) == udt4.UDTSTATUS_INIT
    fails(udt4.ENOCONN, udt4.getsockname, sock)
    assert udt4.bind(sock, HERE, 0) == 0
    host, port = udt4.getsockname(sock)
    assert host == HERE
    assert port > 0
    assert udt4.getsockstate(sock) == udt4.UDTSTATUS_OPENED
    fails(udt4.EINVOP, udt4.bind, sock, HERE, 0)


@pytest.mark.parametrize("host", ["", "localhost", "256.1.1.1", "::1", "127.0.0.1\0"])
def test_bind_takes_dotted_quads_only(sock: UDTSOCKET, host: str) -> None:
    with pytest.raises(ValueError, match="address"):
        udt4.bind(sock, host, 0)
    with pytest.raises(RuntimeError, match="address"):
        udt4.connect(sock, host, 9)


def test_ports_have_limits(sock: UDTSOCKET) -> None:
    for port in (-1, 65536):
        with pytest.raises(ValueError, match="port"):
            udt4.bind(sock, HERE, port)
    with pytest.raises(TypeError, match="port"):
        udt4.bind(sock, HERE, "80")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        udt4.bind(sock)  # type: ignore[call-overload]


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


def test_bind_takes_a_descriptor_too(sock: UDTSOCKET) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((HERE, 0))
        assert udt4.bind(sock, udp.fileno()) == 0
        assert udt4.getsockname(sock) == udp.getsockname()


def test_binding_to_a_descriptor_that_is_not_open(sock: UDTSOCKET) -> None:
    fails(udt4.ESOCKFAIL, udt4.bind_to_udp, sock, 10**6)
    with pytest.raises(TypeError):
        udt4.bind_to_udp(sock, "x")  # type: ignore[arg-type]


# --- listening and calls out of place -------------------------------------------------------------


def test_listen(sock: UDTSOCKET) -> None:
    fails(udt4.EUNBOUNDSOCK, udt4.listen, sock, 1)
    for backlog in (0, -1):
        with pytest.raises(ValueError, match="backlog"):
            udt4.listen(sock, backlog)
    udt4.bind(sock, HERE, 0)
    fails(udt4.ENOLISTEN, udt4.accept, sock)
    assert udt4.listen(sock, 10**6) == 0
    assert udt4.listen(sock, 1) == 0
    assert udt4.getsockstate(sock) == udt4.UDTSTATUS_LISTENING
    fails(udt4.ECONNSOCK, udt4.connect, sock, HERE, 1)
    udt4.setsockopt(sock, udt4.UDT_RCVSYN, False)
    fails(udt4.EASYNCRCV, udt4.accept, sock)
    fails(udt4.ENOCONN, udt4.send, sock, b"x")


def test_a_rendezvous_neither_listens_nor_accepts_nor_starts_unbound(sock: UDTSOCKET) -> None:
    udt4.setsockopt(sock, udt4.UDT_RENDEZVOUS, True)
    fails(udt4.ERDVUNBOUND, udt4.connect, sock, HERE, 1)
    udt4.bind(sock, HERE, 0)
    fails(udt4.ERDVNOSERV, udt4.listen, sock, 1)
    fails(udt4.ERDVNOSERV, udt4.accept, sock)


def test_calls_that_need_a_connection(sock: UDTSOCKET) -> None:
    for call, args in (
        (udt4.send, (b"x",)),
        (udt4.recv, (1,)),
        (udt4.sendfile, (__file__,)),
        (udt4.recvfile, ("/dev/null",)),
        (udt4.perfmon, ()),
        (udt4.getpeername, ()),
    ):
        fails(udt4.ENOCONN, call, sock, *args)


def test_a_call_of_the_wrong_mode_says_so_before_it_looks_for_a_connection(
    sock: UDTSOCKET,
) -> None:
    fails(udt4.ESTREAMILL, udt4.sendmsg, sock, b"x")
    fails(udt4.ESTREAMILL, udt4.recvmsg, sock, 1)
    messages = udt4.socket(2, 2, 0)
    for call, args in (
        (udt4.send, (b"x",)),
        (udt4.recv, (1,)),
        (udt4.sendfile, (__file__,)),
        (udt4.recvfile, ("/dev/null",)),
    ):
        fails(udt4.EDGRAMILL, call, messages, *args)


def test_a_closed_socket() -> None:
    sock = udt4.socket(2, 1, 0)
    udt4.bind(sock, HERE, 0)
    assert udt4.close(sock) == 0
    assert udt4.close(sock) == -1
    assert udt4.getsockstate(sock) == udt4.UDTSTATUS_CLOSED
    for call, args in (
        (udt4.bind, (HERE, 0)),
        (udt4.listen, (1,)),
        (udt4.accept, ()),
        (udt4.connect, (HERE, 1)),
        (udt4.getsockname, ()),
        (udt4.getpeername, ()),
        (udt4.getsockopt, (udt4.UDT_MSS,)),
        (udt4.setsockopt, (udt4.UDT_SNDSYN, True)),
        (udt4.send, (b"x",)),
        (udt4.recv, (1,)),
        (udt4.perfmon, ()),
    ):
        fails(udt4.EINVSOCK, call, sock, *args)
    until(lambda: udt4.getsockstate(sock) == udt4.UDTSTATUS_NONEXIST)


def test_closing_what_was_never_used() -> None:
    sock = udt4.socket(2, 1, 0)
    assert udt4.close(sock) == -1
    assert udt4.getsockstate(sock) == udt4.UDTSTATUS_CLOSED


def test_a_context_closes() -> None:
    with udt4.socket(2, 1, 0) as sock:
        assert udt4.bind(sock, "127.0.0.1", 0) == 0
    assert sock.closed
    with sock:  # again does no harm
        pass


def test_bind_takes_no_other_numbers_of_arguments(sock: UDTSOCKET) -> None:
    for wrong in ((), ("127.0.0.1", 0, 0)):
        with pytest.raises(TypeError, match="host and port"):
            udt4.bind(sock, *wrong)


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


# --- options --------------------------------------------------------------------------------------

DEFAULTS: list[tuple[int, Any]] = [
    (udt4.UDT_MSS, 1500),
    (udt4.UDT_SNDSYN, True),
    (udt4.UDT_RCVSYN, True),
    (udt4.UDT_FC, 25600),
    (udt4.UDT_SNDBUF, 12_058_624),
    (udt4.UDT_RCVBUF, 12_058_624),
    (udt4.UDT_LINGER, (1, 180)),
    (udt4.UDP_SNDBUF, 65536),
    (udt4.UDP_RCVBUF, 12_288_000),
    (udt4.UDT_RENDEZVOUS, False),
    (udt4.UDT_SNDTIMEO, -1),
    (udt4.UDT_RCVTIMEO, -1),
    (udt4.UDT_REUSEADDR, True),
    (udt4.UDT_MAXBW, -1),
    (udt4.UDT_STATE, 1),
    (udt4.UDT_EVENT, 0),
    (udt4.UDT_SNDDATA, 0),
    (udt4.UDT_RCVDATA, 0),
]


@pytest.mark.parametrize(("option", "value"), DEFAULTS)
def test_defaults(sock: UDTSOCKET, option: int, value: object) -> None:
    found = udt4.getsockopt(sock, option)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("option", "value", "then"),
    [
        (udt4.UDT_MSS, 9000, 9000),
        (udt4.UDT_MSS, 76, 76),
        (udt4.UDT_MSS, 9_000_000, 65535),
        (udt4.UDT_MSS, True + 99, 100),
        (udt4.UDT_SNDSYN, False, False),
        (udt4.UDT_RCVSYN, False, False),
        (udt4.UDT_FC, 100, 100),
        (udt4.UDT_FC, 1, 32),
        (udt4.UDT_SNDBUF, 65536, 64768),
        (udt4.UDT_SNDBUF, 1, 1472),
        (udt4.UDT_RCVBUF, 64, 47104),
        (udt4.UDT_RCVBUF, 10**8, 37_683_200),
        (udt4.UDT_LINGER, (0, 0), (0, 0)),
        (udt4.UDT_LINGER, (True, 5), (1, 5)),
        (udt4.UDP_SNDBUF, 100_000, 100_000),
        (udt4.UDP_SNDBUF, 10, 1500),
        (udt4.UDP_RCVBUF, 10, 1500),
        (udt4.UDT_RENDEZVOUS, True, True),
        (udt4.UDT_SNDTIMEO, 5, 5),
        (udt4.UDT_RCVTIMEO, 5, 5),
        (udt4.UDT_REUSEADDR, False, False),
        (udt4.UDT_MAXBW, 2**40, 2**40),
    ],
)
def test_options_are_set(sock: UDTSOCKET, option: int, value: object, then: object) -> None:
    assert udt4.setsockopt(sock, option, value) == 0
    assert udt4.getsockopt(sock, option) == then


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (udt4.UDT_MSS, 75),
        (udt4.UDT_FC, 0),
        (udt4.UDT_SNDBUF, 0),
        (udt4.UDT_RCVBUF, -1),
    ],
)
def test_values_out_of_range(sock: UDTSOCKET, option: int, value: int) -> None:
    before = udt4.getsockopt(sock, option)
    fails(udt4.EINVPARAM, udt4.setsockopt, sock, option, value)
    assert udt4.getsockopt(sock, option) == before


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (udt4.UDT_MSS, "1500"),
        (udt4.UDT_MSS, 1500.0),
        (udt4.UDT_SNDSYN, 1),
        (udt4.UDT_RENDEZVOUS, None),
        (udt4.UDT_LINGER, [1, 180]),
        (udt4.UDT_LINGER, (1,)),
        (udt4.UDT_LINGER, ("a", 1)),
        (udt4.UDT_MAXBW, 1.5),
    ],
)
def test_values_of_the_wrong_type(sock: UDTSOCKET, option: int, value: object) -> None:
    with pytest.raises(TypeError):
        udt4.setsockopt(sock, option, value)


@pytest.mark.parametrize("option", [udt4.UDT_MAXMSG, udt4.UDT_MSGTTL, udt4.UDT_CC, 99])
def test_options_that_are_not_there(sock: UDTSOCKET, option: int) -> None:
    with pytest.raises(ValueError, match="option"):
        udt4.getsockopt(sock, option)
    with pytest.raises(ValueError, match="option"):
        udt4.setsockopt(sock, option, 1)


@pytest.mark.parametrize(
    "option", [udt4.UDT_STATE, udt4.UDT_EVENT, udt4.UDT_SNDDATA, udt4.UDT_RCVDATA]
)
def test_options_that_are_read_only(sock: UDTSOCKET, option: int) -> None:
    with pytest.raises(ValueError, match="set"):
        udt4.setsockopt(sock, option, 1)


def test_integers_must_fit(sock: UDTSOCKET) -> None:
    with pytest.raises(ValueError, match="fit"):
        udt4.setsockopt(sock, udt4.UDT_MSS, 2**40)
    with pytest.raises(ValueError, match="fit"):
        udt4.setsockopt(sock, udt4.UDT_LINGER, (1, 2**31))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (udt4.UDT_MSS, 1400),
        (udt4.UDT_SNDBUF, 10**6),
        (udt4.UDT_RCVBUF, 10**6),
        (udt4.UDP_SNDBUF, 10**6),
        (udt4.UDP_RCVBUF, 10**6),
        (udt4.UDT_REUSEADDR, False),
    ],
)
def test_options_that_are_fixed_once_bound(sock: UDTSOCKET, option: int, value: object) -> None:
    udt4.bind(sock, HERE, 0)
    fails(udt4.EBOUNDSOCK, udt4.setsockopt, sock, option, value)


@pytest.mark.parametrize("listening", [False, True])
def test_options_that_may_be_set_until_connected(sock: UDTSOCKET, listening: bool) -> None:
    udt4.bind(sock, HERE, 0)
    if listening:
        udt4.listen(sock, 1)
    for option, value in (
        (udt4.UDT_FC, 100),
        (udt4.UDT_RENDEZVOUS, True),
        (udt4.UDT_LINGER, (1, 1)),
        (udt4.UDT_SNDTIMEO, 1),
        (udt4.UDT_MAXBW, 1),
    ):
        assert udt4.setsockopt(sock, option, value) == 0
