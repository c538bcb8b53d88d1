"""rtpsynth.RtpServer: each promise of the class, with a real worker."""

import contextlib
import gc
import itertools
import os
import pickle
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest

import shmring
from rtpsynth.RtpProc import RtpProc
from rtpsynth.RtpServer import RtpChannel, RtpQueueFullError, RtpServer

pytestmark = pytest.mark.usefixtures("own_workers")

PATIENCE_S = 20.0
HOME = "127.0.0.1"
SHUT_DOWN = "RtpServer is shutting down"


def raises(kind, message):
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


def ignore(*_):
    pass


def wait_for(condition):
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.002)


class Inbox:
    """A callback that keeps what it is called with."""

    def __init__(self):
        self.calls = queue.Queue()

    def __call__(self, *args):
        self.calls.put(args)

    def get(self):
        return self.calls.get(timeout=PATIENCE_S)

    def nothing(self, seconds=0.05):
        with pytest.raises(queue.Empty):
            self.calls.get(timeout=seconds)


@pytest.fixture
def server():
    server = RtpServer()
    yield server
    server.shutdown()


@pytest.fixture
def peer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOME, 0))
        sock.settimeout(PATIENCE_S)
        yield sock


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def unraisable(monkeypatch):
    """What the unraisable hook is called with."""
    seen = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda u: seen.append((u.exc_type, str(u.exc_value), u.object))
    )
    return seen


def newest():
    """Name of the channel of the server that was made last."""
    return max(shmring.default_pool().channels(), key=lambda name: int(name.rpartition("-")[2]))


@contextlib.contextmanager
def held():
    """The worker leaves everything of the newest server where it is, as if it were slow."""
    with shmring.attach(newest()) as channel:
        channel.hold()
        yield
        channel.release()


def push(channel, data, most):
    """Send until the queue is full. Return how many packets it took."""
    for sent in range(most):
        try:
            channel.send_pkt(data)
        except RtpQueueFullError as full:
            assert str(full) == "channel output queue is full"  # noqa: PT017
            return sent
    return most


def wait_sent():
    """Until the worker has dealt with everything of the newest server."""
    with shmring.attach(newest(), mode="r") as tap:
        wait_for(lambda: tap.tx_waiting == 0)


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
    monkeypatch.setattr("shmring.pool._shortfalls", lambda *_: ["it has no priority"])
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


# --- the callback


def test_what_arrives_is_called_back(server, peer, inbox):
    channel = server.create_channel(inbox, HOME)
    before = time.monotonic_ns()
    peer.sendto(b"hello", channel.local_addr)
    data, address, rtime_ns = inbox.get()
    assert (data, address) == (b"hello", peer.getsockname())
    assert type(data) is bytes
    assert type(address) is tuple
    assert 0 < rtime_ns <= time.monotonic_ns()
    assert rtime_ns > before - 1_000_000_000


def test_a_channel_listens_when_create_channel_returns(server, peer, inbox):
    for _ in range(50):
        channel = server.create_channel(inbox, HOME)
        peer.sendto(b"x", channel.local_addr)
        inbox.get()
        channel.close()


def test_lengths_of_what_arrives(server, peer, inbox):
    channel = server.create_channel(inbox, HOME)
    for length in (0, 1, 12, 1500, 65507):
        peer.sendto(b"y" * length, channel.local_addr)
        assert inbox.get()[0] == b"y" * length


def test_ipv6_addresses_are_pairs(server, inbox):
    channel = server.create_channel(inbox, "::1")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        peer.bind(("::1", 0))
        peer.sendto(b"six", channel.local_addr)
        assert inbox.get()[:2] == (b"six", ("::1", peer.getsockname()[1]))
        peer.settimeout(PATIENCE_S)
        channel.set_target(*peer.getsockname()[:2])
        channel.send_pkt(b"back")
        assert peer.recvfrom(100)[0] == b"back"


def test_an_ipv6_socket_takes_ipv4_as_well(server, peer, inbox):
    channel = server.create_channel(inbox, bind_family=6)
    peer.sendto(b"four", (HOME, channel.local_addr[1]))
    assert inbox.get()[:2] == (b"four", ("::ffff:127.0.0.1", peer.getsockname()[1]))


def test_many_senders(server, inbox):
    channel = server.create_channel(inbox, HOME)
    senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
    for sender in senders * 2:
        sender.sendto(b"z", channel.local_addr)
    ports = {inbox.get()[1][1] for _ in range(40)}
    assert ports == {sender.getsockname()[1] for sender in senders}
    for sender in senders:
        sender.close()


