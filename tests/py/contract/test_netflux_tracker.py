"""The tracker of netflux that is driven by hand, in virtual time."""

import random
from dataclasses import asdict

import pytest

from netflux import NetfluxStatistics, NetfluxStatisticsTracker

MS = 1_000_000


class Rig:
    """A tracker, its clock, and a link that loses what it is told to."""

    def __init__(self, **options):
        self.now_ns = 10**15
        self.tracker = NetfluxStatisticsTracker(**options, clock=lambda: self.now_ns)

    def sample(self, recv, send, feedback, after_ms=0.0):
        self.now_ns += round(after_ms * MS)
        self.tracker.update(recv % 256, send % 256, feedback % 256)
        return self.tracker.stats


def test_a_steady_link():
    rig = Rig(cycle_time_ms=5.0)
    rig.sample(0, 0, 0)
    for i in range(1, 1001):
        stats = rig.sample(i, i, i - 2 if i > 2 else 0, after_ms=5.0)
    for name in ("avg", "min", "max", "p50", "p99"):
        assert getattr(stats, f"{name}_own_interval") == pytest.approx(5.0)
        assert getattr(stats, f"{name}_partner_interval") == pytest.approx(5.0)
        assert getattr(stats, f"{name}_rtt") == pytest.approx(10.0)
    assert stats.last_rtt == pytest.approx(10.0)
    assert (stats.total_partner_lost_packets, stats.total_feedback_lost_packets) == (0, 0)


def test_nothing_is_known_at_first():
    rig = Rig()
    assert rig.tracker.get_stats() == NetfluxStatistics()
    assert set(asdict(NetfluxStatistics()).values()) == {0}
    rig.sample(200, 100, 50)
    assert rig.tracker.get_stats() == NetfluxStatistics()
    rig.sample(200, 100, 50, after_ms=100)
    assert rig.tracker.get_stats() == NetfluxStatistics()


def test_a_tracker_that_comes_late_invents_nothing():
    rig = Rig()
    rig.sample(200, 100, 98)
    stats = rig.sample(201, 101, 100, after_ms=2.0)
    assert stats.total_partner_lost_packets == stats.total_feedback_lost_packets == 0
    assert stats.last_rtt == pytest.approx(2.0)
    assert stats.avg_own_interval == stats.avg_partner_interval == 0.0
    stats = rig.sample(202, 102, 101, after_ms=2.0)
    assert stats.avg_own_interval == stats.avg_partner_interval == pytest.approx(2.0)


def test_time_is_measured_and_not_believed():
    rig = Rig(cycle_time_ms=1.0)
    rig.sample(0, 0, 0)
    for i in range(1, 300):
        stats = rig.sample(i, i, 0, after_ms=7.0)
    assert stats.avg_own_interval == pytest.approx(7.0)


@pytest.mark.parametrize("stride", [2, 3, 50, 120])
def test_several_numbers_in_one_sample(stride):
    rig = Rig()
    rig.sample(0, 0, 0)
    for i in range(stride, 40 * stride, stride):
        stats = rig.sample(0, i, 0, after_ms=stride * 2.0)
    assert stats.avg_own_interval == pytest.approx(2.0)
    assert stats.min_own_interval == pytest.approx(2.0)


def test_partner_losses_are_counted_across_the_wrap():
    rig = Rig()
    rig.sample(0, 0, 0)
    lost = 0
    number = 0
    chance = random.Random(7)
    for _ in range(2000):
        step = chance.choice((1, 1, 1, 2, 5))
        lost += step - 1 if number else 0
        number += step
        stats = rig.sample(number, 0, 0, after_ms=step)
    assert stats.total_partner_lost_packets == lost
    assert stats.avg_partner_interval == pytest.approx(1.0)


def test_the_first_number_of_the_partner_is_no_loss():
    rig = Rig()
    rig.sample(0, 0, 0)
    assert rig.sample(90, 0, 0, after_ms=1).total_partner_lost_packets == 0
    assert rig.sample(92, 0, 0, after_ms=1).total_partner_lost_packets == 1


def test_a_partner_that_begins_anew_is_neither_loss_nor_interval():
    rig = Rig()
    rig.sample(0, 0, 0)
    rig.sample(100, 0, 0, after_ms=1)
    rig.sample(101, 0, 0, after_ms=1)
    rig.sample(1, 0, 0, after_ms=500)
    stats = rig.sample(2, 0, 0, after_ms=1)
    assert stats.total_partner_lost_packets == 0
    assert stats.max_partner_interval == pytest.approx(1.0)


def test_round_trips_beyond_the_wrap():
    rig = Rig()
    rig.sample(0, 0, 0)
    for i in range(1, 1000):
        stats = rig.sample(0, i, i - 100 if i > 100 else 0, after_ms=1.0)
        if i > 101:
            assert stats.last_rtt == pytest.approx(100.0)
    assert stats.total_feedback_lost_packets == 0


