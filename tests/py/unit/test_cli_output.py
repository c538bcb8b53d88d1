"""What the commands print, and the figures they print: no process is started."""

import argparse
import io
import sys

import pytest

import shmring_cli as cli
import shmring_demo
import shmring_plot
from shmring_bench import measure, samples
from shmring_cli import output


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (7, "7.00 ns"),
        (999, "999 ns"),
        (999.8, "1.00 µs"),
        (1680, "1.68 µs"),
        (-1680, "-1.68 µs"),
        (28_700, "28.7 µs"),
        (999_950, "1.00 ms"),
        (1_269_000, "1.27 ms"),
        (2_500_000_000, "2.50 s"),
    ],
)
def test_durations_have_three_digits_and_the_unit_that_fits(ns, text):
    assert output.duration(ns) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (17_200_000, "pps", "17.2 Mpps"),
        (330, "pps", "330 pps"),
        (74e9, "bps", "74.0 Gbit/s"),
        (40_400_000, "bytes", "40.4 MB"),
        (1.94, "percent", "1.94 %"),
        (1500, "ns", "1.50 µs"),
        (4.5, "per_s", "4.50 /s"),
        (1, "verdict", "met"),
        (0, "verdict", "not decided"),
        (-1, "verdict", "missed"),
    ],
)
def test_quantities_are_shown_as_people_read_them(value, unit, text):
    assert output.quantity(value, unit) == text


def test_a_bar_is_in_proportion_and_never_hides_a_small_share():
    assert output.bar(0, 10) == ""
    assert output.bar(1, 10) == "█" * 10
    assert output.bar(0.0001, 10) == "▏"
    assert output.bar(0.5, 10, blocks=False) == "#####"
    assert output.bar(0.0001, 10, blocks=False) == "#"


def test_a_table_puts_numbers_to_the_right():
    assert output.table(("", "p50"), [("shmring", "7"), ("C", "12")]) == (
        "         p50\nshmring    7\nC         12"
    )