def test_times_never_go_back(server, peer):
    seen = []

    def note(data, address, rtime_ns):
        seen.append((rtime_ns, time.monotonic_ns()))

    channels = [server.create_channel(note, HOME) for _ in range(20)]
    for _ in range(50):
        for channel in channels:
            peer.sendto(b"t", channel.local_addr)
    wait_for(lambda: len(seen) == 1000)
    stamps = [rtime_ns for rtime_ns, _ in seen]
    assert stamps == sorted(stamps)
    assert stamps[0] > 0
    assert all(rtime_ns <= now_ns for rtime_ns, now_ns in seen)


def test_callbacks_run_on_one_thread_of_the_server(server, peer):
    threads = set()
    channels = [
        server.create_channel(lambda *_: threads.add(threading.get_ident()), HOME) for _ in range(3)
    ]
    for channel in channels:
        peer.sendto(b"x", channel.local_addr)
    wait_for(lambda: threads)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_raising_callback_is_reported_and_called_again(server, peer, unraisable):
    calls = []

    def fail(data, address, rtime_ns):
        calls.append(data)
        raise LookupError(data)

    channel = server.create_channel(fail, HOME)
    for data in (b"1", b"2"):
        peer.sendto(data, channel.local_addr)
    wait_for(lambda: len(unraisable) == 2)
    assert calls == [b"1", b"2"]
    assert unraisable == [(LookupError, "b'1'", fail), (LookupError, "b'2'", fail)]


def test_a_callback_of_the_wrong_shape_is_reported(server, peer, unraisable):
    channel = server.create_channel(lambda data: None, HOME)
    peer.sendto(b"x", channel.local_addr)
    wait_for(lambda: unraisable)
    assert unraisable[0][0] is TypeError


def test_even_an_exit_is_only_reported(server, peer, unraisable, inbox):
    def leave(*_):
        raise SystemExit(3)

    channel = server.create_channel(leave, HOME)
    peer.sendto(b"x", channel.local_addr)
    wait_for(lambda: unraisable)
    other = server.create_channel(inbox, HOME)
    peer.sendto(b"y", other.local_addr)
    assert inbox.get()[0] == b"y"


def test_results_are_ignored(server, peer):
    results = []

    class Result:
        def __del__(self):
            results.append("gone")

    channel = server.create_channel(lambda *_: Result(), HOME)
    peer.sendto(b"x", channel.local_addr)
    wait_for(lambda: results)


# --- attributes


def test_local_addr_stays_readable(server):
    channel = server.create_channel(ignore, HOME)
    address = channel.local_addr
    assert address[0] == HOME
    assert not channel.closed
    channel.close()
    assert channel.local_addr == address
    assert channel.closed is True
    for name in ("local_addr", "closed"):
        with pytest.raises(AttributeError):
            setattr(channel, name, None)


# --- set_target


def test_target_may_be_set_again(server, peer):
    channel = server.create_channel(ignore, HOME)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOME, 0))
        other.settimeout(PATIENCE_S)
        for sock, data in ((peer, b"one"), (other, b"two"), (peer, b"three")):
            channel.set_target(*sock.getsockname())
            channel.send_pkt(data)
            assert sock.recvfrom(100) == (data, channel.local_addr)


def test_targets_are_resolved_in_the_channels_family(server):
    channel = server.create_channel(ignore, HOME)
    channel.set_target("localhost", 9)
    channel.set_target("", 9)
    with raises(OSError, "getaddrinfo failed: Address family for hostname not supported"):
        channel.set_target("::1", 9)
    with pytest.raises(OSError, match=r"^getaddrinfo failed: ") as caught:
        channel.set_target("no-such-host.invalid", 9)
    assert len(caught.value.args) == 1


def test_wrong_targets(server):
    channel = server.create_channel(ignore, HOME)
    for port in (-1, 65536):
        with raises(ValueError, BAD_PORT):
            channel.set_target(HOME, port)
    for args in ((), (HOME,), (HOME, 9, 9), (None, 9), (b"127.0.0.1", 9), (HOME, "9"), (HOME, 9.0)):
        with pytest.raises(TypeError):
            channel.set_target(*args)
    with pytest.raises(TypeError):
        channel.set_target(host=HOME, port=9)


