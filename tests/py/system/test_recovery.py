"""How long channels are without a worker, and what a channel costs the next one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import shmring

pytestmark = pytest.mark.check

LOOPBACK = ("127.0.0.1", 0)
CHANNELS = 400
RECOVERIES = 8
# CPU time of the worker for one channel that it takes over: some 40 system calls and the mapping of
# its segment. 90 to 130 us were measured on a virtual machine with ten busy programs on two cores.
MOST_US_PER_CHANNEL = 400.0


def cpu_ns(pid: int) -> int:
    """CPU time of a process with one thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def open_many(pool: shmring.Pool, count: int) -> list[Any]:
    engine = shmring.Udp(tx=64, rx=64, max_payload=200)
    return [pool.open(f"ctl-{i}", engine, local=LOOPBACK) for i in range(count)]


def test_a_channel_costs_its_next_worker_little(
    shmring_pool: shmring.Pool, eventually: Any
) -> None:
    channels = open_many(shmring_pool, CHANNELS)
    (before,) = shmring_pool.workers()
    began = time.monotonic_ns()
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: all(here.stats().epoch == 2 for here in channels))
    took_ms = (time.monotonic_ns() - began) / 1e6
    (after,) = shmring_pool.workers()
    each_us = cpu_ns(after.pid) / 1000 / CHANNELS
    print(f"{CHANNELS} channels back after {took_ms:.0f} ms, {each_us:.0f} us of CPU each")
    assert each_us < MOST_US_PER_CHANNEL


def test_a_channel_is_back_soon(shmring_pool: shmring.Pool, eventually: Any) -> None:
    (here,) = open_many(shmring_pool, 1)
    took_ms = []
    for epoch in range(1, RECOVERIES + 1):
        time.sleep(1.05)  # a worker that dies sooner waits for its next start
        began = time.monotonic_ns()
        os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
        eventually(lambda epoch=epoch: here.stats().epoch > epoch)
        took_ms.append((time.monotonic_ns() - began) / 1e6)
    took_ms.sort()
    print("back after", [round(ms, 1) for ms in took_ms], "ms")
    assert took_ms[RECOVERIES // 2] < 100
