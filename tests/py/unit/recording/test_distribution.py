"""Sums of histograms, their percentiles, and the time line."""

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmring._ring import lib
from shmring.recording import Recording
from shmring_plot.distribution import Distribution, bucket_lower_ns, log_edges
from shmring_plot.series import Series, split


def distribution(maker, values):
    row = maker.row(0, values)
    return Distribution([(row.lateness_buckets, row.lateness_max_ns)])


def test_buckets_are_those_of_the_histogram_in_c(maker):
    for index in range(lib.RT_HIST_BUCKETS):
        lower, upper = lib.rt_hist_lower_ns(index), lib.rt_hist_lower_ns(index + 1) - 1
        assert bucket_lower_ns(upper) == lower
        assert maker.upper(lower) == maker.upper(upper) == upper


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300), st.floats(0, 1))
def test_a_quantile_is_within_half_a_bucket(maker, values, share):
    values.sort()
    exact = values[max(0, min(len(values) - 1, -int(-share * len(values) // 1) - 1))]
    found = distribution(maker, values).quantile_ns(share)
    assert abs(found - exact) <= exact / 64 + 1


def test_parts_together_are_as_if_they_were_one(maker):
    draw = random.Random(3)
    parts = [[draw.randrange(10**6) for _ in range(200)] for _ in range(5)]
    rows = [maker.row(i, part) for i, part in enumerate(parts)]
    together = Distribution((row.lateness_buckets, row.lateness_max_ns) for row in rows)
    whole = distribution(maker, [value for part in parts for value in part])
    assert together.steps() == whole.steps()
    assert together.max_ns == max(map(max, parts))
    assert len(together) == 1000


def test_an_empty_one_has_nothing():
    empty = Distribution([((), 7)])
    assert (len(empty), empty.max_ns, empty.quantile_ns(0.5), empty.low_ns) == (0, 0, 0, 0)
    assert empty.steps() == []
    assert empty.shares([1, 10, 100]) == [0, 0]


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=300))
def test_shares_of_bins_add_up_to_everything(maker, values):
    edges = [0.0, *log_edges(4, max(4, *values, 4))]
    assert sum(distribution(maker, values).shares(edges)) == pytest.approx(1)


def test_a_bucket_that_an_edge_cuts_counts_on_both_sides(maker):
    assert bucket_lower_ns(maker.upper(1024)) == 1024
    assert maker.upper(1024) == 1055
    assert distribution(maker, [1024]).shares([1000, 1032, 2000]) == [0.25, 0.75]


def test_steps_end_with_the_largest_value_and_all_of_them(maker):
    steps = distribution(maker, [3, 3, 100_000]).steps()
    assert steps == [(3, pytest.approx(2 / 3)), (100_000, 1.0)]


def series(maker, rows):
    return Series("x", maker.header(), rows)


def test_a_time_line_has_a_slot_for_every_interval(maker):
    rows = [maker.row(0, [10] * 5), maker.row(1, [20] * 5, late=2), maker.row(4, [30])]
    slots = series(maker, rows).slots()
    assert [slot.start_ns // 10**9 for slot in slots] == [0, 1, 4]
    assert [slot.lateness.max_ns for slot in slots] == [10, 20, 30]
    assert [slot.late["tx_woke_late"] for slot in slots] == [0, 2, 0]
    assert not any(slot.restarted for slot in slots)


def test_a_long_time_line_is_drawn_in_fewer_points_without_losing_any_packet(maker):
    one = series(maker, maker.rows(1000, 5))
    slots = one.slots(limit=100)
    assert 90 <= len(slots) <= 101
    assert sum(len(slot.lateness) for slot in slots) == 5000
    assert max(slot.lateness.max_ns for slot in slots) == one.lateness.max_ns


@pytest.mark.check
def test_a_day_of_seconds_is_summed_up_in_a_time_that_grows_with_its_length(maker):
    row = maker.row(0, [10, 2000])
    ends = (row.mono_time_ns + i * row.interval_ns for i in range(86_400))
    one = series(maker, [dataclasses.replace(row, mono_time_ns=end) for end in ends])
    assert sum(len(slot.lateness) for slot in one.timeline) == 2 * 86_400


def test_a_restart_shows_where_it_was(maker):
    rows = [maker.row(second, [10], worker_epoch=1 + (second >= 3)) for second in range(6)]
    assert [slot.restarted for slot in series(maker, rows).slots()] == [False] * 3 + [True] + [
        False
    ] * 2


def test_channels_become_series_and_their_figures_are_in_base_units(maker, tmp_path):
    rows = [maker.row(0, [100] * 10), maker.row(0, [200] * 4, channel="b", late=1)]
    a, b = split(Recording(tmp_path, maker.header(), rows), lambda row: row.channel)
    assert (a.label, b.label) == ("ctl", "b")
    assert b.facts() == {
        "series": "b",
        "seconds": 1.0,
        "packets": 4,
        "tx_pps": 4.0,
        "tx_enqueued_late": 0,
        "tx_woke_late": 1,
        "tx_send_slow": 0,
        "tx_queued_behind": 0,
        "tx_dropped_late": 0,
        "tx_producer_halted": 0,
        "lateness_p50_ns": b.lateness.quantile_ns(0.5),
        "lateness_p99_ns": b.lateness.quantile_ns(0.99),
        "lateness_p999_ns": b.lateness.quantile_ns(0.999),
        "lateness_max_ns": 200,
    }
