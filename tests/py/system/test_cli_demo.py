"""`shmring demo` from end to end: its own receiver, its second process, its figures."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from kit.commands import SHMRING

import shmring
import shmring_cli as cli
from rtworkers import paths
from shmring_demo import command as demo

COMMAND = [*SHMRING, "demo", "--duration", "400ms", "--pps", "250"]
SYSTEMS = ["shmring", "shmring-wire", "floor", "time.sleep", "asyncio"]


def run(*words, cwd, before=(), code=0):
    with subprocess.Popen(
        [*before, *COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    ) as process:
        try:
            out, error = process.communicate(timeout=90)
        finally:
            process.kill()
    assert process.returncode == code, error
    left = [name for name in paths.shm_names() if name.namespace == f"demo-{process.pid}"]
    assert left == []
    return subprocess.CompletedProcess(process.args, code, out, error)


def test_every_packet_is_measured_and_answered(tmp_path):
    facts = json.loads(run("--json", cwd=tmp_path).stdout)
    assert facts["healthy"] is True
    assert list(facts["systems"]) == SYSTEMS
    for figures in facts["systems"].values():
        assert (figures["packets"], figures["lost"]) == (100, 0)
        assert 0 <= figures["p50_ns"] <= figures["p99_ns"] <= figures["max_ns"]
    assert facts["systems"]["shmring"]["signed_p50_ns"] > 0, "align=start never sends early"
    assert facts["reader"]["read"] == 100
    assert facts["reader"]["pid"] not in (0, os.getpid())
    assert sum(facts["verdicts"].values()) == 100
    assert facts["png"] is None


@pytest.mark.check
@pytest.mark.module("matplotlib")
def test_people_get_a_table_a_histogram_and_a_picture(tmp_path):
    text = run(cwd=tmp_path).stdout
    for part in ("p99", "time.sleep", "asyncio", "below 100 µs", "one verdict", "shmring-demo.png"):
        assert part in text
    assert (tmp_path / "shmring-demo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.check
def test_an_ascii_terminal_gets_an_ascii_histogram(tmp_path):
    text = run("--png", "x.png", cwd=tmp_path, before=("env", "PYTHONIOENCODING=ascii:replace"))
    assert "#" in text.stdout
    assert text.stdout.isascii()


@pytest.mark.check
def test_a_pause_of_the_demo_itself_loses_no_packet(eventually, tmp_path):
    """A busy machine may stop this process for longer than its schedule is queued ahead."""
    command = [*COMMAND[:-4], "--duration", "2", "--pps", "250", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        space = f"demo-{process.pid}"
        eventually(lambda: any(c.name == "demo" for c in shmring.channels(space)))
        with shmring.attach("demo", namespace=space, readonly=True) as channel:
            eventually(lambda: channel.stats().tx_sent > 20)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        facts = json.loads(process.communicate(timeout=90)[0])
    assert facts["systems"]["shmring"]["lost"] == 0
    assert (process.returncode, facts["healthy"]) == (0, True)


@pytest.mark.check
@pytest.mark.program("setpriv")
def test_without_privileges_it_runs_and_names_the_fix(tmp_path):
    facts = json.loads(
        run(
            "--json",
            cwd=tmp_path,
            before=(
                "setpriv",
                "--bounding-set=-all",
                "--inh-caps=-all",
                "env",
                "SHMRING_POLICY=fifo",
            ),
        ).stdout
    )
    assert facts["worker"]["policy"] == "other"
    assert facts["systems"]["shmring"]["lost"] == 0
    assert any("cap_sys_nice" in text for text in facts["lacking"])


@pytest.mark.parametrize("words", [("--pps", "0"), ("--duration", "-1"), ("--pps", "many")])
def test_nonsense_is_wrong_usage(words, tmp_path):
    assert words[1] in run(*words, cwd=tmp_path, code=1).stderr


@pytest.mark.check
def test_a_picture_without_matplotlib_is_refused_before_anything_is_run(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(demo, "_run_all", lambda *_: pytest.fail("it runs"))
    assert cli.main(["demo", "--png", str(tmp_path / "x.png")]) == cli.FAILED
    assert 'pip install "shmring[demo]"' in capsys.readouterr().err


@pytest.mark.check
@pytest.mark.module("matplotlib")
def test_a_picture_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    done = run("--png", str(tmp_path / "none" / "x.png"), cwd=tmp_path, code=2)
    assert "x.png" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == "", "it ran first"
