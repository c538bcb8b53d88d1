"""The drop-in's classes on the wire with foreign programs, audio compared sample by sample."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from kit.waiting import until

from rtpsynth.RtpJBuf import RtpJBuf
from rtpsynth.RtpServer import RtpServer
from rtpsynth.RtpSynth import RtpSynth
from rtpsynth.RtpUtils import RtpUtils

pytestmark = pytest.mark.check

PACKETS = 40
PLAYED = 30  # ffmpeg ends when it has had more than it was to play
HEADER_BYTES = 12
PTIME_NS = 20_000_000


@pytest.fixture
def server(shmring_namespace):
    server = RtpServer()
    yield server
    server.shutdown()


class Listener:
    """Callback of a channel: what arrives goes through a jitter buffer."""

    def __init__(self):
        self.frames = []
        self.received_bytes = 0
        self.buffer = RtpJBuf(4)

    def __call__(self, data, source, rtime_ns):
        self.received_bytes += len(data) - HEADER_BYTES
        self.frames += self.buffer.udp_in(data)

    def finish(self):
        self.frames += self.buffer.drain()

    @property
    def payload(self):
        return b"".join(frame.rtp_data for frame in self.frames)

    @property
    def lost(self):
        return [str(frame) for frame in self.frames if frame.content.type == 1]


def paced(channel, packets):
    """One packet every 20 ms, by the clock of this process."""
    start = time.monotonic_ns()
    for i, packet in enumerate(packets):
        time.sleep(max(0, start + i * PTIME_NS - time.monotonic_ns()) / 1e9)
        channel.send_pkt(packet)


def heard(listener, signal):
    """Whether all of a signal came, in order, nothing else."""
    until(lambda: listener.received_bytes >= len(signal.payload))
    listener.finish()
    return listener.lost == [] and listener.payload == signal.payload


@pytest.mark.parametrize("program", ["gstreamer", "ffmpeg"])
@pytest.mark.parametrize("codec", ["PCMU", "L16"])
def test_what_a_foreign_sender_plays_arrives(request, server, audio, port_pair, program, codec):
    signal = audio(codec, PACKETS)
    listener = Listener()
    at = port_pair()
    server.create_channel(listener, "127.0.0.1", at)
    request.getfixturevalue(program).send(signal, at, port_pair())
    assert heard(listener, signal)
    if codec == "PCMU":
        assert RtpUtils.ulaw2linear(listener.payload).tobytes() == signal.pcm


@pytest.mark.parametrize("program", ["gstreamer", "ffmpeg"])
def test_a_foreign_player_plays_what_is_sent(request, server, audio, port_pair, program):
    signal = audio("PCMU", PACKETS)
    at = port_pair()
    foreign = request.getfixturevalue(program)
    if program == "gstreamer":
        process, out = foreign.play(signal.codec, at, port_pair())
    else:
        process, out = foreign.play(signal.codec, at, PLAYED * PTIME_NS / 1e9)
    channel = server.create_channel(lambda *_: None, "127.0.0.1", 0)
    channel.set_target("127.0.0.1", at)
    generator = RtpSynth(8000, 20)
    paced(channel, [generator.next_pkt(len(p), 0, p) for p in signal.packets])
    if program == "gstreamer":
        until(lambda: Path(out).stat().st_size >= len(signal.pcm))
        assert out.read_bytes() == signal.pcm
    else:
        process.wait()
        assert out.read_bytes() == signal.pcm[: PLAYED * 2 * signal.codec.samples]


def test_a_call_is_answered(server, audio, port_pair, sipp):
    signal = audio("PCMU", PACKETS)
    listener = Listener()
    at = port_pair()
    server.create_channel(listener, "127.0.0.1", at)
    call = sipp.plays(signal, at)
    assert heard(listener, signal)
    call.wait()


def test_a_call_hears_itself(server, audio, port_pair, sipp):
    signal = audio("PCMU", PACKETS)
    listener = Listener()
    ours, theirs = port_pair(), port_pair()
    channel = server.create_channel(listener, "127.0.0.1", ours)
    channel.set_target("127.0.0.1", theirs)
    call = sipp.echoes(ours, theirs, PACKETS * PTIME_NS / 1e9 + 2.5)
    generator = RtpSynth(8000, 20)
    paced(channel, [generator.next_pkt(len(p), 0, p) for p in signal.packets])
    assert heard(listener, signal)
    call.wait()
