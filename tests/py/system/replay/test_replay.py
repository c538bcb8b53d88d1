"""Captures sent over loopback, judged by what arrives."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import shmring
from shmring import _address
from shmring.net import capture
from shmring.testing import captures as c

T = 1_795_288_288_555_810_862
PATIENCE_S = 60.0
MS = 1_000_000


def opened(
    pool: shmring.Pool, name: str, host: str = "127.0.0.1", capacity: int = 8192
) -> shmring.Channel:
    return pool.open(
        name,
        shmring.Udp(rx=capacity, direction="rx", socket=shmring.Socket(rx_stamp="kernel")),
        local=(host, 0),
    )


def taken(channel: shmring.Channel, count: int) -> list[shmring.Packet]:
    return [channel.recv(timeout=PATIENCE_S) for _ in range(count)]


def file_of(gaps_ns: list[int], **how: Any) -> io.BytesIO:
    """A capture whose packets are numbered and have these gaps between them."""
    frames, at_ns = [], T
    for number, gap_ns in enumerate([0, *gaps_ns]):
        at_ns += gap_ns
        frames.append((at_ns, c.udp(b"%d" % number, to=("239.1.1.1", 5004))))
    return io.BytesIO(c.pcap(frames, **how))


def test_packets_keep_their_gaps(shmring_pool: shmring.Pool, shmring_replay: Any) -> None:
    gaps_ns = [(1 + i % 7) * MS for i in range(200)]
    there = opened(shmring_pool, "there")
    report = shmring_replay(file_of(gaps_ns), to=there.local)
    packets = taken(there, 201)
    assert [int(packet.data) for packet in packets] == list(range(201))
    assert (report.packets, report.sent, report.failed, report.not_sent) == (201, 201, 0, 0)
    # Never early by more than what the reader's machine may be late with the one before.
    stamps = [packet.timestamp_ns for packet in packets]
    errors = sorted(
        abs((b - a) - gap) for a, b, gap in zip(stamps, stamps[1:], gaps_ns, strict=False)
    )
    assert errors[len(errors) // 2] < 5 * MS
    assert stamps[-1] - stamps[0] >= sum(gaps_ns) - 1000 * MS
    assert report.lateness.count == 201
    assert 0 < report.gap_error.count <= 200


def test_a_loop_has_no_seam(shmring_pool: shmring.Pool, shmring_replay: Any) -> None:
    there = opened(shmring_pool, "there")
    report = shmring_replay(file_of([10 * MS] * 9), to=there.local, loop=3)
    assert report.capture.flows[0].rate_pps == pytest.approx(100)  # as in the file
    packets = taken(there, 30)
    assert [int(packet.data) for packet in packets] == [*range(10)] * 3
    assert report.rounds == 3
    assert report.seconds == pytest.approx(0.29, abs=2.0)
    assert report.seconds >= 0.29


@pytest.mark.check
def test_scale_and_rates(shmring_pool: shmring.Pool, shmring_replay: Any) -> None:
    there = opened(shmring_pool, "there")
    slow = file_of([1_000 * MS] * 20)
    for arguments, least_s in (
        ({"scale": 0.01}, 0.2),
        ({"scale": 0}, 0),
        ({"pps": 100}, 0.2),
        ({"bps": 30 * 8 * 100}, 0.1),
    ):
        slow.seek(0)
        report = shmring_replay(slow, to=there.local, **arguments)
        assert report.sent == 21
        assert least_s <= report.seconds < PATIENCE_S
        assert len(taken(there, 21)) == 21
        assert arguments != {"scale": 0} or report.late == 0


def test_flows_go_to_their_own_destinations(
    shmring_pool: shmring.Pool, shmring_replay: Any
) -> None:
    local = ["127.0.0.1", "127.0.0.1", "::1"]
    ends = [opened(shmring_pool, f"end{i}", host, 256) for i, host in enumerate(local)]
    frames = []
    for i in range(300):
        frames.append((T + i * 1000, c.udp(b"%d" % i, to=("239.1.1.1", 5000 + i % 4))))
    hosts = ["127.0.0.1", "127.0.0.1", "[::1]"]
    mapped = {f"*:{5000 + i}": f"{hosts[i]}:{ends[i].local[1]}" for i in range(3)}
    report = shmring_replay(
        io.BytesIO(c.pcap(frames)), map=mapped, flow=["*:5000", "*:5001", "*:5002"]
    )
    assert report.sent == 225
    for i, end in enumerate(ends):
        assert [int(p.data) for p in taken(end, 75)] == list(range(i, 300, 4))
    left_out = [flow for flow in report.capture.flows if flow.to is None]
    assert [flow.destination[1] for flow in left_out] == [5003]


@pytest.mark.check
def test_more_packets_than_the_ring_holds(shmring_pool: shmring.Pool, shmring_replay: Any) -> None:
    there = opened(shmring_pool, "there")
    told: list[capture.Progress] = []
    report = shmring_replay(
        file_of([MS // 2] * 1999), to=there.local, capacity=64, progress=told.append
    )
    assert [int(packet.data) for packet in taken(there, 2000)] == list(range(2000))
    assert report.sent == 2000
    assert told
    assert told[-1].queued <= 2000


@pytest.mark.check
def test_a_start_in_the_future(shmring_pool: shmring.Pool, shmring_replay: Any) -> None:
    there = opened(shmring_pool, "there")
    start = datetime.now(UTC) + timedelta(seconds=1)
    shmring_replay(file_of([MS]), to=there.local, start=start)
    ahead_s = (there.now_ns() - taken(there, 1)[0].timestamp_ns) / 1e9
    assert time.time() - ahead_s >= start.timestamp() - 0.1
    with pytest.raises(ValueError, match="it must be in the future"):
        shmring_replay(file_of([MS]), to=there.local, start=start - timedelta(days=1))


@pytest.mark.check
def test_stop_cancels_what_waits(shmring_pool: shmring.Pool) -> None:
    there = opened(shmring_pool, "there")
    player = capture.Player(
        file_of([100 * MS] * 1000), to=there.local, loop=None, pool=shmring_pool
    )
    threading.Timer(0.5, player.stop).start()
    report = player.run()
    assert report.stopped
    assert report.not_sent == report.packets - report.sent > 0


def test_what_cannot_be_repeated(shmring_replay: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="2 packets, or a rate"):
        shmring_replay(file_of([]), to="127.0.0.1", loop=2)
    read_end, write_end = os.pipe()
    os.close(write_end)
    with (
        os.fdopen(read_end, "rb", buffering=0) as pipe,
        pytest.raises(ValueError, match="is a pipe and cannot be read again"),
    ):
        shmring_replay(pipe, to="127.0.0.1", loop=2)


def test_a_damaged_file_sends_what_is_before_the_damage_or_less(
    shmring_pool: shmring.Pool, shmring_replay: Any, tmp_path: Path
) -> None:
    there = opened(shmring_pool, "there")
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(file_of([MS] * 3).getvalue() + b"\xff" * 16)
    with pytest.raises(ValueError, match=r"bad\.pcap: the capture is damaged at byte"):
        shmring_replay(bad, to=there.local)


def test_times_a_year_apart_are_refused(shmring_replay: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="packet 2 is due"):
        shmring_replay(file_of([366 * 86400 * 10**9]), to="127.0.0.1:9")


# --- send_many with a destination for each packet -------------------------------------------------


def test_each_packet_has_its_destination(shmring_pool: shmring.Pool) -> None:
    ends = [opened(shmring_pool, f"end{i}") for i in range(2)]
    sender = shmring_pool.open("sender", local=("127.0.0.1", 0))
    sender.send_many(
        b"abcd", size=1, to=shmring.batch.pack_addresses([ends[i % 2].local for i in range(4)])
    )
    assert [[p.data for p in taken(end, 2)] for end in ends] == [[b"a", b"c"], [b"b", b"d"]]


def test_wrong_destinations_are_refused(shmring_pool: shmring.Pool) -> None:
    sender = shmring_pool.open("sender", local=("127.0.0.1", 0))
    good = ("127.0.0.1", 9)
    with pytest.raises(ValueError, match="to has 24 bytes: 2 packets need 24 each"):
        sender.send_many(b"ab", size=1, to=shmring.batch.pack_addresses([good]))
    for bad in (("::1", 9), ("127.0.0.1", 0)):
        raw = _address.pack(good, "to") + _address.pack(bad, "to")
        with pytest.raises(ValueError, match="address of packet 1 is not of the channel's family"):
            sender.send_many(b"ab", size=1, to=raw)
    with pytest.raises(TypeError, match="not with a sequence of packets"):
        sender.send_many([b"a"], to=shmring.batch.pack_addresses([good]))
