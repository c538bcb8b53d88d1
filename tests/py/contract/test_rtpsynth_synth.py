"""rtpsynth.RtpSynth: arguments, exceptions, messages and the bytes of its packets."""

import ctypes
import itertools
import random
import struct
import time
from array import array

import pytest
from kit.calls import raises

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


# --- packets


def test_the_worked_example():
    synth = make()
    assert synth.next_pkt(4, 200, b"abcd").hex(" ").upper() == (
        "80 C8 87 65 AA BB CC DC 44 33 22 11 61 62 63 64"
    )
    second = fields(synth.next_pkt(4, 200, b"abcd"))
    assert second == {"first": 0x80, "marker": 0, "pt": 72, "seq": 0x8766, "ts": 0xAABBCD7C}


@pytest.mark.parametrize("ptime", [0, 1, 10, 20, 30, -20])
@pytest.mark.parametrize("srate", [8000, 48000, 0, -8000])
def test_the_timestamp_moves_by_8_units_a_millisecond_whatever_the_rate(srate, ptime):
    synth = make(srate, ptime)
    first, second = (fields(synth.next_pkt(0, 0))["ts"] for _ in range(2))
    assert (second - first) % 2**32 == 8 * ptime % 2**32


def test_sequence_and_timestamp_wrap():
    synth = make(draws=(0, 0xFFFFFFFF, 0xFFFF))
    assert [fields(synth.next_pkt(0, 0))["seq"] for _ in range(3)] == [0xFFFF, 0, 1]
    assert fields(synth.next_pkt(0, 0))["ts"] == (0xFFFFFFFE + 3 * 160) % 2**32


@pytest.mark.parametrize("pt", [0, 127, 128, 255, 256, -1, 2**31 - 1, -(2**31), True])
def test_the_payload_type_is_masked(pt):
    assert fields(make().next_pkt(0, pt))["pt"] == pt & 0x7F


@pytest.mark.parametrize("plen", [0, 1, 170, 1400, 65535, 1 << 20])
def test_without_payload_there_are_zeroes(plen):
    synth = make()
    assert synth.next_pkt(plen, 0)[12:] == bytes(plen)
    assert synth.next_pkt(plen, 0, None)[12:] == bytes(plen)
    assert type(synth.next_pkt(plen, 0)) is bytes


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


@pytest.mark.parametrize(
    ("pload", "written"),
    [
        (b"12", b"12\0\0"),
        (b"1234", b"1234"),
        (b"12345678", b"1234"),
        (b"x" * 36, b"xxxx"),
        (b"", b"\0\0\0\0"),
        (bytearray(b"12"), b"12\0\0"),
        (bytearray(b"12345"), b"1234"),
        (memoryview(b"1234"), b"1234"),
        (memoryview(b"1x2x3x")[::2], b"123\0"),
        (array("H", [0x3131, 0x3232]), b"1122"),
        ([1, 2, 3], b"\1\2\3\0"),
        ((1, 2), b"\1\2\0\0"),
        (range(4), b"\0\1\2\3"),
        (iter([7]), b"\7\0\0\0"),
        ({5: None}, b"\5\0\0\0"),
        (Sized(), b"ABC\0"),
        (Convertible(), b"xyz\0"),
        (Sub(b"ab"), b"ab\0\0"),
    ],
)
def test_payloads(pload, written):
    assert make().next_pkt(4, 0, pload)[12:] == written


@pytest.mark.parametrize("extra", [32, 33])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_payload_may_be_32_bytes_too_long(kind, extra):
    pload = kind(b"x" * (10 + extra))
    if extra == 32:
        assert make().next_pkt(10, 0, pload)[12:] == b"x" * 10
    else:
        with raises(ValueError, "payload is larger than packet buffer"):
            make().next_pkt(10, 0, pload)


def test_arguments_have_names():
    synth = make()
    seq = itertools.count(0x8765)
    for packet in (
        synth.next_pkt(plen=2, pt=3, pload=b"ab"),
        synth.next_pkt(2, pt=3, pload=b"ab"),
        synth.next_pkt(2, 3, pload=b"ab"),
        synth.next_pkt(**{"pload": b"ab", "".join(["p", "t"]): 3, "plen": 2}),
    ):
        assert packet[1] & 0x7F == 3
        assert packet[2:4] == next(seq).to_bytes(2, "big")
        assert packet[12:] == b"ab"