def test_number_zero_can_be_acknowledged():
    rig = Rig()
    rig.sample(0, 254, 250)
    rig.sample(0, 255, 254, after_ms=1)
    rig.sample(0, 256, 254, after_ms=1)
    assert rig.sample(0, 257, 256, after_ms=3).last_rtt == pytest.approx(3.0)


def test_what_a_later_feedback_covers_is_not_lost():
    rig = Rig()
    rig.sample(0, 0, 0)
    for i in range(1, 2000):
        stats = rig.sample(0, i, i // 10 * 10, after_ms=1.0)
    assert stats.total_feedback_lost_packets == 0


def test_a_deaf_partner():
    rig = Rig()
    rig.sample(0, 0, 0)
    for i in range(1, 20):
        rig.sample(i, i, i, after_ms=1.0)
    for i in range(20, 20 + 1000):
        stats = rig.sample(i, i, 19, after_ms=1.0)
    # All but the last 256, which may still be acknowledged; and every 256th number of ours equals
    # the feedback that it repeats.
    assert stats.total_feedback_lost_packets == 1000 - 256
    assert stats.max_rtt < 1.0


def test_the_same_feedback_again_is_no_round_trip():
    rig = Rig()
    rig.sample(0, 0, 0)
    rig.sample(0, 1, 1, after_ms=4)
    rig.sample(0, 2, 1, after_ms=4)
    assert rig.tracker.stats.max_rtt == 0.0
    assert rig.sample(0, 3, 2, after_ms=4).last_rtt == pytest.approx(4.0)


def test_a_feedback_of_what_was_never_sent():
    rig = Rig()
    rig.sample(0, 0, 0)
    rig.sample(1, 3, 0, after_ms=1)
    stats = rig.sample(2, 4, 200, after_ms=1)
    assert (stats.last_rtt, stats.total_feedback_lost_packets) == (0.0, 0)


def test_jitter_shows_in_the_extremes():
    rig = Rig()
    rig.sample(0, 0, 0)
    chance = random.Random(3)
    for i in range(1, 2000):
        stats = rig.sample(0, i, 0, after_ms=chance.uniform(1.0, 3.0))
    assert 1.0 <= stats.min_own_interval < 1.1
    assert 2.9 < stats.max_own_interval <= 3.0
    assert stats.p50_own_interval == pytest.approx(2.0, abs=0.2)
    assert stats.p50_own_interval < stats.p99_own_interval <= stats.max_own_interval
    assert stats.avg_own_interval == pytest.approx(2.0, abs=0.15)


def test_averages_are_of_the_last_numbers():
    rig = Rig()
    rig.sample(0, 0, 0)
    for i in range(1, 1000):
        rig.sample(0, i, 0, after_ms=10.0)
    for i in range(1000, 1300):
        stats = rig.sample(0, i, 0, after_ms=1.0)
    assert stats.avg_own_interval == pytest.approx(1.0)
    assert stats.max_own_interval == pytest.approx(1.0)


def test_reset_forgets_results_and_keeps_numbers():
    rig = Rig()
    rig.sample(0, 0, 0)
    for i in range(1, 100):
        rig.sample(i * 2, i, i - 1, after_ms=1.0)
    assert rig.tracker.stats.total_partner_lost_packets == 98
    rig.tracker.reset()
    assert rig.tracker.get_stats() == NetfluxStatistics()
    stats = rig.sample(200, 100, 99, after_ms=1.0)
    assert stats.total_partner_lost_packets == 1
    assert stats.avg_own_interval == pytest.approx(1.0)
    assert stats.last_rtt == pytest.approx(1.0)


def test_get_stats_is_a_copy():
    rig = Rig()
    rig.sample(0, 0, 0)
    copy = rig.tracker.get_stats()
    rig.sample(1, 1, 1, after_ms=1)
    rig.sample(2, 2, 2, after_ms=1)
    assert copy == NetfluxStatistics()
    assert rig.tracker.stats.avg_own_interval > 0


def test_cycle_time_can_be_read_and_written():
    tracker = NetfluxStatisticsTracker()
    assert tracker.cycle_time_ms == 1.0
    tracker.cycle_time_ms = 2.0
    assert NetfluxStatisticsTracker(5.0).cycle_time_ms == 5.0


def test_with_the_real_clock():
    tracker = NetfluxStatisticsTracker()
    for i in range(300):
        tracker.update(i % 256, i % 256, (i - 1) % 256 if i else 0)
    stats = tracker.get_stats()
    assert stats.avg_own_interval >= 0.0
    assert stats.last_rtt >= 0.0
    assert stats.total_partner_lost_packets == 0
