"""Packets on their way in: whose they are, what the jitter buffer makes of them, who reads them."""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import random
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

import shmring
from shmring import rtp

MS = 1_000_000
STEP = 40  # samples of 5 ms at 8 kHz
PTIME_S = 0.005
WAIT_S = 20.0

Mic = Callable[..., shmring.rtp.Channel]


def stream(peer: Any, order: Iterable[int], *, pace_s: float = PTIME_S, **how: Any) -> None:
    """Send packets of these numbers, one every `pace_s`."""
    start = time.monotonic()
    for slot, number in enumerate(order):
        time.sleep(max(0.0, start + slot * pace_s - time.monotonic()))
        peer.send(number, number * STEP, b"%d" % number, **how)


@pytest.fixture
def frames(items: Any) -> Callable[[shmring.rtp.Channel], list[rtp.Frame]]:
    """The frames of what comes until nothing does for a while."""
    return lambda ch: [item for item in items(ch) if isinstance(item, rtp.Frame)]


def numbers(got: Iterable[rtp.Frame]) -> list[int]:
    return [int(frame.data) for frame in got]


# --- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivery", ["playout", "in_order", "as_arrived"])
def test_frames_as_they_were_sent(mic: Mic, peer: Any, delivery: str, frames: Any) -> None:
    ch = mic(delivery=delivery)
    for number in range(65530, 65550):
        peer.send(
            number,
            number * STEP,
            b"%d" % number,
            marker=number == 65530,
            csrc=(1, 0xFFFFFFFF),
            extension=b"\xbe\xde\0\1\x10\x2a\0\0",
        )
        time.sleep(PTIME_S)
    got = frames(ch)
    first = int(got[0].data)
    assert first in (65530, 65531)  # the first one proves the source, together with the second
    assert numbers(got) == list(range(first, 65550))
    assert [frame.sequence for frame in got] == [65536 + number for number in range(first, 65550)]
    for frame in got:
        assert frame.timestamp == int(frame.data) * STEP
        assert (frame.ssrc, frame.payload_type, frame.csrc) == (0x5EED, 0, (1, 0xFFFFFFFF))
        assert frame.elements() == ((1, b"\x2a"),)
        assert frame.source == peer.address
        assert frame.stamp in ("user", "kernel", "hardware")
        assert frame.due_ns >= frame.timestamp_ns
        assert not frame.recovered
    if delivery == "playout":
        gaps = np.diff([frame.due_ns for frame in got])
        assert abs(np.median(gaps) - 5 * MS) < MS


@pytest.mark.check
def test_frames_are_not_given_out_before_they_are_due(mic: Mic, peer: Any) -> None:
    ch = mic()
    thread = threading.Thread(target=stream, args=(peer, range(20)))
    thread.start()
    got = []
    while len(got) < 15:
        item = ch.recv(timeout=WAIT_S)
        assert ch.now_ns() >= item.due_ns
        got.append(item)
    thread.join()
    assert got[-1].due_ns - got[-1].timestamp_ns > 200 * MS


def test_samples_of_what_comes(mic: Mic, peer: Any) -> None:
    ch = mic(codec="pcma", delivery="as_arrived", min_sequential=1)
    peer.send(1, 0, b"\xd5" * STEP, payload_type=8)
    peer.send(2, STEP, struct.pack(">2h", 5, -5), payload_type=11)
    peer.send(3, 2 * STEP, b"opus?", payload_type=101)
    peer.send(4, 2 * STEP, b"\5\x8a\0\xa0", payload_type=101)
    alaw, l16, opus, key = got = [ch.recv(timeout=WAIT_S) for _ in range(4)]
    assert ch.pcm(alaw).tolist() == [8] * STEP
    assert ch.pcm(l16).tolist() == [5, -5]
    with pytest.raises(shmring.errors.BadConfig, match="payload type 101: open it with codec="):
        ch.pcm(opus)
    assert [item.event for item in got] == [False, False, False, True]
    assert len(ch.pcm(key)) == 0
    gap = rtp.Erasure(0, 0, 0, 0, 1, STEP, 5 * MS, False, 0, 0)
    silent = np.asarray(ch.pcm([alaw, gap, l16]))
    assert silent.tolist() == [8] * STEP + [0] * STEP + [5, -5]
    assert [item.payload_type for item in got] == [8, 11, 101, 101]


