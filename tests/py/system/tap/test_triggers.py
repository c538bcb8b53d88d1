"""Keeping the last seconds, and what makes a tap write them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shmring
from shmring.net import tap

MS = 1_000_000
WAIT_S = 20.0


def remarks(seen: list[Any]) -> list[str]:
    return [text for packet in seen for text in packet.comments[1:]]


@pytest.mark.check
def test_nothing_is_written_without_a_trigger(
    shmring_open: Any, eventually: Any, tmp_path: Path, tshark: Any
) -> None:
    here, _ = shmring_open(name="ctl", here={"engine": shmring.Udp(tolerance_ns=100_000 * MS)})
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path, keep=60.0) as t:
        for _ in range(20):
            here.send(b"in time")
        eventually(lambda: t.stats().seen >= 20)
    assert (t.ended, t.stats().written) == ("stopped", 0)
    assert tshark(path) == []


def test_the_first_late_packet(
    shmring_open: Any, eventually: Any, tmp_path: Path, tshark: Any
) -> None:
    here, _ = shmring_open(name="ctl", here={"engine": shmring.Udp(tolerance_ns=60_000 * MS)})
    path = tmp_path / "late.pcapng"
    with tap.open("ctl", path, keep=60.0, after=0.2) as t:
        for number in range(10):
            here.send(b"before %d" % number)
        here.flush(timeout=WAIT_S)
        sequence = here.send(b"late", at=time.monotonic_ns() - 100_000 * MS)
        here.flush(timeout=WAIT_S)
        here.send(b"after")
        assert t.wait(timeout=WAIT_S)
        assert t.ended == "triggered"
    seen = tshark(path)
    assert [packet.payload for packet in seen[:11]] == [b"before %d" % i for i in range(10)] + [
        b"late"
    ]
    (late,) = (packet for packet in seen if "trigger: late" in packet.comments)
    assert (late.payload, late.facts["seq"]) == (b"late", str(sequence))
    assert late.facts["verdict"] == "enqueued_late"
    assert t.stats().triggers == 1


@pytest.mark.check
def test_a_packet_dropped_for_being_late_is_late(
    shmring_open: Any, tmp_path: Path, tshark: Any
) -> None:
    here, _ = shmring_open(
        name="ctl", here={"engine": shmring.Udp(late="drop", tolerance_ns=60_000 * MS)}
    )
    path = tmp_path / "late.pcapng"
    with tap.open("ctl", path, keep=60.0, after=0.3, direction="rx", not_sent=True) as t:
        here.send(b"dropped", at=time.monotonic_ns() - 100_000 * MS)
        assert t.wait(timeout=WAIT_S)
    (packet,) = tshark(path)
    assert (packet.facts["verdict"], packet.comments[1]) == ("dropped_late", "trigger: late")


@pytest.mark.check
def test_what_is_older_than_wanted_is_left_out(
    shmring_open: Any, eventually: Any, tmp_path: Path, tshark: Any
) -> None:
    here, _ = shmring_open(name="ctl", here={"engine": shmring.Udp(tolerance_ns=100_000 * MS)})
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path, keep=1.0, after=0.0) as t:
        here.send(b"old")
        eventually(lambda: t.stats().seen >= 1)
        time.sleep(1.5)
        here.send(b"new")
        eventually(lambda: t.stats().seen >= 2)
        t.trigger("now")
        assert t.wait(timeout=WAIT_S)
    assert b"old" not in {packet.payload for packet in tshark(path)}


@pytest.mark.check
def test_calls_from_here_and_from_anywhere(
    shmring_open: Any, eventually: Any, tmp_path: Path, tshark: Any
) -> None:
    here, _ = shmring_open(name="ctl", here={"engine": shmring.Udp(tolerance_ns=100_000 * MS)})
    assert tap.trigger("ctl", "nobody hears it") == 0
    mine, theirs = tmp_path / "mine.pcapng", tmp_path / "theirs.pcapng"
    with (
        tap.open("ctl", mine, keep=60.0, after=0.3, triggers=()) as deaf,
        tap.open("ctl", theirs, keep=60.0, after=2.0) as t,
    ):
        here.send(b"before")
        eventually(lambda: deaf.stats().seen >= 1 and t.stats().seen >= 1)
        assert tap.trigger("ctl", "the arm stood still") == 2
        here.send(b"behind")
        assert t.wait(timeout=WAIT_S)
        assert not deaf.wait(timeout=0.1)
        deaf.trigger("by hand")
        here.send(b"behind it")
        assert deaf.wait(timeout=WAIT_S)
    seen = tshark(theirs)
    assert [packet.payload for packet in seen[:2]] == [b"before", b"behind"]
    assert sorted(seen[1].comments[1:]) == ["mark: the arm stood still", "trigger: api"]
    seen = tshark(mine)
    assert [packet.payload for packet in seen][:2] == [b"before", b"behind"]
    assert "mark: the arm stood still" in remarks(seen)


@pytest.mark.check
def test_again_and_again(shmring_open: Any, eventually: Any, tmp_path: Path, tshark: Any) -> None:
    here, _ = shmring_open(name="ctl", here={"engine": shmring.Udp(tolerance_ns=100_000 * MS)})
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path, keep=60.0, after=0.0, again=True) as t:
        for number in range(3):
            here.send(b"%d" % number)
            eventually(lambda number=number: t.stats().seen >= number + 1)
            t.trigger(f"number {number}")
            eventually(lambda number=number: t.stats().triggers >= number + 1)
            eventually(lambda number=number: t.stats().written >= number + 1)
    assert t.ended == "stopped"
    assert [packet.payload for packet in tshark(path)] == [b"0", b"1", b"2"]


def test_a_count_is_the_end(shmring_open: Any, tmp_path: Path, tshark: Any) -> None:
    here, _ = shmring_open(name="ctl")
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path, count=5, direction="tx") as t:
        for number in range(20):
            here.send(b"%d" % number)
        assert t.wait(timeout=WAIT_S)
        assert t.ended == "count"
    assert len(tshark(path)) == 5


# --- the command ----------------------------------------------------------------------------------

Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command(shmring_namespace: str) -> Iterator[Command]:
    """Start ``shmring tap ctl`` with more words; what still runs at the end is killed."""
    started = []

    def start(*words: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "shmring_cli", "tap", "ctl", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(line, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def tapped(
    shmring_pool: shmring.Pool, mapped: Callable[[int], bool], eventually: Any
) -> Callable[[], object]:
    """Wait until there is a tap; once."""
    return lambda: eventually(lambda: mapped(shmring_pool.workers()[0].pid))


@pytest.mark.check
@pytest.mark.parametrize("how", ["signal", "mark"])
def test_the_command_writes_on_a_signal_and_on_a_mark(
    how: str, shmring_open: Any, command: Command, tapped: Any, tmp_path: Path, tshark: Any
) -> None:
    here, _ = shmring_open(name="ctl", here={"engine": shmring.Udp(tolerance_ns=100_000 * MS)})
    path = tmp_path / "ctl.pcapng"
    words = ("-o", str(path), "--keep", "1m/2s", "--trigger")
    process = command(*words, "SIGUSR2" if how == "signal" else "late,api")
    tapped()
    here.send(b"before")
    if how == "signal":
        time.sleep(0.3)
        process.send_signal(signal.SIGUSR2)
    else:
        marked = command("--mark", "here")
        assert marked.communicate(timeout=WAIT_S)[0].startswith("1 taps of ctl")
    until = time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < until:
        here.send(b"more")
        time.sleep(0.02)
    _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said
    assert "triggered" in said
    seen = tshark(path)
    assert seen[0].payload == b"before"
    wanted = "trigger: SIGUSR2" if how == "signal" else "mark: here"
    assert wanted in remarks(seen)


@pytest.mark.check
def test_the_command_into_a_pipe_and_a_reader_that_has_enough(
    shmring_open: Any, command: Command, tapped: Any
) -> None:
    here, _ = shmring_open(name="ctl")
    process = command()
    tapped()
    assert process.stdout is not None
    process.stdout.close()
    until = time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < until:
        here.send(b"more")
        time.sleep(0.01)
    assert process.wait(WAIT_S) == 0
    assert process.stderr is not None
    assert "output closed" in process.stderr.read()
    process.stdout = None


@pytest.mark.check
def test_the_command_ends_in_good_order(
    shmring_open: Any, command: Command, tapped: Any, tmp_path: Path, tshark: Any
) -> None:
    here, _ = shmring_open(name="ctl")
    path = tmp_path / "ctl.pcapng"
    process = command("-o", str(path), "--json", "--direction", "tx")
    tapped()
    here.send(b"one")
    here.flush(timeout=WAIT_S)
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, errors
    assert '"ended": "stopped"' in said
    assert [packet.payload for packet in tshark(path)] == [b"one"]
