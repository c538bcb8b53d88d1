"""`shmring bench`: the rows it prints, and that it cleans up. The figures are not judged."""

import json
import os
import subprocess
import sys

import pytest

from rtworkers import paths

COMMAND = [sys.executable, "-P", "-m", "shmring_cli", "bench"]
UNITS = {"ns", "pps", "bps", "bytes", "percent"}


def command(*words, **environment):
    with subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            out, err = process.communicate(timeout=250)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    left = [name for name in paths.shm_names() if name.namespace == f"bench-{process.pid}"]
    assert left == []
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def bench(name, *words):
    done = command(name, "--seconds", "0.1", "--runs", "1", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows_of(text, name):
    """The rows of some JSON lines, each checked."""
    rows = [json.loads(line) for line in text.splitlines()]
    for row in rows:
        assert list(row) == ["bench", "case", "system", "metric", "value", "unit"]
        assert row["bench"] == name
        assert row["unit"] in UNITS
        assert isinstance(row["value"], (int, float))
    keys = [(row["case"], row["system"], row["metric"]) for row in rows]
    assert len(keys) == len(set(keys))
    return rows


@pytest.mark.shm_mb(200)
@pytest.mark.parametrize(
    ("name", "systems"),
    [
        ("timed", {"shmring", "floor", "rtudp-dropin", "time.sleep", "asyncio"}),
        ("bulk", {"shmring", "floor", "socket"}),
        ("rtt", {"shmring", "floor", "socket"}),
        ("flood", {"quiet", "beside", "flooded"}),
        ("ipc", {"shmring", "floor"}),
    ],
)
def test_each_row_is_one_figure_of_one_system(name, systems):
    rows = rows_of(bench(name, "--json"), name)
    assert systems <= {row["system"] for row in rows}
    assert all(row["value"] == 0 for row in rows if row["metric"] == "lost")


def test_people_get_the_ratio_to_bare_c():
    text = bench("rtt")
    assert "floor" in text
    assert " x)" in text


def test_cases_can_be_chosen_and_the_original_be_absent():
    """Without the original the drop-in is measured all the same, and it is said why."""
    done = command("rtp", "--quick", "--json", "next-pkt", "ulaw2linear", "--peer-python", "false")
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout, "rtp")
    assert {row["case"] for row in rows} == {"next-pkt", "ulaw2linear"}
    assert {row["system"] for row in rows} == {"shmring", "floor"}
    assert "rtpsynth: false" in done.stderr


def test_what_runs_in_real_time_has_its_rows():
    cases = {"server-send", "server-receive", "server-own-callback", "proc-1ms", "stream-20ms"}
    text = bench("rtp", "--json", "--peer-python", "false", *cases)
    rows = rows_of(text, "rtp")
    assert {row["case"] for row in rows} == cases
    assert {row["system"] for row in rows} == {"shmring", "asyncio", "floor"}
    assert all(row["value"] == 0 for row in rows if row["metric"] == "lost")


def test_cyclic_links_have_their_rows():
    rows = rows_of(bench("netflux", "--json"), "netflux")
    systems = {row["system"] for row in rows}
    assert systems == {"shmring", "netflux-dropin", "time.sleep", "floor"}
    figures = {(row["case"], row["system"], row["metric"]): row["value"] for row in rows}
    assert 30e6 <= figures["watchdog-30ms", "shmring", "told_p50"] < 1e9
    assert figures["200-links-5ms", "shmring", "worker_cpu"] > 0


@pytest.fixture(scope="session")
def peers_folder(tmp_path_factory):
    """Where programs over other libraries are built: once for all tests."""
    return str(tmp_path_factory.mktemp("peers"))


