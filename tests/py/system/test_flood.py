"""Strangers flood one channel: another channel of the same worker loses nothing. `shmring bench
flood` measures how late its packets become."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from kit.waiting import until

import shmring
from shmring_bench import flood

pytestmark = pytest.mark.check

PACKETS = 200
FLOOD_HZ = 5000
SECONDS = 1.5


@pytest.mark.parametrize("kind", flood.KINDS)
def test_a_flood_of_one_channel_costs_another_nothing(
    shmring_pool: shmring.Pool, kind: str, eventually: Callable[..., Any]
) -> None:
    with (
        flood.victim(kind, shmring_pool) as flooded,
        shmring_pool.open("ctl", local=("127.0.0.1", 0)) as channel,
        flood.start_floods([flooded], FLOOD_HZ, SECONDS) as strangers,
    ):
        until(lambda: flooded.seen() != 0, "no flood")
        begin_ns = time.monotonic_ns() + 50_000_000
        for i in range(PACKETS):
            channel.send(i.to_bytes(4), to=channel.local, at=begin_ns + i * 2_000_000)
        got = [channel.recv(timeout=20).data for _ in range(PACKETS)]
        assert got == [i.to_bytes(4) for i in range(PACKETS)]
        out, _ = strangers.communicate(timeout=30)
        assert strangers.returncode == 0
        assert 0 < flooded.seen() <= int(out) * 2
        stats: Any = channel.stats()
        assert stats.tx_sent == stats.rx_received == PACKETS
        assert stats.rx_overwritten == stats.rx_kernel_drops == 0
        eventually(lambda: shmring_pool.workers()[0].state == "running")  # or it had no core
        (worker,) = shmring_pool.workers()
        assert (worker.restarts, worker.calls_refused) == (0, 0)
