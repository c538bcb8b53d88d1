"""Asking the worker program, and what happens when it does not answer as it should."""

import stat
import time
from pathlib import Path

import pytest

from rtworkers import examine as worker
from rtworkers.examine import Examination


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a shell script in the worker's place."""

    def make(script):
        path = tmp_path / "worker"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("SHMRING_WORKER", str(path))
        return path

    return make


def test_what_the_program_says(fit_worker):
    assert fit_worker.setup.policy == "fifo"
    assert fit_worker.setup.capabilities == {"cap_sys_nice", "cap_net_admin", "cap_ipc_lock"}
    assert fit_worker.clock.tick_ns == 4_000_000
    assert fit_worker.features["gso"].works
    assert (fit_worker.between_ticks.n, fit_worker.on_tick.n) == (1500, 500)


def test_it_is_asked_once_per_core_with_what_matters(program):
    path = program('echo "$@" >> "$0.$$"; sleep 0.2')
    one, two = worker.examine([1, None], seconds=0.5, device="eth0")
    assert (one.cpu, two.cpu, one.error) == (1, None, "")
    lines = sorted(told.read_text() for told in path.parent.glob("worker.*"))
    assert lines == [
        "--examine 500 --device eth0 --cpu -1 --policy fifo --priority 80\n",
        "--examine 500 --device eth0 --cpu 1 --policy fifo --priority 80\n",
    ]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo broken >&2; exit 1", "broken"),
        ("exit 3", "exit code 3"),
        ("echo '{'", "another version"),
        ('echo \'{"fact": "setup", "news": 1}\'', "another version"),
    ],
)
def test_what_it_says_when_it_fails(program, script, words):
    program(script)
    (found,) = worker.examine([0])
    assert words in found.error
    assert found.setup is None


def test_facts_of_a_later_version_are_passed_over(program):
    program('echo \'{"fact": "weather", "rain": true}\'')
    assert worker.examine([0]) == [Examination(0)]


def test_a_program_that_is_not_there_or_cannot_run(program, monkeypatch):
    path = program("true")
    path.chmod(0o600)
    path.write_bytes(b"\x7fELF no")
    (found,) = worker.examine([0])
    assert "cannot be run" in found.error
    monkeypatch.setenv("SHMRING_WORKER", "/nowhere/worker")
    (found,) = worker.examine([0])
    assert "missing" in found.error


def test_nothing_runs_on_when_somebody_gives_up(program, monkeypatch):
    path = program('echo $$ >> "$0.pid"; exec sleep 60')

    def give_up(cpu, process):
        while not path.with_name("worker.pid").exists() or len(pids()) < 2:
            time.sleep(0.01)
        raise KeyboardInterrupt

    def pids():
        return path.with_name("worker.pid").read_text().split()

    monkeypatch.setattr(worker, "_finish", give_up)
    with pytest.raises(KeyboardInterrupt):
        worker.examine([0, 1])
    assert not [pid for pid in pids() if Path("/proc", pid).exists()]
