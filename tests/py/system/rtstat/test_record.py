"""`rtstat --record` beside channels that really send: what it writes, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
from kit.commands import RTSTAT, run

import shmring_cli as cli
from shmring import recording
from shmring_plot.distribution import Distribution

pytestmark = pytest.mark.check

PATIENCE_S = 60
PACKETS = 200


@pytest.fixture(params=[".csv", pytest.param(".parquet", marks=pytest.mark.module("pyarrow"))])
def suffix(request):
    return request.param


def recorder(path, *words):
    """A recorder that has begun."""
    process = subprocess.Popen(
        [*RTSTAT, "--record", str(path), *words], stderr=subprocess.PIPE, text=True
    )
    line = process.stderr.readline()
    assert line.startswith("recording "), line
    return process


def send_timed(channel, count=PACKETS):
    for _ in range(count):
        channel.send(b"x" * 100, at=time.monotonic_ns() + 500_000)
        time.sleep(0.001)


def until_all_is_written(path):
    deadline = time.monotonic() + PATIENCE_S
    while sum(row.lateness_count for row in recording.read(path).rows) < PACKETS:
        assert time.monotonic() < deadline, "the rows did not come"
        time.sleep(0.05)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_every_packet_is_in_a_recording_that_was_ended(shmring_open, tmp_path, suffix, ending):
    here, _ = shmring_open("ctl")
    path = tmp_path / f"a{suffix}"
    growing = path if suffix == ".csv" else tmp_path / "a.parquet.part"
    process = recorder(path, "-i", "0.1")
    try:
        send_timed(here)
        until_all_is_written(growing)
        process.send_signal(ending)
        _, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert "rows of" in said
    stats = here.stats()
    rows = [row for row in recording.read(path).rows if row.channel == "ctl"]
    assert sum(row.tx_sent for row in rows) == stats.tx_sent == PACKETS
    assert sum(row.tx_on_time for row in rows) == stats.tx_on_time
    whole = Distribution((row.lateness_buckets, row.lateness_max_ns) for row in rows)
    assert whole.steps()[:-1] == Distribution([(stats.lateness.buckets(), 2**62)]).steps()[:-1]
    assert whole.max_ns == stats.lateness.max
    assert abs(whole.quantile_ns(0.5) - stats.lateness.percentile(50)) <= 1 + whole.max_ns / 64
    times = [row.mono_time_ns for row in rows]
    assert times == sorted(times)
    busiest = max(rows, key=lambda row: row.tx_sent)
    assert busiest.tx_pps == pytest.approx(busiest.tx_sent / busiest.interval_ns * 1e9, rel=0.01)
    assert busiest.tx_bps == pytest.approx(busiest.tx_pps * 800, rel=0.01)
    assert (busiest.engine, busiest.state, busiest.worker_epoch) == ("udp", "open", 1)
    assert busiest.worker_pid == stats.worker_pid


def test_it_ends_after_its_count(shmring_open, tmp_path):
    shmring_open("ctl")
    process = recorder(tmp_path / "a.csv", "-i", "200ms", "-n", "3")
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    read = recording.read(tmp_path / "a.csv")
    rows = read.rows
    assert len({row.mono_time_ns for row in rows}) == 3
    assert {row.channel for row in rows} == {"ctl", "ctl-peer"}
    assert read.header.interval_ns == 200_000_000
    assert read.header.started_mono_ns < rows[0].mono_time_ns


def test_channels_are_chosen_and_a_picture_can_be_made(shmring_open, tmp_path, capsys):
    here, _ = shmring_open("ctl")
    path = tmp_path / "a.csv"
    process = recorder(path, "-i", "0.1", "--channel", "ctl")
    try:
        send_timed(here)
        until_all_is_written(path)
    finally:
        process.kill()
        process.communicate()
    assert {row.channel for row in recording.read(path).rows} == {"ctl"}
    assert cli.main(["plot", str(path), "--json"]) == cli.FINE
    assert json.loads(capsys.readouterr().out)[0]["packets"] == PACKETS


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--record", "x.txt", "-n", "1"), "suffix"),
        (("--record", "x.csv", "--json"), "not allowed"),
        (("--record", "x.csv", "--duration", "1h"), "-n for the number of snapshots"),
    ],
)
def test_wrong_usage_is_one(words, reason, tmp_path):
    assert reason in run(RTSTAT, *words, code=1, cwd=tmp_path).stderr
    assert list(tmp_path.iterdir()) == []