@pytest.mark.parametrize(
    ("args", "kwargs", "kind", "message"),
    [
        ((), {}, TypeError, "next_pkt() missing required argument 'plen' (pos 1)"),
        ((4,), {}, TypeError, "next_pkt() missing required argument 'pt' (pos 2)"),
        ((4, 1, b"", 1), {}, TypeError, "next_pkt() takes at most 3 arguments (4 given)"),
        ((4, 1), {"payload": b""}, TypeError, None),
        ((4, 1), {"plen": 4}, TypeError, None),
        (("4", 1), {}, TypeError, "'str' object cannot be interpreted as an integer"),
        ((4, 1.5), {}, TypeError, "'float' object cannot be interpreted as an integer"),
        ((2**31, 0), {}, OverflowError, "signed integer is greater than maximum"),
        ((4, -(2**31) - 1), {}, OverflowError, "signed integer is less than minimum"),
        ((2**31 - 1, 0), {}, ValueError, "invalid packet length"),
        ((-32, 0), {}, ValueError, "invalid packet length"),
        ((-40, 0, "x"), {}, ValueError, "invalid packet length"),
        ((-31, 0), {}, RuntimeError, "rsynth_next_pkt_pa() failed"),
        ((-13, 0, b"abcd"), {}, RuntimeError, "rsynth_next_pkt_pa() failed"),
        # Shorter than a header: the original cuts the header short, or writes where it must not.
        ((-12, 0), {}, RuntimeError, "rsynth_next_pkt_pa() failed"),
        ((-1, 0), {}, RuntimeError, "rsynth_next_pkt_pa() failed"),
        ((-5, 0, b"abcd"), {}, RuntimeError, "rsynth_next_pkt_pa() failed"),
        ((-20, 0, b"x" * 13), {}, ValueError, "payload is larger than packet buffer"),
        ((4, 1, "text"), {}, TypeError, "cannot convert 'str' object to bytes"),
        ((4, 1, 5), {}, TypeError, "cannot convert 'int' object to bytes"),
        ((4, 1, True), {}, TypeError, "cannot convert 'bool' object to bytes"),
        ((4, 1, 1.5), {}, TypeError, "cannot convert 'float' object to bytes"),
        ((4, 1, object()), {}, TypeError, "cannot convert 'object' object to bytes"),
        ((4, 1, (1, 2, 300)), {}, ValueError, "bytes must be in range(0, 256)"),
    ],
)
def test_a_failed_call_consumes_nothing(args, kwargs, kind, message):
    synth = make()
    with pytest.raises(kind) if message is None else raises(kind, message):
        synth.next_pkt(*args, **kwargs)
    assert fields(synth.next_pkt(0, 0)) == {
        "first": 0x80, "marker": 1, "pt": 0, "seq": 0x8765, "ts": 0xAABBCCDC,
    }  # fmt: skip


# --- the constructor


@pytest.mark.parametrize("given", [0, 1, 3])
def test_exactly_two_arguments(given):
    with raises(TypeError, f"RtpSynth() takes exactly 2 arguments ({given} given)"):
        RtpSynth(*[20] * given)


def test_keywords_are_ignored_and_replace_nothing():
    RtpSynth(8000, 20, name="x")
    with raises(TypeError, "RtpSynth() takes exactly 2 arguments (0 given)"):
        RtpSynth(srate=8000, ptime=20)


@pytest.mark.parametrize(
    ("args", "kind", "message"),
    [
        ((8000.0, 20), TypeError, "'float' object cannot be interpreted as an integer"),
        ((8000, None), TypeError, "'NoneType' object cannot be interpreted as an integer"),
        ((2**31, 20), OverflowError, "signed integer is greater than maximum"),
        ((8000, -(2**31) - 1), OverflowError, "signed integer is less than minimum"),
        ((2**64, 20), OverflowError, "Python int too large to convert to C long"),
    ],
)
def test_arguments_are_c_ints(args, kind, message):
    with raises(kind, message):
        RtpSynth(*args)


@pytest.mark.parametrize(
    ("method", "args"),
    [("next_pkt", (1, 1)), ("next_pkt", ()), ("next_pkts", (1, 1, 1)), ("set_mbt", (1,)),
     ("set_mbt", ()), ("resync", ()), ("resync", (1,)), ("skip", ("x",))],
)  # fmt: skip
def test_an_object_without_init_says_so(method, args):
    with raises(RuntimeError, "RtpSynth handle is not initialized"):
        getattr(RtpSynth.__new__(RtpSynth), method)(*args)


def test_init_twice_starts_anew_and_a_failed_one_changes_nothing():
    synth = make(draws=(1, 2, 3, 4, 6, 8))
    synth.next_pkt(0, 0)
    with raises(TypeError, "RtpSynth() takes exactly 2 arguments (1 given)"):
        synth.__init__(1)
    assert fields(synth.next_pkt(0, 0))["seq"] == 4
    synth.__init__(8000, 30)
    assert synth.next_pkt(0, 0) == struct.pack(">BBHI", 0x80, 0x80, 8, 6) + b"\4\0\0\0"


# --- random numbers


def test_three_draws_each_in_order_and_none_later():
    calls = []

    def draw():
        calls.append(None)
        return len(calls)

    set_randfunc(draw)
    synth = RtpSynth(8000, 20)
    assert len(calls) == 3
    synth.next_pkt(10, 0)
    synth.next_pkts(3, 10, 0)
    synth.skip(1)
    synth.resync()
    assert len(calls) == 3
    RtpSynth(8000, 20)
    assert len(calls) == 6


