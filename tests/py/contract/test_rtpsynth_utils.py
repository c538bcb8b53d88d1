"""rtpsynth.RtpUtils: arguments, exceptions, messages, and the laws from their definitions."""

import math
import random
from array import array

import pytest
from kit.calls import raises

from rtpsynth import RtpUtils
from rtpsynth.RtpUtils import (
    alaw2linear,
    linear2alaw,
    linear2ulaw,
    resample_linear,
    ulaw2linear,
)

ENCODERS = [linear2ulaw, linear2alaw]
DECODERS = [ulaw2linear, alaw2linear]


@pytest.mark.parametrize(
    "name", ["resample_linear", "linear2ulaw", "ulaw2linear", "linear2alaw", "alaw2linear"]
)
def test_everything_is_a_function_and_a_static_method(name):
    args = (b"\1\2\3\4", 8000, 16000) if name == "resample_linear" else (b"\1\2\3\4",)
    expected = getattr(RtpUtils, name)(*args)
    assert getattr(RtpUtils.RtpUtils, name)(*args) == expected
    assert getattr(RtpUtils.RtpUtils(), name)(*args) == expected


# --- companding


def ulaw_by_definition(sample):
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | magnitude >> exponent + 3 & 15) & 0xFF


def ulaw_expanded(code):
    code = ~code & 0xFF
    magnitude = (((code & 15) << 3) + 132 << (code >> 4 & 7)) - 132
    return -magnitude if code & 0x80 else magnitude


def test_mu_law_of_every_sample():
    samples = array("h", range(-32768, 32768))
    expected = bytes(map(ulaw_by_definition, samples))
    assert linear2ulaw(samples) == expected
    assert bytes(map(linear2ulaw, samples)) == expected


def test_mu_law_of_every_code():
    expected = array("h", map(ulaw_expanded, range(256)))
    assert ulaw2linear(bytes(range(256))) == expected
    assert array("h", map(ulaw2linear, range(256))) == expected
    assert (expected[0], expected[128], expected[127], expected[255]) == (-32124, 32124, 0, 0)


def test_a_law_keeps_the_nearest_of_its_levels():
    levels = sorted(alaw2linear(code) for code in range(256))
    assert (levels[0], levels[-1], min(map(abs, levels))) == (-32256, 32256, 8)
    samples = array("h", range(-32768, 32768))
    codes = linear2alaw(samples)
    assert codes == bytes(map(linear2alaw, samples))
    assert [alaw2linear(linear2alaw(level)) for level in levels] == levels
    back = alaw2linear(codes)
    for sample, level in zip(samples, back, strict=True):
        assert abs(sample - level) <= max(8, abs(level) // 32), sample
    assert list(back) == sorted(back)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 159, 160, 161])
@pytest.mark.parametrize(("encode", "decode"), [*zip(ENCODERS, DECODERS, strict=True)])
def test_any_length(encode, decode, count):
    samples = array("h", (random.Random(count).randrange(-32768, 32768) for _ in range(count)))
    codes = encode(samples)
    assert codes == bytes(map(encode, samples))
    assert decode(codes) == array("h", map(decode, codes))


@pytest.mark.parametrize(
    ("sample", "code"),
    [(0, 255), (-1, 127), (32635, 128), (32636, 128), (2**63 - 1, 128), (-32635, 0), (-(2**63), 0),
     (True, 255), (False, 255)],
)  # fmt: skip
def test_ints_are_clipped(sample, code):
    assert linear2ulaw(sample) == code
    assert type(linear2ulaw(sample)) is int


@pytest.mark.parametrize("code", [0, 5, 255, 256, 261, -1, -251, 2**63 - 1, True])
@pytest.mark.parametrize("decode", DECODERS)
def test_the_low_8_bits_of_a_code_count(decode, code):
    assert decode(code) == decode(code & 0xFF) == decode(bytes([code & 0xFF]))[0]


@pytest.mark.parametrize("function", [*ENCODERS, *DECODERS])
def test_larger_ints_overflow(function):
    for number in (2**63, -(2**63) - 1):
        with raises(OverflowError, "int too big to convert"):
            function(number)


@pytest.mark.parametrize("function", [*ENCODERS, *DECODERS])
def test_errors_of_companding(function):
    name = function.__name__
    for wrong in (None, 1.5, "text", [1, 2]):
        kind = type(wrong).__name__
        with raises(TypeError, f"a bytes-like object is required, not '{kind}'"):
            function(wrong)
    with raises(BufferError, "memoryview: underlying buffer is not C-contiguous"):
        function(memoryview(b"abcd")[::2])
    with raises(TypeError, f"{name}() takes exactly 1 argument (0 given)"):
        function()
    with raises(TypeError, f"{name}() takes exactly 1 argument (2 given)"):
        function(1, 2)
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        function(sample=1)