def test_set_target_of_a_closed_channel_and_server(server):
    channel = server.create_channel(ignore, HOME)
    other = server.create_channel(ignore, HOME)
    channel.close()
    for port in (9, 99999):  # before the arguments' values are looked at
        with raises(RuntimeError, "channel is closed"):
            channel.set_target(HOME, port)
    server.shutdown()
    for args in ((HOME, 9), (HOME, 99999), ("no-such-host.invalid", 9)):
        with raises(RuntimeError, SHUT_DOWN):
            other.set_target(*args)


# --- send_pkt


@pytest.mark.parametrize(
    "data", [b"abc", bytearray(b"abc"), memoryview(b"abc"), [97, 98, 99], range(97, 100), b""]
)
def test_whatever_bytes_takes_is_sent(server, peer, data):
    channel = server.create_channel(ignore, HOME)
    channel.set_target(*peer.getsockname())
    assert channel.send_pkt(data) is None
    assert peer.recvfrom(100)[0] == bytes(data)


def test_send_pkt_checks_in_this_order(server):
    channel = server.create_channel(ignore, HOME, 0, 1)
    other = server.create_channel(ignore, HOME)
    for data in (b"x", 5):
        with raises(RuntimeError, "channel target is not set"):
            channel.send_pkt(data)
    channel.set_target(HOME, 9)
    for wrong in (5, "text", None, object()):
        with raises(TypeError, f"cannot convert '{type(wrong).__name__}' object to bytes"):
            channel.send_pkt(wrong)
    for args in ((), (b"x", b"y")):
        with raises(TypeError, f"send_pkt() takes exactly 1 argument ({len(args)} given)"):
            channel.send_pkt(*args)
    with pytest.raises(TypeError):
        channel.send_pkt(data=b"x")
    with held():
        channel.send_pkt(b"x")
        for wrong in (5, None):
            with pytest.raises(TypeError):
                channel.send_pkt(wrong)
        with raises(RtpQueueFullError, "channel output queue is full"):
            channel.send_pkt(b"x")
    other.set_target(HOME, 9)
    other.close()
    for data in (b"x", 5):
        with raises(RuntimeError, "channel is closed"):
            other.send_pkt(data)
    server.shutdown()
    with pytest.raises(TypeError):
        channel.send_pkt(5)
    with raises(RuntimeError, SHUT_DOWN):
        channel.send_pkt(b"x")


def test_what_makes_the_bytes_may_close_the_channel(server):
    channel = server.create_channel(ignore, HOME)
    channel.set_target(HOME, 9)

    class Closing:
        def __bytes__(self):
            channel.close()
            return b"x"

    with raises(RuntimeError, "channel is closed"):
        channel.send_pkt(Closing())


@pytest.mark.parametrize("queue_size", [1, 2, 32, 1024, 16384])
def test_exactly_queue_size_packets_fit(server, peer, queue_size):
    full = server.create_channel(ignore, HOME, 0, queue_size)
    other = server.create_channel(ignore, HOME, 0, 2)
    for channel in (full, other):
        channel.set_target(*peer.getsockname())
    for _ in range(2):
        with held():
            assert push(full, b"f", 2 * queue_size) == queue_size
            assert push(full, b"f", 1) == 0
            assert push(other, b"o", 3) == 2
        wait_sent()


def test_a_full_queue_takes_packets_again_and_loses_none(server):
    seen = []
    channel = server.create_channel(lambda data, *_: seen.append(data), HOME, 0, 4)
    channel.set_target(*channel.local_addr)
    sent = 0
    while sent < 2000:
        sent += push(channel, b"%d" % sent, 1)
    wait_for(lambda: len(seen) == sent)
    assert seen == [b"%d" % number for number in range(sent)]


def test_the_memory_of_all_queues_together_is_bounded_too(server):
    channel = server.create_channel(ignore, HOME, 0, 2**20)
    channel.set_target(HOME, 9)
    with held():
        sent = push(channel, bytes(1000), 2**20)
        assert 1000 < sent < 2**20
    wait_sent()
    channel.send_pkt(b"x")


def test_what_cannot_be_sent_is_lost_in_silence(server, peer):
    channel = server.create_channel(ignore, HOME, 0, 4)
    channel.set_target(*peer.getsockname())
    for length in (65507, 65508, 65527, 65528, 70000, 10**6):
        wait_sent()
        channel.send_pkt(bytes(length))
    channel.send_pkt(b"end")
    assert len(peer.recvfrom(70000)[0]) == 65507
    assert peer.recvfrom(100)[0] == b"end"
    channel.set_target("255.255.255.255", 9)  # broadcasts need leave
    channel.send_pkt(b"x")
    channel.set_target(HOME, 0)
    channel.send_pkt(b"x")


