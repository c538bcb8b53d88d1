"""rtpsynth.RtpUtils: arguments, exceptions, messages, and the laws from their definitions."""

# A row of a table is a line, or two.
# ruff: noqa: E501

import math
import random
from array import array

import pytest
from kit.calls import gives, rows

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


# --- rows

NAMES = [f"{encoder.__name__}" for encoder in (*ENCODERS, *DECODERS)]
CALLS = [
    *[(f"{name} is a function and a static method", f"x = {name}({args}); [RtpUtils.RtpUtils.{name}({args}) == x, RtpUtils.RtpUtils().{name}({args}) == x]", "[True, True]")
      for name in (*NAMES, "resample_linear") for args in ["b'\\1\\2\\3\\4', 8000, 16000" if name == "resample_linear" else "b'\\1\\2\\3\\4'"]],
    *[(f"linear2ulaw({sample})", f"linear2ulaw({sample})", code) for sample, code in (
        ("0", "255"), ("-1", "127"), ("32635", "128"), ("32636", "128"), ("2**63 - 1", "128"), ("-32635", "0"), ("-(2**63)", "0"), ("True", "255"), ("False", "255"))],
    *[(f"{name}({code}): the low 8 bits count", f"{name}({code}) == {name}({code} & 0xFF) == {name}(bytes([{code} & 0xFF]))[0]", "True")
      for name in NAMES[2:] for code in ("0", "5", "255", "256", "261", "-1", "-251", "(2**63 - 1)", "True")],
    *[row for name in NAMES for row in (
        *((f"{name}({number})", f"{name}({number})", "OverflowError: int too big to convert") for number in ("2**63", "-(2**63) - 1")),
        *((f"{name}({wrong!r})", f"{name}({wrong!r})", f"TypeError: a bytes-like object is required, not '{type(wrong).__name__}'") for wrong in (None, 1.5, "text", [1, 2])),
        (f"{name} of a view with gaps", f"{name}(memoryview(b'abcd')[::2])", "BufferError: memoryview: underlying buffer is not C-contiguous"),
        (f"{name}()", f"{name}()", f"TypeError: {name}() takes exactly 1 argument (0 given)"),
        (f"{name}(1, 2)", f"{name}(1, 2)", f"TypeError: {name}() takes exactly 1 argument (2 given)"),
        (f"{name} by name", f"{name}(sample=1)", "TypeError: takes no keyword arguments"),
    )],
    *[(f"{name}: samples in {same}", f"x = array('h', [0, -1, 1000, -1000, 32767, -32768]); y = {name}({same}); [y == {name}(x), type(y)]", "[True, <class 'bytes'>]")
      for name in NAMES[:2] for same in ("x.tobytes()", "bytearray(x.tobytes())", "memoryview(x)", "array('H', [n & 0xFFFF for n in x])",
                                         "memoryview(x.tobytes()).cast('b')", "memoryview(x.tobytes()).cast('h', (2, 3))")],
    *[row for call in ("linear2ulaw({})", "linear2alaw({})", "resample_linear({}, 1, 2)") for row in (
        (f"{call}: an odd length", call.format("b'abc'"), "ValueError: PCM16 byte buffer length must be even"),
        *((f"{call}: {wrong}", call.format(wrong), "TypeError: expected a PCM16 buffer (itemsize 2) or PCM16 bytes") for wrong in ("array('i', [1])", "array('d', [1.0])")),
    )],
    ("no codes", "ulaw2linear(b'')", "array('h')"),
    *[(f"codes in {codes}", f"ulaw2linear({codes})", "array('h', [-356, -340])") for codes in ("bytearray(b'ab')", "array('B', b'ab')", "array('b', b'ab')", "memoryview(b'ab')")],
    *[(f"{name}: codes of two bytes", f"{name}(array('h', [1]))", f"TypeError: {name} expects bytes-like input") for name in NAMES[2:]],
    ("resampling copies", "x = array('h', [1, 2, 3]); y = resample_linear(x, 5, 5); y[0] = 9; x[0]", "1"),
    *[(f"resample_linear({args})", f"resample_linear({args})", error) for args, error in (
        *((args, "ValueError: in_rate and out_rate must be > 0") for args in ("b'ab', 0, 1", "b'ab', 1, -1", "None, 0, 1", "b'', 1, 0")),
        ("b'ab', 1.0, 1", "TypeError: 'float' object cannot be interpreted as an integer"),
        ("'x', 'y', 1", "TypeError: 'str' object cannot be interpreted as an integer"),
        ("b'ab', 2**31, 1", "OverflowError: signed integer is greater than maximum"),
        ("b'ab', 1, 2**63", "OverflowError: Python int too large to convert to C long"),
        ("7, 1, 1", "TypeError: a bytes-like object is required, not 'int'"),
        ("b'ab', 1", "TypeError: resample_linear() takes exactly 3 arguments (2 given)"),
        ("b'ab', 1, 1, 1", "TypeError: resample_linear() takes exactly 3 arguments (4 given)"),
        ("b'abcd', 1, 2**31 - 1", "OverflowError: 2 samples at 1 Hz are too many at 2147483647 Hz"),
    )],
]  # fmt: skip


@rows(CALLS)
def test_calls(steps, expected):
    gives(steps, expected, vars(RtpUtils) | {"array": array, "RtpUtils": RtpUtils})


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
