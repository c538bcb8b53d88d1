"""rtpsynth.RtpSynth: arguments, exceptions, messages and the bytes of its packets."""

# A row of a table is a line, or two.
# ruff: noqa: E501

import ctypes
import random
import struct
import time
from array import array

import pytest
from kit.calls import gives, raises, rows

from rtpsynth.RtpSynth import RtpSynth, set_randfunc

DRAWS = (0x11223344, 0xAABBCCDD, 0x99998765)


@pytest.fixture(autouse=True)
def default_random_numbers():
    yield
    set_randfunc(None)


def make(srate=8000, ptime=20, draws=DRAWS):
    numbers = iter(draws)
    set_randfunc(lambda: next(numbers))
    return RtpSynth(srate, ptime)


def fields(packet):
    first, second, seq, ts = struct.unpack(">BBHI", packet[:8])
    return {"first": first, "marker": second >> 7, "pt": second & 0x7F, "seq": seq, "ts": ts}


def test_the_worked_example():
    synth = make()
    assert synth.next_pkt(4, 200, b"abcd").hex(" ").upper() == (
        "80 C8 87 65 AA BB CC DC 44 33 22 11 61 62 63 64"
    )
    second = fields(synth.next_pkt(4, 200, b"abcd"))
    assert second == {"first": 0x80, "marker": 0, "pt": 72, "seq": 0x8766, "ts": 0xAABBCD7C}


class Sized:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return (65, 66, 67)[index]


class Convertible:
    def __bytes__(self):
        return b"xyz"


class Sub(bytes):
    def __bytes__(self):
        return self


