"""Frames on their way out: numbers, grid, spurts, blocks, and whoever dies on the way."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import shmring
from shmring.rtp import Rtcp
from shmring.rtp.extension import elements

MS = 1_000_000
PTIME_NS = 5 * MS
TOLERANCE_NS = 50_000  # the default: what comes later is an underrun
STEP = 40  # samples of 5 ms at 8 kHz
FRAME = bytes(STEP)
BATCH = 64  # packets in one call, at most

Mic = Callable[..., shmring.rtp.Channel]


@pytest.fixture
def mic(mic: Mic) -> Mic:
    return lambda name="mic", **options: mic(name, **({"direction": "tx"} | options))


def steps(wires: Any) -> list[int]:
    return [
        (after.timestamp - before.timestamp) % 2**32 for before, after in itertools.pairwise(wires)
    ]


def numbered(wires: Any, first: int) -> bool:
    return [wire.sequence for wire in wires] == [(first + i) % 65536 for i in range(len(wires))]


# --- numbers --------------------------------------------------------------------------------------


def test_a_stream(mic: Mic, peer: Any) -> None:
    ch = mic(first_sequence=65530, first_timestamp=2**32 - 100, ssrc=0xABCDEF01)
    for i in range(20):
        ch.send(b"%d" % i)
    wires = peer.recv_all(20)
    assert [wire.payload for wire in wires] == [b"%d" % i for i in range(20)]
    assert numbered(wires, 65530)
    assert wires[0].timestamp == 2**32 - 100
    assert steps(wires) == [STEP] * 19
    assert [wire.marker for wire in wires] == [True] + [False] * 19
    assert {(wire.payload_type, wire.ssrc) for wire in wires} == {(0, 0xABCDEF01)}


def test_what_it_is(mic: Mic) -> None:
    ch = mic(codec="l16", clock_rate=48000, payload_type=97, audio_channels=2, delivery="in_order")
    assert ch.media == ("l16", 2, 97, 48000, 240, PTIME_NS, "in_order")
    assert ch.max_payload > 1400
    assert "rtp.Channel 'mic'" in repr(ch)
    ssrc = ch.ssrc
    ch.close()
    assert ch.ssrc == ssrc
    assert repr(ch) == "<shmring.rtp.Channel 'mic' closed>"


@pytest.mark.parametrize(
    ("clock_rate", "ptime_ns", "expected"),
    [
        (44100, 2_500_000, 110),
        (90000, 3_333_333, 300),
        (11025, 2_500_000, 28),
        (48000, 2_500_000, 120),
    ],
)
def test_any_clock_rate(mic: Mic, peer: Any, clock_rate: int, ptime_ns: int, expected: int) -> None:
    ch = mic(payload_type=96, clock_rate=clock_rate, ptime_ns=ptime_ns)
    ch.send_many([b"x"] * 30)
    assert steps(peer.recv_all(30)) == [expected] * 29


def test_a_frame_may_differ_from_the_others(mic: Mic, peer: Any) -> None:
    ch = mic()
    ch.send(b"usual")
    ch.send(b"event", payload_type=101, marker=True)
    ch.send(b"longer", samples=120)
    ch.send(b"after", marker=False)
    usual, event, longer, after = wires = peer.recv_all(4)
    assert [wire.payload_type for wire in wires] == [0, 101, 0, 0]
    assert [wire.marker for wire in wires] == [True, True, False, False]
    assert steps(wires) == [STEP, STEP, 120]
    assert (usual.payload, event.payload, longer.payload) == (b"usual", b"event", b"longer")
    assert after.payload == b"after"


def test_the_marker_can_be_left_out(mic: Mic, peer: Any) -> None:
    ch = mic(mark_spurts=False)
    ch.send(FRAME)
    assert not peer.recv().marker


def test_header_extension(mic: Mic, peer: Any) -> None:
    ch = mic()
    given = ((1, b"\x7f"), (3, b"level"))
    ch.send(b"with", elements=given)
    ch.send(b"without")
    with_it, without = peer.recv_all(2)
    assert elements(int.from_bytes(with_it.extension[:2], "big"), with_it.extension[4:]) == given
    assert (with_it.payload, without.payload, without.extension) == (b"with", b"without", b"")


def test_one_picture_in_several_packets(mic: Mic, peer: Any) -> None:
    ch = mic(payload_type=96, clock_rate=90000)
    for _ in range(2):
        ch.send(b"a", same_time=True)
        ch.send(b"b", same_time=True)
        ch.send(b"c", marker=True)
    assert steps(peer.recv_all(6)) == [0, 0, 450, 0, 0]


# --- the grid -------------------------------------------------------------------------------------


def test_packets_leave_on_the_grid_and_not_before(mic: Mic, peer: Any, eventually: Any) -> None:
    ch = mic()
    start = ch.now_ns() + 50 * MS
    ch.send_many([FRAME] * 30, at=start)
    wires = peer.recv_all(30)
    assert steps(wires) == [STEP] * 29
    ch.flush(timeout=20)
    reports = eventually(lambda: sorted(ch.reports(timeout=0)))
    while len(reports) < 30:
        reports += eventually(lambda: list(ch.reports(timeout=0)))
    assert [report.scheduled_ns for report in reports] == [start + i * PTIME_NS for i in range(30)]
    assert all(report.sent_ns >= report.scheduled_ns for report in reports)


def test_a_later_time_leaves_slots_out(mic: Mic, peer: Any) -> None:
    ch = mic()
    start = ch.now_ns() + 30 * MS
    ch.send(b"one", at=start)
    ch.send(b"two", at=start + 42 * MS)  # the slot at 45 ms
    one, two = peer.recv_all(2)
    assert (two.timestamp - one.timestamp) % 2**32 == 9 * STEP
    assert (two.sequence - one.sequence) % 65536 == 1
    assert two.marker


def test_talk_spurts(mic: Mic, peer: Any, eventually: Any) -> None:
    ch = mic()
    ch.send_many([FRAME] * 3)
    ch.end_spurt()
    wires = peer.recv_all(3)
    time.sleep(0.05)
    ch.send_many([FRAME] * 3)
    wires += peer.recv_all(3)
    assert numbered(wires, wires[0].sequence)
    assert [wire.marker for wire in wires] == [True, False, False] * 2
    gap = steps(wires)[2]
    assert gap % STEP == 0
    assert gap > STEP * 5
    stats = eventually(lambda: (s := ch.stats().engine).spurts == 2 and s)
    assert stats.underruns == 0


def test_a_pause_of_known_length(mic: Mic, peer: Any, eventually: Any) -> None:
    ch = mic()
    ch.hold()
    ch.send_many([FRAME] * 2)
    ch.end_spurt(100 * STEP)
    ch.send_many([FRAME] * 2)
    ch.release()
    wires = peer.recv_all(4)
    assert steps(wires) == [STEP, 101 * STEP, STEP]
    assert [wire.marker for wire in wires] == [True, False] * 2
    eventually(lambda: ch.stats().engine.spurts == 2)


def test_an_empty_queue_resumes_on_the_same_grid(mic: Mic, peer: Any, eventually: Any) -> None:
    ch = mic(underrun="resume", tolerance_ns=TOLERANCE_NS)
    ch.send(FRAME)
    first = peer.recv()
    time.sleep(0.05)
    ch.send(FRAME)
    second = peer.recv()
    gap = (second.timestamp - first.timestamp) % 2**32
    assert gap % STEP == 0
    assert gap >= 5 * STEP
    assert second.marker
    assert eventually(lambda: ch.stats().engine.underruns) == 1
    assert ch.stats().engine.skipped_times == gap // STEP - 1


def test_an_empty_queue_that_catches_up(mic: Mic, peer: Any) -> None:
    ch = mic(underrun="catch_up", tolerance_ns=TOLERANCE_NS)
    ch.send(FRAME)
    wires = [peer.recv()]
    time.sleep(0.05)
    ch.send_many([FRAME] * 4)
    wires += peer.recv_all(4)
    assert steps(wires) == [STEP] * 4
    assert ch.stats().engine.skipped_times == 0


def test_an_empty_queue_that_is_filled(mic: Mic, peer: Any, eventually: Any) -> None:
    ch = mic(underrun="fill", fill_packets=4, tolerance_ns=TOLERANCE_NS)
    ch.send(b"\0" * STEP)
    wires = peer.recv_all(5)
    assert steps(wires) == [STEP] * 4
    assert {wire.payload for wire in wires[1:]} == {b"\xff" * STEP}
    assert peer.nothing_more()
    eventually(lambda: ch.stats().engine.filled >= 4)
    assert ch.stats().engine.filled == 4


# --- blocks ---------------------------------------------------------------------------------------


def test_a_block_is_cut_into_packets(mic: Mic, peer: Any) -> None:
    ch = mic()
    data = bytes(i % 251 for i in range(50 * STEP + 7))
    ch.send_block(data)
    wires = peer.recv_all(51)
    assert b"".join(wire.payload for wire in wires) == data
    assert [len(wire.payload) for wire in wires] == [STEP] * 50 + [7]
    assert steps(wires) == [STEP] * 50
    assert numbered(wires, wires[0].sequence)
    assert [wire.marker for wire in wires] == [True] + [False] * 50


def test_what_follows_a_block_follows_its_samples(mic: Mic, peer: Any) -> None:
    ch = mic()
    ch.send_block(bytes(STEP + 10))
    ch.send(b"next")
    whole, part, after = peer.recv_all(3)
    assert steps([whole, part, after]) == [STEP, 10]


def test_a_block_longer_than_a_record(mic: Mic, peer: Any) -> None:
    ch = mic(ptime_ns=1 * MS, max_payload=100, tx=2000)
    data = bytes(i % 251 for i in range(1000))
    ch.send_block(data)
    wires = peer.recv_all(125)
    assert b"".join(wire.payload for wire in wires) == data
    assert steps(wires) == [8] * 124


def test_samples_in_samples_out(mic: Mic, peer: Any) -> None:
    ch = mic(codec="pcmu")
    tone = (8000 * np.sin(np.arange(10 * STEP) / 5)).astype(np.int16)
    ch.send_block(tone[: 5 * STEP])
    for start in range(5 * STEP, 10 * STEP, STEP):
        ch.send(tone[start : start + STEP])
    payload = b"".join(wire.payload for wire in peer.recv_all(10))
    frame = shmring.rtp.Frame(
        *(payload, 0, 0, 0, 0, shmring.types.Stamp.NONE, False, 0, 0, ()),
        *(False, False, None, 0, 0, b""),
    )
    heard = np.asarray(ch.pcm(frame))
    assert np.abs(heard.astype(int) - tone).max() < 400


@pytest.mark.parametrize(
    ("options", "asked", "lines"),
    [
        ({"codec": "pcmu"}, {}, ["m=audio {} RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:5"]),
        ({"payload_type": 9}, {}, ["m=audio {} RTP/AVP 9", "a=ptime:5"]),
        (
            {"payload_type": 97, "clock_rate": 48000, "audio_channels": 2, "rtcp": Rtcp()},
            {"encoding": "opus"},
            ["m=audio {} RTP/AVP 97", "a=rtpmap:97 opus/48000/2", "a=ptime:5", "a=rtcp-mux"],
        ),
        (
            {
                "payload_type": 34,
                "clock_rate": 90000,
                "rtcp": Rtcp(port="next_port", remote=("127.0.0.1", 7)),
            },
            {"media": "video"},
            ["m=video {} RTP/AVP 34", "a=rtcp:7"],
        ),
    ],
)
def test_a_description_for_other_programs(
    mic: Mic, peer: Any, options: dict[str, Any], asked: dict[str, Any], lines: list[str]
) -> None:
    ch = mic(ssrc=77, **options)
    port = peer.address[1]
    assert ch.sdp(**asked).split("\r\n") == [
        *("v=0", "o=- 77 0 IN IP4 127.0.0.1", "s=mic", "c=IN IP4 127.0.0.1", "t=0 0"),
        *(line.format(port) for line in lines),
        "",
    ]


def test_a_description_needs_the_name_of_an_encoding(mic: Mic) -> None:
    ch = mic(payload_type=96, clock_rate=90000)
    with pytest.raises(shmring.errors.BadConfig, match=r'payload type 96 .* such as sdp\("opus"\)'):
        ch.sdp()


# --- Python that stalls or dies -------------------------------------------------------------------

STALLING = """
import sys, time, shmring
ch = shmring.attach("mic")
for i in range(60):
    ch.send(b"%d" % i)
