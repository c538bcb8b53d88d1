"""Rates that `shmring bench udt` takes from a sink's lines."""

import pytest

from shmring_bench.udt_ends import Link, Samples


def samples(*lines):
    made = Samples()
    for line in lines:
        made.add(line)
    return made


def test_each_stream_has_its_rate_between_the_samples_before_two_times():
    some = samples("1000000000 0 0", "2000000000 125 1000", "3000000000 375 1000", "4000000000 1 1")
    assert some.rates_bps(1_000_000_000, 3_500_000_000) == pytest.approx([1500, 4000])
    assert some.rates_bps(2_100_000_000, 3_000_000_000) == pytest.approx([2000, 0])


def test_what_came_before_the_first_sample_does_not_count():
    some = samples("5000000000 999", "6000000000 1124")
    assert some.rates_bps(0, 6_000_000_000) == pytest.approx([1000])


def test_no_time_is_no_rate():
    assert samples("5000000000 999").rates_bps(0, 9_000_000_000) == [0]


def test_the_queue_of_a_link_holds_what_is_on_the_way():
    assert Link(0.05, 100_000_000).queue_bytes == 1_250_000
