"""Completion and manual pages: both are made from the parsers of the commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shmring_cli import completion, manual
from shmring_cli.parsers import command_lines


def bash(words: list[str], *, before: str = "") -> list[str]:
    script = completion.bash(completion.every_line()) + before
    quoted = " ".join(f"'{word}'" for word in words)
    script += f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _shmring_completion\n"
    script += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["shmring", "completio"], ["completion"]),
        (["shmring", "completion", ""], ["bash", "zsh", "fish"]),
        (["shmring", "udt", ""], ["send", "recv"]),
        (["shmring", "tap", "--direction", ""], ["tx", "rx", "both"]),
        (["shmring", "tap", "--direct"], ["--direction"]),
        (["/usr/bin/rtstat", "sh"], ["show"]),
        (["shmring", "top", "--unh"], ["--unhealthy"]),
    ],
)
def test_bash_completes(words: list[str], expected: list[str]) -> None:
    assert bash(words) == expected


HOST = r"""
rtstat() { echo "iproute2 has a program of this name, too"; }
shmring() {
  case "$*" in
  "top list -q") printf "default/axis-1\ndefault/ctl\n" ;;
  "top list -q --namespace *") printf "default/axis-1\ndefault/ctl\nplant/ctl\n" ;;
  "top list") printf "default/axis-1  one  udp  ok\ndefault/ctl  two  udp  ok\n" ;;
  esac
}
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("shmring tap", ["axis-1", "ctl"]),
        ("rtstat show", ["axis-1", "ctl"]),
        ("rtstat errors", ["axis-1", "ctl"]),
        ("shmring top show", ["axis-1", "ctl"]),
        ("rtstat errors --pool", ["one", "two"]),
        ("rtstat list --pool", ["one", "two"]),
        ("shmring up", ["one", "two"]),
        ("shmring ls --namespace", ["default", "plant"]),
    ],
)
def test_bash_completes_names_that_exist(line: str, expected: list[str]) -> None:
    assert bash([*line.split(), ""], before=HOST) == expected


@pytest.mark.parametrize(
    "shell",
    [pytest.param(name, marks=pytest.mark.program(name)) for name in ("bash", "zsh", "fish")],
)
def test_the_shell_accepts_its_script(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(completion.SCRIPTS[shell](completion.every_line()))
    subprocess.run([shell, "-n", str(script)], check=True)


@pytest.mark.check
@pytest.mark.program("man")
def test_manual_pages_render_without_warnings(checkout: Path) -> None:
    pages = sorted(str(page) for page in (checkout / "docs" / "man").glob("*.1"))
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", *pages],
        env=os.environ | {"LC_ALL": "C.UTF-8", "MANPAGER": "cat"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("SYNOPSIS") == len(pages)
    assert done.stderr == ""


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="argparse words usage by its version")
def test_manual_pages_are_those_of_the_parsers(checkout: Path) -> None:
    pages = {page.name: page.read_text() for page in (checkout / "docs" / "man").glob("*.1")}
    assert pages == manual.pages(), "run `make schema`"


def test_every_option_is_on_the_page_of_its_command() -> None:
    pages = manual.pages()
    for line in command_lines():
        page = pages[f"{'-'.join(line.words)}.1"]
        for option in line.options:
            for flag in option.flags:
                assert flag.replace("-", "\\-") in page


MOST_PAIRS = 208
"""Pairs of a command and a long option. Each new one must replace another."""


def test_there_are_few_options(checkout: Path) -> None:
    pairs = [
        (page.stem, option)
        for page in (checkout / "docs" / "man").glob("*.1")
        for head in re.findall(r"^\.TP\n(\.B .*)$", page.read_text(), re.M)
        for option in re.findall(r"\\-\\-[a-z]", head)
    ]
    assert len(pairs) <= MOST_PAIRS