def test_a_closed_port_at_the_target_changes_nothing(server, peer, inbox):
    channel = server.create_channel(inbox, HOME)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind((HOME, 0))
        nobody = gone.getsockname()
    channel.set_target(*nobody)
    for _ in range(20):
        channel.send_pkt(b"x")
        time.sleep(0.001)
    peer.sendto(b"still there", channel.local_addr)
    assert inbox.get()[0] == b"still there"


# --- close


def test_close_twice(server):
    channel = server.create_channel(ignore, HOME)
    assert channel.close() is None
    with raises(RuntimeError, "channel is already closed"):
        channel.close()
    with pytest.raises(TypeError):
        channel.close(1)


def test_close_gives_the_port_up(server, peer, inbox):
    channel = server.create_channel(inbox, HOME)
    address = channel.local_addr
    channel.close()
    again = server.create_channel(inbox, *address)
    peer.sendto(b"x", again.local_addr)
    inbox.get()


def test_after_close_the_callback_is_not_called(server, peer, inbox):
    for _ in range(200):
        channel = server.create_channel(inbox, HOME)
        for _ in range(5):
            peer.sendto(b"x", channel.local_addr)
        channel.close()
        called = inbox.calls.qsize()
        peer.sendto(b"late", channel.local_addr)
        assert inbox.calls.qsize() == called
    inbox.calls = queue.Queue()
    inbox.nothing()


def test_close_waits_for_a_callback_that_runs(server, peer):
    began, go_on = threading.Event(), threading.Event()
    state = []

    def slow(*_):
        began.set()
        go_on.wait(PATIENCE_S)
        state.append("over")

    channel = server.create_channel(slow, HOME)
    peer.sendto(b"x", channel.local_addr)
    assert began.wait(PATIENCE_S)
    closer = threading.Thread(target=lambda: (channel.close(), state.append("closed")))
    closer.start()
    wait_for(lambda: channel.closed)
    time.sleep(0.05)
    assert state == []
    go_on.set()
    closer.join(PATIENCE_S)
    assert state == ["over", "closed"]


def test_close_does_not_wait_for_callbacks_of_others(server, peer):
    began, go_on = threading.Event(), threading.Event()
    slow = server.create_channel(lambda *_: (began.set(), go_on.wait(PATIENCE_S)), HOME)
    other = server.create_channel(ignore, HOME)
    peer.sendto(b"x", slow.local_addr)
    assert began.wait(PATIENCE_S)
    other.close()
    go_on.set()


def test_close_drops_what_waits(server, peer):
    channel = server.create_channel(ignore, HOME)
    channel.set_target(*peer.getsockname())
    other = server.create_channel(ignore, HOME)
    other.set_target(*peer.getsockname())
    with held():
        for _ in range(10):
            channel.send_pkt(b"dropped")
        channel.close()
        other.send_pkt(b"sent")
    assert peer.recvfrom(100)[0] == b"sent"
    peer.settimeout(0.05)
    with pytest.raises(TimeoutError):
        peer.recvfrom(100)


def test_close_after_shutdown(server):
    channel = server.create_channel(ignore, HOME)
    server.shutdown()
    assert channel.closed is False
    with raises(RuntimeError, "Server has been shutdown"):
        channel.close()
    assert channel.closed is True
    with raises(RuntimeError, "channel is already closed"):
        channel.close()


# --- shutdown


def test_shutdown_twice_and_its_arguments(server):
    assert server.shutdown() is None
    assert server.shutdown() is None
    with pytest.raises(TypeError):
        server.shutdown(1)


def test_shutdown_ends_everything(peer, inbox):
    server = RtpServer()
    channels = [server.create_channel(inbox, HOME) for _ in range(10)]
    name = newest()
    server.shutdown()
    assert name not in shmring.default_pool().channels()
    for channel in channels:
        peer.sendto(b"x", channel.local_addr)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(channel.local_addr)
    inbox.nothing()


def test_shutdown_waits_for_the_callback_that_runs(peer):
    server = RtpServer()
    began, go_on = threading.Event(), threading.Event()
    state = []

    def slow(*_):
        began.set()
        go_on.wait(PATIENCE_S)
        state.append("over")

    channel = server.create_channel(slow, HOME)
    peer.sendto(b"x", channel.local_addr)
    assert began.wait(PATIENCE_S)
    enders = [
        threading.Thread(target=lambda: (server.shutdown(), state.append("ended")))
        for _ in range(2)
    ]
    for ender in enders:
        ender.start()
    time.sleep(0.05)
    assert state == []
    go_on.set()
    for ender in enders:
        ender.join(PATIENCE_S)
    assert state == ["over", "ended", "ended"]


