"""RtpSynth.next_pkts: n packets in one buffer are what n calls of next_pkt make."""

import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpsynth.RtpSynth import RtpSynth, set_randfunc


def twins(seed=1):
    made = []
    for _ in range(2):
        set_randfunc(random.Random(seed).getrandbits)
        made.append(RtpSynth(8000, 20))
    set_randfunc(None)
    return made


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(0, 40),
    plen=st.integers(0, 60),
    pt=st.integers(-(2**31), 2**31 - 1),
    extra=st.integers(0, 20),
    with_payload=st.booleans(),
    with_out=st.booleans(),
    marker=st.integers(0, 1),
    skip=st.integers(-10, 10),
)
@settings(deadline=None)
def test_n_packets_are_n_times_one(seed, n, plen, pt, extra, with_payload, with_out, marker, skip):
    one, many = twins(seed)
    draw = random.Random(seed)
    payloads = [draw.randbytes(plen) if with_payload else bytes(plen) for _ in range(n)]
    for synth in (one, many):
        synth.set_mbt(marker)
        synth.skip(skip)
    expected = [one.next_pkt(plen, pt, payload) for payload in payloads]

    stride = 12 + plen + extra
    payload = b"".join(payloads) if with_payload else plen
    out = bytearray(b"\xee" * (n * stride + 5)) if with_out else None
    result = many.next_pkts(n, payload, pt, out, stride)
    filler = b"\xee" if with_out else b"\0"
    assert bytes(result[: n * stride]) == b"".join(packet + filler * extra for packet in expected)
    if with_out:
        assert result is out
        assert result[n * stride :] == b"\xee" * 5
    else:
        assert len(result) == n * stride
    assert many.next_pkt(3, pt) == one.next_pkt(3, pt)


def test_arguments_have_names():
    one, many = twins()
    packets = many.next_pkts(n=2, payload=3, pt=8, out=None, stride=None)
    assert packets == one.next_pkt(3, 8) + one.next_pkt(3, 8)
    assert type(packets) is bytearray


def test_payloads_in_any_contiguous_buffer():
    payload = bytes(range(8))
    one, _ = twins()
    expected = one.next_pkts(2, payload, 0)
    for same in (
        bytearray(payload),
        memoryview(payload).cast("B", (2, 4)),
        array("H", payload),
        memoryview(payload).cast("h", (2, 2)),
    ):
        assert twins()[0].next_pkts(2, same, 0) == expected


def test_rows_of_out_are_the_stride():
    np = pytest.importorskip("numpy")
    one, many = twins()
    out = np.full((3, 20), 7, "u1")
    assert many.next_pkts(3, 4, 0, out) is out
    for row in out:
        assert bytes(row) == one.next_pkt(4, 0) + bytes([7] * 4)
    rows = np.arange(12, dtype="u1").reshape(3, 4)
    many.next_pkts(3, rows, 0, out=out)
    assert out[2, 12:16].tolist() == [8, 9, 10, 11]
    many.next_pkts(np.int64(2), np.int32(4), np.uint8(0), out=out, stride=np.int16(30))


def test_a_shorter_stride_than_the_rows_has():
    one, many = twins()
    out = memoryview(bytearray(40)).cast("B", (2, 20))
    many.next_pkts(2, 4, 0, out, 16)
    assert bytes(out)[:32] == one.next_pkt(4, 0) + one.next_pkt(4, 0)


def test_the_last_packet_needs_no_gap_behind_it():
    many = twins()[0]
    many.next_pkts(3, 4, 0, bytearray(2 * 100 + 16), 100)
    many.next_pkts(0, 4, 0, bytearray(), 2**62)


@pytest.mark.parametrize(
    ("args", "kind", "message"),
    [
        ((-1, 4, 0), ValueError, "n is -1: use 0 or more"),
        ((2**63, 4, 0), OverflowError, "cannot fit"),
        ((2, -1, 0), ValueError, "a payload of -1 bytes: use 0 to 2147483615"),
        ((2, 2**31 - 1, 0), ValueError, "use 0 to"),
        ((2, "text", 0), TypeError, "'str' object cannot be interpreted as an integer"),
        ((2, b"abc", 0), ValueError, "3 bytes of payload in 3 rows are not 2 payloads"),
        (
            (2, memoryview(bytes(8)).cast("B", (4, 2)), 0),
            ValueError,
            "8 bytes of payload in 4 rows",
        ),
        ((0, b"abc", 0), ValueError, "not 0 payloads"),
        ((2, memoryview(b"abcdef")[::2], 0), BufferError, "not C-contiguous"),
        ((2, 4, "x"), TypeError, "'str' object cannot be interpreted"),
        ((2, 4, 0, b"x" * 100), BufferError, "not writable"),
        ((2, 4, 0, 100), TypeError, "a bytes-like object is required"),
        ((2, 4, 0, bytearray(31)), ValueError, "out has 31 bytes, 2 packets with a stride of 16"),
        ((2, 4, 0, bytearray(99), 90), ValueError, "take 106"),
        ((2, 4, 0, bytearray(99), 2**62 * 2 - 1), ValueError, "out has 99 bytes"),
        ((2, 4, 0, None, 15), ValueError, "a stride of 15 bytes is shorter than a packet of 16"),
        ((2, 4, 0, None, -1), ValueError, "a stride of -1 bytes"),
        ((2, 4, 0, None, 2**63), OverflowError, "cannot fit"),
        ((2, 4, 0, None, 1.5), TypeError, "'float' object cannot be interpreted"),
        ((2**40, 4, 0, None, 2**40), MemoryError, None),
        ((2, 4), TypeError, r"missing required argument 'pt' \(pos 3\)"),
        ((2, 4, 0, None, None, 1), TypeError, r"at most 5 arguments \(6 given\)"),
    ],
)
def test_a_failed_call_changes_nothing(args, kind, message):
    one, many = twins()
    with pytest.raises(kind, match=message):
        many.next_pkts(*args)
    assert many.next_pkt(4, 0) == one.next_pkt(4, 0)


def test_payload_and_out_are_different_memory():
    memory = bytearray(100)
    many = twins()[0]
    with pytest.raises(ValueError, match="the same memory"):
        many.next_pkts(2, memoryview(memory)[20:28], 0, memory)
    many.next_pkts(2, memoryview(memory)[:8], 0, memoryview(memory)[8:])


def test_out_can_be_resized_again_afterwards():
    out = bytearray(100)
    many = twins()[0]
    many.next_pkts(2, 4, 0, out)
    with pytest.raises(ValueError, match="out has"):
        many.next_pkts(200, 4, 0, out)
    out.extend(b"x")
