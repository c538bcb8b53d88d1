"""Ratios of systems that took turns: what decides a goal, and what is a hole."""

import random
from functools import partial

import pytest

from shmring_bench.paired import (
    LEAST_TURNS,
    MET,
    MISSED,
    NOT_DECIDED,
    Ratio,
    holes,
    pooled_quantile,
    ratios,
)
from shmring_bench.samples import quantile

pytestmark = pytest.mark.check

US = 1000
MS = 1_000_000
PAIR = ("a", "b")
p99 = partial(pooled_quantile, share=0.99)


def quiet_turn(rng, scale=1.0, packets=500):
    return [round(scale * rng.expovariate(1 / 5000)) for _ in range(packets)]


def with_holes(rng, turn):
    """Sometimes the core is away for up to 40 ms, and every 100 us a packet is due."""
    for _ in range(rng.choice((0, 0, 1, 3))):
        away, at = rng.randrange(1 * MS, 40 * MS), rng.randrange(len(turn))
        for place in range(at, min(len(turn), at + away // (100 * US))):
            turn[place] = max(turn[place], away - (place - at) * 100 * US)
    return turn


def compare(a, b):
    turns = {"a": [sorted(turn) for turn in a], "b": [sorted(turn) for turn in b]}
    return ratios(turns, p99, [PAIR], draws=200)[PAIR]


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.9, 1.09, MET),
        (0.5, 0.9, MET),
        (0.9, 1.1, NOT_DECIDED),
        (0.28, 1.41, NOT_DECIDED),
        (1.09, 1.2, NOT_DECIDED),
        (1.1, 1.2, MISSED),
    ],
)
def test_a_goal_is_decided_only_by_the_whole_interval(low, high, says):
    assert Ratio(1.0, low, high, turns=LEAST_TURNS).decides(1.1) == says


def test_few_turns_decide_nothing():
    assert Ratio(1.0, 1.0, 1.0, turns=LEAST_TURNS - 1).decides(1.1) == NOT_DECIDED
    assert Ratio(9.0, 9.0, 9.0, turns=1).decides(1.1) == NOT_DECIDED


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_a_pooled_quantile_is_that_of_all_values_together(share):
    rng = random.Random(7)
    turns = [sorted(rng.randrange(1 << 30) for _ in range(n)) for n in (1, 0, 30, 200)]
    weights = [3, 1, 2, 1]
    pooled = sorted(
        value
        for turn, weight in zip(turns, weights, strict=True)
        for value in turn
        for _ in range(weight)
    )
    assert pooled_quantile(turns, weights, share) == quantile(pooled, share)


def test_a_pooled_quantile_divides():
    assert pooled_quantile([[0, 0]], [1], 0.99) == 1
    assert pooled_quantile([[]], [1], 0.99) == 1


def test_two_quiet_systems_alike_meet_the_goal():
    rng = random.Random(1)
    ratio = compare([quiet_turn(rng) for _ in range(40)], [quiet_turn(rng) for _ in range(40)])
    assert ratio.low < 1 < ratio.high
    assert ratio.decides(1.1) == MET


def test_a_system_that_is_half_as_late_again_misses_it():
    rng = random.Random(2)
    ratio = compare([quiet_turn(rng, 1.5) for _ in range(40)], [quiet_turn(rng) for _ in range(40)])
    assert ratio.low < 1.5 < ratio.high
    assert ratio.decides(1.1) == MISSED


def test_holes_that_meet_both_alike_leave_it_undecided():
    rng = random.Random(3)
    a, b = ([with_holes(rng, quiet_turn(rng)) for _ in range(LEAST_TURNS)] for _ in PAIR)
    assert compare(a, b).decides(1.1) == NOT_DECIDED


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    """Of bursts that hit whole turns, too: 95 % by the definition, and few turns give less."""
    rng = random.Random(4)
    held = 0
    for _ in range(40):
        a, b = (
            [quiet_turn(rng, rng.choice((1, 1, 1, 30)), packets=60) for _ in range(LEAST_TURNS)]
            for _ in PAIR
        )
        ratio = compare(a, b)
        held += ratio.low <= 1 <= ratio.high
    assert held >= 34


def test_turns_of_one_number_belong_together():
    """What both meet in the same turn cancels out."""
    rng = random.Random(5)
    turns = [quiet_turn(rng, rng.choice((1, 30))) for _ in range(20)]
    ratio = compare(turns, [list(turn) for turn in turns])
    assert (ratio.low, ratio.value, ratio.high) == (1, 1, 1)


@pytest.mark.parametrize(
    ("late_us", "found"),
    [
        ([], []),
        ([5, 5, 900, 800, 5], []),
        ([5, 2000, 1900, 150, 100, 5], [range(1, 4)]),
        ([2000, 1900, 5, 1500], [range(2), range(3, 4)]),
        ([300, 200, 1200, 1100, 90, 1001], [range(4), range(5, 6)]),
        ([-5000, 1000, 0], []),
    ],
)
def test_a_hole_lasts_until_no_packet_waits_for_the_one_before(late_us, found):
    assert holes([late * US for late in late_us], 100 * US, MS) == found
