"""`shmring help`: the pages that are installed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from kit.commands import SHMRING, run

import shmring_cli
from rtstat import cli as rtstat
from shmring_cli import help as help_command
from shmring_cli.common import USAGE
from shmring_cli.parsers import command_lines


def test_the_list_has_every_page_with_its_title(capsys: pytest.CaptureFixture[str]) -> None:
    assert shmring_cli.main(["help"]) == 0
    shown = capsys.readouterr().out
    assert "\nhowto:\n" in shown
    assert shown.endswith("\nto begin: shmring help first-packet\n")
    assert "  permissions          Give the workers their privileges\n" in shown
    assert all(f"  {name} " in shown for name in help_command.pages())


def test_a_page_is_shown_as_it_is() -> None:
    assert run(SHMRING, "help", "memory").stdout.startswith("# Memory of a channel\n")


def test_an_unknown_page_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        shmring_cli.main(["help", "nothing"])
    assert end.value.code == 1
    assert "nothing" in capsys.readouterr().err


def test_no_command_names_a_file_of_the_sources() -> None:
    named = {line.words for line in command_lines() if "docs/" in line.parser.format_help()}
    assert named == set()


def test_top_is_rtstat(capsys: pytest.CaptureFixture[str], shmring_open: Any) -> None:
    shmring_open("ctl")
    for words in (["errors"], ["list"]):
        code = rtstat.main(words)
        assert run(SHMRING, "top", *words, code=code).stdout == capsys.readouterr().out


def test_commands_are_shown_in_five_groups(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        shmring_cli.main(["--help"])
    shown = capsys.readouterr().out.partition("commands:")[2].partition("start here:")[0]
    assert re.findall(r"^  (\w+):$", shown, re.M) == ["run", "look", "network", "copy", "maintain"]
    assert re.findall(r"^    (\w+)", shown, re.M) == [c.name for c in shmring_cli.COMMANDS]


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["generate", "10.0.0.7", "--ttl", "4"], "--socket ttl=..."),
        (["measure", "10.0.0.7", "--seconds", "5"], "--duration TIME"),
        (["impair", "link", "--loss", "1%"], "loss=... alone"),
        (["generate", "--interface", "eth0", "10.0.0.7"], "--socket interface=..."),
        (["reflect", "--cpu=3", ":8620"], "--worker cpu=..."),
        (["generate", "10.0.0.7", "--poisson"], "the word poisson in --flow"),
        (["up", "plant", "--user-shm", "64"], "--user-limits shm=64Mi"),
        (["ls", "--all"], "--namespace '*'"),
        (["ls", "--seconds", "5"], "rtstat --plain -n 1 --interval TIME"),
        (["plot", "a.csv", "--all"], "--channel '*'"),
        (["top", "--once"], "--plain"),
        (["top", "--seconds", "1"], "-n 1 --interval TIME"),
        (["top", "list", "--sort", "late"], "rtstat --csv --fields namespace,name --sort FIELD"),
        (["top", "show", "ctl", "--seconds", "1"], "--interval TIME"),
    ],
)
def test_an_option_that_is_gone_names_the_new_place(
    words: list[str], instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        shmring_cli.main(words)
    assert end.value.code == USAGE
    assert f": use {instead}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["up", "plant", "--cpu", "3"], "; did you mean '--cpus'?"),
        (["demo", "--cpu", "3"], ""),
        (["measure", "10.0.0.7", "--seed", "3"], ""),
        (["udt", "recv", "here", "--timeout", "3"], ""),
    ],
)
def test_no_option_is_named_that_the_command_does_not_have(
    words: list[str], instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        shmring_cli.main(words)
    assert end.value.code == USAGE
    line = capsys.readouterr().err.splitlines()[-1]
    assert ": use " not in line
    assert line.endswith(instead)


def test_every_command_that_prints_facts_has_json() -> None:
    without = [
        " ".join(line.words)
        for line in command_lines()
        if "--json" not in {flag for option in line.options for flag in option.flags}
    ]
    texts = {"help", "completion", "top", "udt"}  # top: rtstat has it; udt: its actions
    assert set(without) == {"shmring", *(f"shmring {name}" for name in texts)}
