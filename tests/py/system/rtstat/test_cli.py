"""`rtstat` as a process: what it prints, and what its exit code says."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import re
import shlex
import signal
import subprocess
import time

import pytest
from kit import commands
from kit.commands import RTSTAT

from rtstat.cli import COMMANDS
from rtstat.table import FIELDS

PATIENCE_S = 60


run = functools.partial(commands.run, RTSTAT)


@pytest.fixture
def two(shmring_open):
    """Channels ctl and ctl-peer with five packets between them."""
    here, there = shmring_open("ctl")
    for _ in range(5):
        here.send(b"hello")
        there.recv(timeout=20)
    return here, there


@pytest.mark.check
def test_nothing_is_healthy_but_a_name_that_is_missing_is_not(shmring_namespace):
    assert "nothing to show" in run("--plain").stdout
    assert json.loads(run("--json").stdout)["channels"] == []
    assert run("list").stdout == ""
    run("--json", "--channel", "ctl", code=2)
    missing = run("show", "ctl", code=2)
    assert "there is no channel 'ctl'" in missing.stderr


@pytest.mark.check
@pytest.mark.parametrize(
    "words",
    [
        ("--bogus",),
        ("--plain", "--json"),
        ("--json", "-i", "-1"),
        ("--json", "-n", "2"),
        ("--json", "-n", "0"),
        ("--sort", "beauty"),
        ("--csv", "--fields", "name,beauty"),
        ("--json", "--fields", "name"),
        ("--namespace", "a b"),
        ("show",),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_one(words):
    done = run(*words, code=1)
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


@pytest.mark.check
@pytest.mark.parametrize("command", ["", *(command.name for command in COMMANDS)])
def test_help_has_examples(command):
    done = run(*command.split(), "--help")
    assert "examples:" in done.stdout
    assert f"rtstat {command}".strip() in done.stdout


def test_once(two):
    text = run("--plain").stdout
    assert text.startswith("OK: no troubles\n")
    assert "1 pools, 1 workers, 2 channels\n" in text
    for part in ("worker", "beat", "channel", "ctl-peer", "p99", "lost/s"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.check
def test_a_selection_without_channels_is_not_called_ok(two):
    pool = json.loads(run("--json", "--interval", "0").stdout)["pools"][0]["name"]
    none = "no channel matches {}: see rtstat list --namespace '*'; did you mean {!r}?\n"
    for words, kind, meant in (
        (("--channel", "clt"), "", "ctl"),
        (("--pool", f"{pool}x"), "pool ", pool),
    ):
        said = none.format(f"{kind}{words[1]!r}", meant)
        check = run("--check", *words, code=2)
        assert (check.stdout, check.stderr) == (f"UNKNOWN: {said}", "")
        for mode in ("--plain", "--json"):
            assert run(mode, *words, code=2).stderr == f"rtstat: {said}"
    said = none.format("'clt'", "ctl")
    assert run("list", "clt", code=2).stderr == f"rtstat: {said}"


@pytest.mark.check
def test_a_namespace_in_which_nothing_is_open_is_not_called_ok(two):
    here = os.environ["SHMRING_NAMESPACE"]
    empty = f"{here}x"
    check = run("--check", "--namespace", empty, code=2)
    said = f"UNKNOWN: nothing is open in namespace {empty!r}; did you mean {here!r}?\n"
    assert (check.stdout, check.stderr) == (said, "")
    assert run("--check", "--namespace", here).stdout.startswith("OK")


@pytest.mark.check
def test_a_wide_table_has_rates_and_then_sums(two, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    lines = run("--plain").stdout.splitlines()
    for head in (line for line in lines if line.startswith(("channel", "worker"))):
        columns = re.split(r"  +", head)
        rates = columns.index("missed/s" if columns[0] == "worker" else "tx/s")
        sums = [i for i, name in enumerate(columns) if name.endswith(" all")]
        assert rates < min(sums)
        assert len(columns) - max(sums) <= 2  # restarts of a worker
    heads, row = (
        re.split(r"  +", next(line for line in lines if line.startswith(begin)))
        for begin in ("channel", f"{os.environ['SHMRING_NAMESPACE']}/ctl ")
    )
    cells = dict(zip(heads, row, strict=True))
    assert cells["tx/s"] == "0"
    assert cells["sent all"] == "5"


def test_json(two, shmring_namespace):
    facts = json.loads(run("--json").stdout)
    assert facts["schema"] == 1
    assert (facts["verdict"], facts["troubles"]) == ("ok", [])
    assert facts["namespace"] == shmring_namespace
    assert facts["interval_s"] > 0.1
    assert json.loads(run("--json", "--interval", "0").stdout)["interval_s"] is None
    assert abs(facts["time_ns"] - time.time_ns()) < PATIENCE_S * 1e9
    for scope, key in (("pool", "pools"), ("worker", "workers"), ("channel", "channels")):
        for row in facts[key]:
            assert set(row) >= {field.name for field in FIELDS[scope]}
    here, there = facts["channels"]
    assert (here["name"], there["name"]) == ("ctl", "ctl-peer")
    assert there["attached"][0]["pid"] == os.getpid()
    assert here["remote"] == there["local"]


@pytest.mark.check
def test_json_stream_has_rates_from_the_second_object_on(two):
    lines = run("--json-lines", "-i", "0.05", "-n", "3").stdout.splitlines()
    first, *rest = map(json.loads, lines)
    assert len(rest) == 2
    assert first["channels"][0]["tx_pps"] is None
    assert all(row["channels"][0]["tx_pps"] is not None for row in rest)
    assert all(row["interval_s"] > 0.02 for row in rest)


def test_csv(two):
    text = run("--csv", "-i", "0.05", "-n", "3", "--fields", "name,tx_sent,tx_pps,rtp.loss").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["time_ns", "name", "tx_sent", "tx_pps", "rtp.loss"]
    assert [row["name"] for row in rows] == ["ctl", "ctl-peer"] * 3
    assert len({row["time_ns"] for row in rows}) == 3
    assert {row["rtp.loss"] for row in rows} == {""}
    assert rows[0]["tx_pps"] == ""
    assert float(rows[-1]["tx_pps"]) >= 0
    everything = next(csv.reader(io.StringIO(run("--csv").stdout)))
    assert everything == ["time_ns", *(field.name for field in FIELDS["channel"])]
    workers = next(csv.reader(io.StringIO(run("--csv=worker").stdout)))
    assert workers == ["time_ns", *(field.name for field in FIELDS["worker"])]


@pytest.mark.check
def test_filter_and_sort(two, shmring_namespace):
    assert run("list", "-q", "*-peer").stdout == f"{shmring_namespace}/ctl-peer\n"
    for field, names in (("tx_sent", ["ctl", "ctl-peer"]), ("rx_received", ["ctl-peer", "ctl"])):
        text = run("--csv", "--fields", "name", "--sort", field).stdout
        assert [row["name"] for row in csv.DictReader(io.StringIO(text))] == names
    assert [one["name"] for one in json.loads(run("list", "--json").stdout)] == ["ctl", "ctl-peer"]
    assert run("list", "--unhealthy").stdout == ""
    run("list", "--pool", "another", code=2)


def test_show(two, shmring_namespace):
    text = run("show", "ctl", "--interval", "0").stdout
    assert text.startswith(f"{shmring_namespace}/ctl: OK: no troubles")
    for part in ("tx_sent", "handed to the kernel", "heartbeat_age_ns"):
        assert part in text
    facts = json.loads(run("show", f"{shmring_namespace}/ctl", "--json", "--interval", "0").stdout)
    assert facts["name"] == "ctl"


@pytest.mark.check
def test_a_stopped_worker_is_four(two, shmring_pool, eventually):
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        time.sleep(1.1)  # a heartbeat is stale behind a second
        assert "stale (!)" in run("--plain", code=5).stdout
        facts = json.loads(run("--json", code=5).stdout)
        assert facts["verdict"] == "broken"
        assert [trouble["name"] for trouble in facts["troubles"]] == ["worker_stopped"]
        assert facts["workers"][0]["health"] == "stale"
        assert run("list", "--unhealthy", "-q", code=5).stdout.count("\n") == 2
        run("show", "ctl", "--interval", "0", code=5)
    finally:
        os.kill(worker.pid, signal.SIGCONT)


@pytest.mark.check
def test_a_reader_that_has_seen_enough_and_an_interrupt_are_no_faults(two):
    loop = subprocess.Popen(
        [*RTSTAT, "--plain", "-i", "0.05"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert loop.stdout is not None
    assert loop.stdout.readline()
    loop.send_signal(signal.SIGINT)
    _, errors = loop.communicate(timeout=PATIENCE_S)
    assert (loop.returncode, errors) == (0, b"")
    stream = subprocess.Popen(
        [*RTSTAT, "--json-lines", "-i", "0.05"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert stream.stdout is not None
    assert stream.stderr is not None
    assert stream.stdout.readline()
    stream.stdout.close()
    assert stream.wait(PATIENCE_S) == 0
    assert stream.stderr.read() == b""
    stream.stderr.close()


@pytest.mark.check
def test_errors_are_shown_once(two, shmring_namespace, shmring_pool, eventually):
    assert run("errors").stdout == "no errors\n"
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: "worker died" in run("errors").stdout)
    eventually(lambda: two[0].stats().epoch == 2)
    (row,) = json.loads(run("errors", "--json").stdout)
    assert set(row) == {field.name for field in FIELDS["error"]}
    assert (row["kind"], row["source"], row["times"]) == ("worker_died", "pool", 1)
    assert row["number"] == -signal.SIGKILL
    assert run("errors", "ctl").stdout == "no errors\n"
    run("errors", "--pool", "another", code=2)
    facts = json.loads(run("--json", code=None).stdout)
    assert facts["errors"] == [row]
    assert facts["workers"][0]["errors"] == facts["workers"][0]["error_times"] == 1
    assert "1 distinct errors" in run("--plain", code=None).stdout


@pytest.mark.check
def test_an_output_without_the_letter_for_micro(two):
    """Or without any output, as a service has it."""
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for words in (["show", "ctl"], ["--plain"], ["why", "ctl"], ["post-mortem", "ctl"]):
        done = subprocess.run(
            [*RTSTAT, *words], capture_output=True, timeout=PATIENCE_S, check=False, env=plain
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.isascii()
    closed = f"exec {shlex.join(RTSTAT)} --plain >&-"
    done = subprocess.run(
        ["sh", "-c", closed], stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.check
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this machine has no /dev/full")
def test_a_full_disk_is_told_in_words(two):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*RTSTAT, "--json"], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (2, b"rtstat: No space left on device\n")