time.sleep(0.2)
for i in range(60, 80):
    ch.send(b"%d" % i)
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.check
def test_a_stall_makes_no_gap_while_the_queue_lasts(mic: Mic, peer: Any, python: Any) -> None:
    ch = mic(start_delay_ns=1000 * MS, tolerance_ns=TOLERANCE_NS)
    process = python(STALLING)
    wires = peer.recv_all(80)
    assert [wire.payload for wire in wires] == [b"%d" % i for i in range(80)]
    assert steps(wires) == [STEP] * 79
    assert [wire.marker for wire in wires] == [True] + [False] * 79
    assert process.line() == "done"
    assert ch.stats().engine.skipped_times == 0


@pytest.mark.check
def test_a_killed_producer_leaves_its_frames_and_the_stream_goes_on(
    mic: Mic, peer: Any, python: Any
) -> None:
    ch = mic(start_delay_ns=1000 * MS)
    process = python(STALLING)
    peer.recv()
    process.kill()
    ch.send(b"from another")
    wires = [peer.recv()]
    while wires[-1].payload != b"from another":
        wires.append(peer.recv())
    assert len(wires) >= 60
    assert numbered(wires, wires[0].sequence)


@pytest.mark.check
def test_a_killed_worker_repeats_nothing(
    mic: Mic, peer: Any, shmring_pool: shmring.Pool, eventually: Any
) -> None:
    ch = mic(tx=400)
    ch.send_many([b"%d" % i for i in range(200)])
    wires = peer.recv_all(20)
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: ch.stats().epoch == 2)
    ch.send(b"end")
    while wires[-1].payload != b"end":
        wires.append(peer.recv())
    payloads = [wire.payload for wire in wires]
    assert len(set(payloads)) == len(payloads)
    # At most what was being handed over at that moment is missing: one packet, or none; a batch of
    # a worker that was late.
    assert len(wires) >= 201 - BATCH
    assert len({wire.sequence for wire in wires}) == len(wires)
    assert {wire.ssrc for wire in wires} == {ch.ssrc}
    assert all(step % STEP == 0 and step > 0 for step in steps(wires))


