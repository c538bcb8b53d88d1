"""The screen's small parts: histogram bars, the filter's words, numbers in little room."""

from __future__ import annotations

from typing import Any

import pytest
from contrast import contrast
from hypothesis import given
from hypothesis import strategies as st
from rtstat_views import channel, worker

pytest.importorskip("textual")

from rtstat import columns
from rtstat.screen import charts, ink, overview, trouble_bar
from rtstat.troubles import Trouble, judge
from rtstat.worst import Worst


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
    assert overview.matches(words, "plant/axis-1 udp open") is found


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (99_999, "99999"), (100_000, "100k"), (99_999_999, "99999k"), (10**9, "1000M")],
)
def test_numbers_take_six_characters_at_most(value: int, text: str) -> None:
    assert charts.short(value) == text


@given(st.integers(0, 10**14))
def test_no_number_is_wider_than_its_column(value: int) -> None:
    assert len(charts.short(value)) <= 7


def test_the_tolerance_is_marked_where_it_lies() -> None:
    buckets = [(30, 5), (700, 15)]
    inside = charts.histogram(buckets, 60, 120).splitlines()
    assert [line.startswith("-- tolerance 120 ns") for line in inside] == [
        *(False, False, False, True, False, False),
    ]
    assert charts.histogram(buckets, 60, 1).splitlines()[0].startswith("-- tolerance 1.00 ns")
    assert charts.histogram(buckets, 60, 10**6).splitlines()[-1].startswith("-- tolerance 1.00 ms")
    assert all(len(line) <= 60 for line in inside)


def test_values_over_time_begin_at_zero_and_have_an_axis() -> None:
    high, low, axis = charts.over_time([0, 5, 10, 10], [1.0] * 4, 12)
    assert (high, low) == ("          ██", "         ███")
    assert len(axis) == 12
    axis = charts.over_time([1.0] * 30, [1.0] * 30, 20)[-1]
    assert axis.startswith("|20 s ago")
    assert axis.endswith("-now")
    assert charts.over_time([], [], 20) == ["no values yet"]


@pytest.mark.parametrize("colour", ink.INKS)
@pytest.mark.parametrize("ground", ink.GROUNDS)
def test_each_ink_is_readable_on_each_ground(colour: str, ground: str) -> None:
    assert contrast(colour, ground) >= 4.5


CASES = {
    "nothing is late": ({"tx_queued_behind": 900, "tx_immediate": 1000, "tx_on_time": 100}, set()),
    "late": (
        {"tx_woke_late": 40, "tx_on_time": 60, "lateness_interval_count": 100}
        | {"lateness_interval_p99_ns": 10**6},
        {"late_share", "lateness_interval_p99_ns", "late_pps", "late"},
    ),
    "drops": (
        {"rx_kernel_drops": 9, "rx_received": 99},
        {"lost_pps", "rx_kernel_drops/s", "rx_kernel_drops"},
    ),
    "nearly full": ({"tx_used_bytes": 65_000}, set()),
}


@pytest.mark.parametrize("case", CASES)
def test_a_cell_is_highlighted_only_for_a_trouble_of_the_list(case: str) -> None:
    numbers, names = CASES[case]
    view = channel(numbers)
    assert highlighted(columns.CHANNEL, view) >= names
    assert bool(names) == bool(highlighted(columns.CHANNEL, view))
    assert (columns.named(view, Worst(judge((), [view])), None)[1] == "warn") == bool(names)


def test_a_worker_without_real_time_is_no_trouble() -> None:
    plain = worker({"spun_ns": 10**15, "longest_loop_ns": 10**8, "missed_wakes": 9})
    assert highlighted(columns.WORKER, plain) == set()


def highlighted(of: Any, view: Any) -> set[str]:
    given = ([view], ()) if of is columns.WORKER else ((), [view])
    worst = Worst(judge(*given))
    return {c.name for c in of if c.cell(view, worst)[1] in ("warn", "bad")}


@pytest.mark.parametrize("scope", ["CHANNEL", "WORKER"])
def test_each_column_is_named_and_explained_once(scope: str) -> None:
    of = getattr(columns, scope)
    for facts in ({c.name for c in of}, {c.head for c in of}):
        assert len(facts) == len(of)
    assert all(column.help for column in of)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ns", "·"),
        (None, "core", "any"),
        (0, "flag", "no"),
        (0.256, "share", "26 %"),
        (0.004, "share", "0.4 %"),
        (1234.5, "/s", "1.23k"),
        (0, "bps", "0"),
        (1500, "ns", "1.50 µs"),
        (4194304, "number", "4194304"),
        (123456, "packets", "123k"),
        ("tai", "", "tai"),
    ],
)
def test_values_in_little_room(value: Any, unit: str, text: str) -> None:
    assert columns.written(value, unit) == text


def trouble(name: str, severity: Any, where: str, text: str = "is wrong") -> Trouble:
    return Trouble(name, severity, f"plant/{where}", 1.0, text, "mend it", "channel", None)


FOUND = (
    trouble("worker_stopped", "broken", "press:0", "a long sentence " * 20),
    trouble("link_silent", "broken", "plc"),
    trouble("late", "troubled", "axis"),
    trouble("orphaned", "troubled", "spare"),
)


def test_the_title_begins_with_the_verdict_and_the_worst() -> None:
    assert trouble_bar.title((), "plant", 60) == "OK: no troubles"
    assert trouble_bar.title(FOUND, "plant", 70) == (
        "BROKEN: 4 troubles; press:0 (worker_stopped), plc (link_silent), ..."
    )
    found = trouble_bar.title(FOUND[2:], None, 60)
    assert found.startswith("TROUBLED: 2 troubles; plant/axis (late), ")


@given(st.integers(20, 200), st.integers(0, 4))
def test_the_title_fits_its_room(room: int, count: int) -> None:
    assert len(trouble_bar.title(FOUND[:count], "plant", room)) <= room


@given(st.integers(30, 200), st.integers(1, 30))
def test_the_bar_fits_its_room(width: int, height: int) -> None:
    lines = trouble_bar.lines(FOUND, "plant", width, height)
    assert 1 <= len(lines) <= height
    assert all(len(line.plain) <= width for line in lines)


def test_the_three_worst_fit_a_terminal_of_24_lines() -> None:
    long = Trouble(
        "link_silent", "broken", "plant/plc", 1.0, "word " * 20, "fix " * 20, "channel", None
    )
    short = Trouble("late", "troubled", "plant/axis", 1.0, "word " * 20, "fix it", "channel", None)
    found = (short, long, short, short)
    lines = [line.plain for line in trouble_bar.lines(found, "plant", 78, trouble_bar.room(24))]
    assert sum("-> fix" in line for line in lines) == 3
    assert lines[-1] == "and 1 more: axis (late)"


def test_the_bar_says_severity_by_signs_and_names_what_it_leaves_out() -> None:
    lines = [line.plain for line in trouble_bar.lines(FOUND, "plant", 80, 10)]
    assert lines[0].startswith("!! press:0  worker_stopped: a long sentence")
    assert lines[2:] == [
        *("   -> mend it", "!! plc  link_silent: is wrong", "   -> mend it"),
        *("!  axis  late: is wrong", "   -> mend it", "!  spare  orphaned: is wrong"),
        "   -> mend it",
    ]
    assert trouble_bar.lines(FOUND, "plant", 80, 6)[-1].plain == (
        "and 2 more: axis (late), spare (orphaned)"
    )
