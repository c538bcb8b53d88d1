"""The original packages, each in an environment of its own: they bear our drop-ins' names."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import needs
import pytest

PATIENCE_S = 100

# Reads pickled (code, given), runs code, and writes the pickled value of `result`.
SERVE = """
import pickle, sys
code, given = pickle.load(sys.stdin.buffer)
names = {"given": given}
exec(compile(code, "<peer>", "exec"), names)
sys.stdout.flush()
with open(sys.argv[1], "wb") as out:
    pickle.dump(names["result"], out)
"""


@dataclass(frozen=True)
class Peer:
    """An interpreter in which the original is installed instead of ours."""

    python: Path
    scratch: Path

    def run(self, code: str, given: Any = None) -> Any:
        """Run code there; it finds `given` and leaves `result`. Both must be picklable."""
        answer = self.scratch / "answer"
        answer.unlink(missing_ok=True)
        done = subprocess.run(
            [str(self.python), "-I", "-c", SERVE, str(answer)],
            input=pickle.dumps((code, given)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")
        return pickle.loads(answer.read_bytes())

    def both(self, code: str, given: Any = None) -> tuple[Any, Any]:
        """Run the same code here and there: (ours, theirs)."""
        names: dict[str, Any] = {"given": given}
        exec(compile(code, "<ours>", "exec"), names)
        result = names["result"]
        # Its functions refer to these names. An RtpProc among them, which is shut down, would be
        # the one that the next test gets.
        names.clear()
        return result, self.run(code, given)


def install(folder: Path, requirement: str) -> str:
    """Make a virtual environment with the requirement in it. Return why it failed, or ''."""
    shutil.rmtree(folder, ignore_errors=True)
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check",
         "--retries", "4", "--timeout", "15", requirement],
    )  # fmt: skip
    for step in steps:
        try:
            done = subprocess.run(
                step, capture_output=True, text=True, timeout=PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"{step[0]} took longer than {PATIENCE_S} s"
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
            return lines[-1] if lines else f"{step[0]} ended with {done.returncode}"
    (folder / "complete").touch()
    return ""


def original(cache: Path, requirement: str) -> Path:
    """The interpreter of a virtual environment with that in it; made once, kept below build/."""
    folder = cache / f"{requirement.replace('==', '-')}-{sys.implementation.cache_tag}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        why = "" if (folder / "complete").exists() else install(folder, requirement)
    if why:
        print(why)
        needs.skip(f"peer {requirement}")
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def peer_rtpsynth(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Peer:
    """The original rtpsynth, of the version that ours is written against."""
    python = original(pytestconfig.rootpath / "build" / "peers", "rtpsynth==1.3.2")
    return Peer(python, tmp_path_factory.mktemp("rtpsynth"))


@pytest.fixture(scope="session")
def peer_rtpsynth_133(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Peer:
    """The original rtpsynth, of the version behind it."""
    python = original(pytestconfig.rootpath / "build" / "peers", "rtpsynth==1.3.3")
    return Peer(python, tmp_path_factory.mktemp("rtpsynth-133"))


@pytest.fixture(scope="session")
def peer_scapy(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Peer:
    """An interpreter with scapy, which reads and writes packets of many protocols."""
    python = original(pytestconfig.rootpath / "build" / "peers", "scapy==2.8.0")
    return Peer(python, tmp_path_factory.mktemp("scapy"))


def library(cache: Path, requirement: str) -> Path:
    """The folder with a library of asyncio in it, for programs that also import ours. It is made
    once, and kept below build/."""
    folder = cache / f"{requirement.partition('==')[0]}-{sys.implementation.cache_tag}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return folder
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", folder, requirement]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        if done.returncode == 0:
            (folder / "complete").touch()
            return folder
    print(done.stderr)
    needs.skip(f"peer {requirement}")


@pytest.fixture
def over_channels(
    pytestconfig: pytest.Config, shmring_namespace: str, tmp_path: Path
) -> Callable[[str, str], None]:
    """Run a program with a library of asyncio, which prints "done" and nothing else."""

    def run(requirement: str, text: str) -> None:
        folder = library(pytestconfig.rootpath / "build" / "peers", requirement)
        program = tmp_path / "program.py"
        program.write_text(text)
        done = subprocess.run(
            [sys.executable, "-P", program, tmp_path],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=os.environ | {"PYTHONPATH": str(folder)},
        )
        assert (done.stdout, done.stderr) == ("done\n", "")

    return run