def test_the_same_seed_makes_the_same_stream():
    streams = []
    for _ in range(2):
        set_randfunc(random.Random(1).getrandbits)
        synth = RtpSynth(8000, 20)
        streams.append([synth.next_pkt(20, 0) for _ in range(5)])
    assert streams[0] == streams[1]


def test_a_type_error_means_that_it_wants_the_number_of_bits():
    calls = []

    def draw(*args):
        calls.append(args)
        if not args:
            raise TypeError
        return 7

    set_randfunc(draw)
    RtpSynth(8000, 20)
    assert calls == [(), (32,)] * 3


@pytest.mark.parametrize(
    ("drawn", "ssrc"), [(0, 0), (True, 1), (2**32 + 5, 5), (2**64 - 1, 0xFFFFFFFF)]
)
def test_the_low_32_bits_count(drawn, ssrc):
    set_randfunc(lambda: drawn)
    assert struct.unpack("=I", RtpSynth(8000, 20).next_pkt(0, 0)[8:12]) == (ssrc,)


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


@pytest.mark.parametrize("wrong", [1, "random", object()])
def test_set_randfunc_wants_a_callable(wrong):
    with raises(TypeError, "set_randfunc expects a callable or None"):
        set_randfunc(wrong)
    with raises(TypeError, "set_randfunc() takes exactly 1 argument (2 given)"):
        set_randfunc(wrong, wrong)


def test_by_default_each_stream_differs():
    set_randfunc(None)
    assert len({RtpSynth(8000, 20).next_pkt(0, 0)[2:] for _ in range(20)}) == 20


# --- marker, skip, resync, pkt_free


def test_set_mbt():
    synth = make()
    assert synth.set_mbt(0) == 1
    assert fields(synth.next_pkt(0, 0))["marker"] == 0
    assert synth.set_mbt(1) == 0
    assert fields(synth.next_pkt(0, 0))["marker"] == 1
    assert fields(synth.next_pkt(0, 0))["marker"] == 0


@pytest.mark.parametrize("new", [1, 3, -1, 2**70 + 1, True])
def test_only_the_lowest_bit_counts(new):
    synth = make()
    synth.set_mbt(0)
    assert synth.set_mbt(new) == 0
    assert synth.set_mbt(new - 1) == 1
    assert synth.set_mbt(0) == 0


def test_errors_of_set_mbt():
    with raises(TypeError, "'float' object cannot be interpreted as an integer"):
        make().set_mbt(1.0)
    with raises(TypeError, "set_mbt() takes exactly 1 argument (0 given)"):
        make().set_mbt()
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        make().set_mbt(new=1)


@pytest.mark.parametrize("npkts", [0, 1, 7, -3, 2**31 - 1, -(2**31)])
def test_skip_moves_the_timestamp_alone(npkts):
    synth = make()
    before = fields(synth.next_pkt(0, 0))
    assert synth.skip(npkts) is None
    after = fields(synth.next_pkt(0, 0))
    assert (after["ts"] - before["ts"]) % 2**32 == 160 * (npkts + 1) % 2**32
    assert after["seq"] == before["seq"] + 1


def test_errors_of_skip():
    with raises(OverflowError, "signed integer is greater than maximum"):
        make().skip(2**31)
    with raises(TypeError, "skip() takes exactly 1 argument (2 given)"):
        make().skip(1, 2)


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


@pytest.mark.parametrize("args", [(0, 0), (-1, 2**70), (True, False)])
def test_resync_ignores_its_numbers(args):
    synth = make(srate=0)
    before = fields(synth.next_pkt(0, 0))
    assert synth.resync(*args) is None
    after = fields(synth.next_pkt(0, 0))
    assert (after["seq"] - before["seq"], after["ts"] - before["ts"]) == (1, 160)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((1,), "resync() takes exactly 2 arguments (1 given)"),
        ((1, 2, 3), "resync() takes exactly 2 arguments (3 given)"),
        ((1.5, 2), "resync() argument 1 must be int, not float"),
        ((1, None), "resync() argument 2 must be int, not None"),
    ],
)
def test_errors_of_resync(args, message):
    with raises(TypeError, message):
        make().resync(*args)


def test_pkt_free_does_nothing():
    synth = make()
    capsule_new = ctypes.pythonapi.PyCapsule_New
    capsule_new.restype = ctypes.py_object
    capsule_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    for pointer in (0, 12345, True, capsule_new(1, None, None)):
        assert synth.pkt_free(pointer) is None


@pytest.mark.parametrize("wrong", [None, b"", 1.5, "x"])
def test_errors_of_pkt_free(wrong):
    with raises(TypeError, "pkt_free expects a capsule or integer pointer"):
        make().pkt_free(wrong)
    with raises(TypeError, "pkt_free() takes exactly 1 argument (0 given)"):
        make().pkt_free()
