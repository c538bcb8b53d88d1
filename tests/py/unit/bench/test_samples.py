"""Statistics of the benchmarks' samples."""

import pytest

from shmring_bench.samples import median_interval


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        (1, 1, 1),
        (5, 1, 5),
        (6, 1, 6),
        (9, 2, 8),
        (12, 3, 10),
        (20, 6, 15),
    ],
)
def test_the_interval_of_a_median_is_that_of_the_sign_test(count, low, high):
    assert median_interval(range(count, 0, -1)) == (low, high)
