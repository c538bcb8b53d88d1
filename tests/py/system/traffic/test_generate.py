"""Generated packets sent over loopback, judged by what arrives."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from itertools import pairwise
from typing import Any

from kit.engines import spelled

import shmring
from shmring._proto import ffi, lib
from shmring.net import capture, traffic

PATIENCE_S = 60.0
MS = 1_000_000


def opened(pool: shmring.Pool, name: str, host: str = "127.0.0.1", **how: Any) -> shmring.Channel:
    how = {"direction": "rx", "rx": 8192, "rx_stamp": "kernel", "rcvbuf_bytes": 4 << 20} | how
    channel: shmring.Channel = pool.open(name, local=(host, 0), **spelled(shmring.Udp, how))
    return channel


def taken(channel: shmring.Channel, count: int) -> list[shmring.Packet]:
    return [channel.recv(timeout=PATIENCE_S) for _ in range(count)]


def request(packet: shmring.Packet) -> Any:
    found = ffi.new("stamp_request_t *")
    data = ffi.from_buffer("uint8_t[]", packet.data)
    assert lib.stamp_get_request(data, len(data), found) == lib.STAMP_FINE
    return found


def test_packets_are_numbered_and_stamped(shmring_pool: shmring.Pool) -> None:
    there = opened(shmring_pool, "there")
    before_ns = time.time_ns()
    report = shmring.net.generate(
        there.local, traffic.Flow(pps=500, size=100), count=200, pool=shmring_pool
    )
    packets = taken(there, 200)
    requests = [request(packet) for packet in packets]
    assert [each.sequence for each in requests] == list(range(200))
    assert {each.ssid for each in requests} == {1}
    assert {len(packet.data) for packet in packets} == {100}
    times = [each.t1_ns for each in requests]
    assert {b - a for a, b in pairwise(times)} == {2 * MS}
    assert before_ns < times[0] < time.time_ns()
    # A packet is never sent before its deadline, so the timestamp is not above the arrival.
    to_mono_ns = time.monotonic_ns() - time.time_ns()
    for packet, t1_ns in zip(packets, times, strict=True):
        assert packet.timestamp_ns - (t1_ns + to_mono_ns) > -MS
    assert (report.packets, report.sent, report.failed, report.not_sent) == (200, 200, 0, 0)
    assert report.lateness.count == 200
    assert 0 < report.gap_error.count <= 199
    (flow,) = report.flows
    assert (flow.packets, flow.payload_bytes, flow.ssid) == (200, 20000, 1)


def test_flows_have_destinations_sizes_and_numbers_of_their_own(
    shmring_pool: shmring.Pool,
) -> None:
    ends = [opened(shmring_pool, f"end{i}", host) for i, host in enumerate(("127.0.0.1", "::1"))]
    report = shmring.net.generate(
        flows=[
            traffic.Flow(to=ends[0].local, pps=1000, size=44, pattern="poisson"),
            traffic.Flow(to=ends[1].local, pps=500, size=(50, 60), count=50),
            traffic.Flow(to=ends[0].local, pps=200, size="imix", after_s=0.1),
        ],
        count=120,
        pool=shmring_pool,
    )
    assert [flow.packets for flow in report.flows] == [120, 50, 120]
    assert report.sent == 290
    first = taken(ends[0], 240)
    by_flow = {ssid: [p for p in first if p.data[14:16] == bytes([0, ssid])] for ssid in (1, 3)}
    for packets in by_flow.values():
        assert [int.from_bytes(p.data[:4], "big") for p in packets] == list(range(120))
    sizes = [len(packet.data) for packet in by_flow[3]]
    assert [sizes.count(size) for size in (18, 548, 1472)] == [70, 40, 10]
    assert all(50 <= len(packet.data) <= 60 for packet in taken(ends[1], 50))


def test_a_seed_gives_the_same_packets(shmring_pool: shmring.Pool) -> None:
    there = opened(shmring_pool, "there")
    flow = traffic.Flow(pps=5000, size=(64, 200), pattern="poisson", burst=3)
    seen = []
    for seed in (7, 7, 8):
        shmring.net.generate(
            there.local, flow, count=60, seed=seed, padding="random", pool=shmring_pool
        )
        packets = taken(there, 60)
        times = [request(packet).t1_ns for packet in packets]
        gaps = [b - a for a, b in pairwise(times)]
        seen.append((gaps, [packet.data[48:] for packet in packets]))
    assert seen[0] == seen[1] != seen[2]


def test_large_datagrams(shmring_pool: shmring.Pool) -> None:
    there = opened(shmring_pool, "there", rx=shmring.Queue(128, 65507))
    report = shmring.net.generate(
        there.local, traffic.Flow(pps=100, size=65507), count=20, pool=shmring_pool
    )
    assert report.sent == 20
    assert {len(packet.data) for packet in taken(there, 20)} == {65507}


def test_many_flows(shmring_pool: shmring.Pool) -> None:
    there = opened(shmring_pool, "there", rcvbuf_bytes=16 << 20)
    flows = [traffic.Flow(pps=10, size=44, pattern="poisson") for _ in range(1000)]
    report = shmring.net.generate(there.local, flows, count=2, pool=shmring_pool)
    assert report.sent == report.packets == 2000
    assert {(each.packets, each.payload_bytes) for each in report.flows} == {(2, 88)}
    numbers = [int.from_bytes(packet.data[14:16], "big") for packet in taken(there, 2000)]
    assert sorted(numbers) == sorted([*range(1, 1001)] * 2)


def test_stop_cancels_what_waits(shmring_pool: shmring.Pool) -> None:
    there = opened(shmring_pool, "there")
    told: list[capture.Progress] = []
    generator = traffic.Generator(
        there.local,
        [traffic.Flow(pps=100, size=44), traffic.Flow(pps=10, size=50)],
        seconds=math.inf,
        pool=shmring_pool,
        progress=told.append,
    )
    threading.Timer(1.0, generator.stop).start()
    report = generator.run()
    assert report.stopped
    assert report.not_sent == report.packets - report.sent > 0
    assert sum(flow.packets for flow in report.flows) == report.packets
    assert told
    assert told[-1].share is None


def test_a_long_run_plans_little_ahead(shmring_pool: shmring.Pool) -> None:
    """Days of packets take no more memory than seconds."""
    there = opened(shmring_pool, "there")
    generator = traffic.Generator(
        there.local, traffic.Flow(pps=1000), seconds=30 * 86400, pool=shmring_pool
    )
    threading.Timer(0.5, generator.stop).start()
    report = generator.run()
    assert report.stopped
    assert report.packets < 5000


def test_a_killed_worker_costs_time_but_no_packet(shmring_pool: shmring.Pool) -> None:
    there = opened(shmring_pool, "there")
    generator = traffic.Generator(
        there.local, traffic.Flow(pps=1000), seconds=1.5, pool=shmring_pool
    )

    def kill() -> None:
        (worker,) = shmring_pool.workers()
        assert worker.pid
        os.kill(worker.pid, signal.SIGKILL)

    threading.Timer(0.7, kill).start()
    report = generator.run()
    assert report.packets == 1500
    assert report.sent + report.failed + report.not_sent == 1500
    assert report.sent >= 1499  # one may have been in the hands of the worker


def test_nobody_listens(shmring_pool: shmring.Pool) -> None:
    there = opened(shmring_pool, "there")
    port = there.local[1]
    there.close()
    report = shmring.net.generate(
        ("127.0.0.1", port), traffic.Flow(pps=1000), count=100, pool=shmring_pool
    )
    assert report.sent + report.failed == 100