def test_several_servers(peer, inbox):
    servers = [RtpServer() for _ in range(3)]
    channels = [server.create_channel(inbox, HOME) for server in servers]
    servers[1].shutdown()
    for channel in (channels[0], channels[2]):
        peer.sendto(b"x", channel.local_addr)
        inbox.get()
    for server in servers:
        server.shutdown()


# --- from inside callbacks


def in_callback(server, peer, act):
    """What act returns when it is called inside a callback."""
    done = queue.Queue()

    def callback(*_):
        try:
            done.put(act())
        except BaseException as error:
            done.put(error)

    channel = server.create_channel(callback, HOME)
    peer.sendto(b"go", channel.local_addr)
    result = done.get(timeout=PATIENCE_S)
    if isinstance(result, BaseException):
        raise result
    return channel, result


def test_a_callback_creates_channels(server, peer, inbox):
    def act():
        made = [server.create_channel(inbox, HOME) for _ in range(20)]
        for channel in made:
            channel.set_target(*channel.local_addr)
            channel.send_pkt(b"from inside")
        return made

    in_callback(server, peer, act)
    for _ in range(20):
        assert inbox.get()[0] == b"from inside"


def test_a_callback_closes_its_own_channel(server, peer):
    calls = []
    holder = []

    def once(*_):
        calls.append(1)
        holder[0].close()
        calls.append(holder[0].closed)

    holder.append(server.create_channel(once, HOME))
    for _ in range(10):
        peer.sendto(b"x", holder[0].local_addr)
    wait_for(lambda: len(calls) == 2)
    time.sleep(0.05)
    assert calls == [1, True]
    with raises(RuntimeError, "channel is already closed"):
        holder[0].close()


def test_a_callback_closes_other_channels(server, peer, inbox):
    others = [server.create_channel(inbox, HOME) for _ in range(5)]
    in_callback(server, peer, lambda: [other.close() for other in others])
    for other in others:
        assert other.closed
        peer.sendto(b"x", other.local_addr)
    inbox.nothing()


def test_a_callback_shuts_its_server_down(peer):
    server = RtpServer()
    other = server.create_channel(ignore, HOME)
    channel, result = in_callback(server, peer, server.shutdown)
    assert result is None
    for made in (channel, other):
        with raises(RuntimeError, "Server has been shutdown"):
            made.close()
    with raises(RuntimeError, SHUT_DOWN):
        server.create_channel(ignore, HOME)
    server.shutdown()


def test_a_callback_refers_to_the_last_of_the_server(peer):
    server = RtpServer()
    holder = [server]
    done = threading.Event()

    def drop(*_):
        holder.pop().close()
        holder.clear()
        done.set()

    holder.append(server.create_channel(drop, HOME))
    name = newest()
    peer.sendto(b"x", holder[1].local_addr)
    del server
    assert done.wait(PATIENCE_S)
    wait_for(lambda: name not in shmring.default_pool().channels())


def test_callbacks_of_two_servers_close_each_others_channels(peer):
    first, second = RtpServer(), RtpServer()
    meet = threading.Barrier(2, timeout=PATIENCE_S)
    channels, errors = [], []

    def cross(other):
        def callback(*_):
            try:
                meet.wait()
                channels[other].close()
            except Exception as error:
                errors.append(error)

        return callback

    channels.append(first.create_channel(cross(1), HOME))
    channels.append(second.create_channel(cross(0), HOME))
    for channel in channels:
        peer.sendto(b"x", channel.local_addr)
    wait_for(lambda: channels[0].closed and channels[1].closed)
    first.shutdown()
    second.shutdown()
    assert errors == []


@pytest.fixture
def amid_both(server, peer):
    """Both a callback of the server and one of RtpProc run, and then do what they are told."""
    proc = RtpProc()
    meet = threading.Barrier(2)
    done = queue.Queue()

    def run(in_server, in_proc):
        def pkt_in(*_):
            meet.wait(PATIENCE_S)
            in_server(proc, timer)
            done.put("server")

        def proc_in(now_ns, deadline_ns):
            if deadline_ns == 0:
                return now_ns + 1
            meet.wait(PATIENCE_S)
            in_proc(server, channel)
            done.put("proc")
            return None

        channel = server.create_channel(pkt_in, HOME)
        timer = proc.create_channel(proc_in)
        peer.sendto(b"x", channel.local_addr)
        assert {done.get(timeout=PATIENCE_S) for _ in range(2)} == {"server", "proc"}

    yield run
    proc.shutdown()


