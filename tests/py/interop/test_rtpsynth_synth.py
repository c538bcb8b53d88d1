"""RtpSynth against the original: the same calls give the same packets and the same errors."""

from __future__ import annotations

import random

import pytest

pytestmark = pytest.mark.check

STREAMS = """
from rtpsynth.RtpSynth import RtpSynth, set_randfunc

def outcome(synth, name, args, kwargs):
    try:
        return getattr(synth, name)(*args, **kwargs)
    except Exception as error:
        return type(error).__name__, str(error)

result = []
for draws, srate, ptime, calls in given:
    numbers = iter(draws)
    set_randfunc(lambda: next(numbers))
    synth = RtpSynth(srate, ptime)
    result.append([outcome(synth, *call) for call in calls])
set_randfunc(None)
"""


def a_call(draw):
    kind = draw.randrange(12)
    if kind == 0:
        return "skip", (draw.randrange(-5, 5),), {}
    if kind == 1:
        return "set_mbt", (draw.randrange(-3, 5),), {}
    if kind == 2:
        return "pkt_free", (draw.choice([0, None, "x"]),), {}
    pload = bytes(draw.randrange(256) for _ in range(draw.randrange(80)))
    plen = draw.choice([len(pload), draw.randrange(60), 2**31 - 1])
    pload = draw.choice([pload, pload, bytearray(pload), list(pload), None, 5, "x"])
    pt = draw.choice([0, 8, 127, 200, -1, 2**31, 1.5])
    if kind == 5:  # with a payload it writes where it must not
        return "next_pkt", (draw.randrange(-50, -12), pt), {}
    if kind == 3:
        return "next_pkt", (plen,), {"pt": pt, "pload": pload}
    if kind == 4:
        return "next_pkt", (plen, pt), {}
    return "next_pkt", (plen, pt, pload), {}


def test_streams_are_the_same(peer_rtpsynth):
    seed = 3
    draw = random.Random(seed)
    streams = [
        (
            [draw.getrandbits(32) for _ in range(3)],
            8000,
            draw.choice([1, 10, 20, 30, 60, -20]),
            [a_call(draw) for _ in range(100)],
        )
        for _ in range(200)
    ]
    ours, theirs = peer_rtpsynth.both(STREAMS, streams)
    for stream, a, b in zip(streams, ours, theirs, strict=True):
        for call, mine, original in zip(stream[3], a, b, strict=True):
            assert mine == original, f"{call}, seed {seed}"
