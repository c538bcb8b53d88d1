"""RTP channels with foreign programs: audio, compared sample by sample."""

from __future__ import annotations

import numpy as np
import pytest

import shmring

pytestmark = pytest.mark.check

PACKETS = 40
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
    stats = channel.stats().rtp
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


def test_opus_passes_through(shmring_pool, gstreamer, tone, port_pair, frames_of, eventually):
    """Encoded by one foreign program, decoded by another; in between two channels, which know
    nothing of the codec but its clock."""
    signal = tone(1000, 1.5)
    opus = shmring.Rtp(payload_type=signal.codec.payload_type, clock_rate=signal.codec.clock_rate)
    at, to = port_pair(), port_pair()
    ear = shmring_pool.open("ear", local=("127.0.0.1", at), direction="rx", engine=opus)
    mouth = shmring_pool.open("mouth", remote=("127.0.0.1", to), direction="tx", engine=opus)
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
