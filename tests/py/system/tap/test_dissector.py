"""The Lua file for Wireshark: what the comments of a capture say are fields."""

from __future__ import annotations

import importlib.resources
import time
from pathlib import Path
from typing import Any

import pytest

from rtworkers.verdicts import LATE
from shmring import Socket, Udp, Verdict
from shmring.net import tap

pytestmark = pytest.mark.check

MS = 1_000_000
FOLDER = importlib.resources.files("shmring_cli") / "wireshark"


def test_verdict_lateness_and_sequence_are_fields(
    shmring_open: Any, eventually: Any, tmp_path: Path, dissected: Any
) -> None:
    here, there = shmring_open(
        name="ctl", here={"engine": Udp(reports="all", socket=Socket(stamp_every=1))}
    )
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path) as running:
        here.send(b"late", at=time.monotonic_ns() - 50 * MS)
        for _ in range(4):
            here.send(b"soon", at=time.monotonic_ns() + 5 * MS)
        there.send(b"back")
        here.flush(timeout=20)
        here.recv(timeout=20)
        eventually(lambda: running.stats().written >= 6)
        tap.trigger("ctl", "the arm stood still")
        here.send(b"marked")
        eventually(lambda: running.stats().written >= 7)
    reports = {report.sequence: report for report in here.reports(timeout=0)}
    sent = dissected(path, "seq", "verdict", "late_ns", "due_ns", "late", where="shmring.late_ns")
    assert len(sent) == 5
    for seq, verdict, late_ns, due_ns, late in sent:
        report = reports[int(seq)]
        assert verdict == report.verdict.value
        assert (int(due_ns), int(late_ns)) == (
            report.scheduled_ns,
            report.sent_ns - report.scheduled_ns,
        )
        assert (late in ("1", "True")) == (report.verdict is not Verdict.ON_TIME)
    (first,) = dissected(path, "seq", where="shmring.late_ns >= 50000000 and shmring.late == 1")[:1]
    assert reports[int(first[0])].verdict is Verdict.ENQUEUED_LATE
    assert dissected(path, "mark", where="shmring.mark") == [["the arm stood still"]]
    assert len(dissected(path, "arrived_ns", "stamp", where="shmring.arrived_ns")) == 1


def test_rules_for_colours_are_filters_that_wireshark_takes(
    shmring_open: Any, eventually: Any, tmp_path: Path, dissected: Any
) -> None:
    here, _ = shmring_open(name="ctl")
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path) as running:
        here.send(b"late", at=time.monotonic_ns() - 50 * MS)
        eventually(lambda: running.stats().written >= 1)
    lines = (FOLDER / "colorfilters").read_text().splitlines()
    rules = [line.split("@")[1:4] for line in lines if not line.startswith("#")]
    matching = [name for name, where, _ in rules if dissected(path, "seq", where=where)]
    assert len(rules) == 4
    assert "shmring: late" in matching


def test_every_verdict_that_means_late_is_known_to_the_file() -> None:
    text = (FOLDER / "shmring.lua").read_text()
    known = text[text.index("late_verdicts = {") :].partition("}")[0]
    assert {name.removeprefix("tx_") for name in LATE} == {
        line.split()[0] for line in known.splitlines()[1:] if line.strip()
    }