def test_block_characters_are_drawn_only_where_the_encoding_has_them():
    assert output.can_draw(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert not output.can_draw(io.TextIOWrapper(io.BytesIO(), encoding="ascii"))


def test_progress_away_from_a_terminal_is_one_line(capsys):
    progress = output.Progress("shmring")
    for step in range(100):
        progress.update(step / 100, "sending")
    progress.done("100 packets")
    assert capsys.readouterr().err == "shmring              100 packets\n"


def test_lateness_knows_both_sides_of_the_deadline():
    late = samples.Lateness([-300, -100, 50, 200])
    assert late.signed_ns(0) == -300
    assert late.signed_ns(0.5) == 50
    assert late.error_ns(0.5) == 200
    assert late.error_ns(1) == late.max_ns == 300
    assert late.shares([100, 250]) == [0.25, 0.5, 0.25]


def test_an_empty_run_has_no_lateness():
    late = samples.Lateness([])
    assert (len(late), late.max_ns, late.error_ns(0.5)) == (0, 0, 0)
    assert late.shares([10]) == [0, 0]


def test_medians_are_of_the_runs_and_the_systems_alternate():
    order = []
    values = iter([5.0, 1.0, 9.0])

    def ours():
        order.append("ours")
        return {("rate", "pps"): next(values)}

    def bare():
        order.append("floor")
        return {("rate", "pps"): 2.0}

    plan = measure.Plan(None, 3, None, None, "unit", cases=frozenset({"64B"}))
    systems = {"shmring": ours, "floor": bare}
    rows = list(measure.alternate(plan, "64B", systems))
    assert list(measure.alternate(plan, "not chosen", systems)) == []
    assert order == ["ours", "floor"] * 3
    assert rows == [
        measure.Row("64B", "shmring", "rate", 5.0, "pps"),
        measure.Row("64B", "floor", "rate", 2.0, "pps"),
    ]
    assert samples.median([1, 2, 3, 10]) == 2.5


# --- the command line -----------------------------------------------------------------------------


def test_without_a_command_it_lists_them_and_calls_that_wrong_usage(capsys):
    assert cli.main([]) == cli.USAGE
    text = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert f" {command.name} " in text


@pytest.mark.parametrize("words", [["no-such-command"], ["gc", "--no-such-option"], ["--wrong"]])
def test_wrong_usage_is_exit_code_1(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == cli.USAGE
    assert "usage: shmring" in capsys.readouterr().err


@pytest.mark.parametrize("command", [command.name for command in cli.COMMANDS])
def test_every_command_teaches_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"shmring {command} " in text


def test_the_version_is_the_distributions(capsys):
    from importlib.metadata import version

    assert cli.main(["--version"]) == cli.FINE
    assert capsys.readouterr().out == f"shmring {version('shmring')}\n"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(None, "said so"), "said so"),
        (FileNotFoundError(2, "No such file", "x.png"), "[Errno 2] No such file: 'x.png'"),
        (ValueError("too many"), "too many"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_2(error, text, monkeypatch, capsys):
    def fail(arguments: argparse.Namespace) -> int:
        raise error

    from shmring_cli import gc

    monkeypatch.setattr(gc, "run", fail)
    assert cli.main(["gc"]) == cli.FAILED
    assert capsys.readouterr().err == f"shmring gc: {text}\n"


@pytest.mark.check
@pytest.mark.module("matplotlib")
def test_the_picture_is_a_png_of_all_systems(tmp_path):
    from shmring_demo import picture

    runs = [
        ("shmring", samples.Lateness(range(-500, 4000, 7))),
        ("time.sleep", samples.Lateness(range(60_000, 900_000, 997))),
        ("one packet", samples.Lateness([0])),
    ]
    path = tmp_path / "late.png"
    picture.draw(path, 1000, runs)
    assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_without_matplotlib_a_picture_by_name_is_refused_with_the_fix(monkeypatch, tmp_path):
    from shmring_demo import command as demo

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "shmring_demo.picture", raising=False)
    monkeypatch.delattr(shmring_demo, "picture", raising=False)
    monkeypatch.delitem(sys.modules, "shmring_plot.style", raising=False)
    monkeypatch.delattr(shmring_plot, "style", raising=False)
    show = demo.Show(1000)
    assert demo._picture(show, None) is None
    with pytest.raises(OSError, match=r"shmring\[demo\]"):
        demo._check_picture(tmp_path / "late.png")


def test_a_command_in_a_paragraph_stays_on_one_line():
    command = "`sudo chgrp realtime " + "/opt" * 30 + "`"
    lines = output.paragraph(f"no permission. Run {command} and log in again", "lacking").split(
        "\n"
    )
    assert lines == [
        "  lacking: no permission. Run",
        f"           {command}",
        "           and log in again",
    ]


def test_a_table_of_prose_wraps_its_last_column():
    rows = [("1", "axis", "the worker woke up late " * 4), ("2", "y", "short")]
    lines = output.prose_table(("NO", "CHANNEL", "WHAT"), rows, 60, "  ").splitlines()
    assert lines[0] == "  NO  CHANNEL  WHAT"
    assert lines[1].startswith("  1   axis     the worker woke up late the")
    assert lines[2].startswith("               ")
    assert lines[-1] == "  2   y        short"
    assert max(map(len, lines)) <= 60


def test_a_table_of_prose_with_long_names_has_the_prose_below_them():
    rows = [("1", "x" * 64, "the worker woke up late")]
    lines = output.prose_table(("NO", "CHANNEL", "WHAT"), rows, 60, "  ").splitlines()
    assert lines[2:] == [f"  1   {'x' * 39}…", "      the worker woke up late"]


def test_columns_without_room_are_another_table_with_the_same_first_column():
    rows = [("1", "a" * 10, "b" * 10, "c" * 10)]
    text = output.split_table(("NO", "A", "B", "C"), rows, 30, " ")
    assert text.splitlines() == [
        " NO  A           B",
        f" 1   {'a' * 10}  {'b' * 10}",
        "",
        " NO  C",
        f" 1   {'c' * 10}",
    ]
    assert output.split_table(("NO", "A", "B", "C"), rows, 80).count("\n") == 1
