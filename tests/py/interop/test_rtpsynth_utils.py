"""RtpUtils against the original: every sample, every code, random rates, bit for bit."""

from __future__ import annotations

import random

import pytest

pytestmark = pytest.mark.check

COMPANDING = """
from array import array
from rtpsynth.RtpUtils import linear2ulaw, ulaw2linear

samples = array("h", range(-32768, 32768))
result = (
    linear2ulaw(samples),
    bytes(linear2ulaw(sample) for sample in samples),
    ulaw2linear(bytes(range(256))).tolist(),
    [ulaw2linear(code) for code in range(-300, 600)],
    [linear2ulaw(sample) for sample in given],
)
"""

RESAMPLING = """
from array import array
from rtpsynth.RtpUtils import resample_linear

result = [resample_linear(array("h", pcm), *rates).tobytes() for pcm, *rates in given]
"""

COMMON = [
    (8000, 16000),
    (16000, 8000),
    (8000, 11025),
    (44100, 48000),
    (48000, 44100),
    (48000, 8000),
]


def test_companding_is_the_same(peer_rtpsynth):
    beyond = [40000, -40000, 2**31, -(2**31), 2**63 - 1, 1 - 2**63, True]
    ours, theirs = peer_rtpsynth.both(COMPANDING, beyond)
    assert ours == theirs


def test_resampling_is_the_same(peer_rtpsynth):
    seed = 5
    numbers = random.Random(seed)
    cases = []
    for _ in range(400):
        extreme = numbers.random() < 0.5
        pcm = [
            numbers.choice([-32768, 32767, 0, 1]) if extreme else numbers.randrange(-32768, 32768)
            for _ in range(numbers.randrange(400))
        ]
        top = numbers.choice([50, 50000])
        rates = (numbers.randrange(1, top), numbers.randrange(1, top))
        if len(pcm) * rates[1] // rates[0] > 100_000 or numbers.random() < 0.3:
            rates = numbers.choice(COMMON)
        cases.append((pcm, *rates))
    ours, theirs = peer_rtpsynth.both(RESAMPLING, cases)
    wrong = [case[1:] for case, a, b in zip(cases, ours, theirs, strict=True) if a != b]
    assert not wrong, f"seed {seed}"