# --- the jitter buffer ----------------------------------------------------------------------------


@pytest.mark.check
@pytest.mark.parametrize("delivery", ["playout", "in_order"])
def test_disorder_and_duplicates_are_put_right(
    mic: Mic, peer: Any, delivery: str, frames: Any
) -> None:
    ch = mic(delivery=delivery)
    rng = random.Random(5)
    order = list(range(5))
    for block in range(5, 85, 4):
        part = list(range(block, block + 4))
        rng.shuffle(part)
        order += part
        if rng.random() < 0.3:
            order.append(part[0])
    stream(peer, order)
    got = numbers(frames(ch))
    assert got == list(range(got[0], 85))
    stats = ch.stats().engine
    assert stats.duplicates == len(order) - 85
    assert stats.delivered == len(got)
    assert stats.lost == 0


def test_a_lost_frame_is_an_erasure_and_leaves_no_trace(mic: Mic, peer: Any, items: Any) -> None:
    ch = mic(max_delay_ns=400 * MS)  # it does not grow with what the machine does to the sender
    stream(peer, [number for number in range(100) if number not in (40, 60, 61)])
    got = list(items(ch))
    gaps = [item for item in got if isinstance(item, rtp.Erasure) and not item.dry]
    missing = [gap.sequence - 65536 + i for gap in gaps for i in range(gap.frames)]
    assert missing == [40, 60, 61]
    for gap in gaps:
        assert gap.samples == gap.frames * STEP
        assert gap.duration_ns == gap.frames * 5 * MS
        assert gap.timestamp == (gap.sequence - 65536) * STEP
    whole = [item for item in got if isinstance(item, rtp.Frame)]
    assert set(range(2, 100)) - set(numbers(whole)) == {40, 60, 61}
    stats = ch.stats().engine
    assert (stats.lost, stats.erasures >= 2) == (3, True)
    assert stats.concealed_ns >= 15 * MS
    # Not held up by the gaps: the last frames are played as soon after their arrival as the first.
    early = [f.due_ns - f.timestamp_ns for f in whole[:38]]
    late = [f.due_ns - f.timestamp_ns for f in whole[-15:]]
    assert max(late) <= max(early) + 20 * MS  # of those that were sent in time
    assert stats.depth == 0


# The packets of key 5 as baresip sends them: one after each frame, all with the time at which it
# was pressed, three at the end with the E bit.
KEY = [bytes((5, 0x8A if i > 5 else 10, 0, 20 * min(i + 1, 7))) for i in range(9)]


@pytest.mark.parametrize("delivery", ["playout", "in_order"])
@pytest.mark.parametrize("event_types", [None, (101,)])
def test_telephone_events_arrive_whole_among_frames_that_join(
    mic: Mic, peer: Any, items: Any, delivery: str, event_types: tuple[int, ...] | None
) -> None:
    ch = mic(codec="pcmu", delivery=delivery, event_types=event_types)
    sequence = itertools.count(65530)
    for slot in range(60):
        peer.send(next(sequence), slot * STEP, bytes(STEP))
        if slot % 20 > 10:
            pressed = slot // 20 * 20 + 11
            peer.send(next(sequence), pressed * STEP, KEY[slot - pressed], payload_type=101)
        time.sleep(PTIME_S)
    got = list(items(ch))
    keys = [item for item in got if isinstance(item, rtp.Frame) and item.event]
    assert [key.data for key in keys] == 3 * KEY
    assert [key.sequence for key in keys] == sorted(key.sequence for key in keys)
    media = [item for item in got if item not in keys and not getattr(item, "dry", False)]
    assert all(isinstance(item, rtp.Frame) for item in media)
    assert len(ch.pcm(media + keys)) == len(media) * STEP
    stats = ch.stats().engine
    assert (stats.lost, stats.resyncs) == (0, 0)
    assert len(media) == 60 - stats.late  # a busy machine may make some late


