"""rtpsynth.RtpServer: ticks, types, and what create_channel takes and refuses."""

import gc
import itertools
import os
import pickle
import socket
import weakref

import pytest
from kit.calls import ignore, raises

import shmring
from rtpsynth.RtpServer import RtpChannel, RtpQueueFullError, RtpServer
from shmring._realtime import Shortfall

pytestmark = pytest.mark.usefixtures("own_workers")

HOME = "127.0.0.1"
SHUT_DOWN = "RtpServer is shutting down"


# --- RtpServer(tick_hz)


@pytest.mark.parametrize(
    ("args", "tick_ns"),
    [
        ((), 5_000_000),
        ((50,), 20_000_000),
        ((3,), 333_333_333),
        ((True,), 1_000_000_000),
        ((10**9,), 1),
        ((2 * 10**9,), 1),
        ((-1,), 1),  # an unsigned int: 2**32 - 1
    ],
)
def test_tick(args, tick_ns):
    server = RtpServer(*args)
    assert server.tick_ns == tick_ns
    with pytest.raises(AttributeError):
        server.tick_ns = 1
    server.shutdown()
    assert server.tick_ns == tick_ns


def test_tick_by_name():
    server = RtpServer(tick_hz=1000)
    assert server.tick_ns == 1_000_000
    server.shutdown()


def test_bad_ticks():
    for tick_hz in (0, 2**32):
        with raises(ValueError, "tick_hz must be > 0"):
            RtpServer(tick_hz)
    for wrong in (200.0, "200", None):
        with pytest.raises(TypeError):
            RtpServer(wrong)
    with pytest.raises(TypeError):
        RtpServer(1, 2)
    with pytest.raises(TypeError):
        RtpServer(hz=1)


def test_a_worker_that_cannot_start_is_a_runtime_error(monkeypatch, tmp_path):
    monkeypatch.setenv("SHMRING_NAMESPACE", f"none-{os.getpid()}")
    monkeypatch.setenv("SHMRING_WORKER", str(tmp_path / "none"))
    with pytest.raises(RuntimeError, match=r"^RtpServer cannot start: .*none"):
        RtpServer()
    shmring.close_default_pool()


def test_a_pool_without_privileges_is_no_warning(monkeypatch):
    monkeypatch.setenv("SHMRING_NAMESPACE", f"quiet-{os.getpid()}")
    monkeypatch.setattr("shmring.pool._shortfalls", lambda *_: [Shortfall("no priority", "why")])
    RtpServer().shutdown()  # warnings are errors here
    shmring.close_default_pool()


# --- types


def test_names_of_types(server):
    channel = server.create_channel(ignore)
    for thing, name in ((server, "RtpServer"), (channel, "RtpChannel")):
        kind = type(thing)
        assert (kind.__module__, kind.__qualname__) == ("rtpsynth.RtpServer", name)
        assert repr(thing).startswith(f"<rtpsynth.RtpServer.{name} object at 0x")
        with raises(TypeError, f"type 'rtpsynth.RtpServer.{name}' is not an acceptable base type"):
            type("Sub", (kind,), {})
        with pytest.raises(TypeError, match="cannot create weak reference"):
            weakref.ref(thing)
        with pytest.raises(AttributeError):
            thing.x = 1
        with raises(
            TypeError, f"cannot set 'x' attribute of immutable type '{kind.__module__}.{name}'"
        ):
            kind.x = 1
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        assert not gc.is_tracked(thing)
    assert RtpQueueFullError.__mro__[1] is Exception
    assert RtpQueueFullError.__module__ == "rtpsynth.RtpServer"


def test_channels_are_made_by_the_server_only():
    for args in ((), (1,), (RtpServer,)):
        with raises(TypeError, "RtpChannel objects are created by RtpServer.create_channel()"):
            RtpChannel(*args)


# --- create_channel: arguments, in the order in which they are checked

BAD_FAMILY = "bind_family must be one of: 0, 4, 6, AF_UNSPEC, AF_INET, AF_INET6"
BAD_FAMILY_NAME = "bind_family string must be one of: auto, ipv4, ipv6"
BAD_FAMILY_TYPE = "bind_family must be an int, str, or None"
BAD_PORT = "port must be in range 0..65535"
NO_POWER = "queue_size must be a power of two"

