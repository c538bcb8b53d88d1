"""A tap of a cyclic channel: every cycle with its verdict, sent or put into the receive ring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import shmring
from shmring.net import tap

CYCLES = 20
PERIOD_NS = 5_000_000


@pytest.mark.parametrize("has_remote", [True, False])
def test_each_cycle_is_seen(
    shmring_pool: shmring.Pool,
    eventually: Any,
    tmp_path: Path,
    tshark: Any,
    has_remote: bool,
) -> None:
    there = shmring_pool.open("there", shmring.Udp(direction="rx"), local=("127.0.0.1", 0))
    remote = there.local if has_remote else None
    engine = shmring.Cyclic(period_ns=PERIOD_NS, report_capacity=1 << 16 if has_remote else None)
    with shmring_pool.open("cyc", engine, remote=remote) as cycles:
        file = tmp_path / "cyc.pcapng"
        with tap.open("cyc", file) as t:
            cycles.update(b"one")
            eventually(lambda: t.stats().written >= CYCLES)
            cycles.update(b"two")
            eventually(lambda: cycles.cyclic_stats().updates == 2)
            written = t.stats().written
            eventually(lambda: t.stats().written >= written + CYCLES)
        seen = tshark(file)
        assert {packet.interface for packet in seen} == {"cyc tx"}
        payloads = [packet.payload for packet in seen]
        assert payloads == sorted(payloads)
        assert set(payloads) == {b"one", b"two"}
        numbers = [int(packet.facts["seq"]) for packet in seen]
        assert numbers == sorted(set(numbers))
        if has_remote:
            verdicts = {
                report.sequence: report.verdict.value for report in cycles.reports(timeout=0)
            }
            for packet in seen[:CYCLES]:
                assert packet.facts["verdict"] == verdicts[int(packet.facts["seq"])]
