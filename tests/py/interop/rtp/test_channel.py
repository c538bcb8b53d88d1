"""RTP channels with foreign programs: audio, compared sample by sample."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import needs
import numpy as np
import pytest

import shmring

pytestmark = pytest.mark.check

PACKETS = 40
STALL_NS = 2_000_000_000
PLAYED = 30  # ffmpeg ends when it has had more than it was to play


@pytest.mark.parametrize("program", ["gstreamer", "ffmpeg"])
@pytest.mark.parametrize("codec", ["PCMU", "L16"])
def test_what_a_foreign_sender_plays_arrives(
    request, ear, audio, port_pair, expect, program, codec
):
    signal = audio(codec, PACKETS)
    at = port_pair()
    channel = ear(signal.codec, at)
    request.getfixturevalue(program).send(signal, at, port_pair())
    expect(channel, signal)
    stats = channel.stats().engine
    assert stats.cumulative_lost == stats.lost == stats.malformed == 0


@pytest.mark.parametrize("program", ["gstreamer", "ffmpeg"])
@pytest.mark.parametrize("codec", ["PCMU", "L16"])
def test_a_foreign_player_plays_what_is_sent(
    request, mouth, audio, port_pair, eventually, program, codec
):
    signal = audio(codec, PACKETS)
    at = port_pair()
    channel = mouth(signal.codec, at)
    if program == "gstreamer":
        _, out = request.getfixturevalue(program).play(signal.codec, at, port_pair())
        channel.send_block(signal.pcm, timeout=5)
        eventually(lambda: out.stat().st_size >= len(signal.pcm), "all of it is played")
        assert out.read_bytes() == signal.pcm
    else:
        process, out = request.getfixturevalue(program).play(signal.codec, at, PLAYED * 0.02)
        channel.send_block(signal.pcm, timeout=5)
        process.wait()
        assert out.read_bytes() == signal.pcm[: PLAYED * 2 * signal.codec.samples]


def test_a_call_is_answered(ear, sipp, audio, port_pair, expect):
    signal = audio("PCMU", PACKETS)
    at = port_pair()
    channel = ear(signal.codec, at)
    call = sipp.plays(signal, at)
    expect(channel, signal)
    call.wait()


def test_a_call_hears_itself(ear, sipp, audio, port_pair, expect):
    signal = audio("PCMU", PACKETS)
    ours, theirs = port_pair(), port_pair()
    channel = ear(signal.codec, ours, remote=("127.0.0.1", theirs))
    call = sipp.echoes(ours, theirs, 0.02 * PACKETS + 2.5)
    channel.send_block(signal.pcm, timeout=5)
    expect(channel, signal)
    call.wait()


# gst-launch cannot press keys. The mux must be told what the payloader makes.
KEYS = """
import ctypes, sys, time
gst = ctypes.CDLL("libgstreamer-1.0.so.0")
for name in ("gst_parse_launch", "gst_structure_from_string", "gst_event_new_custom"):
    getattr(gst, name).restype = ctypes.c_void_p
gst.gst_init(None, None)
pipeline = ctypes.c_void_p(gst.gst_parse_launch((
    f"rtpdtmfmux name=mux ! udpsink host=127.0.0.1 port={sys.argv[1]} "
    "audiotestsrc is-live=true num-buffers=100 samplesperbuffer=160 "
    "! audio/x-raw,rate=8000,channels=1 ! mulawenc "
    "! rtppcmupay min-ptime=20000000 max-ptime=20000000 ! application/x-rtp,payload=0 "
    "! mux.sink_0 rtpdtmfsrc ! mux.priority_sink_0").encode(), None))

def press(start, number):
    fields = f"dtmf-event,type=1,number={number},volume=25,method=1,start=(boolean){start}"
    structure = ctypes.c_void_p(gst.gst_structure_from_string(fields.encode(), None))
    upstream = 270 << 8 | 1  # GST_EVENT_CUSTOM_UPSTREAM
    event = ctypes.c_void_p(gst.gst_event_new_custom(upstream, structure))
    assert gst.gst_element_send_event(pipeline, event)

gst.gst_element_set_state(pipeline, 4)
time.sleep(0.4)
for number in (5, 7):
    press("true", number)
    time.sleep(0.3)
    press("false", number)
    time.sleep(0.4)
time.sleep(0.5)
gst.gst_element_set_state(pipeline, 1)
"""


@pytest.mark.parametrize("delivery", ["in_order", "playout"])
def test_keys_that_gstreamer_muxes_into_the_stream_arrive(
    shmring_pool, start, port_pair, frames_of, delivery
):
    needs.require_program("gst-inspect-1.0")
    if subprocess.run(["gst-inspect-1.0", "--exists", "rtpdtmfmux"]).returncode:
        pytest.skip("GStreamer has no rtpdtmfmux: install its bad plugins")
    at = port_pair()
    # The foreign program may stall on a busy machine. Its frames must not be late then.
    playout = shmring.rtp.Playout(
        delivery=delivery,
        min_delay_ns=STALL_NS,
        max_delay_ns=STALL_NS,
        first_delay_ns=STALL_NS,
        resync_ns=2 * STALL_NS,
    )
    engine = shmring.Rtp(codec="pcmu", playout=playout)
    ear = shmring_pool.open("ear", engine, local=("127.0.0.1", at))
    program = start(sys.executable, "-c", KEYS, at)
    frames = list(frames_of(ear))
    program.wait()
    events = [frame for frame in frames if frame.event]
    assert [event.sequence for event in events] == sorted(event.sequence for event in events)
    for key in (5, 7):
        packets = [event.data for event in events if event.data[0] == key]
        lasted = [int.from_bytes(data[2:], "big") for data in packets]
        assert lasted == sorted(lasted)
        assert packets[-1][1] & 0x80, "it was released"
    stats = ear.stats().engine
    assert (stats.lost, stats.late, stats.resyncs, stats.discarded) == (0, 0, 0, 0)
    assert len(frames) == stats.valid == stats.received


def test_opus_passes_through(shmring_pool, gstreamer, tone, port_pair, frames_of, eventually):
    """Encoded by one foreign program, decoded by another; in between two channels, which know
    nothing of the codec but its clock."""
    signal = tone(1000, 1.5)
    opus = shmring.Rtp(payload_type=signal.codec.payload_type, clock_rate=signal.codec.clock_rate)
    at, to = port_pair(), port_pair()
    ear = shmring_pool.open(
        "ear", dataclasses.replace(opus, direction="rx"), local=("127.0.0.1", at)
    )
    mouth = shmring_pool.open(
        "mouth", dataclasses.replace(opus, direction="tx"), remote=("127.0.0.1", to)
    )
    _, out = gstreamer.play(signal.codec, to, port_pair())
    gstreamer.send(signal, at, port_pair())
    for frame in frames_of(ear):
        mouth.send(frame.data, timeout=5)
    enough = len(signal.pcm) * 4 // 5
    eventually(lambda: out.stat().st_size >= enough, "most of it is played")
    heard = np.frombuffer(out.read_bytes()[:enough], np.int16)[enough // 8 :]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert abs(spectrum.argmax() * signal.codec.clock_rate / len(heard) - 1000) < 5
    assert np.abs(heard).max() > 9000
