"""Values in shared memory: what is written, what is read, by whom, without a worker."""

from __future__ import annotations

import pickle
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import shmring
from shmring import errors
from shmring._ring import ffi, lib
from shmring.netflux.items import HEAD, item_of
from shmring.netflux.records import BOOL, DINT, INT, REAL, Codec

Maker = Callable[..., shmring.netflux.Channel]

PAIR = struct.Struct("<qq")


@dataclass
class Axis:
    speed: REAL = 0.0
    count: DINT = 0
    mode: INT = 0
    on: BOOL = False


def publish(
    channel: Any, values: bytes, number: int = 1, feedback: int = 0, flags: int = 0
) -> None:
    """What the worker does with a datagram."""
    head = ffi.new("shm_netflux_rx_t *")
    head.number, head.feedback, head.flags = number, feedback, flags
    head.payload_bytes, head.at_mono_ns = len(values), lib.rt_mono_ns()
    lib.shm_netflux_publish(channel.segment.engine, head, lib.SHM_STAMP_KERNEL, values, len(values))


def test_nothing_yet(idle_link: Maker) -> None:
    channel = idle_link(send=4, receive=4)
    assert channel.snapshot() is None
    assert channel.sent_values() is None
    assert channel.published == 0
    assert channel.settings.cycle_ns == 5_000_000
    assert channel.settings.sending


def test_what_is_put_last_is_there(idle_link: Maker) -> None:
    channel = idle_link(send=4, receive=0)
    for payload in (b"abcd", bytearray(b"efgh"), memoryview(b"ijkl")):
        before = lib.rt_mono_ns()
        channel.update(payload)
        sent = channel.sent_values()
        assert sent is not None
        assert sent.values == bytes(payload)
        assert before <= sent.timestamp_ns <= lib.rt_mono_ns()
    assert sent.updates == 3


def test_what_is_published_last_is_there(idle_link: Maker) -> None:
    channel = idle_link(send=0, receive=4)
    for number in range(1, 10):
        publish(channel, b"%04d" % number, number, 200 + number)
        snapshot = channel.snapshot()
        assert snapshot is not None
        assert snapshot.values == b"%04d" % number
        assert (snapshot.number, snapshot.feedback) == (number, 200 + number)
        assert snapshot.published == channel.published == number
        assert snapshot.stamp is shmring.types.Stamp.KERNEL
        assert not snapshot.void
        assert not snapshot.oversize
        assert 0 <= snapshot.age_ns() < 10**10
    publish(channel, bytes(4), flags=lib.SHM_NETFLUX_VOID | lib.SHM_NETFLUX_OVERSIZE)
    snapshot = channel.snapshot()
    assert snapshot is not None
    assert snapshot.void
    assert snapshot.oversize


@pytest.mark.parametrize("size", [0, 1499])
def test_the_smallest_and_the_largest(idle_link: Maker, size: int) -> None:
    channel = idle_link(send=size, receive=size)
    payload = bytes(i % 251 for i in range(size))
    channel.update(payload)
    publish(channel, payload)
    sent, got = channel.sent_values(), channel.snapshot()
    assert sent is not None
    assert got is not None
    assert sent.values == got.values == payload


@pytest.mark.parametrize("payload", [b"", b"abc", b"abcde", bytes(70000)])
def test_values_of_another_size(idle_link: Maker, payload: bytes) -> None:
    channel = idle_link(send=4, receive=4)
    channel.update(b"good")
    with pytest.raises(errors.PayloadTooLarge, match=rf"{len(payload)} bytes.*'?plc.*sends 4"):
        channel.update(payload)
    sent = channel.sent_values()
    assert sent is not None
    assert sent.values == b"good"


def test_values_that_are_none(idle_link: Maker) -> None:
    channel = idle_link(send=4, receive=4)
    with pytest.raises(TypeError, match="bytes-like"):
        channel.update("text")
    with pytest.raises(TypeError, match="bytes-like"):
        channel.update(None)