def test_callbacks_of_a_server_and_of_a_proc_close_each_others_channels(amid_both):
    amid_both(lambda proc, timer: timer.close(), lambda server, channel: channel.close())


def test_callbacks_of_a_server_and_of_a_proc_shut_each_other_down(amid_both):
    amid_both(lambda proc, timer: proc.shutdown(), lambda server, channel: server.shutdown())


@pytest.mark.parametrize("late", [0, 0.05])
def test_a_callback_makes_a_channel_of_a_proc_that_waits_for_it(amid_both, late):
    def make(proc, timer):
        time.sleep(late)
        proc.create_channel(lambda now_ns, deadline_ns: None).close()

    amid_both(make, lambda server, channel: channel.close())


def test_callbacks_of_two_servers_shut_each_other_down(peer):
    servers = [RtpServer(), RtpServer()]
    meet = threading.Barrier(2, timeout=PATIENCE_S)
    ended = []

    def cross(other):
        def callback(*_):
            meet.wait()
            servers[other].shutdown()
            ended.append(other)

        return callback

    channels = [servers[i].create_channel(cross(1 - i), HOME) for i in range(2)]
    for channel in channels:
        peer.sendto(b"x", channel.local_addr)
    wait_for(lambda: len(ended) == 2)
    for server in servers:
        server.shutdown()


# --- from many threads


def in_threads(count, work):
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []


def test_four_threads_create_and_close(server):
    def work(_):
        for _ in range(50):
            channel = server.create_channel(ignore, HOME)
            channel.set_target(HOME, 9)
            channel.send_pkt(b"x")
            channel.close()

    in_threads(4, work)


def test_four_threads_create_eight_hundred(server, peer, inbox):
    channels = []
    in_threads(4, lambda _: channels.extend(server.create_channel(inbox, HOME) for _ in range(200)))
    assert len({channel.local_addr for channel in channels}) == 800
    for channel in channels:
        peer.sendto(b"x", channel.local_addr)
    for _ in range(800):
        inbox.get()


def test_one_of_many_closers_wins(server):
    for _ in range(20):
        channel = server.create_channel(ignore, HOME)
        won, lost = [], []

        def close(_, channel=channel, won=won, lost=lost):
            try:
                channel.close()
                won.append(1)
            except RuntimeError as error:
                lost.append(str(error))

        in_threads(4, close)
        assert (won, lost) == ([1], ["channel is already closed"] * 3)


def test_shutdown_amid_everything(peer):
    for _ in range(10):
        server = RtpServer()
        told = set()

        def work(number, server=server, told=told):
            try:
                while True:
                    channel = server.create_channel(ignore, HOME)
                    channel.set_target(*channel.local_addr)
                    channel.send_pkt(b"x")
                    if number % 2:
                        channel.close()
            except RuntimeError as error:
                told.add(str(error))

        ender = threading.Timer(0.02, server.shutdown)
        ender.start()
        in_threads(4, work)
        ender.join()
        assert told <= {SHUT_DOWN, "channel is closed", "Server has been shutdown"}


def test_other_threads_run_while_one_waits_for_a_callback(server, peer):
    began, go_on = threading.Event(), threading.Event()
    channel = server.create_channel(lambda *_: (began.set(), go_on.wait(PATIENCE_S)), HOME)
    peer.sendto(b"x", channel.local_addr)
    assert began.wait(PATIENCE_S)
    closer = threading.Thread(target=channel.close)
    closer.start()
    other = server.create_channel(ignore, HOME)
    other.close()
    go_on.set()
    closer.join(PATIENCE_S)
    assert not closer.is_alive()


# --- from signal handlers


@pytest.fixture
def alarms():
    """Have a function called between the instructions of the main thread, all the time."""

    def start(handler):
        def once_more(*args):
            handler(*args)
            signal.setitimer(signal.ITIMER_REAL, 0.0007)

        signal.signal(signal.SIGALRM, once_more)
        signal.setitimer(signal.ITIMER_REAL, 0.001)

    former = signal.getsignal(signal.SIGALRM)
    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


