"""Nothing is kept that is no longer needed, after many calls, good and bad."""

import contextlib
import gc
import sys
import tracemalloc
from array import array

import pytest

from rtpsynth.headers import parse_headers
from rtpsynth.RtpProc import RtpProc, RtpProcChannel
from rtpsynth.RtpSynth import RtpSynth, set_randfunc
from rtpsynth.RtpUtils import RtpUtils, linear2ulaw, resample_linear, ulaw2linear

pytestmark = pytest.mark.check

ROUNDS = 2000
PAYLOAD = bytes(100)
OUT = bytearray(1000)
PCM = array("h", range(160))
CODES = bytes(160)


def fail(function, *args):
    with contextlib.suppress(RuntimeError, TypeError, ValueError, OverflowError):
        function(*args)
        pytest.fail("did not raise")


def generator():
    synth = RtpSynth(8000, 20)
    synth.__init__(8000, 30)
    synth.next_pkt(100, 0, PAYLOAD)
    synth.next_pkt(plen=100, pt=0, pload=bytearray(PAYLOAD))
    synth.next_pkt(100, 0, [1, 2, 3])
    synth.next_pkts(3, 100, 0)
    synth.next_pkts(1, PAYLOAD, 0, OUT)
    synth.set_mbt(1)
    fail(synth.next_pkt, 1, 0, PAYLOAD)
    fail(synth.next_pkt, 1)
    fail(synth.next_pkts, 3, PAYLOAD, 0, OUT)
    fail(synth.next_pkts, 100, 1000, 0, OUT)
    fail(synth.resync, 1.5, 1)


def random_numbers():
    set_randfunc(lambda: 7)
    RtpSynth(8000, 20)
    set_randfunc(lambda: None)
    fail(RtpSynth, 8000, 20)
    set_randfunc(None)


def audio():
    RtpUtils()
    ulaw2linear(linear2ulaw(PCM))
    ulaw2linear(CODES)
    resample_linear(PCM, 8000, 16000)
    fail(linear2ulaw, b"abc")
    fail(resample_linear, PCM, 1, 2**31 - 1)


def tables():
    offsets = [0, 50]
    parse_headers(OUT, offsets, 12)
    parse_headers(OUT, array("q", offsets), array("I", [12, 12]))
    parse_headers(OUT, stride=100)
    fail(parse_headers, OUT, offsets, array("I", [12]))
    fail(parse_headers, OUT, [5000], [12])


def again(now_ns, deadline_ns):
    return now_ns + (CODES[0] if deadline_ns == 0 else 10**9)


def scheduler():
    proc = RtpProc()
    channels = [proc.create_channel(again) for _ in range(3)]
    failed = proc.create_channel(lambda: None)
    fail(failed.close)
    channels.pop().close()
    channels.pop()
    fail(proc.create_channel, None)
    fail(RtpProcChannel)
    proc.shutdown()
    fail(proc.create_channel, again)


@pytest.mark.parametrize("work", [generator, random_numbers, audio, tables, scheduler])
def test_nothing_is_kept(work):
    def after(rounds):
        for _ in range(rounds):
            work()
        gc.collect()  # cycles of frames and tracebacks
        used = tracemalloc.get_traced_memory()[0]
        return used, [sys.getrefcount(thing) for thing in (PAYLOAD, OUT, PCM, CODES, again)]

    tracemalloc.start()
    try:
        after(1500)  # until the interpreter's own caches of names are full
        used_before, references_before = after(20)
        used_after, references_after = after(ROUNDS)
    finally:
        tracemalloc.stop()
    assert references_after == references_before
    # The smallest object has 16 bytes; the caches still change a little.
    assert used_after - used_before < 16 * ROUNDS
    OUT.extend(b"x")  # impossible while a buffer of it is held