@pytest.mark.check
def test_a_worker_killed_in_a_block(mic: Mic, peer: Any, shmring_pool: Any) -> None:
    ch = mic()
    data = bytes(i % 251 for i in range(100 * STEP))
    ch.send_block(data)
    wires = peer.recv_all(10)
    os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
    ch.send(b"end")
    while wires[-1].payload != b"end":
        wires.append(peer.recv())
    wires.pop()
    assert len(wires) >= 99
    for wire in wires:
        index = (wire.sequence - wires[0].sequence) % 65536
        assert wire.payload == data[index * STEP : (index + 1) * STEP]
    assert len({wire.sequence for wire in wires}) == len(wires)


# --- the queue ------------------------------------------------------------------------------------


def test_a_full_queue(mic: Mic, peer: Any) -> None:
    ch = mic(held=True, tx=8)
    with pytest.raises(shmring.RingFull) as caught:
        ch.send_many([b"x"] * 20, timeout=0)
    assert caught.value.sent == 8
    assert ch.tx_waiting == 8
    with pytest.raises(shmring.errors.SendTimeout):
        ch.send(b"x", timeout=0.01)
    assert ch.try_send(b"x") is None
    with pytest.raises(shmring.RingFull) as caught:
        ch.send_block(bytes(STEP), timeout=0)
    assert (caught.value.sent, caught.value.first_sequence) == (0, None)
    ch.release()
    ch.send(b"last", timeout=20)
    assert peer.recv_all(9)[-1].payload == b"last"


