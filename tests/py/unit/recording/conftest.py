"""Recordings of made-up channels: drawn from a seed, so they are always the same."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from shmring import recording

NS_PER_S = 1_000_000_000
START_WALL_NS = 1_772_330_400 * NS_PER_S  # 2026-03-01 02:00:00 UTC
START_MONO_NS = 5_000 * NS_PER_S


def bucket_upper_ns(value):
    """Largest value of the bucket that `value` lies in, as csrc/base/rt_hist.h has it."""
    if value < 64:
        return value
    width = 1 << (value.bit_length() - 6)
    return value // width * width + width - 1


def make_header(**changes):
    facts = {
        "format": recording.FORMAT,
        "version": "0.1.0",
        "layout": 7,
        "host": "line-3",
        "kernel": "Linux 6.12.9-rt",
        "machine": "x86_64",
        "cores": 8,
        "started_wall_ns": START_WALL_NS,
        "started_mono_ns": START_MONO_NS,
        "interval_ns": NS_PER_S,
    }
    return recording.Header(**facts | changes)


def make_row(second, values, *, channel="ctl", late=0, **changes):
    """The row of one channel whose packets in this second were late by `values`, in ns."""
    ordered = sorted(values)
    buckets = sorted(Counter(map(bucket_upper_ns, ordered)).items())

    def at(share):
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0

    facts = {
        "wall_time_ns": START_WALL_NS + (second + 1) * NS_PER_S,
        "mono_time_ns": START_MONO_NS + (second + 1) * NS_PER_S,
        "interval_ns": NS_PER_S,
        "namespace": "default",
        "pool": "plant",
        "worker_pid": 4242,
        "worker_cpu": 1,
        "worker_epoch": 1,
        "channel": channel,
        "engine": "udp",
        "state": "open",
        "tx_pps": float(len(ordered)),
        "tx_bps": 512.0 * len(ordered),
        "rx_pps": 0.0,
        "rx_bps": 0.0,
        "tx_waiting": 20,
        "tx_sent": len(ordered),
        "tx_on_time": len(ordered) - late,
        "tx_enqueued_late": 0,
        "tx_woke_late": late,
        "tx_send_slow": 0,
        "tx_queued_behind": 0,
        "tx_dropped_late": 0,
        "tx_cancelled": 0,
        "tx_failed": 0,
        "tx_producer_halted": 0,
        "rx_received": 0,
        "rx_kernel_drops": 0,
        "rx_overwritten": 0,
        "lateness_count": len(ordered),
        "lateness_p50_ns": at(0.5),
        "lateness_p99_ns": at(0.99),
        "lateness_p999_ns": at(0.999),
        "lateness_max_ns": ordered[-1] if ordered else 0,
        "lateness_buckets": tuple(buckets),
    }
    return recording.Row(**facts | changes)


def make_rows(seconds=30, pps=200, *, median_ns=300, seed=1, **changes):
    """Rows of a steady channel with a long tail; of more packets the later ones are late."""
    draw = random.Random(seed)
    rows = []
    for second in range(seconds):
        values = [round(draw.lognormvariate(math.log(median_ns), 0.8)) for _ in range(pps)]
        late = 0
        if second % 7 == 3:
            values[:3] = [draw.randrange(60_000, 900_000) for _ in range(3)]
            late = 3
        rows.append(make_row(second, values, late=late, **changes))
    return rows


class Maker:
    header = staticmethod(make_header)
    row = staticmethod(make_row)
    rows = staticmethod(make_rows)
    upper = staticmethod(bucket_upper_ns)

    @staticmethod
    def file(path, *row_lists, **header):
        """Write a recording; the rows of a list are of one channel, second by second."""
        with recording.Writer(path, make_header(**header)) as writer:
            for together in zip(*row_lists, strict=True):
                writer.write(together)
        return path


@pytest.fixture(scope="session")
def maker():
    return Maker
