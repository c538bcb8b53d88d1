"""rtpsynth.RtpServer, called from inside callbacks."""

import queue
import threading
import time

import pytest
from kit.calls import ignore, raises
from kit.waiting import until

import shmring
from rtpsynth.RtpProc import RtpProc
from rtpsynth.RtpServer import RtpServer

pytestmark = pytest.mark.usefixtures("own_workers")

TIMEOUT_S = 20.0
HOME = "127.0.0.1"
SHUT_DOWN = "RtpServer is shutting down"


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
    result = done.get(timeout=TIMEOUT_S)
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
    until(lambda: len(calls) == 2)
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


def test_a_callback_refers_to_the_last_of_the_server(peer, newest):
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
    assert done.wait(TIMEOUT_S)
    until(lambda: name not in shmring.default_pool().channels())


def test_callbacks_of_two_servers_close_each_others_channels(peer):
    first, second = RtpServer(), RtpServer()
    meet = threading.Barrier(2, timeout=TIMEOUT_S)
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
    until(lambda: channels[0].closed and channels[1].closed)
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
            meet.wait(TIMEOUT_S)
            in_server(proc, timer)
            done.put("server")

        def proc_in(now_ns, deadline_ns):
            if deadline_ns == 0:
                return now_ns + 1
            meet.wait(TIMEOUT_S)
            in_proc(server, channel)
            done.put("proc")
            return None

        channel = server.create_channel(pkt_in, HOME)
        timer = proc.create_channel(proc_in)
        peer.sendto(b"x", channel.local_addr)
        assert {done.get(timeout=TIMEOUT_S) for _ in range(2)} == {"server", "proc"}

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
    meet = threading.Barrier(2, timeout=TIMEOUT_S)
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
    until(lambda: len(ended) == 2)
    for server in servers:
        server.shutdown()
