"""reader.py: opens a channel and prints what a sender in another process, such as sender.c, sends
on it. Each packet holds the time at which it was due.

    python reader.py [COUNT]
"""

import struct
import sys

import shmring

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 100

with shmring.Pool() as pool:
    # Both ends of the path are this socket: what is sent on the channel arrives on it.
    own = ("127.0.0.1", 9311)
    channel = pool.open("example", local=own, remote=own)
    print("waiting for packets on channel 'example'", flush=True)
    for _ in range(COUNT):
        packet = channel.recv()
        (due_ns,) = struct.unpack("=q", packet.data)
        late_us = (packet.timestamp_ns - due_ns) / 1000
        print(f"packet {packet.sequence}: due at {due_ns}, arrived {late_us:.1f} µs later")
