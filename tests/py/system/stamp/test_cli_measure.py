"""`shmring measure` as a process."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import commands
from kit.commands import SHMRING
from stamp_reflector import Reflector, reflecting, sequence_of

COMMAND = [*SHMRING, "measure"]
PATIENCE_S = 60
QUICK = ["--pps", "2k", "--duration", "200ms", "--timeout", "0.5"]
QUICK += ["--limit", "late=100%"]

pytestmark = pytest.mark.usefixtures("shmring_namespace")


run = functools.partial(commands.run, COMMAND)


@pytest.fixture
def reflector() -> Iterator[Reflector]:
    with reflecting() as made:
        yield made


@pytest.fixture
def place(reflector: Reflector) -> str:
    host, port = reflector.address
    return f"{host}:{port}"


def lose_a_tenth(self: Reflector, packet: bytes) -> list[bytes]:
    lost = self.number > 20 and sequence_of(packet) % 10 == 5
    return [] if lost else self.answers(packet)


@pytest.mark.check
def test_a_report(place: str) -> None:
    done = run(place, *QUICK)
    first, _, rest = done.stdout.partition("\n\n")
    assert first.splitlines()[0].startswith("packets: 400 sent in ")
    head, *rows = rest.splitlines()
    assert head.split()[:3] == ["min", "p50", "p99"]
    assert [row.split()[0] for row in rows[:3]] == ["to", "back", "round"]
    assert "clocks: one-way delays assume one clock" in done.stdout
    assert "verdict: The network lost none of 400 packets" in done.stdout
    assert "round trip p50" in done.stderr  # the lines of a plain terminal


def test_json_and_the_limit_of_loss(reflector: Reflector, place: str) -> None:
    reflector.behave = lose_a_tenth
    facts = json.loads(run(place, *QUICK, "--json", "--limit", "loss=50%").stdout)
    assert facts["lost"] == facts["lost_forward"] > 30
    assert facts["verdict"].startswith(f"The network lost {facts['lost']} of 400 packets toward")
    done = run(place, *QUICK, "--json", "--limit", "loss=1%", code=4)
    assert done.stderr == ""
    assert json.loads(done.stdout)["round"]["p50_ns"] > 0


@pytest.mark.check
def test_a_picture(place: str, tmp_path: Path) -> None:
    picture = tmp_path / "path.png"
    done = run(place, *QUICK, "--png", str(picture))
    assert done.stdout.splitlines()[-1] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "cannot be written" in run(place, "--png", "/nothing/a.png", code=2).stderr


@pytest.mark.check
def test_a_chart_on_a_terminal(place: str) -> None:
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [*COMMAND, place, "--pps", "500", "--duration", "1s", "--limit", "late=100%"],
            stdout=subprocess.DEVNULL,
            stderr=follower,
            env=os.environ | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"},
        )
        os.close(follower)
        shown = b""
        try:
            while part := screen.read(65536):
                shown += part
        except OSError:  # the other end is closed
            pass
        assert process.wait(PATIENCE_S) == 0
    assert "█".encode() in shown
    assert shown.endswith(b"\x1b[4A\x1b[J")  # nothing of it stays


@pytest.mark.check
def test_a_signal_ends_it_with_a_report(place: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, place, "--duration", "forever", "--limit", "late=100%"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    process.stderr.readline()  # its first line: it measures
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "verdict: The network lost none" in out


@pytest.mark.check
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 1, "give the reflector, or --listen PORT"),
        (["127.0.0.1", "--listen", "5"], 1, "give the reflector, or --listen PORT"),
        (["127.0.0.1", "--wait", "5"], 1, "--wait is for --listen"),
        (["127.0.0.1:9"], 2, "start `shmring reflect --sessions 4096` there"),
        (["127.0.0.1:x"], 1, "port is 'x'"),
        ([":9"], 1, "is no host"),
        (["[::1"], 1, "has no end: use [fd00::1]"),
        (["--listen", "here"], 1, "'here' is not a numeric address"),
        (["127.0.0.1", "--tolerance", "inf"], 1, "'inf' is no time"),
        (["name.invalid"], 2, "name.invalid"),
        (["127.0.0.1", "--pps", "0"], 1, "'0' is no rate above 0"),
        (["127.0.0.1", "--duration", "soon"], 1, "'soon' is no time"),
        (["127.0.0.1", "--size", "20"], 1, "44 bytes or more"),
        (["127.0.0.1", "--limit", "loss=101%"], 1, "101% is above 100%"),
        (["127.0.0.1", "--clock", "mine"], 1, "invalid choice"),
    ],
)
def test_errors(words: list[str], code: int, message: str) -> None:
    assert message in run(*words, code=code).stderr
