"""rtpsynth.RtpServer: targets and packets."""

import time

import pytest
from kit.calls import ignore, raises
from kit.waiting import until
from kit.wire import udp

from rtpsynth.RtpServer import RtpQueueFullError

pytestmark = pytest.mark.usefixtures("own_workers")

HOME = "127.0.0.1"
SHUT_DOWN = "RtpServer is shutting down"


def push(channel, data, most):
    """Send until the queue is full. Return how many packets it took."""
    for sent in range(most):
        try:
            channel.send_pkt(data)
        except RtpQueueFullError as full:
            assert str(full) == "channel output queue is full"  # noqa: PT017
            return sent
    return most


# --- set_target


def test_target_may_be_set_again(server, peer):
    channel = server.create_channel(ignore, HOME)
    with udp() as other:
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
        with raises(ValueError, "port must be in range 0..65535"):
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


def test_send_pkt_checks_in_this_order(server, held):
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
def test_exactly_queue_size_packets_fit(server, peer, queue_size, held, wait_sent):
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
    until(lambda: len(seen) == sent)
    assert seen == [b"%d" % number for number in range(sent)]


def test_the_memory_of_all_queues_together_is_bounded_too(server, held, wait_sent):
    channel = server.create_channel(ignore, HOME, 0, 2**20)
    channel.set_target(HOME, 9)
    with held():
        sent = push(channel, bytes(1000), 2**20)
        assert 1000 < sent < 2**20
    wait_sent()
    channel.send_pkt(b"x")


def test_what_cannot_be_sent_is_lost_in_silence(server, peer, wait_sent):
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
    with udp() as gone:
        nobody = gone.getsockname()
    channel.set_target(*nobody)
    for _ in range(20):
        channel.send_pkt(b"x")
        time.sleep(0.001)
    peer.sendto(b"still there", channel.local_addr)
    assert inbox.get()[0] == b"still there"