# s: a generator with DRAWS; pkt(s): its next packet, of no payload, as `fields`.
PACKETS = [
    *[(f"the timestamp moves by 8 units a millisecond, {srate} Hz and {ptime} ms",
       f"s = make({srate}, {ptime}); x, y = pkt(s), pkt(s); (y['ts'] - x['ts']) % 2**32 == 8 * {ptime} % 2**32", "True")
      for srate in (8000, 48000, 0, -8000) for ptime in (0, 1, 10, 20, 30, -20)],
    ("sequence number and timestamp wrap",
     "s = make(draws=(0, 0xFFFFFFFF, 0xFFFF)); x = [pkt(s)['seq'] for _ in range(3)]; [x, pkt(s)['ts'] == (0xFFFFFFFE + 3 * 160) % 2**32]", "[[65535, 0, 1], True]"),
    *[(f"payload type {pt} is masked", f"fields(s.next_pkt(0, {pt}))['pt'] == {pt} & 0x7F", "True") for pt in (0, 127, 128, 255, 256, -1, 2**31 - 1, -(2**31), True)],
    *[(f"without a payload there are {plen} zeroes",
       f"x = [s.next_pkt({plen}, 0), s.next_pkt({plen}, 0, None)]; [(p[12:] == bytes({plen}), type(p)) for p in x]", str([(True, bytes)] * 2))
      for plen in (0, 1, 170, 1400, 65535, 1 << 20)],
    *[(f"payload {pload}", f"s.next_pkt(4, 0, {pload})[12:]", repr(written)) for pload, written in (
        ("b'12'", b"12\0\0"), ("b'1234'", b"1234"), ("b'12345678'", b"1234"), ("b'x' * 36", b"xxxx"), ("b''", bytes(4)), ("bytearray(b'12')", b"12\0\0"),
        ("bytearray(b'12345')", b"1234"), ("memoryview(b'1234')", b"1234"), ("memoryview(b'1x2x3x')[::2]", b"123\0"), ("array('H', [0x3131, 0x3232])", b"1122"),
        ("[1, 2, 3]", b"\1\2\3\0"), ("(1, 2)", b"\1\2\0\0"), ("range(4)", b"\0\1\2\3"), ("iter([7])", b"\7\0\0\0"), ("{5: None}", b"\5\0\0\0"),
        ("Sized()", b"ABC\0"), ("Convertible()", b"xyz\0"), ("Sub(b'ab')", b"ab\0\0"),
    )],
    *[row for kind in ("bytes", "bytearray", "memoryview") for row in (
        (f"{kind}: a payload may be 32 bytes too long", f"s.next_pkt(10, 0, {kind}(b'x' * 42))[12:]", repr(b"x" * 10)),
        (f"{kind}: but not 33", f"told(s.next_pkt, 10, 0, {kind}(b'x' * 43))", "'ValueError: payload is larger than packet buffer'"))],
    *[(f"arguments by name: {args}", f"p = s.next_pkt({args}); [p[1] & 0x7F, p[2:4].hex(), p[12:]]", "[3, '8765', b'ab']")
      for args in ("plen=2, pt=3, pload=b'ab'", "2, pt=3, pload=b'ab'", "2, 3, pload=b'ab'", "**{'pload': b'ab', ''.join(['p', 't']): 3, 'plen': 2}")],
    *[(f"next_pkt({args}) fails, and consumes nothing", f"[told(s.next_pkt, {args}), pkt(s)]",
       str([error, {"first": 0x80, "marker": 1, "pt": 0, "seq": 0x8765, "ts": 0xAABBCCDC}])) for args, error in (
        ("", "TypeError: next_pkt() missing required argument 'plen' (pos 1)"),
        ("4", "TypeError: next_pkt() missing required argument 'pt' (pos 2)"),
        ("4, 1, b'', 1", "TypeError: next_pkt() takes at most 3 arguments (4 given)"),
        ("'4', 1", "TypeError: 'str' object cannot be interpreted as an integer"),
        ("4, 1.5", "TypeError: 'float' object cannot be interpreted as an integer"),
        ("2**31, 0", "OverflowError: signed integer is greater than maximum"),
        ("4, -(2**31) - 1", "OverflowError: signed integer is less than minimum"),
        ("2**31 - 1, 0", "ValueError: invalid packet length"),
        ("-32, 0", "ValueError: invalid packet length"),
        ("-40, 0, 'x'", "ValueError: invalid packet length"),
        ("-31, 0", "RuntimeError: rsynth_next_pkt_pa() failed"),
        ("-13, 0, b'abcd'", "RuntimeError: rsynth_next_pkt_pa() failed"),
        # Shorter than a header: the original cuts the header short, or writes where it must not.
        ("-12, 0", "RuntimeError: rsynth_next_pkt_pa() failed"),
        ("-1, 0", "RuntimeError: rsynth_next_pkt_pa() failed"),
        ("-5, 0, b'abcd'", "RuntimeError: rsynth_next_pkt_pa() failed"),
        ("-20, 0, b'x' * 13", "ValueError: payload is larger than packet buffer"),
        *((f"4, 1, {thing}", f"TypeError: cannot convert '{kind}' object to bytes")
          for thing, kind in (("'text'", "str"), ("5", "int"), ("True", "bool"), ("1.5", "float"), ("object()", "object"))),
        ("4, 1, (1, 2, 300)", "ValueError: bytes must be in range(0, 256)"),
    )],
    *[(f"next_pkt({args}) is a TypeError, and consumes nothing", f"[told(s.next_pkt, {args})[:9], pkt(s)['seq']]", str(["TypeError", 0x8765])) for args in ("4, 1, payload=b''", "4, 1, plen=4")],
]  # fmt: skip
OBJECTS = [
    *[(f"{n} arguments", f"told(RtpSynth, *[20] * {n})", f'"TypeError: RtpSynth() takes exactly 2 arguments ({n} given)"'.replace('"', "'")) for n in (0, 1, 3)],
    ("keywords are ignored", "set_randfunc(None); type(RtpSynth(8000, 20, name='x')).__name__", "'RtpSynth'"),
    ("and replace nothing", "RtpSynth(srate=8000, ptime=20)", "TypeError: RtpSynth() takes exactly 2 arguments (0 given)"),
    ("a rate of 8000.0", "RtpSynth(8000.0, 20)", "TypeError: 'float' object cannot be interpreted as an integer"),
    ("a time of None", "RtpSynth(8000, None)", "TypeError: 'NoneType' object cannot be interpreted as an integer"),
    ("a rate above an int", "RtpSynth(2**31, 20)", "OverflowError: signed integer is greater than maximum"),
    ("a time below an int", "RtpSynth(8000, -(2**31) - 1)", "OverflowError: signed integer is less than minimum"),
    ("a rate above a long", "RtpSynth(2**64, 20)", "OverflowError: Python int too large to convert to C long"),
    *[(f"without init: {call}", f"RtpSynth.__new__(RtpSynth).{call}", "RuntimeError: RtpSynth handle is not initialized")
      for call in ("next_pkt(1, 1)", "next_pkt()", "next_pkts(1, 1, 1)", "set_mbt(1)", "set_mbt()", "resync()", "resync(1)", "skip('x')")],
    ("another init starts anew, and one that fails changes nothing",
     "s = make(draws=(1, 2, 3, 4, 6, 8)); pkt(s); x = told(s.__init__, 1); y = pkt(s)['seq']; s.__init__(8000, 30); [x, y, s.next_pkt(0, 0).hex()]",
     "['TypeError: RtpSynth() takes exactly 2 arguments (1 given)', 4, '808000080000000604000000']"),
    # Random numbers.
    ("a stream draws three numbers, and none later",
     "calls = []; set_randfunc(lambda: calls.append(0) or len(calls)); s = RtpSynth(8000, 20); x = len(calls); s.next_pkt(10, 0); s.next_pkts(3, 10, 0); s.skip(1);"
     "s.resync(); y = len(calls); RtpSynth(8000, 20); [x, y, len(calls)]", "[3, 3, 6]"),
    ("one seed makes one stream",
     "seeded = lambda: set_randfunc(random.Random(1).getrandbits) or RtpSynth(8000, 20); a, b = seeded(), seeded(); [a.next_pkt(20, 0) == b.next_pkt(20, 0) for _ in range(5)]",
     str([True] * 5)),
    ("a TypeError means that it wants the number of bits",
     "calls = []; set_randfunc(lambda *args: calls.append(args) or (7 if args else sum('x'))); RtpSynth(8000, 20); calls", str([(), (32,)] * 3)),
    *[(f"of {drawn} the low 32 bits count", f"set_randfunc(lambda: {drawn}); struct.unpack('=I', RtpSynth(8000, 20).next_pkt(0, 0)[8:12])", f"({ssrc},)")
      for drawn, ssrc in (("0", 0), ("True", 1), ("2**32 + 5", 5), ("2**64 - 1", 0xFFFFFFFF))],
    *[(f"set_randfunc({wrong})", f"set_randfunc({wrong})", "TypeError: set_randfunc expects a callable or None") for wrong in ("1", "'random'", "object()")],
    ("set_randfunc of two", "set_randfunc(1, 1)", "TypeError: set_randfunc() takes exactly 1 argument (2 given)"),
    ("each stream differs by default", "set_randfunc(None); len({RtpSynth(8000, 20).next_pkt(0, 0)[2:] for _ in range(20)})", "20"),
    # Marker, skip, resync, pkt_free.
    ("set_mbt", "[s.set_mbt(0), pkt(s)['marker'], s.set_mbt(1), pkt(s)['marker'], pkt(s)['marker']]", "[1, 0, 0, 1, 0]"),
    *[(f"the lowest bit of {new} counts", f"s.set_mbt(0); [s.set_mbt({new}), s.set_mbt({new} - 1), s.set_mbt(0)]", "[0, 1, 0]") for new in ("1", "3", "-1", "(2**70 + 1)", "True")],
    ("set_mbt(1.0)", "s.set_mbt(1.0)", "TypeError: 'float' object cannot be interpreted as an integer"),
    ("set_mbt()", "s.set_mbt()", "TypeError: set_mbt() takes exactly 1 argument (0 given)"),
    ("set_mbt by name", "s.set_mbt(new=1)", "TypeError: takes no keyword arguments"),
    *[(f"skip({n}) moves the timestamp alone", f"x = pkt(s); none = s.skip({n}); y = pkt(s); [none, (y['ts'] - x['ts']) % 2**32 == 160 * ({n} + 1) % 2**32, y['seq'] - x['seq']]", "[None, True, 1]")
      for n in (0, 1, 7, -3, 2**31 - 1, -(2**31))],
    ("skip(2**31)", "s.skip(2**31)", "OverflowError: signed integer is greater than maximum"),
    ("skip(1, 2)", "s.skip(1, 2)", "TypeError: skip() takes exactly 1 argument (2 given)"),
    *[(f"resync{args} ignores its numbers", f"s = make(srate=0); x = pkt(s); none = s.resync(*{args}); y = pkt(s); [none, y['seq'] - x['seq'], y['ts'] - x['ts']]", "[None, 1, 160]")
      for args in ((0, 0), (-1, 2**70), (True, False))],
    *[(f"resync({args})", f"s.resync({args})", f"TypeError: resync() {error}") for args, error in (
        ("1", "takes exactly 2 arguments (1 given)"), ("1, 2, 3", "takes exactly 2 arguments (3 given)"),
        ("1.5, 2", "argument 1 must be int, not float"), ("1, None", "argument 2 must be int, not None"))],
    *[(f"pkt_free({thing}) does nothing", f"s.pkt_free({thing})", "None") for thing in ("0", "12345", "True", "capsule()")],
    *[(f"pkt_free({wrong})", f"s.pkt_free({wrong})", "TypeError: pkt_free expects a capsule or integer pointer") for wrong in ("None", "b''", "1.5", "'x'")],
    ("pkt_free()", "s.pkt_free()", "TypeError: pkt_free() takes exactly 1 argument (0 given)"),
]  # fmt: skip


