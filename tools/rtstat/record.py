"""`rtstat --record FILE`: a row per channel and interval, as `shmring help recording` says."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator

from rtstat.numbers import NS_PER_S
from rtstat.pace import next_due
from rtstat.selection import Selection, namespace_of
from rtstat.snapshot import Snapshot, Watch
from rtstat.views import ChannelView
from rtworkers.verdicts import VERDICTS
from shmring import recording
from shmring_cli.common import FAILED, FINE

_INTERVAL_S = 1.0

# Columns that are the growth of the counter of the same name.
_GROWN = ("tx_sent", *VERDICTS, "rx_received", "rx_kernel_drops", "rx_overwritten")


def run(arguments: argparse.Namespace) -> int:
    """Record until the count is reached, or until it is told to end."""
    interval_s = arguments.interval or _INTERVAL_S
    selection = Selection(arguments)
    recorded = intervals = 0
    with Watch(namespace_of(arguments)) as watch:
        shot = watch.read()
        with recording.Writer(arguments.record, _header(shot, interval_s)) as writer:
            print(
                f"recording {len(selection.channels(shot))} channels into {writer.path}, every "
                f"{interval_s:g} s; Ctrl-C ends it",
                file=sys.stderr,
            )
            for _ in _intervals(arguments, interval_s):
                shot = watch.read()
                rows = [_row(shot, one) for one in selection.channels(shot) if one.seconds]
                writer.write(rows)
                recorded += len(rows)
                intervals += 1
    print(f"{arguments.record}: {recorded} rows of {intervals} intervals", file=sys.stderr)
    return FINE if selection.exists(shot) else FAILED


def _header(shot: Snapshot, interval_s: float) -> recording.Header:
    here = recording.Header.of_this_host(round(interval_s * NS_PER_S))
    return dataclasses.replace(here, started_wall_ns=shot.real_ns, started_mono_ns=shot.mono_ns)


def _intervals(arguments: argparse.Namespace, interval_s: float) -> Iterator[None]:
    """Yield at the end of every interval. The times do not drift, and missed ones are skipped."""
    due = time.monotonic()
    count = 0
    while arguments.count is None or count < arguments.count:
        due = next_due(due, interval_s, time.monotonic())
        if arguments.told.wait(max(0.0, due - time.monotonic())):
            return
        count += 1
        yield


def _row(shot: Snapshot, channel: ChannelView) -> recording.Row:
    times = channel.lateness_interval
    seconds = channel.seconds
    if times is None or seconds is None:
        raise ValueError(f"channel {channel.name!r} has only one snapshot")
    return recording.Row(
        wall_time_ns=shot.real_ns,
        mono_time_ns=shot.mono_ns,
        interval_ns=round(seconds * NS_PER_S),
        namespace=channel.namespace,
        pool=channel.pool,
        worker_pid=channel.worker_pid,
        worker_cpu=-1 if channel.cpu is None else channel.cpu,
        worker_epoch=channel.epoch,
        channel=channel.name,
        engine=channel.engine,
        state=channel.state,
        tx_pps=round(channel.tx_pps or 0.0, 3),
        tx_bps=round(channel.tx_bps or 0.0, 3),
        rx_pps=round(channel.rx_pps or 0.0, 3),
        rx_bps=round(channel.rx_bps or 0.0, 3),
        tx_waiting=channel.tx_waiting,
        **{name: channel.delta(name) or 0 for name in _GROWN},
        lateness_count=times.count,
        lateness_p50_ns=times.p50_ns,
        lateness_p99_ns=times.p99_ns,
        lateness_p999_ns=times.p999_ns,
        lateness_max_ns=times.max_ns,
        lateness_buckets=tuple(channel.buckets("lateness", interval=True)) if times.count else (),
    )
