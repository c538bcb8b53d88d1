"""`shmring replay` as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shmring.testing import captures as c

T = 1_795_288_288_555_810_862
COMMAND = [sys.executable, "-P", "-m", "shmring_cli", "replay"]
PATIENCE_S = 60
MS = 1_000_000

pytestmark = pytest.mark.usefixtures("shmring_namespace")


def run(*words: str, code: int | None = 0, **how: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False, **how
    )
    assert code in (None, done.returncode), done.stderr
    return done


@pytest.fixture
def line(tmp_path: Path) -> str:
    """100 packets to a group, one a millisecond, and a fragment."""
    frames = [(T + i * MS, c.udp(bytes(50), to=("239.1.1.1", 5004))) for i in range(100)]
    frames.append((T, c.udp(b"", fragment=0x2000)))
    path = tmp_path / "line.pcap"
    path.write_bytes(c.pcap(frames))
    return str(path)


def test_the_table_of_flows(line: str) -> None:
    shown = run(line, "--dry-run", "--map", "239.1.1.1=127.0.0.1").stdout.splitlines()
    assert shown[0].split() == [
        *("source", "captured", "to", "sent", "to", "packets", "payload", "rate", "first", "last")
    ]
    assert "239.1.1.1:5004" in shown[1]
    assert "127.0.0.1:5004" in shown[1]
    assert "1.00 kpps" in shown[1]
    assert "100 packets to send, 0.099 s" in shown
    assert "1 fragments of UDP datagrams: they are not sent" in shown


def test_the_table_as_json(line: str) -> None:
    facts = json.loads(run(line, "--dry-run", "--json", "--flow", "*:1").stdout)
    assert facts["packets"] == 0
    assert facts["flows"][0]["to"] is None
    assert facts["flows"][0]["packets"] == 100
    assert facts["fates"]["fragment"] == 1


def test_a_report(line: str) -> None:
    done = run(line, "--to", "127.0.0.1", "--late-limit", "100")
    assert "100 packets in" in done.stderr
    assert "lateness: p50" in done.stdout
    assert "gap error: p50" in done.stdout
    facts = json.loads(run(line, "--to", "127.0.0.1", "--late-limit", "100", "--json").stdout)
    assert (facts["packets"], facts["sent"], facts["failed"]) == (100, 100, 0)
    assert facts["lateness"]["count"] == 100


def test_late_packets_have_an_exit_code(line: str) -> None:
    """All packets at one instant: some must wait for the others."""
    done = run(line, "--to", "127.0.0.1", "--pps", "1G", "--late-limit", "0", "--json", code=None)
    assert done.returncode == (3 if json.loads(done.stdout)["late"] else 0)


def test_a_pipe(line: str) -> None:
    with open(line, "rb") as file:
        pipe = subprocess.run(
            [*COMMAND, "-", "--dry-run", "--json"],
            input=file.read(),
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        )
    assert json.loads(pipe.stdout)["packets"] == 100


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["/nothing/there"], 2, "No such file or directory"),
        (["FILE", "--to", "nonsense"], 2, "'nonsense' is not a numeric address"),
        (["FILE", "--flow", "x:y:z"], 2, "is no address or network"),
        (["FILE", "--pps", "fast"], 1, "'fast' is no rate above 0"),
        (["FILE", "--loop", "0"], 1, "'0' is no number of rounds"),
        (["FILE", "--start", "soon"], 1, "'soon' is no time"),
        (["FILE", "--map", "a"], 1, "'a' is no mapping"),
        (["FILE", "--pps", "1", "--bps", "1"], 2, "give one of them"),
        (["FILE", "--late-limit", "-1"], 1, "it must be 0 or above"),
        (["FILE", "--start", "2020-01-01T00:00:00Z", "--to", "127.0.0.1"], 2, "in the future"),
    ],
)
def test_errors(line: str, words: list[str], code: int, message: str) -> None:
    done = run(*(line if word == "FILE" else word for word in words), code=code)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_send_is_a_failure(line: str) -> None:
    assert "no packets to send" in run(line, "--flow", "*:1", code=2).stdout


def test_a_loop_without_end_ends_with_a_signal(line: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, line, "--to", "127.0.0.1", "--loop", "forever", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(2.0)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    facts = json.loads(out)
    assert facts["stopped"], error
    assert facts["sent"] + facts["not_sent"] == facts["packets"]
    assert facts["sent"] > 0
