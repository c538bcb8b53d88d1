"""Receiving: one packet, into buffers, shared and each, losses, taps."""

import pickle
import time

import pytest
from kit.waiting import until

import shmring


def fill(channel, count, size=8):
    """Have `count` packets arrive, numbered from 0."""
    before = channel.stats().rx_received
    packets = [i.to_bytes(4, "little") + bytes(size - 4) for i in range(count)]
    channel.send_many(packets, to=channel.home, timeout=10)
    until(lambda: channel.stats().rx_received >= before + count)


def numbers(packets):
    return [int.from_bytes(bytes(packet.data[:4]), "little") for packet in packets]


def test_nothing_there(loop):
    ch = loop()
    assert ch.try_recv() is None
    with pytest.raises(shmring.ReceiveTimeout):
        ch.recv(timeout=0)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        ch.recv(timeout=0.05)
    assert 0.05 <= time.monotonic() - began < 5


def test_packets_come_in_order_with_their_facts(loop):
    ch = loop()
    fill(ch, 10)
    assert ch.rx_waiting == 10
    packets = [ch.recv(timeout=20) for _ in range(10)]
    assert numbers(packets) == list(range(10))
    assert [p.sequence for p in packets] == list(range(10))
    assert all(p.lost_before == 0 and not p.truncated and p.tos == 0 for p in packets)
    stamps = [p.timestamp_ns for p in packets]
    assert stamps == sorted(stamps)


def test_empty_packets_of_a_channel_without_payloads_come_once_each(loop):
    ch = loop(max_payload=0)
    ch.send_many([b""] * 3, to=ch.home, timeout=10)
    batch = ch.recv_many(timeout=20)
    while len(batch) < 3:
        batch = [*batch, *ch.recv_many(timeout=20)]
    assert [p.sequence for p in batch] == [0, 1, 2]
    ch.send(b"", to=ch.home)
    assert ch.recv(timeout=20).lost_before == 0
    ch.send(b"", to=ch.home)
    assert ch.recv_into(bytearray(), timeout=20).sequence == 4
    assert ch.lost == 0


def test_packets_compare_hash_show_and_pickle(loop):
    ch = loop()
    fill(ch, 2)
    first, second = ch.recv(), ch.recv()
    copy = pickle.loads(pickle.dumps(first))
    assert copy == first
    assert copy != second
    assert len({first, copy, second}) == 2
    assert isinstance(first, shmring.Packet)
    assert "8 bytes" in repr(first)
    assert "127.0.0.1" in repr(first)
    with pytest.raises(AttributeError):
        first.no_such_thing  # noqa: B018


def test_into_a_buffer(loop):
    ch = loop()
    fill(ch, 2, size=16)
    buffer = bytearray(100)
    packet = ch.recv_into(buffer, timeout=20)
    assert len(packet.data) == 16
    buffer[0] = 77
    assert packet.data[0] == 77
    with pytest.raises(shmring.errors.PayloadTooLarge, match="16 bytes, the buffer 10"):
        ch.recv_into(bytearray(10))
    assert numbers([ch.recv_into(bytearray(16))]) == [1]
    with pytest.raises((BufferError, TypeError)):
        ch.recv_into(b"read-only")


def test_each_reader_gets_every_packet(loop, shmring_namespace):
    ch = loop()
    late = shmring.attach(ch.name)
    tap = shmring.attach(ch.name, readonly=True)
    fill(ch, 5)
    for reader in (ch, late, tap):
        assert numbers(reader.recv(timeout=20) for _ in range(5)) == [0, 1, 2, 3, 4]
    assert sorted(r.taken for r in ch.stats().readers) == [5, 5]


def test_an_attached_reader_starts_at_attach_and_the_opener_at_the_beginning(loop):
    ch = loop()
    fill(ch, 3)
    late = shmring.attach(ch.name)
    fill(ch, 2)
    assert numbers(late.recv(timeout=20) for _ in range(2)) == [0, 1]
    assert late.try_recv() is None
    assert ch.rx_waiting == 5


def test_shared_readers_take_each_packet_once(loop):
    ch = loop(reading="shared")
    other = shmring.attach(ch.name)
    fill(ch, 10)
    taken = [reader.recv(timeout=20) for _ in range(5) for reader in (ch, other)]
    assert sorted(numbers(taken)) == list(range(10))
    assert ch.try_recv() is None
    assert other.try_recv() is None


def test_a_lapped_reader_learns_how_many_it_lost(loop, settle):
    ch = loop(tx=shmring.Queue(100, 64), rx=10)
    assert ch.try_recv() is None  # from here on it counts as a reader
    fill(ch, 25)
    packet = ch.recv(timeout=20)
    assert numbers([packet]) == [15]
    assert packet.lost_before == 15
    assert ch.lost == 15
    settle(ch)
    assert ch.stats().rx_overwritten == 15
    assert numbers(ch.recv() for _ in range(9)) == list(range(16, 25))


def test_purge_forgets_unread_packets_and_counts_none_as_lost(loop):
    ch = loop()
    fill(ch, 5)
    ch.purge()
    assert ch.rx_waiting == 0
    fill(ch, 1)
    assert ch.recv(timeout=20).lost_before == 0
    assert ch.lost == 0


def test_a_tap_can_only_read(loop):
    ch = loop()
    tap = shmring.attach(ch.name, readonly=True)
    for forbidden in (
        lambda: tap.send(b"x", to=("127.0.0.1", 9)),
        lambda: tap.send_many([b"x"], to=("127.0.0.1", 9)),
        lambda: tap.cancel(0),
        tap.hold,
        tap.purge,
        tap.reset_stats,
        tap.fileno,
    ):
        with pytest.raises(shmring.errors.NoPermission, match="without readonly"):
            forbidden()
    with pytest.raises(shmring.ReceiveTimeout):
        tap.recv(timeout=0.01)
    assert ch.stats().readers == ()


def test_a_tap_cannot_read_shared(loop):
    ch = loop(reading="shared")
    tap = shmring.attach(ch.name, readonly=True)
    fill(ch, 3)
    assert numbers(tap.recv(timeout=20) for _ in range(3)) == [0, 1, 2]
    assert ch.rx_waiting == 3
    with pytest.raises(shmring.errors.NoPermission, match="shared"):
        shmring.attach(ch.name, readonly=True, reading="shared")


def test_a_channel_that_only_sends_refuses_to_receive(loop):
    ch = loop(direction="tx")
    with pytest.raises(shmring.errors.NoPermission, match="duplex"):
        ch.recv(timeout=1)


def test_iterating_ends_when_the_channel_is_closed(loop):
    ch = loop()
    other = shmring.attach(ch.name)
    fill(ch, 3)
    ch.close()
    assert numbers(other) == [0, 1, 2]
    with pytest.raises(shmring.ChannelClosed):
        other.recv(timeout=1)


def test_ipv6_sources(shmring_pool):
    ch = shmring_pool.open("six", local=("::1", 0))
    ch.send(b"x", to=ch.local)
    assert ch.recv(timeout=20).source == ch.local
    assert "[::1]:" in repr(ch)