def test_frames_are_taken_back(mic: Mic, peer: Any) -> None:
    ch = mic(held=True)
    sequences = [ch.send(b"%d" % i) for i in range(4)]
    assert ch.cancel(sequences[1])
    ch.replace(sequences[2], b"two")
    ch.release()
    assert [wire.payload for wire in peer.recv_all(3)] == [b"0", b"3", b"two"]
    ch.hold()
    ch.send_many([b"x"] * 5)
    ch.purge()
    ch.release()
    ch.send(b"after")
    assert peer.recv().payload == b"after"


@pytest.mark.parametrize("how", ["cancel", "purge"])
def test_a_far_frame_that_is_taken_back_holds_up_nobody(mic: Mic, peer: Any, how: str) -> None:
    ch = mic()
    far = ch.send(b"far", at=ch.now_ns() + 3600 * 1000 * MS)
    if how == "cancel":
        assert ch.cancel(far)
    else:
        ch.purge()
    ch.send(b"near")
    assert peer.recv().payload == b"near"


def test_asynchronous_sending(mic: Mic, peer: Any) -> None:
    ch = mic(max_payload=STEP, tx=4)

    async def speak() -> None:
        for i in range(10):
            await ch.aio.send(b"%d" % i)
        await ch.aio.send_block(bytes(10 * STEP))
        ch.hold()
        with pytest.raises(shmring.errors.SendTimeout) as caught:
            await ch.aio.send_block(bytes(20 * STEP), timeout=0.05)
        assert caught.value.sent % STEP == 0
        ch.release()

    asyncio.run(speak())
    wires = peer.recv_all(20)
    assert [wire.payload for wire in wires[:10]] == [b"%d" % i for i in range(10)]


