"""`shmring bench rtp` and `netflux`: the rows they print. The figures are not judged."""

import needs
import pytest

pytestmark = pytest.mark.check

QUICK = ("--duration", "0.2", "--runs", "1", "--json")
WORDS = ("rtp", *QUICK, "next-pkt", "ulaw2linear")


def test_cases_can_be_chosen_and_the_original_be_absent(command, rows_of):
    """Without the original the drop-in is measured all the same, and it is said why."""
    done = command(*WORDS, SHMRING_PEER_PYTHON="false")
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout, "rtp")
    assert {row["case"] for row in rows} == {"next-pkt", "ulaw2linear"}
    assert {row["system"] for row in rows} == {"shmring", "floor"}
    assert "rtpsynth: false" in done.stderr


def test_what_runs_in_real_time_has_its_rows(bench, rows_of, monkeypatch):
    monkeypatch.setenv("SHMRING_PEER_PYTHON", "false")
    cases = {"server-send", "server-receive", "server-own-callback", "proc-1ms", "stream-20ms"}
    text = bench("rtp", "--json", *cases)
    rows = rows_of(text, "rtp")
    assert {row["case"] for row in rows} == cases
    assert {row["system"] for row in rows} == {"shmring", "asyncio", "floor"}


def test_cyclic_links_have_their_rows(bench, rows_of):
    rows = rows_of(bench("netflux", "--json"), "netflux")
    systems = {row["system"] for row in rows}
    assert systems == {"shmring", "netflux-dropin", "time.sleep", "floor"}
    figures = {(row["case"], row["system"], row["metric"]): row["value"] for row in rows}
    assert 30e6 <= figures["watchdog-30ms", "shmring", "told_p50"] < 1e9
    assert figures["200-links-5ms", "shmring", "worker_cpu"] > 0


def test_the_original_is_fetched_once_and_does_the_same_work(command, rows_of, tmp_path):
    done = command(*WORDS, XDG_CACHE_HOME=str(tmp_path))
    if "could not be installed" in done.stderr:
        print(done.stderr)
        needs.skip("peer rtpsynth")
    assert done.returncode == 0, done.stderr
    measured = {(row["case"], row["system"]) for row in rows_of(done.stdout, "rtp")}
    assert {(case, "rtpsynth") for case in ("next-pkt", "ulaw2linear")} <= measured
    assert {(case, "shmring") for case in ("next-pkt", "ulaw2linear")} <= measured
    assert "installing" in done.stderr
    assert "installing" not in command(*WORDS[:-1], XDG_CACHE_HOME=str(tmp_path)).stderr


def test_a_case_that_does_not_exist_is_wrong_usage(command):
    done = command("rtp", "next-pkt-170", SHMRING_PEER_PYTHON="false")
    assert done.returncode == 1
    assert "unknown case next-pkt-170: use next-pkt," in done.stderr
