"""A tap of a local channel: what was sent, with its verdict, and what its readers got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import shmring
from shmring.net import tap

WAIT_S = 20.0


@pytest.mark.parametrize("path", [None, shmring.Impairment(loss=0.3, seed=2)])
def test_both_directions_are_seen(
    shmring_pool: shmring.Pool,
    eventually: Any,
    tmp_path: Path,
    tshark: Any,
    real_offset_ns: Any,
    path: shmring.Impairment | None,
) -> None:
    here = shmring_pool.open("bus", shmring.Local(), impair=path)
    assert here.try_recv() is None
    file = tmp_path / "bus.pcapng"
    with tap.open("bus", file) as t:
        for number in range(20):
            here.send(b"%d" % number, at=here.now_ns() + 1_000_000)
        here.flush(timeout=WAIT_S)
        arriving = 20 - here.stats().impair_rx_lost
        got = [here.recv(timeout=WAIT_S) for _ in range(arriving)]
        eventually(lambda: t.stats().written >= 20 + arriving)
    seen = tshark(file)
    offset_ns = real_offset_ns(file)
    out = [packet for packet in seen if packet.interface == "bus tx"]
    back = [packet for packet in seen if packet.interface == "bus rx"]
    reports = sorted(here.reports(timeout=0))
    assert [packet.payload for packet in out] == [b"%d" % number for number in range(20)]
    for packet, report in zip(out, reports, strict=True):
        assert packet.time_ns - offset_ns == report.sent_ns
        assert packet.facts["verdict"] == report.verdict.value
    for packet, arrived in zip(back, got, strict=True):
        assert packet.payload == arrived.data
        assert int(packet.facts["seq"]) == arrived.sequence
        if path is None:
            assert packet.time_ns - offset_ns == arrived.timestamp_ns