def test_a_signal_handler_uses_the_server_amid_its_use(server, peer, alarms):
    handled = []

    def handler(*_):
        channel = server.create_channel(ignore, HOME)
        channel.set_target(*peer.getsockname())
        channel.send_pkt(b"x")
        channel.close()
        handled.append(channel)

    alarms(handler)
    while len(handled) < 200:
        channel = server.create_channel(ignore, HOME)
        channel.set_target(HOME, 9)
        channel.close()


def test_a_signal_handler_shuts_the_server_down(alarms):
    for _ in range(20):
        server = RtpServer()
        alarms(lambda *_, server=server: server.shutdown())
        with pytest.raises(RuntimeError, match=SHUT_DOWN):  # noqa: PT012
            while True:
                channel = server.create_channel(ignore, HOME)
                channel.set_target(HOME, 9)
        signal.setitimer(signal.ITIMER_REAL, 0)
        server.shutdown()


def test_an_interrupt_gets_out_of_waiting(server, peer, alarms):
    began, go_on = threading.Event(), threading.Event()
    channel = server.create_channel(lambda *_: (began.set(), go_on.wait(PATIENCE_S)), HOME)
    peer.sendto(b"x", channel.local_addr)
    assert began.wait(PATIENCE_S)

    def interrupt(*_):
        if channel.closed:
            raise KeyboardInterrupt

    alarms(interrupt)
    with pytest.raises(KeyboardInterrupt):
        channel.close()
    go_on.set()
    assert channel.closed


# --- lifetimes


class Callback:
    """One that can be referred to weakly."""

    def __init__(self, inbox=None):
        self.inbox = inbox

    def __call__(self, *args):
        if self.inbox is not None:
            self.inbox(*args)


def test_a_channel_that_nobody_refers_to_goes_on(server, peer, inbox):
    callback = Callback(inbox)
    seen = weakref.ref(callback)
    channel = server.create_channel(callback, HOME)
    address = channel.local_addr
    del callback, channel
    gc.collect()
    peer.sendto(b"x", address)
    assert inbox.get()[0] == b"x"
    assert seen() is not None
    server.shutdown()
    assert seen() is None


def test_a_server_that_nobody_refers_to_goes_on_while_a_channel_is_open(peer, inbox):
    server = RtpServer()
    channel = server.create_channel(inbox, HOME)
    name = newest()
    del server
    gc.collect()
    peer.sendto(b"x", channel.local_addr)
    inbox.get()
    channel.close()
    assert name in shmring.default_pool().channels()  # the channel object refers to its server
    del channel
    wait_for(lambda: name not in shmring.default_pool().channels())


def test_a_server_without_channels_dies_with_its_last_reference():
    server = RtpServer()
    name = newest()
    del server
    wait_for(lambda: name not in shmring.default_pool().channels())
    wait_for(lambda: name not in {thread.name for thread in threading.enumerate()})


def test_a_closed_channel_lets_its_callback_go(server):
    callback = Callback()
    seen = weakref.ref(callback)
    channel = server.create_channel(callback, HOME)
    del callback
    assert seen() is not None
    channel.close()
    del channel
    assert seen() is None


def test_a_callback_that_closes_itself_is_let_go(server, peer):
    gone = threading.Event()

    class Once:
        def __call__(self, *_):
            channels.pop().close()

        def __del__(self):
            gone.set()

    channels = [server.create_channel(Once(), HOME)]
    peer.sendto(b"x", channels[0].local_addr)
    assert gone.wait(PATIENCE_S)


def test_shutdown_lets_callbacks_go(peer):
    server = RtpServer()
    callbacks = [Callback() for _ in range(10)]
    seen = [weakref.ref(callback) for callback in callbacks]
    channels = [server.create_channel(callback, HOME) for callback in callbacks]
    del callbacks, channels[5:]
    server.shutdown()
    assert [ref() for ref in seen] == [None] * 10


def test_a_failed_creation_keeps_nothing(server):
    callback = Callback()
    seen = weakref.ref(callback)
    for wrong in ({"bind_host": "203.0.113.9"}, {"queue_size": 2**40}, {"bind_port": -1}):
        with pytest.raises((OSError, MemoryError, ValueError)):
            server.create_channel(callback, **({"bind_host": HOME} | wrong))
    del callback
    assert seen() is None


def test_arguments_are_not_kept(server, peer):
    channel = server.create_channel(ignore, HOME)
    channel.set_target(*peer.getsockname())
    data = bytes(1000)
    before = sys.getrefcount(data)
    for _ in range(10):
        channel.send_pkt(data)
    assert sys.getrefcount(data) == before


