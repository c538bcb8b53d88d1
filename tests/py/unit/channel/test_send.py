"""Sending: times, destinations, full rings, what is refused."""

import time

import numpy as np
import pytest

import shmring
from shmring.errors import PayloadTooLarge

MS = 1_000_000


def test_a_packet_leaves_at_its_time_and_not_before(loop):
    ch = loop()
    at = time.monotonic_ns() + 5 * MS
    sequence = ch.send(b"hello", at=at, to=ch.home)
    packet = ch.recv(timeout=20)
    assert packet.data == b"hello"
    assert packet.timestamp_ns >= at
    assert packet.source == ch.home
    assert packet.stamp in ("kernel", "user")
    assert sequence == 0
    assert ch.send(b"again", to=ch.home) == 1


@pytest.mark.parametrize(
    "data", [b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4], np.frombuffer(b"abc", np.uint8)]
)
def test_any_contiguous_buffer_is_a_payload(loop, data):
    ch = loop()
    ch.send(data, to=ch.home)
    assert ch.recv(timeout=20).data == b"abc"


@pytest.mark.parametrize("at", [1.5, True, "now", np.float64(3)])
def test_times_that_are_no_integers_are_refused_by_unit(loop, at):
    ch = loop()
    with pytest.raises(TypeError, match="nanoseconds"):
        ch.send(b"x", at=at, to=ch.home)


@pytest.mark.parametrize("at", [-1, 2**63, -(2**70)])
def test_times_outside_of_64_bits_are_refused(loop, at):
    ch = loop()
    with pytest.raises(ValueError, match="between 0 and"):
        ch.send(b"x", at=at, to=ch.home)


def test_a_time_of_another_clock_is_refused(loop):
    ch = loop()
    with pytest.raises(ValueError, match=r"more than a year ahead.*CLOCK_MONOTONIC"):
        ch.send(b"x", at=time.time_ns(), to=ch.home)


@pytest.mark.parametrize("clock", [lambda: 1, time.monotonic, time.time])
def test_a_time_in_seconds_is_refused(loop, clock):
    ch, at = loop(), int(clock())
    with pytest.raises(ValueError, match=rf"in seconds.*now {str(ch.now_ns())[:-11]}\d+ \(now_ns"):
        ch.send(b"x", at=at, to=ch.home)
    for times in (at, [at], [ch.now_ns(), at]):
        with pytest.raises(ValueError, match="in seconds"):
            ch.send_many([b"x"] * (len(times) if times is not at else 1), at=times, to=ch.home)
    with pytest.raises(TypeError, match=r"at must be an int: nanoseconds .* see now_ns\(\)"):
        ch.send(b"x", at=at + 0.5, to=ch.home)


def test_a_time_long_past_is_sent_at_once(loop):
    ch = loop()
    ch.send(b"x", at=ch.now_ns() - 3_000_000_000, to=ch.home)
    assert ch.recv(timeout=20).data == b"x"


def test_a_payload_beyond_the_limit_is_refused(loop):
    ch = loop(max_payload=100)
    assert ch.max_payload == 100
    with pytest.raises(PayloadTooLarge, match=r"70000 bytes .*any datagram .*in parts"):
        ch.send(bytes(70_000), to=ch.home)
    with pytest.raises(PayloadTooLarge, match=r"101 bytes.*limit of 100"):
        ch.send(bytes(101), to=ch.home)
    ch.send(bytes(100), to=ch.home)
    assert len(ch.recv(timeout=20).data) == 100


def test_a_channel_without_remote_wants_a_destination(loop):
    with pytest.raises(shmring.errors.BadAddress, match="has no remote"):
        loop().send(b"x")


@pytest.mark.parametrize(
    ("to", "error"),
    [
        (("localhost", 9), shmring.errors.BadAddress),
        (("127.0.0.1", 70000), shmring.errors.BadAddress),
        (("::1", 9), shmring.errors.BadAddress),
        ("127.0.0.1:9", TypeError),
        (("127.0.0.1",), TypeError),
    ],
)
def test_destinations_that_cannot_be(loop, to, error):
    with pytest.raises(error):
        loop().send(b"x", to=to)


def test_each_packet_may_have_its_own_destination(shmring_pool):
    here = shmring_pool.open("here", local=("127.0.0.1", 0))
    others = [shmring_pool.open(f"o{i}", local=("127.0.0.1", 0)) for i in range(3)]
    for i, other in enumerate(others):
        host, port = other.local
        here.send(b"%d" % i, to=(host, port))
        here.send(b"%d" % i, to=[host, port])
    for i, other in enumerate(others):
        assert [other.recv(timeout=20).data for _ in range(2)] == [b"%d" % i] * 2