# --- other processes ------------------------------------------------------------------------------


def test_attached_ends_know_the_stream(
    mic: Mic, shmring_pool: shmring.Pool, eventually: Any
) -> None:
    ch = mic()
    with shmring.attach("mic") as other:
        assert (other.ssrc, other.media) == (ch.ssrc, ch.media)
    with shmring.attach("mic", readonly=True) as looking:
        eventually(lambda: looking.stats().engine.ssrc == ch.ssrc)
        assert looking.stats().engine.remote_ssrc is None
        with pytest.raises(shmring.errors.NoPermission):
            looking.send(b"x")
    with shmring_pool.open("plain", local=("127.0.0.1", 0)):
        assert type(shmring.attach("plain")) is shmring.Channel
        with pytest.raises(shmring.errors.BadConfig, match="another kind than RTP"):
            shmring.attach("plain", shmring.Rtp())


def test_a_forked_child_sends_on_the_same_stream(mic: Mic, peer: Any) -> None:
    ch = mic()
    ch.send(b"parent")
    child = os.fork()
    if child == 0:
        try:
            ch.send(b"child")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    wires = peer.recv_all(2)
    assert [wire.payload for wire in wires] == [b"parent", b"child"]
    assert numbered(wires, wires[0].sequence)


@pytest.mark.check
def test_opening_through_a_named_pool(shmring_namespace: str, peer: Any) -> None:
    with shmring.Pool("studio", policy="other"):
        ch = shmring.open(
            "mic",
            shmring.Rtp(codec="pcma", direction="tx"),
            pool="studio",
            remote=peer.address,
        )
        ch.send(bytes(320))
        assert peer.recv().payload == b"\xd5" * 160
        ch.close()


def test_without_a_remote(mic: Mic) -> None:
    ch = mic(remote=None)
    with pytest.raises(shmring.errors.BadAddress, match="no remote address: open it with remote="):
        ch.send(FRAME)
