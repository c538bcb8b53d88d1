"""What `shmring bench rtp` measures of a package named `rtpsynth`, whichever it is.

One file for both sides: run by an interpreter that has the original it measures the original, run
by ours the drop-in. So it uses nothing but the standard library and the original's interface, and
is never imported by `shmring` itself.

    python bench_rtp_work.py WORK '{"seconds": 1.0, ...}'

The last line on standard output is a JSON object of figures.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import sys
import time
from array import array
from collections.abc import Callable
from math import sin
from typing import Any

PAYLOAD_BYTES = 170
HEADER_BYTES = 12
CHUNK = 20_000
BATCH = 64
EVENT_BYTES = 24
CAPACITY = 20
RTP_BYTES = 160
SAMPLES = 160
Facts = dict[str, Any]


def part(name: str) -> Any:
    """The module of that name of the package, and its class of the same name."""
    return getattr(importlib.import_module(f"rtpsynth.{name}"), name)


def best_per_item_ns(seconds: float, items: int, chunk: Callable[[], object]) -> float:
    """Time a chunk of work for some seconds, and three times at least; return the shortest time,
    for what else the machine does only adds.

    What a chunk returns is kept until the next one is done, and freed outside the time: else the
    memory would go back to the kernel, and the page faults to get it again would be most of it.
    """
    took_ns: list[int] = []
    made = kept = None
    end_ns = time.perf_counter_ns() + round(seconds * 1e9)
    gc.disable()
    while len(took_ns) < 3 or time.perf_counter_ns() < end_ns:
        start_ns = time.perf_counter_ns()
        made = chunk()
        took_ns.append(time.perf_counter_ns() - start_ns)
        kept = made
    del kept
    return min(took_ns) / items


# --- packets and samples in memory ----------------------------------------------------------------


def next_pkt(seconds: float) -> Facts:
    make = part("RtpSynth")(8000, 20).next_pkt

    def chunk() -> None:
        for _ in range(CHUNK):
            make(PAYLOAD_BYTES, 0)

    return {"item_ns": best_per_item_ns(seconds, CHUNK, chunk)}


def next_pkt_payload(seconds: float) -> Facts:
    make = part("RtpSynth")(8000, 20).next_pkt
    payload = os.urandom(PAYLOAD_BYTES)

    def chunk() -> list[bytes]:
        return [make(PAYLOAD_BYTES, 0, payload) for _ in range(CHUNK)]

    return {"item_ns": best_per_item_ns(seconds, CHUNK, chunk)}


def next_pkts(seconds: float) -> Facts:
    """Ours only: many packets at once into one buffer."""
    generator = part("RtpSynth")(8000, 20)
    out = bytearray(BATCH * (HEADER_BYTES + PAYLOAD_BYTES))

    def chunk() -> None:
        for _ in range(CHUNK // BATCH):
            generator.next_pkts(BATCH, PAYLOAD_BYTES, 0, out)

    return {"item_ns": best_per_item_ns(seconds, CHUNK // BATCH * BATCH, chunk)}


def stream(packets: int, *, shuffled: bool) -> list[bytes]:
    """Packets in order, or shuffled within windows of as many as the buffer holds."""
    make = part("RtpSynth")(8000, 20).next_pkt
    made = [make(RTP_BYTES, 0) for _ in range(packets)]
    if not shuffled:
        return made
    draw = random.Random(1)
    windows = [made[at : at + CAPACITY] for at in range(0, packets, CAPACITY)]
    for window in windows:
        draw.shuffle(window)
    return [packet for window in windows for packet in window]


def udp_in(seconds: float, *, shuffled: bool) -> Facts:
    packets = stream(CHUNK, shuffled=shuffled)
    create = part("RtpJBuf")

    def chunk() -> None:
        take = create(CAPACITY).udp_in
        for packet in packets:
            take(packet)

    return {"item_ns": best_per_item_ns(seconds, CHUNK, chunk)}


def udp_in_many(seconds: float) -> Facts:
    """Ours only: the same datagrams, many of them at once, lying behind one another."""
    module = importlib.import_module("rtpsynth.RtpJBuf")
    packets = stream(CHUNK, shuffled=False)
    batches = [b"".join(packets[at : at + BATCH]) for at in range(0, CHUNK, BATCH)]
    stride = len(packets[0])
    events = bytearray(EVENT_BYTES * (2 * BATCH + CAPACITY + 4))

    def chunk() -> None:
        take = module.RtpJBuf(CAPACITY).udp_in_many
        for batch in batches:
            take(batch, stride=stride, out=events)

    return {"item_ns": best_per_item_ns(seconds, CHUNK, chunk)}


def call(seconds: float, *, function_name: str, calls: int = 2000) -> Facts:
    """A function of RtpUtils with 160 samples of speech-like PCM, or their codes."""
    utils = part("RtpUtils")
    pcm = array("h", (round(9000 * sin(i / 5) * sin(i / 31)) for i in range(SAMPLES)))
    codes = utils.linear2ulaw(pcm)
    function = getattr(utils, function_name)
    arguments: tuple[object, ...] = {
        "linear2ulaw": (pcm,),
        "ulaw2linear": (codes,),
        "resample_linear": (pcm, 8000, 16000),
    }[function_name]

    def chunk() -> None:
        for _ in range(calls):
            function(*arguments)

    return {"item_ns": best_per_item_ns(seconds, calls, chunk)}


WORK: dict[str, Callable[..., Facts]] = {
    function.__name__: function
    for function in (
        next_pkt,
        next_pkt_payload,
        next_pkts,
        udp_in,
        udp_in_many,
        call,
    )
}


def main() -> int:
    name, options = sys.argv[1:]
    facts = WORK[name](**json.loads(options))
    print(json.dumps(facts), flush=True)
    return 0


if __name__ == "__main__":
    # What is left of the original's threads must not decide how this process ends.
    code = main()
    sys.stdout.flush()
    os._exit(code)
