"""rtpsynth.RtpServer: what arrives is called back."""

import socket
import threading
import time

import pytest
from kit.calls import ignore
from kit.waiting import until

pytestmark = pytest.mark.usefixtures("own_workers")

TIMEOUT_S = 20.0
HOME = "127.0.0.1"


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
        peer.settimeout(TIMEOUT_S)
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
    until(lambda: len(seen) == 1000)
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
    until(lambda: threads)
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
    until(lambda: len(unraisable) == 2)
    assert calls == [b"1", b"2"]
    assert unraisable == [(LookupError, "b'1'", fail), (LookupError, "b'2'", fail)]


def test_a_callback_of_the_wrong_shape_is_reported(server, peer, unraisable):
    channel = server.create_channel(lambda data: None, HOME)
    peer.sendto(b"x", channel.local_addr)
    until(lambda: unraisable)
    assert unraisable[0][0] is TypeError


def test_even_an_exit_is_only_reported(server, peer, unraisable, inbox):
    def leave(*_):
        raise SystemExit(3)

    channel = server.create_channel(leave, HOME)
    peer.sendto(b"x", channel.local_addr)
    until(lambda: unraisable)
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
    until(lambda: results)


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