def capsule():
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(1, None, None)


@rows([*PACKETS, *OBJECTS])
def test_calls(steps, expected):
    names = {"make": make, "s": make(), "fields": fields, "RtpSynth": RtpSynth, "array": array}
    names |= {"pkt": lambda synth: fields(synth.next_pkt(0, 0)), "Convertible": Convertible}
    names |= {"Sized": Sized, "Sub": Sub, "set_randfunc": set_randfunc, "random": random}
    gives(steps, expected, names | {"struct": struct, "capsule": capsule})


@pytest.mark.parametrize("drawn", [-1, 2**64, 1.5, None, "7"])
def test_what_is_no_number_fails_with_its_cause(drawn):
    set_randfunc(lambda: drawn)
    with raises(RuntimeError, "randfunc failed") as caught:
        RtpSynth(8000, 20)
    assert isinstance(caught.value.__cause__, OverflowError | TypeError)


def test_what_a_randfunc_raises_is_the_cause():
    error = ZeroDivisionError("no numbers left")

    def draw():
        raise error

    set_randfunc(draw)
    with raises(RuntimeError, "randfunc failed") as caught:
        RtpSynth(8000, 20)
    assert caught.value.__cause__ is error
    assert error.__traceback__ is not None

    def never(*args):
        raise TypeError(f"{len(args)}")

    set_randfunc(never)
    with raises(RuntimeError, "randfunc failed") as caught:
        RtpSynth(8000, 20)
    assert str(caught.value.__cause__) == "1"


