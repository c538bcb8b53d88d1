"""`shmring plot`: what is chosen, what is refused, and what stands in the pictures."""

import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from kit.commands import SHMRING, run
from needs import require_module

import shmring_cli as cli

SVG = "{http://www.w3.org/2000/svg}"
NS_PER_S = 1_000_000_000


@pytest.fixture
def plot(capsys):
    """Run the command; its output, or its error text where it must fail."""

    def run(*words, code=cli.FINE):
        done = cli.main(["plot", *map(str, words)])
        said = capsys.readouterr()
        assert done == code, said.err
        return said.out if code == cli.FINE else said.err

    return run


@pytest.fixture
def night(tmp_path, maker):
    return maker.file(tmp_path / "night.csv", maker.rows(40))


def facts(text):
    return list(json.loads(text))


def texts(path):
    """Every text of an SVG, by what is written."""
    return ["".join(item.itertext()) for item in ET.parse(path).iter(f"{SVG}text")]


def has(words, path):
    return any(words in text for text in texts(path))


@pytest.fixture
def pictures():
    require_module("matplotlib")


# --- figures --------------------------------------------------------------------------------------


def test_json_gives_the_figures_without_a_picture(night, maker, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    found_first = os.environ | {"PYTHONPATH": str(tmp_path)}
    (one,) = facts(run(SHMRING, "plot", str(night), "--json", env=found_first).stdout)
    assert (one["series"], one["packets"], one["seconds"]) == ("ctl", 8000, 40.0)
    assert one["tx_woke_late"] == 3 * 6
    assert one["lateness_max_ns"] == max(row.lateness_max_ns for row in maker.rows(40))


@pytest.mark.check
def test_a_span_of_time_is_chosen_by_seconds_or_by_the_clock(plot, night):
    assert facts(plot(night, "--json", "--range", "10..15s"))[0]["packets"] == 1000
    assert facts(plot(night, "--json", "--range", "0.5m.."))[0]["packets"] == 2000
    clock = ("--range", "2026-03-01T02:00:10..2026-03-01T03:00:15+01:00")
    assert facts(plot(night, "--json", *clock))[0]["packets"] == 1000


def test_channels_are_chosen_by_name_with_or_without_their_namespace(plot, tmp_path, maker):
    lists = [
        maker.rows(5, channel=name, namespace=space) for name, space in ("aa", "ab", "cb", "db")
    ]
    path = maker.file(tmp_path / "many.csv", *lists)

    def labels(*words):
        return [one["series"] for one in facts(plot(path, "--json", *words))]

    assert labels() == ["a/a", "b/a", "b/c", "b/d"]
    assert labels("--channel", "a") == ["a/a", "b/a"]
    assert labels("--channel", "b/a", "--channel", "d") == ["a", "d"]
    assert labels("--together") == ["4 channels together"]
    assert facts(plot(path, "--json", "--together"))[0]["packets"] == 4 * 1000


# --- refusals -------------------------------------------------------------------------------------


def test_without_matplotlib_the_fix_is_named(plot, night, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert 'pip install "shmring[plot]"' in plot(night, code=cli.FAILED)


def test_what_cannot_be_drawn_is_refused_with_the_reason(plot, night, tmp_path, maker, pictures):
    said = plot(night, "--kind", "compare", code=cli.FAILED)
    assert "needs two recordings" in said
    assert ".png or .svg" in plot(night, "-o", tmp_path / "x.pdf", code=cli.FAILED)
    assert "existing folder" in plot(night, "-o", tmp_path / "no" / "x.png", code=cli.FAILED)
    assert "it has ctl" in plot(night, "--channel", "typo", code=cli.FAILED)
    assert "it covers 40 s" in plot(night, "--range", "1h..", code=cli.FAILED)
    assert "No such file" in plot(tmp_path / "none.csv", code=cli.FAILED)
    idle = maker.file(tmp_path / "idle.csv", [maker.row(0, [])])
    assert "at=..." in plot(idle, code=cli.FAILED)
    many = maker.file(tmp_path / "m.csv", *(maker.rows(2, channel=f"c{i}") for i in range(25)))
    assert "--together" in plot(many, "--channel", "*", code=cli.FAILED)
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("time", ["soon", "5 days", "-3", "2026-13-01"])
def test_a_time_that_is_none_is_wrong_usage(night, time, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["plot", str(night), f"--range={time}.."])
    assert caught.value.code == cli.USAGE
    assert "time since the start" in capsys.readouterr().err


# --- pictures -------------------------------------------------------------------------------------


def test_a_picture_lands_beside_the_recording(plot, night, pictures):
    said = plot(night)
    assert str(night.with_suffix(".png")) in said
    assert "p99.9" in said
    assert night.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.check
@pytest.mark.parametrize("kind", ["time", "hist", "cdf", "all"])
def test_a_picture_says_what_it_shows(plot, night, tmp_path, kind, pictures):
    path = tmp_path / "x.svg"
    plot(night, "--kind", kind, "-o", path)
    assert has("ctl, 8000 timed packets at 200 pps, 18 late", path)
    assert has("host line-3 (Linux 6.12.9-rt, x86_64, 8 cores)", path)
    assert has("2026-03-01 02:00:00 to 02:00:40 UTC", path)
    if kind in ("hist", "cdf", "all"):
        assert has("lateness: start of the send call after the packet's deadline", path)
        for name in ("p50", "p99", "p99.9", "max"):
            assert any(re.fullmatch(rf"{re.escape(name)} +[\d.]+ [nµm]s", t) for t in texts(path))
    if kind in ("time", "all"):
        assert {"p50", "p99", "max"} <= set(texts(path))
        assert has("time of day (UTC)", path)
    if kind == "time":
        assert has("woke_late (18)", path)


@pytest.mark.check
def test_a_quiet_recording_says_that_nothing_was_late(plot, tmp_path, maker, pictures):
    path = maker.file(tmp_path / "q.csv", [maker.row(second, [5, 9]) for second in range(5)])
    plot(path, "--kind", "time", "-o", tmp_path / "q.svg")
    assert has("no packet had a late verdict", tmp_path / "q.svg")


@pytest.mark.check
def test_two_recordings_are_compared_on_the_same_axes(plot, night, tmp_path, maker, pictures):
    slow = maker.file(
        tmp_path / "slow.csv", maker.rows(40, median_ns=30_000), host="line-4", interval_ns=NS_PER_S
    )
    path = tmp_path / "x.svg"
    said = plot(slow, night, "-o", path)
    assert re.search(r"lateness p50 +[\d.]+ µs +[\d.]+ ns +÷ 1\d\d", said)
    assert has("Lateness before (slow) and after (night)", path)
    assert {"slow", "night", "change", "lateness p99.9", "none"} <= set(texts(path))
    assert has("slow: host line-4", path)
    assert has("night: host line-3", path)
    for kind in ("time", "hist", "cdf", "all"):
        plot(slow, night, "--kind", kind, "-o", path)
        assert has("slow: ctl", path)
        assert has("night: ctl", path)
    plot(slow, night, "--kind", "time", "-o", path)
    assert has("time since the start of each recording", path)


@pytest.fixture
def crowd(tmp_path, maker):
    """Nine channels. Of them c3 has late packets, and the lateness of the others grows with
    their number."""
    return maker.file(
        tmp_path / "crowd.csv",
        *(
            [maker.row(s, [100 * i] * 9, channel=f"c{i}", late=2 * (i == 3)) for s in range(5)]
            for i in range(9)
        ),
    )


@pytest.mark.check
def test_of_many_channels_the_worst_six_are_drawn(crowd, tmp_path, capsys, pictures):
    path = tmp_path / "x.svg"
    for kind in ("time", "hist", "cdf", "all"):
        assert cli.main(["plot", str(crowd), "--kind", kind, "-o", str(path)]) == cli.FINE
        said = capsys.readouterr()
        assert has("the worst 6 of 9 channels", path)
        assert "the worst 6 of 9 channels (c3, c8, c7, c6, c5, c4)" in said.err
        assert "--channel NAME" in said.err
        assert "'*' all" in said.err
        assert "c0 " in said.out  # the table has all of them
        drawn = {text[:2] for text in texts(path) if re.match(r"c\d[,:]", text)}
        assert drawn == {"c3", "c8", "c7", "c6", "c5", "c4"}


@pytest.mark.check
def test_all_channels_or_those_named_are_drawn_on_request(crowd, tmp_path, capsys, pictures):
    path = tmp_path / "x.svg"
    named = [word for i in range(8) for word in ("--channel", f"c{i}")]
    for words, count in ((["--channel", "*"], 9), (named, 8)):
        assert cli.main(["plot", str(crowd), *words, "-o", str(path)]) == cli.FINE
        assert not capsys.readouterr().err
        assert not has("worst", path)
        assert len({text[:2] for text in texts(path) if re.match(r"c\d[,:]", text)}) == count


@pytest.mark.check
def test_rates_are_of_the_recorded_time_and_not_of_gaps(plot, tmp_path, maker):
    rows = [maker.row(second, [50] * 10) for second in (0, 1, 18, 19)]
    path = maker.file(tmp_path / "gap.csv", rows)
    (one,) = facts(plot(path, "--json"))
    assert (one["seconds"], one["packets"], one["tx_pps"]) == (20.0, 40, 10.0)


@pytest.mark.check
@pytest.mark.module("matplotlib")
def test_a_gap_is_a_gap_also_after_a_long_interval(maker):
    from shmring_plot import charts, series

    stalled = maker.row(9, [50] * 90, interval_ns=10 * NS_PER_S)
    rows = [stalled, maker.row(13, [50] * 9)]  # nothing is recorded from 10 s to 13 s
    one = series.Series("ctl", maker.header(), rows)
    drawn = charts.time_chart([one], 1).axes[0].lines[0]
    points = list(zip(drawn.get_xdata(), drawn.get_ydata(), strict=True))
    assert [x for x, _ in points] == [0, 10, 10, 13, 14, 14]
    assert [x for x, y in points if y != y] == [10, 14]


@pytest.mark.check
def test_a_restart_of_the_worker_is_marked(plot, tmp_path, maker, pictures):
    rows = [maker.row(second, [50] * 9, worker_epoch=1 + second // 5) for second in range(10)]
    path = maker.file(tmp_path / "r.csv", rows)
    plot(path, "--kind", "time", "-o", tmp_path / "r.svg")
    assert has("worker restarted", tmp_path / "r.svg")


@pytest.mark.check
@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_recording_makes_the_same_file(plot, night, tmp_path, suffix, pictures):
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in files:
        plot(night, "-o", path)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.check
@pytest.mark.parametrize("values", [[0], [0, 1, 2], [10**11], [7] * 1000])
def test_every_range_of_values_can_be_drawn(plot, tmp_path, maker, values, pictures):
    path = maker.file(tmp_path / "v.csv", [maker.row(0, values)])
    plot(path, "-o", tmp_path / "v.svg")
    plot(path, path, "-o", tmp_path / "v.svg")


@pytest.mark.check
def test_the_pictures_of_the_documentation_are_of_the_recordings_beside_them(
    plot, tmp_path, pictures
):
    folder = next(
        (
            p / "docs" / "pictures"
            for p in Path(__file__).parents
            if (p / "docs" / "pictures").is_dir()
        ),
        None,
    )
    if folder is None:
        pytest.skip("no documentation around these tests")
    fifo = folder / "fifo.csv"
    plot(folder / "normal.csv", fifo, "-o", tmp_path / "compare.svg")
    plot(fifo, "--kind", "time", "-o", tmp_path / "time.svg")
    for name in ("compare.svg", "time.svg"):
        assert set(texts(folder / name)) == set(texts(tmp_path / name)), "make them anew"


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        cli.main(["plot", "--help"])
    assert "shmring plot before.csv after.csv" in capsys.readouterr().out
