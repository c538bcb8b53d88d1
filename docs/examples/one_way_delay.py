"""A histogram of one-way delays: each packet carries the time at which it was due.

On one host both ends have the same clock. Between hosts that are synchronised by PTP, open the
channels with clock="tai" at both ends, and give the addresses of the two cards. Without PTP,
`shmring.net.clock_to` tells how far the clocks differ, with a bound, and `shmring.net.measure` does
all of this at once.
"""

import struct
from collections import Counter

import shmring

PERIOD_NS = 1_000_000


def main(packets: int = 500) -> None:
    with shmring.Pool() as pool:
        there = pool.open("there", shmring.Udp(clock="monotonic"), local=("127.0.0.1", 0))
        here = pool.open("here", shmring.Udp(clock="monotonic"), remote=there.local)
        start = here.now_ns() + 20_000_000
        for i in range(packets):
            due = start + i * PERIOD_NS
            here.send(struct.pack("<q", due), at=due)
        delays_us: Counter[int] = Counter()
        while delays_us.total() < packets:
            for packet in there.recv_many(packets, timeout=5.0):
                (due,) = struct.unpack("<q", packet.data)
                delays_us[max(0, packet.timestamp_ns - due) // 1000] += 1
    edge, rest = 1, packets
    while rest:
        count = sum(delays_us[us] for us in delays_us if edge // 2 <= us < edge)
        if count:
            print(f"below {edge:6} us {count:5} {'#' * -(-50 * count // packets)}")
        edge, rest = 2 * edge, rest - count


if __name__ == "__main__":
    main()