def test_in_order_delivers_at_once(mic: Mic, peer: Any) -> None:
    ch = mic(delivery="in_order", min_delay_ns=2000 * MS, max_delay_ns=3000 * MS)
    stream(peer, range(10))
    got = [ch.recv(timeout=WAIT_S) for _ in range(9)]
    assert numbers(got)[-1] >= 8
    assert ch.now_ns() < got[-1].due_ns


@pytest.mark.check
def test_a_late_frame_is_counted(mic: Mic, peer: Any, frames: Any) -> None:
    ch = mic(min_delay_ns=300 * MS, first_delay_ns=300 * MS, max_delay_ns=300 * MS)
    stream(peer, [*range(20), *range(21, 111), 20, *range(111, 116)])
    assert 20 not in numbers(frames(ch))
    stats = ch.stats().engine
    assert stats.late == 1
    assert stats.lost == 0


@pytest.mark.check
def test_a_dry_buffer_conceals_and_then_takes_it_for_a_pause(
    mic: Mic, peer: Any, items: Any
) -> None:
    ch = mic(conceal_ns=50 * MS)
    stream(peer, range(20))
    got = list(items(ch))
    last = max(i for i, item in enumerate(got) if isinstance(item, rtp.Frame))
    dry = got[last + 1 :]
    assert all(isinstance(gap, rtp.Erasure) and gap.dry and gap.frames == 0 for gap in dry)
    assert 0 < sum(gap.duration_ns for gap in dry) <= 60 * MS


# --- whose packets --------------------------------------------------------------------------------


@pytest.mark.check
def test_a_source_has_to_prove_itself(mic: Mic, peer: Any, frames: Any) -> None:
    ch = mic(delivery="as_arrived", min_sequential=5)
    for number in (1, 9, 3, 700):
        peer.send(number, 0, b"x")
    stream(peer, range(1000, 1010), pace_s=0.001)
    got = numbers(frames(ch))
    assert got[-1] == 1009
    assert got[0] == 1000
    assert ch.stats().engine.on_probation == 4


@pytest.mark.check
def test_a_flood_of_made_up_sources_keeps_nobody_out(mic: Mic, peer: Any, frames: Any) -> None:
    ch = mic(delivery="as_arrived")
    made_up = random.Random(5)
    for number in range(100):
        for _ in range(20):
            peer.send(made_up.getrandbits(16), 0, b"-1", ssrc=made_up.getrandbits(32))
        peer.send(number, number * STEP, b"%d" % number)
        time.sleep(PTIME_S)
    got = numbers(frames(ch))
    assert len(got) > 80
    assert min(got) >= 0
    assert got[-1] == 99


@pytest.mark.check
def test_another_source_takes_over(mic: Mic, peer: Any, items: Any) -> None:
    ch = mic()
    stream(peer, range(20))
    stream(peer, range(5000, 5020), ssrc=0xBEEF)
    got = list(items(ch))
    jumps = [item for item in got if isinstance(item, rtp.Resync)]
    assert [(jump.new_source, jump.ssrc) for jump in jumps] == [(True, 0xBEEF)]
    heard = [item for item in got if isinstance(item, rtp.Frame)]
    assert {frame.ssrc for frame in heard} == {0x5EED, 0xBEEF}
    assert int(heard[-1].data) == 5019
    stats = ch.stats().engine
    assert (stats.source_changes, stats.remote_ssrc) == (1, 0xBEEF)


@pytest.mark.check
def test_only_the_expected_source(mic: Mic, peer: Any, frames: Any) -> None:
    ch = mic(delivery="as_arrived", expected_ssrc=7)
    stream(peer, range(5), pace_s=0.001)
    stream(peer, range(5), pace_s=0.001, ssrc=7)
    assert {frame.ssrc for frame in frames(ch)} == {7}
    assert ch.stats().engine.foreign == 5