def test_records(idle_link: Maker) -> None:
    codec = Codec(Axis)
    channel = idle_link(send=codec, receive=codec)
    channel.update(Axis(1.5, -7, 3, True))
    sent = channel.sent_values()
    assert sent is not None
    assert sent.values == Axis(1.5, -7, 3, True)
    publish(channel, codec.encode(Axis(2.5, 9)))
    snapshot = channel.snapshot()
    assert snapshot is not None
    assert snapshot.values == Axis(2.5, 9)
    with pytest.raises(ValueError, match="mode"):
        channel.update(Axis(mode=40000))
    assert channel.sent_values() == sent


def test_a_record_of_another_layout(idle_link: Maker, shmring_namespace: str) -> None:
    codec, other = Codec(Axis), Codec(Axis, order="big")
    idle_link(send=codec, receive=8)
    with pytest.raises(errors.BadConfig) as caught:
        shmring.attach(
            "plc", namespace=shmring_namespace, engine=shmring.Netflux(send=other)
        )
    assert other.layout_hash() in str(caught.value)
    assert codec.layout_hash() in str(caught.value)
    with pytest.raises(errors.BadConfig, match=f"receive.*{codec.size} bytes.*8 bytes"):
        shmring.attach(
            "plc", namespace=shmring_namespace, engine=shmring.Netflux(receive=codec)
        )
    raw = shmring.attach("plc", namespace=shmring_namespace)
    assert isinstance(raw, shmring.netflux.Channel)
    assert raw.settings.send_layout == codec.layout_hash()
    assert raw.settings.receive_layout == ""


def test_a_tap_sees_both_ways_and_writes_neither(idle_link: Maker, shmring_namespace: str) -> None:
    channel = idle_link(send=4, receive=4)
    channel.update(b"sent")
    publish(channel, b"came")
    tap = shmring.attach("plc", namespace=shmring_namespace, readonly=True)
    assert isinstance(tap, shmring.netflux.Channel)
    sent, got = tap.sent_values(), tap.snapshot()
    assert sent is not None
    assert got is not None
    assert (sent.values, got.values) == (b"sent", b"came")
    assert tap.link().sent == 0
    for attempt in (
        lambda: tap.update(b"oops"),
        lambda: tap.configure(cycle_ns=10**6),
        lambda: tap.configure(sending=False),
        lambda: tap.set_failsafe(b"oops"),
    ):
        with pytest.raises(errors.NoPermission, match="read-only"):
            attempt()


def test_what_a_link_has_not(idle_link: Maker) -> None:
    channel = idle_link(send=4, receive=4)
    calls = (
        "send",
        "try_send",
        "send_many",
        "replace",
        "cancel",
        "flush",
        "recv_into",
    )
    for call in calls:
        assert not hasattr(channel, call)


def test_a_closed_link(idle_link: Maker) -> None:
    channel = idle_link(send=4, receive=4)
    channel.update(b"abcd")
    channel.segment.status.state = lib.SHM_STATE_CLOSED  # type: ignore[attr-defined]
    with pytest.raises(errors.ChannelClosed):
        channel.snapshot()
    channel.close()
    for call in (
        channel.snapshot,
        channel.sent_values,
        channel.link,
        lambda: channel.update(b"abcd"),
    ):
        with pytest.raises(errors.ChannelClosed):
            call()


def test_another_channels_boxes_are_not_touched(shmring_pool: shmring.Pool) -> None:
    with shmring_pool.open("plain", local=("127.0.0.1", 0)) as plain:
        with pytest.raises(errors.BadConfig, match="does not send in cycles"):
            plain._endpoint.put(b"abcd")
        with pytest.raises(errors.BadConfig, match="not a Netflux channel"):
            plain._endpoint.snapshot(None)
        with pytest.raises(errors.BadConfig, match="another kind than Netflux"):
            shmring.attach("plain", shmring.Netflux(send=Codec(Axis)))


