"""Channels whose program has died: a restarted one takes them over, all others are told what to do.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring
from rtstat.snapshot import Watch
from rtworkers import records
from rtworkers.opener import Opener, ran_at
from shmring_cli import main

PATIENCE_S = 30
REMOTE = ("127.0.0.1", 9)

SERVER = """
import sys, shmring
pool = shmring.Pool('plant', policy='other')
print('ready', flush=True)
sys.stdin.readline()
pool.close(linger=0)
"""

# Opens "ctl", says its port, how it opened it and the sequence of its first packet, then waits.
PROGRAM = """
import sys, shmring
try:
    ch = shmring.open('ctl', pool={pool!r}, remote=('127.0.0.1', 9), local=('127.0.0.1', 0),
                      **{options!r})
except shmring.ShmringError as error:
    print('refused', error, flush=True)
else:
    first = ch.send(b'x', at=ch.now_ns() + 3600 * 10**9)
    print(ch.local[1], ch.taken_over, first, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def serve(python: Any, shmring_namespace: str) -> Iterator[Callable[[], Any]]:
    """Run the pool "plant" in another process. Whatever lives of it at the end is ended."""
    started: list[Any] = []

    def start() -> Any:
        process = python(SERVER)
        started.append(process)
        assert process.line() == "ready"
        return process

    yield start
    for process in started:
        process.close()
    shmring.Pool("plant", policy="other").close(linger=0)
    shmring.gc(namespace=shmring_namespace)


@pytest.fixture
def program(python: Any) -> Callable[..., Any]:
    def start(pool: str | None = "plant", **options: Any) -> Any:
        process = python(PROGRAM.format(pool=pool, options=options))
        process.said = process.line()
        return process

    return start


def test_a_restarted_program_takes_its_channel_over(serve: Any, program: Any) -> None:
    serve()
    first = program()
    port, taken_over, sequence = first.said.split()
    assert (taken_over, sequence) == ("False", "0")
    reader = shmring.attach("ctl")
    sent = reader.send(b"early", to=reader.local)
    assert reader.recv(timeout=PATIENCE_S).data == b"early"
    first.kill()
    second = program()
    assert second.said == f"{port} True {sent + 1}"
    assert reader.state is shmring.State.OPEN, "readers stay attached"
    assert reader.epoch == 1
    assert reader.tx_waiting == 2, "what the dead one had queued is still sent"
    reader.close()


def test_it_reads_from_the_takeover_on(
    serve: Any, program: Any, shmring_namespace: str
) -> None:
    serve()
    first = program()
    other = shmring.attach("ctl")
    other.send(b"before", to=other.local)
    assert other.recv(timeout=PATIENCE_S).data == b"before"
    first.kill()
    options = {"local": ("127.0.0.1", 0), "remote": REMOTE}
    with shmring.open("ctl", pool="plant", **options) as channel:
        assert channel.taken_over
        assert channel.try_recv() is None
        channel.purge()  # what the dead one had queued
        other.send(b"after", to=other.local)
        assert channel.recv(timeout=PATIENCE_S).data == b"after"
    assert shmring.channels(shmring_namespace) == [], "the new opener ends it"


def test_of_two_that_start_at_once_one_takes_it_over(serve: Any, program: Any) -> None:
    serve()
    program().kill()
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(program().said)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [line for line in said if line.startswith("refused")]
    assert len(refused) == 2, said
    assert all("opened by process" in line and "died" not in line for line in refused)


def test_a_restarted_program_with_other_options_is_told_the_command(
    serve: Any, program: Any, shmring_namespace: str
) -> None:
    serve()
    first = program(capacity=64)
    first.kill()
    second = program(capacity=128)
    assert re.search(
        rf"opened by process {first.pid} \(python\S*\), which has died \d+\.\d s ago. It cannot be "
        rf"taken over, because the options differ in .*tx_capacity",
        second.said,
    )
    assert f"shmring close {shmring_namespace}/ctl" in second.said
    assert main(["close", "ctl"]) == 0
    assert not program(capacity=128).said.startswith("refused")


def test_the_opener_that_lives_is_named(serve: Any, program: Any, shmring_namespace: str) -> None:
    serve()
    first = program()
    second = program()
    assert f"opened by process {first.pid} (python" in second.said
    assert f"shmring close {shmring_namespace}/ctl" in second.said
    third = program(pool=None)
    assert f"opened on pool 'plant' by process {first.pid}" in third.said
    first.kill()
    assert f"on pool 'plant' by process {first.pid}, which has died" in program(pool=None).said


def test_a_takeover_after_the_pool_was_restarted(serve: Any, program: Any) -> None:
    server = serve()
    first = program()
    server.kill()
    first.kill()
    serve()
    assert program().said.split()[1] == "True"


def test_the_next_program_on_a_private_pool_opens_it_at_once(program: Any) -> None:
    first = program(pool=None)
    assert first.said.split()[1] == "False"
    first.kill()
    second = program(pool=None)
    assert second.said.split()[1:] == ["False", "0"]


def test_an_opener_is_told_apart_from_a_later_process_of_its_id() -> None:
    here = Opener.this_process()
    assert not here.is_dead
    assert here._replace(started=here.started - 1).is_dead
    assert not here._replace(pid=0).is_dead, "nobody can say"
    assert ran_at(here.pid, time.monotonic_ns())
    assert not ran_at(here.pid, time.monotonic_ns() - 10**9 * 10**6)
    child = os.fork()
    if child == 0:
        signal.pause()
    opener = Opener.of(child, os.geteuid())
    os.kill(child, signal.SIGKILL)
    give_up = time.monotonic() + PATIENCE_S
    while not opener.is_dead:  # a zombie counts as dead
        assert time.monotonic() < give_up
    os.waitpid(child, 0)


@pytest.mark.parametrize(
    "engine",
    [
        "Cyclic(period_ns=10**7, payload=b'a', on_stale=b'stop')",
        "Netflux(send=8, receive=8, values=bytes(8), on_stale='failsafe', failsafe=bytes(8))",
        "Local()",
    ],
)
def test_other_engines_are_taken_over(serve: Any, python: Any, engine: str) -> None:
    serve()
    addresses = "" if engine == "Local()" else "remote=('127.0.0.1', 9), "
    script = (
        "import sys, shmring\nfrom shmring import Cyclic, Local, Netflux\n"
        f"ch = shmring.open('ctl', pool='plant', {addresses}engine={engine})\n"
        "print(ch.taken_over, flush=True)\nsys.stdin.readline()\n"
    )
    first = python(script)
    assert first.line() == "False"
    first.kill()
    assert python(script).line() == "True"


def test_rtstat_misses_a_producer_until_the_takeover(
    serve: Any, program: Any, shmring_namespace: str
) -> None:
    serve()
    with Watch(shmring_namespace) as watch:

        def troubles() -> set[str]:
            return {trouble.name for trouble in watch.read().troubles}

        first = program()
        assert not {"no_producer", "orphaned"} & troubles()
        reader = shmring.attach("ctl")
        reader.try_recv()
        first.kill()
        give_up = time.monotonic() + PATIENCE_S
        while not {"no_producer", "orphaned"} & troubles():
            assert time.monotonic() < give_up
        second = program()
        assert not {"no_producer", "orphaned"} & troubles()
        (channel,) = watch.read().channels
        assert (channel.opener_pid, channel.opener_alive) == (second.pid, True)
        reader.close()


def test_ls_and_gc_tell_of_it(
    serve: Any, program: Any, shmring_namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    serve()
    first = program()
    (info,) = shmring.channels(shmring_namespace)
    assert (info.opener_pid, info.opener_alive, info.producers) == (first.pid, True, 1)
    assert main(["gc", "--namespace", shmring_namespace]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    first.kill()
    give_up = time.monotonic() + PATIENCE_S
    while (info := shmring.channels(shmring_namespace)[0]).producers:
        assert time.monotonic() < give_up
    assert info.opener_alive is False
    main(["ls", "--seconds", "0"])
    assert "open, no producer" in capsys.readouterr().out
    assert main(["gc", "--namespace", shmring_namespace]) == 0
    said = capsys.readouterr().out
    assert f"left {shmring_namespace}/ctl" in said
    assert f"process {first.pid}, which opened it, has died" in said
    assert f"shmring close {shmring_namespace}/ctl" in said


def test_an_opener_that_cannot_be_looked_at_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process may be hidden, or this process has no descriptor left."""
    here = Opener.this_process()

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("rtworkers.opener.open", refuse, raising=False)
    assert not here.is_dead
    assert Opener(2**22 + 1, 0, 0, "gone").is_dead  # above the largest process id of Linux


def test_a_client_that_died_before_it_was_noted_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert Opener.of(child.pid, os.geteuid()).is_dead


def test_a_takeover_that_failed_can_be_tried_again(
    program: Any, shmring_namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = records.write
    with shmring.Pool("plant", policy="other") as pool:
        first = program()
        first.kill()
        failures = iter([OSError(errno.ENOSPC, "No space left on device")])

        def write_the_second_time(*arguments: Any) -> None:
            for failure in failures:
                raise failure
            write(*arguments)

        monkeypatch.setattr(records, "write", write_the_second_time)
        options = {"local": ("127.0.0.1", 0), "remote": REMOTE}
        with pytest.raises(OSError, match="No space"):
            pool.open("ctl", **options)
        channel = pool.open("ctl", **options)
        assert channel.taken_over
        channel.purge()
        pool.close(linger=0)