@pytest.mark.check
def test_a_restart_is_followed(mic: Mic, peer: Any, items: Any) -> None:
    ch = mic()
    stream(peer, range(20))
    stream(peer, range(30000, 30020))
    got = list(items(ch))
    assert [item.restarted for item in got if isinstance(item, rtp.Resync)] == [True]
    heard = numbers(item for item in got if isinstance(item, rtp.Frame))
    assert heard[-1] == 30019
    assert ch.stats().engine.restarts == 1


def test_garbage_is_counted_and_dropped(mic: Mic, peer: Any, eventually: Any) -> None:
    ch = mic(delivery="as_arrived")
    rng = random.Random(11)
    stream(peer, range(3), pace_s=0.001)
    good = struct.pack(">BBHII", 0x80, 0, 3, 0, 0x5EED)
    hostile = [
        b"",
        b"\x80",
        good[:11],
        b"\x40" + good[1:],  # version 1
        b"\x8f" + good[1:],  # 15 sources, none there
        b"\x90" + good[1:] + b"\xbe\xde\xff\xff",  # an extension longer than the packet
        b"\xa0" + good[1:],  # padding, and no room for it
        b"\xa0" + good[1:] + b"\0",  # padding of 0
        b"\xa0" + good[1:] + b"\xff",  # longer than there is
        b"\x80\xc8\0\xff" + bytes(8),  # RTCP, which is off
        bytes(2000),
        *(rng.randbytes(rng.randrange(1, 200)) for _ in range(300)),
    ]
    for raw in hostile:
        peer.send_raw(raw)
    good_numbers = itertools.count(3)

    def is_heard_again() -> bool:  # the kernel drops what a worker that is held up has no room for
        number = next(good_numbers)
        peer.send(number, number * STEP, b"good %d" % number)
        waiting = iter(ch.try_recv, None)
        return any(item.ssrc == 0x5EED and item.data.startswith(b"good ") for item in waiting)

    eventually(is_heard_again)
    eventually(lambda: ch.stats().engine.malformed >= 9)
    eventually(lambda: ch.stats().engine.remote_ssrc == 0x5EED)
    assert ch.state == "open"


@pytest.mark.check
def test_the_wildest_sequence_numbers(mic: Mic, peer: Any, frames: Any) -> None:
    ch = mic()
    for number in (65535, 0, 1, 32768, 32767, 65535, 2, 3, 4, 5, 6):
        peer.send(number, number * STEP, b"%d" % number)
        time.sleep(PTIME_S)
    assert numbers(frames(ch))[-1] == 6


# --- readers --------------------------------------------------------------------------------------

READER = """
import sys, shmring
ch = shmring.attach("mic", reading=sys.argv[1] if len(sys.argv) > 1 else None)
ch.try_recv()
print("ready", flush=True)
patience_s = 20  # until it begins
try:
    while True:
        item = ch.recv(timeout=patience_s)
        patience_s = 1.5
        if isinstance(item, shmring.rtp.Frame):
            print(item.sequence, item.due_ns, item.data.decode(), flush=True)
except shmring.ReceiveTimeout:
    print("end", flush=True)
"""


def lines(process: Any) -> list[str]:
    got = []
    while (line := process.line()) not in ("end", ""):
        got.append(line)
    return got


@pytest.mark.check
def test_every_process_reads_the_same_frames(mic: Mic, peer: Any, python: Any, frames: Any) -> None:
    ch = mic()
    others = [python(READER) for _ in range(2)]
    for other in others:
        assert other.line() == "ready"
    tap = shmring.attach("mic", readonly=True)
    stream(peer, range(30))
    mine = [f"{f.sequence} {f.due_ns} {f.data.decode()}" for f in frames(ch)]
    assert len(mine) >= 29
    assert [lines(other) for other in others] == [mine, mine]
    assert [f"{f.sequence} {f.due_ns} {f.data.decode()}" for f in frames(tap)] == mine
    tap.close()


