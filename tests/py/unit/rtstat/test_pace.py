"""The times of a series of snapshots, also of a program that was stopped for a while."""

import argparse
import itertools

import pytest

from rtstat import overview
from rtstat.pace import next_due


@pytest.mark.parametrize(
    ("now", "due"), [(10.0, 11.0), (10.4, 11.0), (10.6, 12.0), (15.3, 16.0), (15.7, 17.0)]
)
def test_missed_times_are_skipped_and_no_interval_is_shorter_than_half(now, due):
    assert next_due(10.0, 1.0, now) == due


def test_a_stop_is_one_long_interval_and_no_short_one_follows(monkeypatch):
    clock = [100.0]
    taken = []

    class Told:
        def wait(self, seconds):
            clock[0] += seconds + (5.3 if len(taken) == 2 else 0.0)  # stopped before the third
            return False

    class Watch:
        def read(self):
            taken.append(clock[0])
            return clock[0]

    monkeypatch.setattr(overview.time, "monotonic", lambda: clock[0])
    arguments = argparse.Namespace(
        plain=False,
        check=False,
        json="lines",
        csv=None,
        interval=1.0,
        count=5,
        told=Told(),
    )
    list(overview._snapshots(Watch(), arguments))
    intervals = [round(b - a, 3) for a, b in itertools.pairwise(taken)]
    assert intervals == [1.0, 6.3, 0.7, 1.0]
