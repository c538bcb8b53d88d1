"""What RTCP says on both sides, between RTP channels and foreign programs."""

from __future__ import annotations

import pytest

import shmring
from shmring.rtp import Rtcp

pytestmark = pytest.mark.check

PACKETS = 40
TALKED = 120  # long enough for some reports each way
RTCP_EVERY_NS = 200_000_000
LOOPBACK = "127.0.0.1"


def rtcp_with(port):
    """RTCP one port above the media, as often as GStreamer's here."""
    return {
        "rtcp": Rtcp(
            port="next_port",
            remote=(LOOPBACK, port + 1),
            interval_ns=RTCP_EVERY_NS,
            bandwidth_bps=100_000,
        )
    }


@pytest.mark.parametrize("program", ["gstreamer", "ffmpeg"])
def test_sender_reports_are_read(request, ear, audio, port_pair, expect, eventually, program):
    signal = audio("PCMU", PACKETS)
    at, back = port_pair(), port_pair()
    channel = ear(signal.codec, at, **rtcp_with(back))
    request.getfixturevalue(program).send(signal, at, back)
    expect(channel, signal)
    eventually(lambda: channel.stats().engine.sr_packets > 0, "a sender report that counts packets")
    stats = channel.stats().engine
    assert stats.rtcp_malformed == stats.rtcp_failed == 0
    assert 0 < stats.sr_packets <= PACKETS + 2  # some of ffmpeg's are shorter
    assert 0 < stats.sr_octets <= len(signal.payload)
    assert stats.cumulative_lost == 0
    assert stats.remote_cname or program == "ffmpeg"  # which sends none


def test_a_goodbye_is_heard(ear, ffmpeg, audio, port_pair, expect, eventually):
    signal = audio("PCMU", PACKETS)
    at, back = port_pair(), port_pair()
    channel = ear(signal.codec, at, **rtcp_with(back))
    ffmpeg.send(signal, at, back).wait()
    expect(channel, signal)
    bye = channel.recv(timeout=20)
    assert isinstance(bye, shmring.rtp.Bye)
    assert bye.ssrc == channel.stats().engine.remote_ssrc


def test_a_goodbye_of_ours_is_heard(mouth, gstreamer, audio, port_pair, eventually):
    signal = audio("PCMU", PACKETS)
    at, back = port_pair(), port_pair()
    channel = mouth(signal.codec, at, local=(LOOPBACK, back), **rtcp_with(at))
    process, _ = gstreamer.play(signal.codec, at, back)
    channel.send_block(signal.pcm, timeout=5)
    channel.bye(timeout=5)
    eventually(
        lambda: gstreamer.sources(process).get(channel.ssrc, {}).get("received-bye") == "true",
        "it says that we have left",
    )


def test_receiver_reports_are_read(mouth, gstreamer, audio, port_pair, eventually):
    signal = audio("PCMU", PACKETS)
    at, back = port_pair(), port_pair()
    channel = mouth(signal.codec, at, local=(LOOPBACK, back), **rtcp_with(at))
    process, _ = gstreamer.play(signal.codec, at, back)
    channel.send_block(signal.pcm, timeout=5)
    eventually(lambda: channel.stats().engine.rtt_ns is not None, "a round trip was measured")
    stats = channel.stats().engine
    assert 0 <= stats.rtt_ns < 5_000_000_000
    assert stats.reported_fraction_lost == 0
    assert stats.rtcp_rr_received > 0
    assert stats.rtcp_malformed == 0
    assert gstreamer.sources(process)[channel.ssrc]["have-sr"] == "true"


def test_a_conversation(ear, gstreamer, audio, port_pair, expect, eventually):
    """One channel and one rtpbin, each with both directions in one session."""
    signal = audio("PCMU", TALKED)
    ours, theirs = port_pair(), port_pair()
    channel = ear(signal.codec, ours, remote=(LOOPBACK, theirs), **rtcp_with(theirs))
    process, out = gstreamer.talk(signal, ours, theirs)
    channel.send_block(signal.pcm, timeout=5)
    expect(channel, signal)
    eventually(lambda: out.stat().st_size >= len(signal.pcm), "all of ours is played")
    assert out.read_bytes() == signal.pcm

    stats = channel.stats().engine
    assert stats.remote_ssrc in gstreamer.sources(process)
    assert stats.members == (1 if stats.bye_mono_ns else 2)  # who left is none any more
    assert stats.rtcp_malformed == stats.rtcp_failed == 0
    assert stats.rtt_ns is not None
    assert 0 <= stats.rtt_ns < 5_000_000_000
    assert stats.reported_fraction_lost == 0

    us = gstreamer.sources(process)[channel.ssrc]
    assert us["have-sr"] == "true"
    assert 0 < int(us["sr-packet-count"]) <= TALKED
    assert us["have-rb"] == "true"
    assert int(us["rb-fractionlost"]) == int(us["rb-packetslost"]) == 0
    assert int(us["rb-round-trip"]) < 65536 * 5


def test_each_side_tells_the_other_what_it_lost(ear, gstreamer, audio, port_pair, eventually):
    signal = audio("PCMU", TALKED)
    ours, theirs = port_pair(), port_pair()
    channel = ear(
        signal.codec,
        ours,
        remote=(LOOPBACK, theirs),
        impair=shmring.Impairment(loss=0.2, seed=1),
        impair_rx=shmring.Impairment(loss=0.2, seed=2),
        **rtcp_with(theirs),
    )
    process, _ = gstreamer.talk(signal, ours, theirs)
    channel.send_block(signal.pcm, timeout=5)
    eventually(lambda: channel.stats().engine.sent == TALKED, "all is sent")
    eventually(lambda: channel.stats().engine.reported_lost > 0, "it says that it lost some")
    eventually(
        lambda: int(gstreamer.sources(process)[channel.ssrc].get("rb-packetslost", 0)) > 0,
        "it knows that we lost some of its",
    )
    stats = channel.stats().engine
    assert stats.reported_lost < TALKED // 2
    assert stats.cumulative_lost > 0