def test_readers_share(mic: Mic, peer: Any) -> None:
    ch = mic(reading="shared", delivery="as_arrived", min_sequential=1)
    other = shmring.attach("mic")
    stream(peer, range(10), pace_s=0.001)
    got = []
    for turn in range(10):
        got.append((ch, other)[turn % 2].recv(timeout=WAIT_S))
    assert numbers(got) == list(range(10))
    other.close()


@pytest.mark.check
def test_many_at_once(mic: Mic, peer: Any) -> None:
    ch = mic(delivery="as_arrived", min_sequential=1)
    stream(peer, range(50), pace_s=0.0)
    got: list[shmring.rtp.Batch] = []
    while sum(map(len, got)) < 50:
        got.append(ch.recv_many(timeout=WAIT_S))
    sequences = np.concatenate([np.asarray(batch.sequences) for batch in got])
    assert sequences.tolist() == [65536 + number for number in range(50)]
    assert numbers(frame for batch in got for frame in batch) == list(range(50))
    table = got[0].array
    assert table["timestamp"][0] == 0
    stream(peer, range(50, 52), pace_s=0.0)
    room = bytearray(4096)
    first = ch.recv_many(1, timeout=WAIT_S, out=room)
    assert numbers(first) == [50]
    with pytest.raises(shmring.errors.PayloadTooLarge):
        ch.recv_many(1, timeout=WAIT_S, out=bytearray(20))


def test_iterating_and_asyncio(mic: Mic, peer: Any) -> None:
    ch = mic(delivery="as_arrived", min_sequential=1)

    async def listen() -> list[int]:
        got = [await ch.aio.recv(timeout=WAIT_S)]
        async for item in ch:
            got.append(item)
            if len(got) == 6:
                return numbers(got)
        return []

    thread = threading.Thread(target=stream, args=(peer, range(8)))
    thread.start()
    assert asyncio.run(listen()) == list(range(6))
    thread.join()
    rest = []
    for item in ch:
        rest.append(item)
        if len(rest) == 2:
            break
    assert numbers(rest) == [6, 7]
    assert ch.try_recv() is None
    assert pickle.loads(pickle.dumps(rest)) == rest


@pytest.mark.check
def test_a_killed_worker_costs_no_more_than_what_it_held(
    mic: Mic, peer: Any, shmring_pool: shmring.Pool, eventually: Any
) -> None:
    ch = mic()
    thread = threading.Thread(target=stream, args=(peer, range(100)))
    thread.start()
    while not isinstance(item := ch.recv(timeout=WAIT_S), rtp.Frame) or int(item.data) < 20:
        pass
    os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
    thread.join()
    eventually(lambda: ch.stats().epoch == 2)
    stream(peer, range(100, 120))
    got: list[int] = []
    while not got or got[-1] != 119:
        if isinstance(item := ch.recv(timeout=WAIT_S), rtp.Frame):
            got.append(int(item.data))
    assert got == sorted(set(got))


@pytest.mark.check
def test_statistics_of_a_stream(mic: Mic, peer: Any, frames: Any) -> None:
    ch = mic()
    stream(peer, range(60))
    assert len(frames(ch)) >= 59
    stats = ch.stats()
    assert stats.rx_received >= 60
    rtp = stats.engine
    assert (rtp.received, rtp.malformed, rtp.lost) == (60, 0, 0)
    assert rtp.remote_ssrc == 0x5EED
    assert rtp.highest_seq == 59
    assert rtp.jitter_ns >= 0
    assert rtp.jitter_units == pytest.approx(rtp.jitter_ns * 8000 / 1e9, abs=2)
    assert 400 * MS <= rtp.target_ns <= 800 * MS
    assert rtp.to_dict() == stats.to_dict()["engine"]
    ch.reset_stats()
    assert ch.stats().engine.received == 0
