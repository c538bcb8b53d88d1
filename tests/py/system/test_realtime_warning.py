"""What a user sees where a worker lacks something: two lines, once, and the rest on demand.

A core that does not exist is missing on every machine.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import shmring

PATIENCE_S = 120.0
WHAT = "not on core 4000: packets may be late under load."
HOW = "The rest, with the fix: shmring doctor realtime"
CORE = ("--worker", "cpu=4000")

SCRIPT = """
import shmring
for number in range(2):
    with shmring.Pool(cpus=[4000], policy="other") as pool:
        with pool.open("one", local=("127.0.0.1", 0)) as ch:
            print(ch.stats().lacking)
        with pool.open("two", local=("127.0.0.1", 0)):
            pass
"""


def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-P", *words],
        env={name: text for name, text in os.environ.items() if name != "PYTHONWARNINGS"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.usefixtures("shmring_namespace")
def test_a_program_gets_two_lines_once(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SCRIPT)
    done = run(str(tmp_path / "program.py"))
    assert done.stderr.splitlines() == [f"shmring:0: RealtimeWarning: {WHAT}", HOW]
    assert done.stdout.count("core 4000 does not exist") == 2


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "127.0.0.1:9", "--duration", "0.1", "--limit", "late=100%"),
        ("impair", "127.0.0.1:0", "--to", "127.0.0.1:9", "--duration", "0.1s"),
        pytest.param(("reflect", "127.0.0.1:18620", "--duration", "0.1"), marks=pytest.mark.check),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.usefixtures("shmring_namespace")
def test_a_command_says_it_on_stderr_and_not_in_its_report(words: tuple[str, ...]) -> None:
    text = run("-m", "shmring_cli", *words, *CORE)
    assert text.stderr.count(f"shmring {words[0]}: {WHAT}\n{HOW}\n") == 1
    assert text.stderr.count(HOW) == 1
    assert "4000" not in text.stdout
    facts = json.loads(run("-m", "shmring_cli", *words, *CORE, "--json").stdout)
    assert [text for text in facts["lacking"] if "core 4000 does not exist" in text]


def test_the_doctor_prints_the_rest() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "shmring_cli", "doctor", "realtime"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode in (0, 3, 5)
    assert "SCHED_FIFO: " in done.stdout
    assert "locked memory: " in done.stdout
    assert ("Nothing is missing." in done.stdout) == (done.returncode == 0)
    assert ("LimitRTPRIO=90" in done.stdout) == ("SCHED_FIFO: unfit" in done.stdout)


def test_the_details_survive_pickling() -> None:
    copy = pickle.loads(pickle.dumps(shmring.errors.RealtimeWarning("short", "long")))
    assert (str(copy), copy.details) == ("short", "long")
    assert shmring.errors.RealtimeWarning("all").details == "all"