def test_streams_have_their_rows(peers_folder):
    """Without a library its rows are missing, and it is said what to install."""
    cases = {"stream-mss1500", "to-libudt", "from-libudt", "100Mbit-100ms-1%", "10-streams"}
    words = ("--json", "--seconds", "0.3", "--runs", "1", *cases)
    done = command("udt", *words, XDG_CACHE_HOME=peers_folder)
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout, "udt")
    measured = {(row["case"], row["system"]) for row in rows}
    for library in ("libudt", "libsrt"):
        if ("stream-mss1500", library) not in measured:
            assert f"install {library}" in done.stderr or "install g++" in done.stderr
            assert os.environ.get("CI") != "true", done.stderr
    for case in cases - {"to-libudt", "from-libudt"}:
        assert (case, "shmring") in measured
    assert ("stream-mss1500", "tcp") in measured
    rates = {row["system"]: row["value"] for row in rows if row["metric"] == "rate"}
    assert rates["shmring"] > 0


def test_libraries_that_are_missing_are_named(tmp_path):
    words = ("to-libudt", "--quick", "--json")
    done = command("udt", *words, XDG_CACHE_HOME=str(tmp_path), PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "install g++ and libudt-dev" in " ".join(done.stderr.split())


def test_a_stream_beside_tcp_has_its_rows_where_there_are_namespaces():
    done = command("udt", "beside-tcp-cubic", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    systems = {row["system"] for row in rows_of(done.stdout, "udt")}
    if "tcp" not in systems:
        reasons = "no network namespaces", "nsenter is missing", "no congestion control cubic"
        assert any(reason in " ".join(done.stderr.split()) for reason in reasons)
        pytest.skip(done.stderr.strip())
    assert {"shmring", "shmring-bbr", "target"} <= systems


def test_memory_and_idleness_of_connections_have_their_rows():
    rows = rows_of(bench("udt", "--json", "idle-1000", "long-transfer"), "udt")
    figures = {
        (row["case"], row["metric"]): row["value"] for row in rows if row["system"] == "shmring"
    }
    assert 0 < figures["idle-1000", "memory_beside_rings"] < 1 << 20
    assert figures["long-transfer", "transferred"] > 0
    targets = {(row["case"], row["metric"]) for row in rows if row["system"] == "target"}
    assert targets == {
        ("idle-1000", "worker_cpu"),
        ("idle-1000", "memory_beside_rings"),
        ("long-transfer", "memory_growth"),
    }


def test_the_original_is_fetched_once_and_does_the_same_work(tmp_path):
    words = ("rtp", "--quick", "--json", "next-pkt", "ulaw2linear")
    done = command(*words, XDG_CACHE_HOME=str(tmp_path))
    if "could not be installed" in done.stderr and os.environ.get("CI") != "true":
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    measured = {(row["case"], row["system"]) for row in rows_of(done.stdout, "rtp")}
    assert {(case, "rtpsynth") for case in ("next-pkt", "ulaw2linear")} <= measured
    assert {(case, "shmring") for case in ("next-pkt", "ulaw2linear")} <= measured
    assert "installing" in done.stderr
    assert "installing" not in command(*words[:-1], XDG_CACHE_HOME=str(tmp_path)).stderr


def test_a_case_that_does_not_exist_is_wrong_usage():
    done = command("rtp", "next-pkt-170", "--peer-python", "false")
    assert done.returncode == 1
    assert "unknown case next-pkt-170: use next-pkt," in done.stderr


@pytest.mark.parametrize("words", [("--runs", "0"), ("--seconds", "0"), ("--seconds", "soon")])
def test_nonsense_is_wrong_usage(words):
    done = command("rtt", *words)
    assert done.returncode == 1
    assert words[0] in done.stderr


@pytest.mark.shm_mb(400)
def test_tools_are_measured_beside_what_they_look_at():
    rows = rows_of(bench("observe", "--json"), "observe")
    found = {(row["case"], row["system"]) for row in rows}
    assert {("10kpps-tools", s) for s in ("unwatched", "watched", "tapped", "bystanders")} <= found
    assert {("1000-channels", "rtstat-plain"), ("json-100-channels", "rtstat")} <= found
    assert all(row["value"] == 0 for row in rows if row["metric"] == "lost")
