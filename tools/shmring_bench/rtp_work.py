"""What `shmring bench rtp` measures of a package named `rtpsynth`, the original or the drop-in.

One file serves both: it measures the package of the interpreter that runs it. So it only uses the
standard library and the original's interface, and `shmring` itself never imports it.

    python rtp_work.py WORK '{"seconds": 1.0, ...}'

The last line on standard output is a JSON object of figures.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import resource
import socket
import struct
import sys
import threading
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from math import sin
from pathlib import Path
from typing import Any

HEAD = struct.Struct("=q")
PAYLOAD_BYTES = 170
HEADER_BYTES = 12
CHUNK = 20_000
BATCH = 64
EVENT_BYTES = 24
CAPACITY = 20
RTP_BYTES = 160
QUEUE_SIZE = 1024
BACK_OFF_S = 1e-4
TICK_NS = 1_000_000
PATIENCE_S = 5.0
SAMPLES = 160
Facts = dict[str, Any]


def part(name: str) -> Any:
    """Return the module of that name in the package, and its class of the same name."""
    return getattr(importlib.import_module(f"rtpsynth.{name}"), name)


def best_per_item_ns(seconds: float, items: int, chunk: Callable[[], object]) -> float:
    """Time a chunk of work for some seconds, and at least three times. Return the shortest time,
    because other work of the machine only adds time.

    The result of a chunk is kept until the next chunk is done, and freed outside of the measured
    time. Otherwise the memory would go back to the kernel, and page faults would dominate.
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
    """Only ours: many packets at once into one buffer."""
    generator = part("RtpSynth")(8000, 20)
    out = bytearray(BATCH * (HEADER_BYTES + PAYLOAD_BYTES))

    def chunk() -> None:
        for _ in range(CHUNK // BATCH):
            generator.next_pkts(BATCH, PAYLOAD_BYTES, 0, out)

    return {"item_ns": best_per_item_ns(seconds, CHUNK // BATCH * BATCH, chunk)}


def stream(packets: int, *, shuffled: bool) -> list[bytes]:
    """Packets in order, or shuffled within windows of the buffer's size."""
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
    """Only ours: the same datagrams, many at once, in one block."""
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


# --- RtpServer ------------------------------------------------------------------------------------


def ignore(data: bytes, source: tuple[str, int], rtime_ns: int) -> None:
    """A callback for a channel that only sends."""


def stamped() -> bytes:
    """A packet that contains the time at which it was made."""
    return HEAD.pack(time.monotonic_ns()).ljust(RTP_BYTES, b"\0")


def random_phase(draw: random.Random) -> None:
    """Wait so long that no packet is in flight, and not in step with the ticks."""
    time.sleep(draw.uniform(0.005, 0.012))


def server_send(seconds: float, *, port: int, count: int) -> Facts:
    """Send packets one by one to an independent receiver, which reports how long they took."""
    server = part("RtpServer")()
    channel = server.create_channel(ignore, "127.0.0.1", 0)
    channel.set_target("127.0.0.1", port)
    draw = random.Random(1)
    for _ in range(count):
        random_phase(draw)
        channel.send_pkt(stamped())
    time.sleep(0.1)
    server.shutdown()
    return {}


def server_receive(seconds: float, *, count: int) -> Facts:
    """Send packets one by one from a plain socket. Measure until the callback is entered."""
    late_ns: list[int] = []

    def arrived(data: bytes, source: tuple[str, int], rtime_ns: int) -> None:
        late_ns.append(time.monotonic_ns() - HEAD.unpack_from(data)[0])

    server = part("RtpServer")()
    address = server.create_channel(arrived, "127.0.0.1", 0).local_addr
    draw = random.Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            random_phase(draw)
            sock.sendto(stamped(), address)
        wait_until(lambda: len(late_ns) == count)
    server.shutdown()
    return {"late_ns": late_ns, "lost": count - len(late_ns)}


def server_own_callback(seconds: float) -> Facts:
    """Run one channel that sends to itself, as fast as its producer and the bounded queue allow."""
    module = importlib.import_module("rtpsynth.RtpServer")
    received = 0

    def arrived(data: bytes, source: tuple[str, int], rtime_ns: int) -> None:
        nonlocal received
        received += 1

    server = module.RtpServer()
    channel = server.create_channel(arrived, "127.0.0.1", 0, queue_size=QUEUE_SIZE)
    channel.set_target(*channel.local_addr)
    sent = 0
    stop = threading.Event()

    def produce() -> None:
        nonlocal sent
        packet = bytes(RTP_BYTES)
        while not stop.is_set():
            try:
                channel.send_pkt(packet)
                sent += 1
            except module.RtpQueueFullError:
                time.sleep(BACK_OFF_S)

    producer = threading.Thread(target=produce)
    start_ns = time.monotonic_ns()
    producer.start()
    time.sleep(seconds)
    counted, elapsed_ns = received, time.monotonic_ns() - start_ns
    stop.set()
    producer.join()
    wait_until(lambda: received == sent, 0.3)
    server.shutdown()
    return {"rate": counted * 1e9 / elapsed_ns, "sent": sent, "lost": sent - received}


def server_many(seconds: float, *, channels: int, rate_hz: int) -> Facts:
    """Run many channels that each send to themselves `rate_hz` times a second, evenly spread."""
    need_files(4 * channels + 100)
    module = importlib.import_module("rtpsynth.RtpServer")
    received = 0

    def arrived(data: bytes, source: tuple[str, int], rtime_ns: int) -> None:
        nonlocal received
        received += 1

    server = module.RtpServer()
    opened = [server.create_channel(arrived, "127.0.0.1", 0) for _ in range(channels)]
    for channel in opened:
        channel.set_target(*channel.local_addr)
    senders = [channel.send_pkt for channel in opened]
    packet = bytes(RTP_BYTES)
    offered = refused = 0
    used_ns, start_ns = tree_cpu_ns(), time.monotonic_ns()
    while (elapsed_ns := time.monotonic_ns() - start_ns) < seconds * 1e9:
        due = elapsed_ns * channels * rate_hz // 1_000_000_000
        for at in range(offered, due):
            try:
                senders[at % channels](packet)
            except module.RtpQueueFullError:
                refused += 1
        offered = max(offered, due)
        time.sleep(max(0, TICK_NS - (time.monotonic_ns() - start_ns - elapsed_ns)) / 1e9)
    rate = offered * 1e9 / (time.monotonic_ns() - start_ns)
    wait_until(lambda: received == offered - refused, 1.0)
    used_ns = tree_cpu_ns() - used_ns
    server.shutdown()
    return {
        "rate": rate,
        "sent": offered,
        "lost": offered - received,
        "cpu_ns": used_ns / max(received, 1),
    }


def need_files(count: int) -> None:
    """Let this process open this many files, as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft > resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)


def tree_cpu_ns() -> int:
    """Return the CPU time of this process with all threads, and of its child processes."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # a process that ends during this
                text = (entry / "stat").read_text()
                parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    mine = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    total = 0
    for pid in mine:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total


# --- RtpProc --------------------------------------------------------------------------------------


def proc_period(seconds: float, *, period_ns: int) -> Facts:
    """Run one callback every period. Measure how late it is entered."""
    late_ns: list[int] = []

    def due(now_ns: int, deadline_ns: int) -> int:
        entered_ns = time.monotonic_ns()
        if deadline_ns == 0:
            return now_ns + period_ns
        late_ns.append(entered_ns - deadline_ns)
        return deadline_ns + period_ns

    scheduler = part("RtpProc")()
    channel = scheduler.create_channel(due)
    time.sleep(seconds)
    channel.close()
    scheduler.shutdown()
    return {"late_ns": late_ns}


WORK: dict[str, Callable[..., Facts]] = {
    function.__name__: function
    for function in (
        next_pkt,
        next_pkt_payload,
        next_pkts,
        udp_in,
        udp_in_many,
        call,
        server_send,
        server_receive,
        server_own_callback,
        server_many,
        proc_period,
    )
}


def main() -> int:
    name, options = sys.argv[1:]
    facts = WORK[name](**json.loads(options))
    print(json.dumps(facts), flush=True)
    return 0


if __name__ == "__main__":
    # Remaining threads of the original must not affect how this process ends.
    code = main()
    sys.stdout.flush()
    os._exit(code)