def test_an_interrupt_stays_an_interrupt():
    def draw():
        raise KeyboardInterrupt

    set_randfunc(draw)
    with pytest.raises(KeyboardInterrupt):
        RtpSynth(8000, 20)


def test_resync_adds_the_time_since_the_last_packet():
    synth = make(srate=1_000_000)
    start_ns = time.monotonic_ns()
    before = fields(synth.next_pkt(0, 0))
    made_ns = time.monotonic_ns()
    while time.monotonic_ns() < made_ns + 30_000_000:
        pass
    synth.set_mbt(0)
    assert synth.resync() is None
    elapsed_us = (time.monotonic_ns() - start_ns) // 1000
    after = fields(synth.next_pkt(0, 0))
    moved = (after["ts"] - before["ts"]) % 2**32 - 160
    # A packet's time is that of the kernel's tick it was made in: up to 10 ms old, and more where
    # the host was late with its tick.
    assert 30_000 <= moved <= elapsed_us + 100_000
    assert after["seq"] == before["seq"] + 1
    assert after["marker"] == 0


def test_resync_twice_adds_twice():
    once, twice = make(srate=1_000_000_000), make(srate=1_000_000_000)
    start_ns = time.monotonic_ns()
    for synth in (once, twice):
        synth.next_pkt(0, 0)
    time.sleep(0.02)
    once.resync()
    twice.resync()
    twice.resync()
    elapsed_ns = time.monotonic_ns() - start_ns
    start = fields(make().next_pkt(0, 0))["ts"] + 160
    moved_once, moved_twice = (
        (fields(synth.next_pkt(0, 0))["ts"] - start) % 2**32 for synth in (once, twice)
    )
    assert moved_twice >= 2 * 20_000_000
    assert moved_once <= elapsed_ns + 100_000_000
