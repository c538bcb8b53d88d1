"""Overdue packets after a hole: as fast as `catch_up` allows, all of them, in order."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

import shmring

MS = 1_000_000
GAP_NS = 10 * MS
COUNT = 40
LEAD_NS = 200 * MS
SLACK_NS = 1 * MS  # what the worker makes up for
ENGINES: dict[str, Any] = {
    "udp": shmring.Udp(catch_up=2.0),
    "local": shmring.Local(catch_up=2.0),
    "rtp": shmring.Rtp(
        payload_type=96, clock_rate=90_000, ptime_ns=GAP_NS, direction="tx", catch_up=2.0
    ),
}


@contextlib.contextmanager
def standing_still(pool: shmring.Pool) -> Iterator[None]:
    workers = [worker.pid for worker in pool.workers() if worker.pid is not None]
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


def reports_after_a_hole(
    pool: shmring.Pool, engine: str, eventually: Any
) -> list[shmring.SendReport]:
    """The workers stand still while half of the packets become due."""
    remote = None if engine == "local" else ("127.0.0.1", 9)
    ch: Any = pool.open("ctl", ENGINES[engine], remote=remote)
    start = ch.now_ns() + LEAD_NS
    spacing = {} if engine == "rtp" else {"interval_ns": GAP_NS}
    ch.send_many([b"part"] * COUNT, at=start, **spacing)
    with standing_still(pool):
        assert ch.now_ns() < start, "this machine took 200 ms to queue 40 packets"
        time.sleep((LEAD_NS + COUNT // 2 * GAP_NS) / 1e9)
    ch.flush(timeout=20)
    reports: list[shmring.SendReport] = []
    while len(reports) < COUNT:
        reports += eventually(lambda: list(ch.reports(timeout=0)))
    assert ch.stats().tx_sent == COUNT
    return sorted(reports)


@pytest.mark.parametrize("engine", ENGINES)
def test_overdue_packets_keep_a_share_of_their_gaps(
    shmring_pool: shmring.Pool, eventually: Any, engine: str
) -> None:
    reports = reports_after_a_hole(shmring_pool, engine, eventually)
    assert [report.sequence for report in reports] == list(range(COUNT))
    assert [report.sent_ns for report in reports] == sorted(report.sent_ns for report in reports)
    sent = [report.sent_ns for report in reports[: COUNT // 2]]
    gaps = [after - before for before, after in itertools.pairwise(sent)]
    short = [gap for gap in gaps if gap < GAP_NS // 2 - 2 * SLACK_NS]
    assert len(short) <= len(gaps) // 4, gaps  # a loaded machine: the worker was late once more
    assert all(report.sent_ns >= report.scheduled_ns for report in reports)
    late = [report.verdict for report in reports[: COUNT // 2]]
    assert not {shmring.Verdict.ON_TIME, shmring.Verdict.DROPPED_LATE} & set(late)


@pytest.mark.parametrize("kind", [shmring.Cyclic, shmring.Netflux])
def test_other_engines_do_not_have_it(kind: Any) -> None:
    with pytest.raises(TypeError, match="has no field 'catch_up'"):
        kind(catch_up=2.0)
