"""`shmring end`, `hold`, `release` and `purge`, on channels of processes alive and dead."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.waiting import until

import shmring
from shmring import control
from shmring._pool_server import RemotePool
from shmring_cli import main

PATIENCE_S = 30
FAR_NS = 3600 * 10**9

SERVER = """
import sys, shmring
pool = shmring.Pool('plant', policy='other')
print('ready', *pool.channels(), flush=True)
sys.stdin.readline()
pool.close()
print('ended', flush=True)
"""

# Queues packets for the next hour, says so, and prints the error of a send on each line it gets.
OPENER = """
import sys, shmring
ch = shmring.open('ctl', pool={pool!r}, local=('127.0.0.1', {port}), remote=('127.0.0.1', 9),
                  engine=shmring.Udp(tx=64), **{options!r})
for _ in range({packets}):
    ch.send(b'x', at=ch.now_ns() + 3600 * 10**9)
print(ch.local[1], flush=True)
for line in sys.stdin:
    try:
        ch.send(b'y')
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    else:
        print('sent', flush=True)
"""


def opener(pool: str | None, packets: int = 12, port: int = 0, **options: Any) -> str:
    return OPENER.format(pool=pool, packets=packets, port=port, options=options)


@pytest.fixture
def serve(python: Any, shmring_namespace: str) -> Iterator[Callable[[], Any]]:
    """Run the pool "plant" in another process. Whatever lives of it at the end is ended."""
    started: list[Any] = []

    def start() -> Any:
        process = python(SERVER)
        started.append(process)
        process.channels = process.line().removeprefix("ready").split()
        return process

    yield start
    for process in started:
        process.close()
    shmring.Pool("plant", policy="other").close(linger=0)  # adopts its workers
    shmring.gc(namespace=shmring_namespace)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line of `shmring` in this process. Returns exit code, output, errors."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(words)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.mark.parametrize("pool", ["plant", None])
def test_end_ends_the_channel_of_another_program(
    pool: str | None, serve: Any, python: Any, command: Any, shmring_namespace: str
) -> None:
    if pool is not None:
        serve()
    program = python(opener(pool))
    port = int(program.line())
    code, text, _ = command("end", "ctl")
    assert code == 0
    assert text == (
        f"ended {shmring_namespace}/ctl: 12 packets that waited were dropped, still attached: "
        f"process {program.pid}\n"
    )
    program.tell()
    assert program.line().startswith("ChannelClosed")
    assert shmring.channels(shmring_namespace) == []
    eventually_bound(port)
    again = shmring.open("ctl", pool=pool, local=("127.0.0.1", port))  # the program still runs
    again.close()


def eventually_bound(port: int) -> None:
    """Wait until the closed channel's pool has closed its socket, too."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                assert time.monotonic() < give_up, "the port is in use"
                time.sleep(0.02)
            else:
                return


@pytest.mark.check
def test_a_program_whose_channel_was_closed_opens_it_again_at_once(
    shmring_pool: shmring.Pool,
) -> None:
    first = shmring_pool.open("ctl", local=("127.0.0.1", 0))
    port = first.local
    control.end("ctl")
    with shmring_pool.open("ctl", local=port) as second:
        assert shmring_pool.channels() == ["ctl"]
        first.close()
        assert second.state is shmring.State.OPEN, "the end of the former one closed it"
        second.send(b"x", to=second.local)
        assert second.recv(timeout=PATIENCE_S).data == b"x"


@pytest.mark.check
def test_a_restarted_worker_does_not_revive_what_was_closed(
    shmring_pool: shmring.Pool, shmring_namespace: str, eventually: Any
) -> None:
    kept = shmring_pool.open("kept", local=("127.0.0.1", 0))
    shmring_pool.open("ctl", local=("127.0.0.1", 0))
    control.end("ctl")
    eventually(lambda: shmring_pool.channels() == ["kept"])
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: kept.stats().epoch == 2)
    assert [info.name for info in shmring.channels(shmring_namespace)] == ["kept"]


@pytest.mark.check
def test_close_after_the_death_of_the_opener(
    serve: Any, python: Any, command: Any, shmring_namespace: str
) -> None:
    serve()
    program = python(opener("plant", packets=1))
    assert program.line()
    program.kill()
    code, text, _ = command("end", "ctl")
    assert code == 0
    assert text == f"ended {shmring_namespace}/ctl: 1 packet that waited was dropped\n"
    shmring.open("ctl", pool="plant", local=("127.0.0.1", 0)).close()


@pytest.mark.check
def test_close_after_the_death_of_the_pool(
    serve: Any, python: Any, command: Any, shmring_namespace: str
) -> None:
    server = serve()
    program = python(opener("plant"))
    assert program.line()
    server.kill()
    code, text, _ = command("end", "ctl")
    assert code == 0
    assert "12 packets that waited were dropped" in text
    assert serve().channels == []


@pytest.mark.check
def test_close_tells_what_a_stopped_worker_may_still_send(
    serve: Any, python: Any, command: Any, shmring_namespace: str
) -> None:
    serve()
    program = python(opener("plant"))
    assert program.line()
    (info,) = shmring.channels(shmring_namespace)
    os.kill(info.worker_pid, signal.SIGSTOP)
    try:
        code, text, _ = command("end", "ctl")
    finally:
        os.kill(info.worker_pid, signal.SIGCONT)
    assert code == 0
    assert text.startswith(
        f"ended {shmring_namespace}/ctl: 0 packets that waited were dropped, and 12 packets may "
        "still be sent: the worker did not answer, still attached: "
    )
    assert shmring.channels(shmring_namespace) == []