def test_hostile_contents_are_refused_and_nothing_falls(idle_link: Maker) -> None:
    channel = idle_link(send=4, receive=4)
    channel.update(b"good")
    publish(channel, b"good")
    engine = ffi.buffer(channel.segment.engine, 4096)  # type: ignore[attr-defined]
    engine[:] = b"\xff" * 4096
    with pytest.raises(errors.ShmringError, match="overwrote"):
        channel.sent_values()
    with pytest.raises(errors.ShmringError, match="overwrote"):
        channel.snapshot()
    assert isinstance(channel.settings, shmring.netflux.Settings)


def test_threads_write_and_read_whole_values(idle_link: Maker) -> None:
    channel = idle_link(send=PAIR.size, receive=PAIR.size)
    stop = threading.Event()
    torn: list[bytes] = []

    def write() -> None:
        for n in range(20000):
            channel.update(PAIR.pack(n, -n))
        stop.set()

    def read() -> None:
        while not stop.is_set():
            sent = channel.sent_values()
            if sent is not None and sum(PAIR.unpack(sent.values)):
                torn.append(sent.values)

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not torn
    sent = channel.sent_values()
    assert sent is not None
    assert sent.updates == 20000


def test_snapshots_are_values(idle_link: Maker) -> None:
    channel = idle_link(send=4, receive=4)
    publish(channel, b"abcd", 7, 8)
    snapshot = channel.snapshot()
    assert snapshot is not None
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    assert snapshot == channel.snapshot()
    assert snapshot._asdict()["number"] == 7
    with pytest.raises(AttributeError):
        snapshot.number = 1  # type: ignore[misc]


# --- items of recv --------------------------------------------------------------------------------


def packet(head: bytes, values: bytes) -> shmring.Packet:
    source = (
        bytes((4, 0))
        + (2000).to_bytes(2, "little")
        + bytes(4)
        + bytes((127, 0, 0, 1)).ljust(16, b"\0")
    )
    return shmring.Packet(head + values, 5, shmring.types.Stamp.KERNEL, source, 9, 0, 3)


def test_items() -> None:
    kinds = {int(getattr(lib, f"SHM_NETFLUX_{k.name}")): k for k in shmring.netflux.EventKind}
    item = item_of(packet(HEAD.pack(0, lib.SHM_NETFLUX_FIRST, 7, 6, 4, 99, 1234), b"abcd"), 4, None)
    assert isinstance(item, shmring.netflux.Values)
    assert (item.values, item.number, item.feedback, item.published) == (b"abcd", 7, 6, 99)
    assert (item.timestamp_ns, item.first, item.oversize, item.lost_before) == (
        1234,
        True,
        False,
        3,
    )
    assert item.source == ("127.0.0.1", 2000)
    for number, kind in kinds.items():
        item = item_of(packet(HEAD.pack(number, 0, 0, 0, 4, 5, 77), bytes(4)), 4, None)
        assert isinstance(item, shmring.netflux.Event)
        assert (item.kind, item.timestamp_ns) == (kind, 77)
        assert (item.values is not None) == (kind == "timeout")
    void = item_of(packet(HEAD.pack(2, 1, 0, 0, 4, 5, 77), bytes(4)), 4, lambda raw: len(raw))
    assert isinstance(void, shmring.netflux.Event)
    assert (void.values, void.void) == (4, True)


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"\xff" * 24, b"\x00" * 30])
def test_an_item_that_makes_no_sense(garbage: bytes) -> None:
    assert item_of(packet(garbage, b""), 10, None)


# --- statistics -----------------------------------------------------------------------------------


def test_statistics_of_a_link_that_did_nothing(idle_link: Maker) -> None:
    channel = idle_link(send=4, receive=4)
    stats = channel.stats()
    assert stats.engine.sent == stats.engine.rejected == 0
    assert stats.engine.last_rtt_ns is None
    assert stats.engine.rtt.count == 0
    assert stats.to_dict()["engine"]["own_interval"]["count"] == 0
    assert channel.link().alive is False
    assert channel.link().to_dict()["rejected"] == 0
