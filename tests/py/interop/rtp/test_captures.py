"""Packets in the order and at the times of programs that are not here: VLC and baresip."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable

import pytest

import shmring
from shmring.testing import captures

pytestmark = pytest.mark.check

MS = 1_000_000
STEP = 40  # samples of 5 ms, so that a test is short
PTIME_NS = 5 * MS
SSRC = 0xCAFE
LATE_NS = 2000 * MS  # what the machine may cost


def rtp(sequence: int, timestamp: int, payload: bytes, payload_type: int = 0) -> bytes:
    return struct.pack(">BBHII", 0x80, payload_type, sequence % 65536, timestamp, SSRC) + payload


def play(pool: shmring.Pool, packets: Iterable[tuple[int, int, bytes]]) -> None:
    """Replay (time in ns, port, datagram) to this host."""
    frames = [
        (at_ns, captures.udp(data, to=("127.0.0.1", port), source=("127.0.0.1", port + 2000)))
        for at_ns, port, data in sorted(packets)
    ]
    report = shmring.net.replay(io.BytesIO(captures.pcap(frames)), pool=pool)
    assert report.sent == len(frames)


def open_ear(pool: shmring.Pool, at: int, **options: object) -> shmring.rtp.Channel:
    engine = shmring.Rtp(
        codec="pcmu",
        ptime_ns=PTIME_NS,
        playout=shmring.rtp.Playout(
            min_delay_ns=LATE_NS,
            first_delay_ns=LATE_NS,
            max_delay_ns=LATE_NS,
            resync_ns=5 * LATE_NS,
        ),
        rtcp=shmring.rtp.Rtcp(port="next_port"),
        rx=1024,  # room for all, which is read at the end
        **options,  # type: ignore[arg-type]
    )
    return pool.open("ear", engine, local=("127.0.0.1", at))


def everything(ear: shmring.rtp.Channel, last: int) -> list[shmring.rtp.Item]:
    """Return all items up to the frame with the timestamp `last`, and what comes soon after it."""
    items = [ear.recv(timeout=20.0)]
    while not (isinstance(items[-1], shmring.rtp.Frame) and items[-1].timestamp == last):
        items.append(ear.recv(timeout=20.0))
    try:
        while True:
            items.append(ear.recv(timeout=1.0))
    except shmring.ReceiveTimeout:
        return items


def test_vlc_whose_first_packets_come_early(shmring_pool, port_pair):
    """VLC's come 260 ms early. Here they come earlier than frames are held back, as there."""
    at = port_pair()
    early_ns = LATE_NS + 60 * MS
    ear = open_ear(shmring_pool, at)
    play(
        shmring_pool,
        [
            (i * PTIME_NS + (early_ns if i > 1 else 0), at, rtp(i, i * STEP, bytes(STEP)))
            for i in range(278)
        ],
    )
    items = everything(ear, 277 * STEP)
    frames = [item for item in items if isinstance(item, shmring.rtp.Frame)]
    assert [frame.timestamp for frame in frames] == [i * STEP for i in range(278)]
    stats = ear.stats().engine
    assert (stats.late, stats.lost, stats.resyncs) == (0, 0, 1)


# Three keys of nine packets each, one behind each frame and with the time at which it was pressed.
# The last three packets have the E bit.
KEY = [bytes((5, 0x8A if i > 5 else 10, 0, 20 * min(i + 1, 7))) for i in range(9)]
PRESSED = [range(60, 69), range(120, 129), range(180, 189)]
APP_AND_RR = struct.pack(">BBHI4sBBHI", 0x80, 204, 2, SSRC, b"PING", 0x80, 201, 1, SSRC)
BYE_ALONE = struct.pack(">BBHI", 0x81, 203, 1, SSRC)


def test_baresip_with_keys_and_a_goodbye_that_stands_alone(shmring_pool, port_pair):
    at = port_pair()
    ear = open_ear(shmring_pool, at)
    packets = [(1, at + 1, APP_AND_RR), (300 * PTIME_NS, at + 1, BYE_ALONE)]
    sequence = 65500
    for i in range(300):
        packets.append((i * PTIME_NS, at, rtp(sequence, i * STEP, bytes(STEP))))
        sequence += 1
        for key in PRESSED:
            if i in key:
                event = rtp(sequence, key[0] * STEP, KEY[i - key[0]], 101)
                packets.append((i * PTIME_NS + 1, at, event))
                sequence += 1
    play(shmring_pool, packets)
    items = everything(ear, 299 * STEP)
    frames = [item for item in items if isinstance(item, shmring.rtp.Frame)]
    events = [frame for frame in frames if frame.event]
    assert [event.data for event in events] == 3 * KEY
    assert [item for item in items if getattr(item, "frames", 0) and item not in frames] == []
    assert len(ear.pcm(frames)) == 300 * STEP
    assert sum(isinstance(item, shmring.rtp.Bye) for item in items) == 1
    stats = ear.stats().engine
    assert (stats.late, stats.lost, stats.rtcp_malformed) == (0, 0, 0)