@pytest.mark.check
@pytest.mark.parametrize("pool", ["plant", None])
def test_close_names_the_process_of_a_stopped_pool(
    pool: str | None, serve: Any, python: Any, command: Any, shmring_namespace: str
) -> None:
    """As Ctrl-Z does it to `shmring up`, or to a program with its private pool."""
    server = None if pool is None else serve()
    program = python(opener(pool))
    assert program.line()
    (info,) = shmring.channels(shmring_namespace)
    stopped = [info.worker_pid, program.pid if server is None else server.pid]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        code, _, text = command("end", "ctl")
        seconds = time.monotonic() - began
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert code == 2
    assert seconds < 2, "it waited for an answer that cannot come"
    named = stopped[0] if server is None else stopped[1]
    assert f"(process {named}) is stopped" in text
    assert f"kill -CONT {named}" in text
    assert command("hold", "ctl")[0] == 0, "the channel was ended after the command had given up"
    if server is not None:
        assert RemotePool(shmring_namespace, "plant").channels() == ["ctl"]


@pytest.mark.check
def test_close_after_the_death_of_everybody(
    serve: Any, python: Any, command: Any, shmring_namespace: str
) -> None:
    server = serve()
    program = python(opener("plant"))
    assert program.line()
    (info,) = shmring.channels(shmring_namespace)
    server.kill()
    program.kill()
    os.kill(info.worker_pid, signal.SIGKILL)
    code, text, _ = command("end", "ctl")
    assert code == 0
    assert text == f"ended {shmring_namespace}/ctl: 12 packets that waited were dropped\n"
    assert shmring.channels(shmring_namespace) == []


@pytest.mark.check
def test_a_client_that_died_after_the_worker_is_not_attached(
    serve: Any, python: Any, command: Any, shmring_namespace: str
) -> None:
    """The worker is stopped meanwhile, so it never notes the client's death."""
    server = serve()
    program = python(opener("plant"))
    assert program.line()
    (info,) = shmring.channels(shmring_namespace)
    os.kill(info.worker_pid, signal.SIGSTOP)
    program.kill()
    os.kill(info.worker_pid, signal.SIGKILL)
    server.kill()
    code, text, _ = command("end", "ctl")
    assert code == 0
    assert "still attached" not in text


def test_hold_release_and_purge_take_patterns(
    serve: Any, command: Any, shmring_namespace: str
) -> None:
    serve()
    names = ("axis-1", "axis-2", "other")
    channels = [
        shmring.open(name, pool="plant", local=("127.0.0.1", 0), remote=("127.0.0.1", 9))
        for name in names
    ]
    for channel in channels:
        channel.send(b"x", at=channel.now_ns() + FAR_NS)
    code, text, _ = command("hold", f"{shmring_namespace}/axis-*", "axis-1")
    assert (code, text) == (
        0,
        f"held {shmring_namespace}/axis-1: 1 packet waits\n"
        f"held {shmring_namespace}/axis-2: 1 packet waits\n",
    )
    assert [channel.state.value for channel in channels] == ["held", "held", "open"]
    assert command("hold", "axis-1")[1] == f"{shmring_namespace}/axis-1 was held already\n"
    code, text, _ = command("purge", "axis-1", "--json")
    (facts,) = json.loads(text)
    assert facts == {
        "action": "purge",
        "name": "axis-1",
        "namespace": shmring_namespace,
        "pool": "plant",
        "before": "held",
        "waiting": 1,
        "dropped": 1,
        "left": 0,
        "clients": [os.getpid()],
        "done": True,
    }
    assert [channel.tx_waiting for channel in channels] == [0, 1, 1]
    assert command("release", "axis-?")[0] == 0
    assert {channel.state.value for channel in channels} == {"open"}
    for channel in channels:
        channel.close(linger=0)


@pytest.mark.check
@pytest.mark.parametrize("action", ["hold", "release"])
def test_only_a_purge_counts_what_is_dropped(
    serve: Any, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """Another program may cancel a packet at the same time."""
    serve()
    channel = shmring.open("ctl", pool="plant", remote=("127.0.0.1", 9))
    sequence = channel.send(b"x", at=channel.now_ns() + FAR_NS)
    ask = control._Target.ask

    def cancel_and_ask(*args: Any) -> None:
        assert channel.cancel(sequence)
        until(lambda: channel.stats().tx_cancelled != 0)
        ask(*args)

    monkeypatch.setattr(control._Target, "ask", cancel_and_ask)
    assert getattr(control, action)("ctl").dropped == 0
    channel.close(linger=0)


@pytest.mark.check
def test_what_is_not_there_is_a_failure(command: Any, shmring_namespace: str) -> None:
    code, text, errors = command("end", "nothing", "nowhere")
    assert (code, text) == (2, "")
    for name in ("nothing", "nowhere"):
        assert f"no channel {name!r} is open in namespace {shmring_namespace!r}" in errors
    code, _, errors = command("hold", "axis-*")
    assert code == 2
    assert f"no channel in namespace {shmring_namespace!r} matches 'axis-*'" in errors
    code, text, _ = command("purge", "nothing", "--json")
    assert code == 2
    assert json.loads(text)[0]["done"] is False
