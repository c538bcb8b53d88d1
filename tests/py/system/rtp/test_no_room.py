"""A stream whose packets the kernel refuses for a while."""

from __future__ import annotations

import sys
from typing import Any

import pytest

# The far end of the tap answers no question for its address: what was sent waits on the account of
# the socket, whose buffer is small, until the address is told.
NO_ROOM_YET = """
import fcntl, struct, subprocess, time, os
import shmring

def ip(command):
    subprocess.run(["ip", *command.split()], check=True)

def wait_until(true):
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)

tap = os.open("/dev/net/tun", os.O_RDWR)
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"slow0", IFF_TAP | IFF_NO_PI))
with open("/proc/sys/net/ipv4/neigh/slow0/mcast_solicit", "w") as questions:
    questions.write("1000")         # the kernel would give up, and drop what waits, after three
ip("link set lo up")
ip("address add 10.9.8.1/24 dev slow0")
ip("link set slow0 up")
with shmring.Pool(policy="other") as pool:
    ch = pool.open(
        "slow",
        shmring.Rtp(
            clock_rate=8000,
            ptime_ns=1_000_000,
            first_sequence=65_530,
            first_timestamp=0,
            bytes_per_packet=2,
            direction="tx",
            tolerance_ns=10_000_000_000,
            socket=shmring.Socket(sndbuf_bytes=4096, tx_stamp="off"),
        ),
        remote=("10.9.8.2", 9),
        local=("10.9.8.1", 0),
    )
    for number in range(20):
        ch.send(b"%02d" % number)
    ch.send_block(b"".join(b"%02d" % number for number in range(20, 40)))
    wait_until(lambda: ch.stats().tx_retries > 0)
    print(ch.tx_waiting > 0, flush=True)
    ip("neigh replace 10.9.8.2 lladdr 02:00:00:00:00:02 dev slow0 nud permanent")
    seen = []
    while len(seen) < 40:
        frame = os.read(tap, 2048)
        if frame[12:14] == b"\\x08\\x00" and frame[23] == 17:
            sequence, timestamp = struct.unpack_from(">HI", frame, 44)
            seen.append(((sequence - 65_530) % 65_536, timestamp // 8, int(frame[54:56])))
    print(seen, flush=True)
    ch.flush(timeout=10)
    wait_until(lambda: ch.stats().engine.sent == 40)   # its counters are a moment behind
    print(ch.stats().engine.sent_octets, flush=True)
"""


@pytest.mark.needs("netns", "tun")
@pytest.mark.timeout(120)
def test_refused_packets_leave_once_in_order_with_their_own_numbers(python: Any) -> None:
    command = ["unshare", "--net", sys.executable, "-c", NO_ROOM_YET]
    other = python(f"import os; os.execvp('unshare', {command!r})")
    assert other.line() == "True"
    assert other.line() == str([(number, number, number) for number in range(40)])
    assert other.line() == "80"
    assert other.wait() == 0
