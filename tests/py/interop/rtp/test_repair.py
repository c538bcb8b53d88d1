"""Lost packets asked for and sent again (RFC 4585), between RTP channels and GStreamer."""

from __future__ import annotations

import pytest

import shmring
from shmring.rtp import Nack, Rtcp

pytestmark = pytest.mark.check

PACKETS = 100
LOOPBACK = "127.0.0.1"


def repair_with(port):
    return {
        "rtcp": Rtcp(
            port="next_port",
            remote=(LOOPBACK, port + 1),
            interval_ns=200_000_000,
            bandwidth_bps=100_000,
            nack=Nack(),
        )
    }


def test_we_send_again_what_it_asks_for(mouth, gstreamer, audio, port_pair, eventually):
    signal = audio("PCMU", PACKETS)
    at, back = port_pair(), port_pair()
    channel = mouth(
        signal.codec,
        at,
        local=(LOOPBACK, back),
        impair=shmring.Impairment(loss=0.2, seed=1),
        **repair_with(at),
    )
    _, out = gstreamer.play(signal.codec, at, back, repairs=True)
    channel.send_block(signal.pcm, timeout=5)
    # What is sent again can be lost again, and it does not ask for ever.
    most = len(signal.pcm) * 9 // 10
    eventually(lambda: out.stat().st_size >= most, "most of what was lost is played too")
    assert channel.stats().engine.nack_resent > 0


def test_it_sends_again_what_we_ask_for(ear, gstreamer, audio, port_pair, frames_of):
    signal = audio("PCMU", PACKETS)
    at, back = port_pair(), port_pair()
    channel = ear(
        signal.codec, at, impair_rx=shmring.Impairment(loss=0.2, seed=1), **repair_with(back)
    )
    gstreamer.send(signal, at, back, repairs=True)
    places = [signal.packets.index(frame.data) for frame in frames_of(channel)]
    assert places == sorted(set(places))
    assert len(places) >= PACKETS * 9 // 10
    assert channel.stats().engine.nack_recovered > 0
