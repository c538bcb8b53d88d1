"""Impairments and timetables as text."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import shmring
from shmring import Impairment
from shmring.proxy import Timetable, change, text_of

MS = 10**6


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("loss=1%", Impairment(loss=0.01)),
        ("loss=0.25, delay=20ms", Impairment(loss=0.25, delay_ns=20 * MS)),
        ("burst-loss=5%/8", Impairment(burst_loss=0.05, burst_packets=8)),
        ("burst-loss=5%", Impairment(burst_loss=0.05)),
        ("reorder=1%/5ms", Impairment(reorder=0.01, reorder_extra_ns=5 * MS)),
        ("duplicate=1%,corrupt=2%", Impairment(duplicate=0.01, corrupt=0.02)),
        ("jitter=500us", Impairment(jitter_ns=500_000)),
        ("delay=1.5s", Impairment(delay_ns=1500 * MS)),
        ("delay=7ns,jitter=3µs", Impairment(delay_ns=7, jitter_ns=3000)),
        ("delay=0", Impairment()),
        ("rate=1.5M,queue=64k", Impairment(rate_bps=1_500_000, queue_bytes=64_000)),
        ("rate=1000,queue=1Mi", Impairment(rate_bps=1000, queue_bytes=1 << 20)),
        ("seed=18446744073709551615", Impairment(seed=2**64 - 1)),
        ("down", Impairment(loss=1.0)),
        ("down,up", Impairment()),
    ],
)
def test_words(text: str, wanted: Impairment) -> None:
    assert change(text) == wanted
    shown = text_of(wanted)
    assert shown == "none" or change(f"{shown},seed={wanted.seed}") == wanted


def test_what_is_not_named_stays() -> None:
    now = Impairment(loss=0.5, delay_ns=MS, seed=7, burst_packets=9)
    assert change("delay=2ms", now) == Impairment(
        loss=0.5, delay_ns=2 * MS, seed=7, burst_packets=9
    )
    assert change("clear", now) == Impairment(seed=7)
    assert change("clear,loss=1%", now) == Impairment(loss=0.01, seed=7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is no impairment"),
        ("loss", "'loss' is no impairment"),
        ("loss=", "loss is ''"),
        ("loss=-1%", "1% or 0.01"),
        ("loss=nan", "1% or 0.01"),
        ("loss=5", "above 1: did you mean 5%"),
        ("loss=200%", "200% is above 100%"),
        ("delay=20", "without a unit: use a time as in 20ms or 1.5s"),
        ("delay=61s", "delay_ns is 61000000000"),
        ("delay=1e400s", "is no time"),
        ("rate=fast", "use 1000, 50k, 10M or 1.5G"),
        ("seed=-1", "whole number"),
        ("burst-loss=90%/1", "raise burst_packets"),
        ("speed=1", "use loss, burst-loss,"),
    ],
)
def test_words_that_cannot_be(text: str, says: str) -> None:
    with pytest.raises(shmring.errors.BadConfig, match=says):
        change(text)


class Recorder:
    """A channel that only notes what is set."""

    def __init__(self) -> None:
        self.forward = self.backward = Impairment()
        self.log: list[dict[str, Impairment]] = []

    def set(self, **wanted: Impairment) -> None:
        self.log.append(wanted)
        for way, one in wanted.items():
            setattr(self, way, one)


def test_a_timetable_makes_its_changes_in_order() -> None:
    channel: Any = Recorder()
    Timetable(
        """
        # a moment without a network
        2ms	backward	loss=10%, delay=5ms
        0     down
        1ms   forward up        # the way back stays down
        3ms
        """
    ).run(channel)
    down, up = Impairment(loss=1.0), Impairment()
    assert channel.log == [
        {"forward": down, "backward": down},
        {"forward": up},
        {"backward": Impairment(loss=0.1, delay_ns=5 * MS)},
    ]


def test_a_file_with_the_mark_of_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_bytes(b"\xef\xbb\xbf1s down\r\n2s\tup\r\n")
    assert [entry.words for entry in Timetable.read(path).entries] == ["down", "up"]


def test_a_round_ends_with_its_last_line() -> None:
    table = Timetable(["0s down", "10s up", "15s"], loop=True)
    schedule = table.schedule()
    times = [next(schedule)[0] // 10**9 for _ in range(7)]
    assert times == [0, 10, 15, 15, 25, 30, 30]


def test_a_timetable_can_be_stopped() -> None:
    stop = threading.Event()
    stop.set()
    channel: Any = Recorder()
    Timetable(["0s down", "10000s up"], loop=True).run(channel, stop=stop)
    assert channel.log == []


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["0s down", "x down"], "line 2 of the timetable, 'x down': time is 'x'"),
        (["5 down"], "time is '5'"),
        (["5s sideways loss=1%"], "line 1"),
        (["5s forward"], None),
    ],
)
def test_lines_that_cannot_be(lines: list[str], says: str | None) -> None:
    if says is None:
        assert Timetable(lines).entries[0].words == ""
        return
    with pytest.raises(shmring.errors.BadConfig, match=says):
        Timetable(lines)


def test_a_loop_needs_a_length() -> None:
    with pytest.raises(shmring.errors.BadConfig, match="needs a line after 0s"):
        Timetable(["0s down"], loop=True)