WRONG = [
    ({"pkt_in": None}, TypeError, "pkt_in must be callable"),
    ({"queue_size": 0}, ValueError, "queue_size must be > 0"),
    ({"queue_size": 2**64}, ValueError, "queue_size must be > 0"),
    ({"queue_size": 3}, ValueError, NO_POWER),
    ({"queue_size": -1}, ValueError, NO_POWER),
    ({"queue_size": 2**64 + 3}, ValueError, NO_POWER),
    ({"bind_family": 4.0}, TypeError, BAD_FAMILY_TYPE),
    ({"bind_family": b"ipv4"}, TypeError, BAD_FAMILY_TYPE),
    ({"bind_family": 1}, ValueError, BAD_FAMILY),
    ({"bind_family": True}, ValueError, BAD_FAMILY),
    ({"bind_family": -4}, ValueError, BAD_FAMILY),
    ({"bind_family": "IPV4"}, ValueError, BAD_FAMILY_NAME),
    ({"bind_family": ""}, ValueError, BAD_FAMILY_NAME),
    ({"bind_port": -1}, ValueError, BAD_PORT),
    ({"bind_port": 65536}, ValueError, BAD_PORT),
    (
        {"bind_host": "::1", "bind_family": 4},
        OSError,
        "getaddrinfo failed: Address family for hostname not supported",
    ),
    ({"bind_host": "203.0.113.9"}, OSError, "[Errno 99] Cannot assign requested address"),
    ({"queue_size": 2**40}, MemoryError, ""),
]


def keywords(wrong):
    return {"pkt_in": ignore, "bind_host": HOME} | wrong


@pytest.mark.parametrize(("wrong", "kind", "message"), WRONG)
def test_a_wrong_argument(server, wrong, kind, message):
    with raises(kind, message):
        server.create_channel(**keywords(wrong))


def test_of_two_wrong_arguments_the_first_in_the_order_is_told(server):
    for (first, kind, message), (second, _, _) in itertools.combinations(WRONG, 2):
        if not first.keys() & second.keys():
            with raises(kind, message):
                server.create_channel(**keywords(second | first))


@pytest.mark.parametrize(("wrong", "kind", "message"), WRONG)
def test_wrong_arguments_are_told_after_shutdown_too(wrong, kind, message):
    server = RtpServer()
    server.shutdown()
    with raises(kind, message):
        server.create_channel(**keywords(wrong))


def test_after_shutdown_no_channel_is_made():
    server = RtpServer()
    server.shutdown()
    with raises(RuntimeError, SHUT_DOWN):
        server.create_channel(ignore, HOME)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bind_host": 5},
        {"bind_host": b"127.0.0.1"},
        {"bind_port": 5.0},
        {"bind_port": "5"},
        {"bind_port": None},
        {"queue_size": 32.0},
        {"queue_size": None},
        {"unknown": 1},
    ],
)
def test_arguments_of_wrong_types(server, wrong):
    with pytest.raises(TypeError):
        server.create_channel(**keywords(wrong))


def test_other_refused_arguments(server):
    with pytest.raises(TypeError):
        server.create_channel()
    with pytest.raises(ValueError, match="embedded null"):
        server.create_channel(ignore, "127.0.0.1\0")
    for number in (2**40, 2**70):
        with pytest.raises(OverflowError):
            server.create_channel(ignore, HOME, number)
    with pytest.raises(OverflowError):
        server.create_channel(ignore, HOME, 0, 32, 2**70)


def test_an_unknown_host(server):
    with pytest.raises(OSError, match=r"^getaddrinfo failed: ") as caught:
        server.create_channel(ignore, "no-such-host.invalid")
    assert len(caught.value.args) == 1
    assert caught.value.errno is None


def test_a_port_in_use(server, peer):
    with pytest.raises(OSError, match="Address already in use") as caught:
        server.create_channel(ignore, *peer.getsockname())
    assert caught.value.errno == 98
    channel = server.create_channel(ignore, HOME)
    with pytest.raises(OSError, match="Address already in use"):
        server.create_channel(ignore, *channel.local_addr)


def test_a_queue_that_cannot_be_had_leaves_no_socket(server, peer):
    address = peer.getsockname()
    peer.close()
    for queue_size in (2**32, 2**61, 2**63):
        with pytest.raises(MemoryError):
            server.create_channel(ignore, *address, queue_size)
    assert server.create_channel(ignore, *address).local_addr == address


@pytest.mark.parametrize(
    ("family", "host"),
    [(f, "0.0.0.0") for f in (None, 0, False, "auto", "unspec", "any", socket.AF_UNSPEC)]
    + [(f, "0.0.0.0") for f in (4, socket.AF_INET, "ipv4", "inet", "af_inet")]
    + [(f, "::") for f in (6, socket.AF_INET6, "ipv6", "inet6", "af_inet6")],
)
def test_families_and_their_default_host(server, family, host):
    channel = server.create_channel(ignore, bind_family=family)
    assert channel.local_addr[0] == host
    assert 0 < channel.local_addr[1] < 65536
    channel.close()


def test_hosts_by_name_and_by_default(server):
    assert server.create_channel(ignore, "localhost").local_addr[0] in ("127.0.0.1", "::1")
    assert server.create_channel(ignore, "").local_addr[0] in ("0.0.0.0", "::")
    assert server.create_channel(ignore, "", 0, 1, 6).local_addr[0] == "::"
    assert server.create_channel(ignore, "::1").local_addr[0] == "::1"


def test_queue_sizes_wrap_at_64_bits(server):
    channel = server.create_channel(ignore, HOME, 0, 2**64 + 4)
    channel.close()
    server.create_channel(ignore, HOME, queue_size=True).close()