def test_a_callback_that_dies_may_use_its_channel(server, peer):
    told = []

    class Dying:
        def __call__(self, *_):
            pass

        def __del__(self):
            try:
                channels[0].send_pkt(b"x")
            except RuntimeError as error:
                told.append(str(error))

    channels = [server.create_channel(Dying(), HOME)]
    channels[0].set_target(*peer.getsockname())
    channels[0].close()
    assert told == ["channel is closed"]


# --- the end of the process

SCRIPT = """
import os, socket, sys, threading, time
from rtpsynth.RtpServer import RtpServer
server = RtpServer()
calls = []
def callback(*args):
    calls.append(args)
channel = server.create_channel(callback, "127.0.0.1")
channel.set_target(*channel.local_addr)
"""


def run_script(script, namespace, status=0):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT + script],  # of fork
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"SHMRING_NAMESPACE": namespace},
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode == status
    from rtworkers import paths

    assert [name.posix_name for name in paths.shm_names(namespace)] == []


@pytest.mark.parametrize(
    "script",
    [
        "",
        "for _ in range(32): channel.send_pkt(b'x')",
        "server = channel = None",
        # amid a stream of callbacks
        """
def flood():
    while True:
        try:
            channel.send_pkt(b'x')
        except Exception:
            time.sleep(0)
threading.Thread(target=flood, daemon=True).start()
time.sleep(0.2)
""",
        # one that never returns
        """
blocked = server.create_channel(lambda *_: time.sleep(1000), "127.0.0.1")
channel.set_target(*blocked.local_addr)
channel.send_pkt(b'x')
time.sleep(0.1)
""",
        # one that uses the server when it is over
        """
import atexit
def late():
    for act in (lambda: channel.send_pkt(b'x'), channel.close, server.shutdown):
        try:
            act()
        except RuntimeError:
            pass
atexit.register(late)
""",
        pytest.param("others = [RtpServer() for _ in range(5)]", marks=pytest.mark.shm_mb(100)),
    ],
)
def test_exit_without_shutdown(script):
    run_script(script, f"exit-{os.getpid()}")


def test_exit_by_an_exception_in_the_main_thread():
    run_script("sys.exit(7)", f"exit-{os.getpid()}", status=7)


FORK = """
def child():
    told = []
    for act in (
        lambda: channel.send_pkt(b"x"),
        lambda: channel.set_target("127.0.0.1", 9),
        lambda: server.create_channel(callback, "127.0.0.1"),
    ):
        try:
            act()
        except RuntimeError as error:
            told.append(str(error))
    assert told == ["RtpServer is shutting down"] * 3, told
    try:
        channel.close()
    except RuntimeError as error:
        assert str(error) == "Server has been shutdown"
    else:
        raise AssertionError
    server.shutdown()
    mine = RtpServer()
    got = threading.Event()
    own = mine.create_channel(lambda *_: got.set(), "127.0.0.1")
    own.set_target(*own.local_addr)
    own.send_pkt(b"own")
    assert got.wait(20)
    mine.shutdown()

def check_parent():
    before = len(calls)
    channel.send_pkt(b"parent")
    give_up = time.monotonic() + 20
    while len(calls) == before:
        assert time.monotonic() < give_up
        time.sleep(0.001)

def fork(work):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_forked_child_has_no_server():
    script = FORK + "check_parent()\nfork(child)\ncheck_parent()\n"
    run_script(script, f"fork-{os.getpid()}")


def test_a_child_forked_amid_callbacks():
    script = (
        FORK
        + """
stop = False
def flood():
    while not stop:
        try:
            channel.send_pkt(b"x")
        except Exception:
            time.sleep(0)
flooder = threading.Thread(target=flood)
flooder.start()
for _ in range(5):
    fork(child)
stop = True
flooder.join()
check_parent()
"""
    )
    run_script(script, f"fork-{os.getpid()}")


def test_a_child_forked_by_a_callback():
    script = (
        FORK
        + """
done = threading.Event()
def forking(*_):
    fork(child)
    done.set()
forker = server.create_channel(forking, "127.0.0.1")
channel.set_target(*forker.local_addr)
channel.send_pkt(b"fork")
assert done.wait(40)
channel.set_target(*channel.local_addr)
check_parent()
"""
    )
    run_script(script, f"fork-{os.getpid()}")
