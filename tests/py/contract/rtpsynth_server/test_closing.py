"""rtpsynth.RtpServer: close and shutdown."""

import queue
import socket
import threading
import time

import pytest
from kit.calls import ignore, raises
from kit.waiting import until

import shmring
from rtpsynth.RtpServer import RtpServer

pytestmark = pytest.mark.usefixtures("own_workers")

TIMEOUT_S = 20.0
HOME = "127.0.0.1"


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
        go_on.wait(TIMEOUT_S)
        state.append("over")

    channel = server.create_channel(slow, HOME)
    peer.sendto(b"x", channel.local_addr)
    assert began.wait(TIMEOUT_S)
    closer = threading.Thread(target=lambda: (channel.close(), state.append("closed")))
    closer.start()
    until(lambda: channel.closed)
    time.sleep(0.05)
    assert state == []
    go_on.set()
    closer.join(TIMEOUT_S)
    assert state == ["over", "closed"]


def test_close_does_not_wait_for_callbacks_of_others(server, peer):
    began, go_on = threading.Event(), threading.Event()
    slow = server.create_channel(lambda *_: (began.set(), go_on.wait(TIMEOUT_S)), HOME)
    other = server.create_channel(ignore, HOME)
    peer.sendto(b"x", slow.local_addr)
    assert began.wait(TIMEOUT_S)
    other.close()
    go_on.set()


def test_close_drops_what_waits(server, peer, held):
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


def test_shutdown_ends_everything(peer, inbox, newest):
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
        go_on.wait(TIMEOUT_S)
        state.append("over")

    channel = server.create_channel(slow, HOME)
    peer.sendto(b"x", channel.local_addr)
    assert began.wait(TIMEOUT_S)
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
        ender.join(TIMEOUT_S)
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