# --- buffers


@pytest.mark.parametrize("encode", ENCODERS)
def test_pcm_in_any_buffer(encode):
    samples = array("h", [0, -1, 1000, -1000, 32767, -32768])
    expected = encode(samples)
    for same in (
        samples.tobytes(),
        bytearray(samples.tobytes()),
        memoryview(samples),
        array("H", [sample & 0xFFFF for sample in samples]),
        memoryview(samples.tobytes()).cast("b"),
        memoryview(samples.tobytes()).cast("h", (2, 3)),
    ):
        assert encode(same) == expected
        assert type(encode(same)) is bytes


@pytest.mark.parametrize("function", [*ENCODERS, lambda pcm: resample_linear(pcm, 1, 2)])
def test_errors_of_pcm(function):
    with raises(ValueError, "PCM16 byte buffer length must be even"):
        function(b"abc")
    for wrong in (array("i", [1]), array("d", [1.0])):
        with raises(TypeError, "expected a PCM16 buffer (itemsize 2) or PCM16 bytes"):
            function(wrong)


def test_codes_are_items_of_one_byte():
    assert ulaw2linear(b"") == array("h")
    for codes in (bytearray(b"ab"), array("B", b"ab"), array("b", b"ab"), memoryview(b"ab")):
        assert ulaw2linear(codes) == array("h", [-356, -340])
    for decode in DECODERS:
        with raises(TypeError, f"{decode.__name__} expects bytes-like input"):
            decode(array("h", [1]))


# --- sample rates


def resampled(pcm, in_rate, out_rate):
    if in_rate == out_rate or not pcm:
        return array("h", pcm)
    count = max(1, round(len(pcm) * out_rate / in_rate))
    ratio = in_rate / out_rate
    out = array("h")
    for i in range(count):
        pos = i * ratio
        index = math.trunc(pos)
        if index >= len(pcm) - 1:
            value = pcm[-1]
        else:
            value = round(pcm[index] + (pcm[index + 1] - pcm[index]) * (pos - index))
        out.append(max(-32768, min(32767, value)))
    return out


@pytest.mark.parametrize(
    "rates",
    [(8000, 16000), (16000, 8000), (8000, 11025), (44100, 48000), (48000, 44100), (48000, 8000),
     (1, 1), (8000, 8000), (3, 7), (7, 3), (2**31 - 1, 1), (1, 999), (True, 2)],
)  # fmt: skip
@pytest.mark.parametrize("count", [0, 1, 2, 3, 9, 160])
def test_resampling_by_definition(rates, count):
    draw = random.Random(count)
    for values in ([-32768, 32767], [0, 1], range(-32768, 32768)):
        pcm = array("h", (draw.choice(values) for _ in range(count)))
        result = resample_linear(pcm, *rates)
        assert result == resampled(pcm, *rates)
        assert result.typecode == "h"


def test_resampling_copies():
    pcm = array("h", [1, 2, 3])
    result = resample_linear(pcm, 5, 5)
    result[0] = 9
    assert pcm[0] == 1


@pytest.mark.parametrize(
    ("args", "kind", "message"),
    [
        ((b"ab", 0, 1), ValueError, "in_rate and out_rate must be > 0"),
        ((b"ab", 1, -1), ValueError, "in_rate and out_rate must be > 0"),
        ((None, 0, 1), ValueError, "in_rate and out_rate must be > 0"),
        ((b"", 1, 0), ValueError, "in_rate and out_rate must be > 0"),
        ((b"ab", 1.0, 1), TypeError, "'float' object cannot be interpreted as an integer"),
        (("x", "y", 1), TypeError, "'str' object cannot be interpreted as an integer"),
        ((b"ab", 2**31, 1), OverflowError, "signed integer is greater than maximum"),
        ((b"ab", 1, 2**63), OverflowError, "Python int too large to convert to C long"),
        ((7, 1, 1), TypeError, "a bytes-like object is required, not 'int'"),
        ((b"ab", 1), TypeError, "resample_linear() takes exactly 3 arguments (2 given)"),
        ((b"ab", 1, 1, 1), TypeError, "resample_linear() takes exactly 3 arguments (4 given)"),
        ((b"abcd", 1, 2**31 - 1), OverflowError, "2 samples at 1 Hz are too many at 2147483647 Hz"),
    ],
)
def test_errors_of_resampling(args, kind, message):
    with raises(kind, message):
        resample_linear(*args)
