"""Programs on the far host of a bench, and packets of others as tcpdump sees them arrive there."""

from __future__ import annotations

import contextlib
import shutil
import signal
import struct
import subprocess
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

from shmring.testing import netns
from shmring_bench import veth
from shmring_bench.measure import Unavailable

_PCAP_HEAD_BYTES = 24
_PCAP_RECORD = struct.Struct("=IIII")


@contextlib.contextmanager
def far(link: veth.Link, *words: str) -> Iterator[None]:
    """Run a program on the far host, on the other core, while the block runs."""
    if shutil.which(words[0]) is None:
        raise Unavailable(f"{words[0]} is not installed")
    cpu = link.plan.other_cpu
    pin = [] if cpu is None else ["taskset", "--cpu-list", str(cpu)]
    command = ["nsenter", "--net", "--target", str(link.far.pid), *pin, *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)  # until it listens
        yield
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        process.kill()
        process.wait()


@contextlib.contextmanager
def tcpdump(link: veth.Link, path: Path, expression: str) -> Iterator[None]:
    """Write the packets that arrive and fit the expression into a file, with ns."""
    words = ["tcpdump", "-i", netns.INTERFACE, "-Q", "in", "-n", "-s", "64", "-B", "65536"]
    words += ["--time-stamp-precision", "nano", "-Z", "root", "-w", str(path)]
    with far(link, *words, expression):
        yield
        time.sleep(1.0)  # the rest of its buffer


def times_ns(path: Path) -> array[int]:
    """The times of the packets in a pcap file with ns."""
    data = path.read_bytes()
    found, at = array("q"), _PCAP_HEAD_BYTES
    while at + _PCAP_RECORD.size <= len(data):
        seconds, ns, captured, _ = _PCAP_RECORD.unpack_from(data, at)
        found.append(seconds * 1_000_000_000 + ns)
        at += _PCAP_RECORD.size + captured
    return found
