"""The screen's small parts: histogram bars, the filter's words, numbers in little room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("textual", reason="the full screen needs the extra shmring[screen]")

from rtstat.screen import charts, columns


@given(st.integers(1, 200_000_000_000))
def test_every_duration_lies_in_its_step(value: int) -> None:
    step = charts._step(value)
    assert charts._edge(step) <= value < charts._edge(step + 1)


def test_steps_without_packets_between_others_are_drawn() -> None:
    lines = charts.histogram([(30, 5), (700, 15)], 60).splitlines()
    assert [line.split(" to ")[0].strip() for line in lines] == [
        "20.0 ns", "50.0 ns", "100 ns", "200 ns", "500 ns",
    ]  # fmt: skip
    assert lines[0].endswith("25.0 %")
    assert lines[-1].endswith("75.0 %")
    assert not lines[2].strip().endswith("%")
    assert max(map(len, lines)) <= 60


@given(
    st.lists(st.tuples(st.integers(1, 10**11), st.integers(1, 10**6)), min_size=1, max_size=40),
    st.integers(20, 200),
)
def test_bars_stay_within_their_width(buckets: list[tuple[int, int]], width: int) -> None:
    assert all(len(line) <= max(width, 40) for line in charts.histogram(buckets, width).split("\n"))


def test_a_histogram_of_nothing_says_so() -> None:
    assert charts.histogram([], 60) == "no packets"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", True),
        ("axis", True),
        ("AXIS plant", True),
        ("axis rtp", False),
        ("!rtp", True),
        ("axis !plant", False),
        ("!", True),
    ],
)
def test_a_filter_wants_all_its_words(words: str, found: bool) -> None:
    assert columns.matches(words, "plant/axis-1 udp open") is found


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (99_999, "99999"), (100_000, "100k"), (99_999_999, "99999k"), (10**9, "1000M")],
)
def test_numbers_take_six_characters_at_most(value: int, text: str) -> None:
    assert columns.short(value) == text


@given(st.integers(0, 10**14))
def test_no_number_is_wider_than_its_column(value: int) -> None:
    assert len(columns.short(value)) <= 7
