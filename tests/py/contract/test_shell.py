"""Completion and manual pages: both are made from the parsers of the commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shmring_cli import completion, manual
from shmring_cli.parsers import command_lines


def bash(words: list[str], *, before: str = "") -> list[str]:
    script = completion.bash(command_lines()) + before
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
    ],
)
def test_bash_completes(words: list[str], expected: list[str]) -> None:
    assert bash(words) == expected


def test_bash_completes_names_of_channels() -> None:
    rtstat = 'rtstat() { [ "$*" = "list -q" ] && printf "default/axis-1\\nplant/ctl\\n"; }\n'
    for words in (["shmring", "tap", ""], ["rtstat", "show", ""]):
        assert bash(words, before=rtstat) == ["axis-1", "ctl"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_accepts_its_script(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(completion.SCRIPTS[shell](command_lines()))
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([program, "-n", str(script)], check=True)


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