def test_a_full_ring_says_so_at_once_or_after_the_timeout(loop):
    ch = loop(held=True, tx=4)
    for _ in range(4):
        ch.send(b"x", to=ch.home)
    with pytest.raises(shmring.RingFull, match="4 packets wait: it is held") as caught:
        ch.send(b"x", to=ch.home, timeout=0)
    assert ch.try_send(b"x", to=ch.home) is None
    assert not isinstance(caught.value, TimeoutError)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        ch.send(b"x", to=ch.home, timeout=0.1)
    assert 0.1 <= time.monotonic() - began < 5
    assert ch.tx_waiting == 4


def test_try_send_queues_what_has_room(loop):
    ch = loop(held=True, tx=2)
    assert [ch.try_send(b"x", 0, to=ch.home) for _ in range(3)] == [0, 1, None]
    with pytest.raises(PayloadTooLarge):
        ch.try_send(bytes(ch.max_payload + 1), to=ch.home)


def test_a_sender_that_waits_goes_on_when_there_is_room(loop):
    ch = loop(tx=4, rx=10)
    soon = time.monotonic_ns() + 500 * MS
    for _ in range(4):
        ch.send(b"x", at=soon, to=ch.home)
    assert ch.send(b"y", to=ch.home) == 4
    assert [ch.recv(timeout=20).data for _ in range(5)] == [b"x"] * 4 + [b"y"]


def test_unknown_and_missing_arguments(loop):
    ch = loop()
    with pytest.raises(TypeError):
        ch.send()
    with pytest.raises(TypeError):
        ch.send(b"x", when=3)
    with pytest.raises(TypeError):
        ch.send(b"x", 1, ("127.0.0.1", 9))


def test_cancelled_packets_do_not_leave(loop):
    ch = loop()
    later = time.monotonic_ns() + 3600 * 1000 * MS
    sequence = ch.send(b"x", at=later, to=ch.home)
    assert ch.cancel(sequence)
    assert not ch.cancel(sequence)
    assert not ch.cancel(12345)
    ch.flush(timeout=10)
    (report,) = ch.reports(timeout=0)
    assert (report.sequence, report.verdict) == (sequence, "cancelled")


def test_replacing_keeps_the_deadline_unless_told_otherwise(loop):
    ch = loop()
    at = time.monotonic_ns() + 1000 * MS
    old = ch.send(b"old", at=at, to=ch.home)
    new = ch.replace(old, b"new", to=ch.home)
    assert new != old
    packet = ch.recv(timeout=20)
    assert packet.data == b"new"
    assert packet.timestamp_ns >= at
    with pytest.raises(shmring.errors.TooLate):
        ch.replace(new, b"newer", to=ch.home)
    ch.flush(timeout=20)
    verdicts = {r.sequence: (r.verdict, r.scheduled_ns) for r in ch.reports(timeout=0)}
    assert verdicts[old][0] == "cancelled"
    assert verdicts[new][1] == at


def test_replacing_with_another_deadline(loop):
    ch = loop()
    hour = time.monotonic_ns() + 3600 * 1000 * MS
    old = ch.send(b"old", at=hour, to=ch.home)
    ch.replace(old, b"new", at=time.monotonic_ns(), to=ch.home)
    assert ch.recv(timeout=20).data == b"new"


def test_purge_cancels_what_waits(loop):
    ch = loop(held=True)
    ch.send_many(bytes(80), size=8, to=ch.home)
    ch.purge()
    assert ch.tx_waiting == 0
    assert ch.state == "held"
    assert ch.stats().tx_cancelled == 10


def test_a_channel_that_only_receives_refuses_to_send(loop):
    ch = loop(direction="rx")
    with pytest.raises(shmring.errors.NoPermission, match="duplex"):
        ch.send(b"x", to=ch.home)


def test_held_channels_send_when_started(loop):
    ch = loop(held=True)
    ch.send(b"x", to=ch.home)
    with pytest.raises(shmring.ReceiveTimeout):
        ch.recv(timeout=0.05)
    with pytest.raises(shmring.errors.SendTimeout):
        ch.flush(timeout=0.01)
    ch.release()
    assert ch.recv(timeout=20).data == b"x"
    ch.hold()
    assert ch.state is shmring.State.HELD
