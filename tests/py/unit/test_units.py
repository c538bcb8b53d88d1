"""Durations, sizes, rates and shares as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rtworkers import units


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (units.seconds, "500us", 500e-6),
        (units.seconds, "7µs", 7e-6),
        (units.seconds, "3ns", 3e-9),
        (units.seconds, "20ms", 0.02),
        (units.seconds, "1.5s", 1.5),
        (units.seconds, "2.5", 2.5),
        (units.seconds, "0", 0),
        (units.seconds, "5m", 300),
        (units.seconds, "5min", 300),
        (units.seconds, "3h", 10800),
        (units.seconds, "1d", 86400),
        (units.nanoseconds, "20ms", 20_000_000),
        (units.rate, "1000", 1000),
        (units.rate, "50k", 50_000),
        (units.rate, "1.5M", 1_500_000),
        (units.rate, "1G", 10**9),
        (units.rate, "1e3", 1000),
        (units.size, "4096", 4096),
        (units.size, "64k", 64_000),
        (units.size, "64Ki", 65536),
        (units.size, "16Mi", 16 << 20),
        (units.count, "10k", 10_000),
        (units.share, "1%", 0.01),
        (units.share, "0.25", 0.25),
        (units.share, "100%", 1),
    ],
)
def test_what_is_read(read: Callable[[str], Any], text: str, value: float) -> None:
    assert read(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ms", "-1s", "5S", "5 x", "inf", "nan", "1e400s", "5M", "5y"])
def test_other_times_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"use 500us, 20ms, 1.5s, 5m, 3h or 1d"):
        units.seconds(text)


@pytest.mark.parametrize("text", ["", "0", "-5M", "fast", "M", "inf", "nan", "1e30", "5y", "5Mi"])
def test_other_rates_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"use 1000, 50k, 10M or 1.5G"):
        units.rate(text)


@pytest.mark.parametrize("text", ["", "1.5", "-1", "5s", "Mi"])
def test_other_sizes_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="use 4096, 64k or 16Mi"):
        units.size(text)


@pytest.mark.parametrize("text", ["", "0", "1.5", "-1", "5s"])
def test_other_numbers_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="use 1, 1000 or 10k"):
        units.count(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "use 1% or 0.01"), ("x", "use 1%"), ("5", "did you mean 5%"), ("200%", "above 100%")],
)
def test_other_shares_are_refused_with_an_example(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        units.share(text)
