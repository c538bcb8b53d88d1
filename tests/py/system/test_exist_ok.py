"""Channels that are open already: `exist_ok`, what others are told, and when the channels end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmring
from rtpsynth._mux import MuxEngine
from rtstat.snapshot import Watch
from rtworkers import paths, records
from rtworkers.control import Connection, Request, channel_body
from rtworkers.layout import Op
from rtworkers.opener import Opener, ran_at
from shmring import udt
from shmring._realtime import Shortfall
from shmring.pool import pool_for
from shmring_cli import main

PATIENCE_S = 30
REMOTE = ("127.0.0.1", 9)
OPTIONS: dict[str, Any] = {"local": ("127.0.0.1", 0), "remote": REMOTE, "exist_ok": True}

SERVER = """
import sys, shmring
pool = shmring.Pool('plant', policy='other')
print('ready', flush=True)
sys.stdin.readline()
pool.close(linger=0)
"""

# Opens "ctl", says its port, whether it made it and the sequence of its first packet, then waits.
PROGRAM = """
import sys, shmring
from shmring import Udp
try:
    ch = shmring.open('ctl', pool={pool!r}, remote=('127.0.0.1', 9), **{options!r})
except shmring.ShmringError as error:
    print('refused', error, flush=True)
else:
    first = ch.send(b'x', at=ch.now_ns() + 3600 * 10**9)
    print(ch.local[1], ch.created, first, flush=True)
if sys.stdin.readline() == 'end\\n':
    ch.close(linger=0)
    print('ended', flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def serve(python: Any, shmring_namespace: str) -> Iterator[Callable[[], Any]]:
    """Run the pool "plant" in another process. Whatever lives of it at the end is ended."""
    started: list[Any] = []

    def start(script: str = SERVER) -> Any:
        process = python(script)
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
        options = {"local": ("127.0.0.1", 0), "exist_ok": True} | options
        process = python(PROGRAM.format(pool=pool, options=options))
        process.said = process.line()
        return process

    return start


def test_a_restarted_program_finds_its_channel(serve: Any, program: Any) -> None:
    serve()
    first = program()
    port, created, sequence = first.said.split()
    assert (created, sequence) == ("True", "0")
    reader = shmring.attach("ctl")
    sent = reader.send(b"early", to=reader.local)
    assert reader.recv(timeout=PATIENCE_S).data == b"early"
    first.kill()
    second = program()
    assert second.said == f"{port} False {sent + 1}"
    assert reader.state is shmring.State.OPEN, "readers stay attached"
    assert reader.stats().epoch == 1
    assert reader.tx_waiting == 2, "what the dead one had queued is still sent"
    reader.close()


@pytest.mark.check
def test_it_reads_what_arrives_from_then_on(
    serve: Any, program: Any, shmring_namespace: str
) -> None:
    serve()
    first = program()
    other = shmring.attach("ctl")
    other.send(b"before", to=other.local)
    assert other.recv(timeout=PATIENCE_S).data == b"before"
    first.kill()
    with shmring.open("ctl", pool="plant", **OPTIONS) as channel:
        assert not channel.created
        assert channel.try_recv() is None
        channel.purge()  # what the dead one had queued
        other.send(b"after", to=other.local)
        assert channel.recv(timeout=PATIENCE_S).data == b"after"
    assert shmring.channels(shmring_namespace) == [], "the new opener ends it"


@pytest.mark.check
@pytest.mark.parametrize("existed", [True, False])
def test_of_several_that_start_at_once_one_makes_it_and_all_get_it(
    serve: Any, program: Any, existed: bool
) -> None:
    serve()
    if existed:
        program().kill()
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(program().said)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ports, created, sequences = zip(*(line.split() for line in said), strict=True)
    assert len(set(ports)) == 1, said
    assert sorted(created) == ["False", "False", str(not existed)], said
    assert sorted(sequences) == [str(i + existed) for i in range(3)], said


@pytest.mark.check
def test_of_many_threads_that_open_it_at_once_one_makes_it() -> None:
    with shmring.Pool("plant", policy="other") as pool:
        for _ in range(30):
            opened: list[shmring.Channel] = []
            begin = threading.Barrier(4)

            def open_it(opened: list[shmring.Channel] = opened, begin: Any = begin) -> None:
                begin.wait(PATIENCE_S)
                opened.append(pool.open("ctl", **OPTIONS))

            threads = [threading.Thread(target=open_it) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE_S)
            assert [channel.created for channel in opened].count(True) == 1
            assert len({channel.local for channel in opened}) == 1
            for channel in opened:
                assert pool.channels() == ["ctl"], "it ends with the last of them"
                channel.close()
            assert pool.channels() == []


@pytest.mark.check
def test_a_restarted_program_with_other_options_is_told_the_command(
    serve: Any, program: Any, shmring_namespace: str
) -> None:
    serve()
    first = program(engine=shmring.Udp(tx=64))
    first.kill()
    second = program(engine=shmring.Udp(tx=128))
    assert re.search(
        rf"opened by process {first.pid} \(python\S*\), which has died \d+\.\d s ago, and "
        "differs in tx: choose",
        second.said,
    )
    assert f"shmring end {shmring_namespace}/ctl" in second.said
    assert main(["end", "ctl"]) == 0
    assert not program(engine=shmring.Udp(tx=128)).said.startswith("refused")


def test_the_opener_that_lives_is_named(serve: Any, program: Any, shmring_namespace: str) -> None:
    serve()
    first = program(exist_ok=False)
    second = program(exist_ok=False)
    assert f"opened by process {first.pid} (python" in second.said
    assert "open it with exist_ok=True" in second.said
    assert f"shmring end {shmring_namespace}/ctl" in second.said
    third = program(pool=None)
    assert f"opened on pool 'plant' by process {first.pid}" in third.said
    assert "open it with pool='plant' and exist_ok=True" in third.said
    first.kill()
    assert f"on pool 'plant' by process {first.pid}, which has died" in program(pool=None).said
    fourth = program(exist_ok=False)
    assert re.search(rf"process {first.pid} \(python\S*\), which has died.*exist_ok", fourth.said)


@pytest.mark.check
def test_a_program_finds_its_channel_after_the_pool_was_restarted(serve: Any, program: Any) -> None:
    server = serve()
    first = program()
    server.kill()
    first.kill()
    serve()
    assert program().said.split()[1] == "False"


@pytest.mark.check
def test_the_next_program_on_a_private_pool_opens_it_at_once(program: Any) -> None:
    first = program(pool=None)
    assert first.said.split()[1] == "True"
    first.kill()
    second = program(pool=None)
    assert second.said.split()[1:] == ["True", "0"]


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


@pytest.mark.check
@pytest.mark.parametrize(
    "engine",
    [
        "Cyclic(period_ns=10**7, payload=b'a', on_stale=b'stop')",
        "Netflux(send=8, receive=8, values=bytes(8), on_stale='failsafe', failsafe=bytes(8))",
        "Local()",
    ],
)
def test_channels_of_other_engines_are_found(serve: Any, python: Any, engine: str) -> None:
    serve()
    addresses = "" if engine == "Local()" else "remote=('127.0.0.1', 9), "
    script = (
        "import sys, shmring\nfrom shmring import Cyclic, Local, Netflux\n"
        f"ch = shmring.open('ctl', pool='plant', {addresses}engine={engine}, exist_ok=True)\n"
        "print(ch.created, flush=True)\nsys.stdin.readline()\n"
    )
    first = python(script)
    assert first.line() == "True"
    first.kill()
    assert python(script).line() == "False"


@pytest.mark.check
def test_rtstat_misses_a_producer_until_the_program_is_back(
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


@pytest.mark.check
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
    main(["ls"])
    assert "open, no producer" in capsys.readouterr().out
    assert main(["gc", "--namespace", shmring_namespace]) == 0
    said = capsys.readouterr().out
    assert f"left {shmring_namespace}/ctl" in said
    assert f"process {first.pid}, which opened it, has died" in said
    assert f"shmring end {shmring_namespace}/ctl" in said


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


def test_an_open_that_failed_can_be_tried_again(
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
        with pytest.raises(OSError, match="No space"):
            pool.open("ctl", **OPTIONS)
        channel = pool.open("ctl", **OPTIONS)
        assert not channel.created
        channel.purge()
        pool.close(linger=0)


# --- openers -------------------------------------------------------------------------------------


def test_it_ends_when_the_last_opener_that_runs_ends_it(
    serve: Any, program: Any, shmring_namespace: str
) -> None:
    serve()
    first, killed, last = program(), program(), program()
    reader = shmring.attach("ctl")

    def end(process: Any) -> None:
        process.tell("end")
        assert process.line() == "ended"

    end(first)
    assert reader.state is shmring.State.OPEN
    assert reader.tx_waiting == 3, "packets that it queued are still sent"
    assert shmring.channels(shmring_namespace)[0].opener_pid == killed.pid
    killed.kill()
    assert reader.state is shmring.State.OPEN
    end(last)
    assert reader.state is shmring.State.CLOSED
    assert shmring.channels(shmring_namespace) == []
    assert program().said.split()[1] == "True"


@pytest.mark.check
def test_a_pool_that_was_restarted_knows_the_openers(
    serve: Any, program: Any, shmring_namespace: str
) -> None:
    server = serve()
    first, second = program(), program()
    server.kill()
    serve()
    for process, left in ((first, ["ctl"]), (second, [])):
        process.tell("end")
        assert process.line() == "ended"
        assert [info.name for info in shmring.channels(shmring_namespace)] == left


@pytest.mark.check
def test_an_end_that_is_not_the_last_waits_for_no_packet(program: Any) -> None:
    with shmring.Pool("plant", policy="other") as pool:
        first = pool.open("ctl", **OPTIONS)
        with pool.open("ctl", **OPTIONS) as second:
            assert (first.created, second.created) == (True, False)
            second.send(b"later", at=second.now_ns() + 3600 * 10**9)
            began = time.monotonic()
            second.close(linger=None)  # a warning would be an error here
            assert time.monotonic() - began < PATIENCE_S
        assert (first.state, first.tx_waiting) == (shmring.State.OPEN, 1)
        with pytest.warns(shmring.errors.UnsentWarning):
            first.close(linger=0.01)
        assert pool.channels() == []


DIFFERENCES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {},
        {"engine": shmring.Udp(late="drop", socket=shmring.Socket(dscp=46))},
        "late, dscp",
    ),
    ({"remote": REMOTE}, {"remote": ("127.0.0.1", 10)}, "remote"),
    ({"remote": REMOTE}, {}, "remote"),
    ({"local": ("127.0.0.1", 0)}, {"local": ("127.0.0.2", 0)}, "local"),
    ({"local": ("127.0.0.1", 0)}, {}, "local"),
    ({"local": ("127.0.0.1", 0)}, {"local": ("127.0.0.1", 9)}, "local"),
    ({}, {"engine": shmring.Local()}, "engine"),
    ({}, {"engine": shmring.Udp(tx=64)}, "tx"),
    ({}, {"engine": shmring.Udp(rx=shmring.Queue(2048, 64))}, "rx"),
    ({}, {"engine": shmring.Udp(max_payload=400)}, "max_payload"),
    ({}, {"engine": shmring.Udp(reading="shared", reports="late")}, "reading, reports"),
    ({}, {"impair": shmring.Impairment(loss=0.5)}, "impair"),
    ({}, {"share": shmring.Share(permissions=0o640)}, "permissions"),
    ({}, {"share": shmring.Share(readers=3)}, "readers"),
    (
        {"engine": shmring.Cyclic(period_ns=10**7)},
        {"engine": shmring.Cyclic(period_ns=10**8, on_stale=b"x")},
        "period_ns, on_stale",
    ),
    (
        {"engine": shmring.Netflux(send=8)},
        {"engine": shmring.Netflux(receive=8, watchdog_ns=10**9, keep_values=True)},
        "watchdog_ns, send, receive, keep_values",
    ),
    (
        {"engine": shmring.Proxy(), "remote": REMOTE},
        {"engine": shmring.Proxy(idle_ns=10**9), "remote": ("127.0.0.1", 10)},
        "remote, idle_ns",
    ),
]


@pytest.mark.check
@pytest.mark.parametrize(("opened", "asked", "names"), DIFFERENCES)
def test_the_error_names_what_differs(
    shmring_pool: shmring.Pool, opened: Any, asked: Any, names: str
) -> None:
    with shmring_pool.open("ctl", **opened):
        with pytest.raises(shmring.errors.ChannelExists) as caught:
            shmring_pool.open("ctl", exist_ok=True, **asked)
        differing = re.search(r" and differs in (.*): choose", str(caught.value))
        assert differing is not None, caught.value
        assert differing[1] == names
        assert shmring_pool.open("ctl", exist_ok=True, **opened).created is False


@pytest.mark.check
def test_port_0_matches_any_port(shmring_pool: shmring.Pool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        local = probe.getsockname()
    with shmring_pool.open("ctl", local=local) as channel:
        again = shmring_pool.open("ctl", local=(local[0], 0), exist_ok=True)
        assert again.local == channel.local == local


@pytest.mark.check
def test_the_pool_does_not_compare_with_the_segment(shmring_pool: shmring.Pool) -> None:
    """A client can write there."""
    channel = shmring_pool.open("ctl", remote=REMOTE)
    config = channel._endpoint.mapped().config
    config.late, config.local.port = config.late ^ 1, 77
    assert not shmring_pool.open("ctl", remote=REMOTE, exist_ok=True).created


@pytest.mark.check
@pytest.mark.parametrize(
    ("engine", "options", "reason"),
    [
        (shmring.Rtp(codec="pcmu"), {"remote": REMOTE}, "'rtp': each run of a program is a source"),
        (MuxEngine(), {}, "'mux': its ports belong to the program"),
    ],
)
def test_engines_that_refuse_exist_ok_say_why(
    shmring_pool: shmring.Pool, engine: Any, options: Any, reason: str
) -> None:
    with pytest.raises(shmring.errors.BadConfig, match=f"exist_ok cannot be used .* {reason}"):
        shmring_pool.open("ctl", engine, exist_ok=True, **options)
    assert shmring_pool.channels() == []
    shmring_pool.open("ctl", engine, exist_ok=False, **options).close()


@pytest.mark.check
def test_udt_refuses_exist_ok() -> None:
    exist_ok: Any = {"exist_ok": True}
    port = r"exist_ok .* a UDT port belongs to its program"
    with pytest.raises(shmring.errors.BadConfig, match=port):
        udt.Port(("127.0.0.1", 0), **exist_ok)
    with pytest.raises(shmring.errors.BadConfig, match=r"exist_ok .* a UDT connection belongs to"):
        udt.connect(REMOTE, **exist_ok)


@pytest.mark.check
def test_an_opener_beside_another_changes_no_values(
    shmring_pool: shmring.Pool, eventually: Any
) -> None:
    engine = shmring.Cyclic(period_ns=10**6, payload=b"first", on_stale=b"stop")
    with shmring_pool.open("ctl", engine) as channel:
        channel.update(b"changed")
        eventually(lambda: channel.recv(timeout=PATIENCE_S).data == b"changed")
        other = shmring_pool.open("ctl", engine, exist_ok=True, held=True)
        assert channel.state is shmring.State.OPEN
        for _ in range(5):
            assert other.recv(timeout=PATIENCE_S).data == b"changed"


# --- opens that fail after they found it ---------------------------------------------------------


def fail_once(monkeypatch: pytest.MonkeyPatch, kind: Any, method: str) -> None:
    """Let the next call of a method fail, as if memory were short."""
    works = getattr(kind, method)

    def fail(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(kind, method, works)
        raise MemoryError(method)

    monkeypatch.setattr(kind, method, fail)


def check_orphaned(namespace: str, opener_pid: int) -> None:
    """Check that the channel is served, and that its opener is the dead process."""
    (info,) = shmring.channels(namespace)
    assert (info.name, info.opener_pid, info.opener_alive) == ("ctl", opener_pid, False)
    assert info.state is shmring.State.OPEN


@pytest.mark.check
@pytest.mark.parametrize("method", ["_begin", "_use"])
def test_an_open_that_fails_late_leaves_the_channel_as_it_was(
    serve: Any,
    program: Any,
    shmring_namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    serve()
    first = program()
    reader = shmring.attach("ctl")
    first.kill()
    fail_once(monkeypatch, shmring.Channel, method)
    with pytest.raises(MemoryError):
        shmring.open("ctl", pool="plant", **OPTIONS)
    check_orphaned(shmring_namespace, first.pid)
    assert (reader.state, reader.stats().epoch) == (shmring.State.OPEN, 1)
    assert program().said.split()[1] == "False"
    assert reader.tx_waiting == 2
    reader.close()


@pytest.mark.check
def test_an_open_on_its_own_pool_that_fails_late_is_undone(
    program: Any, shmring_namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shmring.Pool("plant", policy="other") as pool:
        first = program()
        first.kill()
        fail_once(monkeypatch, shmring.Channel, "_begin")
        with pytest.raises(MemoryError):
            pool.open("ctl", **OPTIONS)
        check_orphaned(shmring_namespace, first.pid)
        assert noted_opener(shmring_namespace).pid == first.pid
        assert program().said.split()[1] == "False"
        pool.close(linger=0)


@pytest.mark.check
def test_a_cancelled_open_leaves_what_it_found(
    serve: Any, program: Any, shmring_namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    first = program()
    first.kill()
    begun, go_on = threading.Event(), threading.Event()
    begin = shmring.Channel._begin

    def wait_and_begin(channel: Any) -> None:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        begin(channel)

    monkeypatch.setattr(shmring.Channel, "_begin", wait_and_begin)

    async def cancel() -> None:
        opening = asyncio.create_task(pool_for("plant", None).aio.open("ctl", **OPTIONS))
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        opening.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(cancel())
    check_orphaned(shmring_namespace, first.pid)
    assert program().said.split()[1] == "False"


CYCLIC = """
import sys, shmring
from shmring import Cyclic
try:
    ch = shmring.open('ctl', pool='plant', remote=('127.0.0.1', 9),
                      share=shmring.Share(producers=1), exist_ok=True,
                      engine=Cyclic(period_ns=10**7, payload=b'a', on_stale={failsafe!r}))
except shmring.ShmringError as error:
    print(type(error).__name__, error, flush=True)
else:
    print(ch.created, flush=True)
sys.stdin.readline()
"""


def test_another_failsafe_payload_is_named_and_nothing_is_written(
    serve: Any, python: Any, eventually: Any
) -> None:
    serve()
    first = python(CYCLIC.format(failsafe=b"stop"))
    assert first.line() == "True"
    first.kill()
    refused = python(CYCLIC.format(failsafe=b"halt")).line()
    assert refused.startswith("ChannelExists")
    assert "differs in on_stale:" in refused
    refused = python(CYCLIC.format(failsafe="continue")).line()
    assert "differs in on_stale:" in refused
    tap = shmring.attach("ctl", readonly=True)
    assert tap.state is shmring.State.OPEN
    sent = tap.cyclic_stats().sent_failsafe
    eventually(lambda: tap.cyclic_stats().sent_failsafe > sent)
    tap.close()
    assert python(CYCLIC.format(failsafe=b"stop")).line() == "False"


@pytest.mark.check
def test_an_open_without_a_free_slot_to_send_is_undone(
    serve: Any, python: Any, shmring_namespace: str
) -> None:
    """The only slot is another program's, so the payload of `open` cannot be set."""
    serve()
    first = python(CYCLIC.format(failsafe="stop"))
    assert first.line() == "True"
    first.kill()
    other = shmring.attach("ctl")
    give_up = time.monotonic() + PATIENCE_S
    while True:  # until the slot of the dead process is free
        try:
            other.update(b"other")
            break
        except shmring.errors.NoSpace:
            assert time.monotonic() < give_up
    assert python(CYCLIC.format(failsafe="stop")).line().startswith("NoSpace")
    check_orphaned(shmring_namespace, first.pid)
    other.update(b"again")
    other.close()
    assert python(CYCLIC.format(failsafe="stop")).line() == "False"


# Opens "ctl" with one more descriptor each time, until that works.
SHORT = """
import os, resource, shmring
from shmring import Cyclic
most = max(map(int, os.listdir('/proc/self/fd')))
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
engine = Cyclic(period_ns=10**7, payload=b'a')
tried = []
for more in range(1, 60):
    resource.setrlimit(resource.RLIMIT_NOFILE, (most + more, hard))
    try:
        ch = shmring.open(
            'ctl', engine, pool='plant', remote=('127.0.0.1', 9), exist_ok=True
        )
    except Exception as error:
        tried.append(type(error).__name__)
        last = error
    else:
        print(ch.created, *dict.fromkeys(tried), len(tried) > 2, flush=True)
        break
else:
    print(last, flush=True)
"""


@pytest.mark.check
@pytest.mark.parametrize("existed", [True, False])
def test_an_open_without_descriptors_leaves_nothing_behind(
    serve: Any, python: Any, existed: bool
) -> None:
    serve()
    if existed:
        engine = "Cyclic(period_ns=10**7, payload=b'a')"
        first = python(
            "import sys, shmring\nfrom shmring import Cyclic\n"
            f"ch = shmring.open('ctl', pool='plant', remote=('127.0.0.1', 9), engine={engine})\n"
            "print(ch.created, flush=True)\nsys.stdin.readline()\n"
        )
        assert first.line() == "True"
        first.kill()
    assert python(SHORT).line() == f"{not existed} NoSpace True"


def noted_opener(namespace: str) -> Opener:
    """Return the opener that the pool recorded."""
    record = records.read(paths.pool_directory(namespace, "plant"), "ctl")
    assert record is not None
    (opener,) = record.openers
    return opener


@pytest.mark.check
def test_strict_is_checked_if_the_channel_is_open(
    program: Any, shmring_namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shmring.Pool("plant", policy="other") as pool:
        first = program()
        first.kill()
        lacking = [Shortfall("no core", "it has no core")]
        with monkeypatch.context() as patched:
            patched.setattr("shmring.pool._shortfalls", lambda *_: lacking)
            with pytest.raises(shmring.errors.NoPermission, match="strict: it has no core"):
                pool.open("ctl", strict=True, **OPTIONS)
            check_orphaned(shmring_namespace, first.pid)
        channel = pool.open("ctl", strict=True, **OPTIONS)
        assert not channel.created
        pool.close(linger=0)


@pytest.mark.check
def test_a_channel_that_is_closed_while_it_is_opened_again(
    program: Any, shmring_namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are done one after the other, and no record stays."""
    with shmring.Pool("plant", policy="other") as pool:
        program().kill()
        closing = threading.Thread(target=lambda: pool.end("ctl"))

        def close_and_look(_: Opener) -> bool:
            if closing.ident is None:
                closing.start()
                closing.join(0.5)
            return True

        monkeypatch.setattr(Opener, "is_dead", property(close_and_look))
        with contextlib.suppress(shmring.ChannelNotFound, shmring.ChannelClosed):
            pool.open("ctl", **OPTIONS)
        closing.join(PATIENCE_S)
        assert pool.channels() == []
        assert records.names(paths.pool_directory(shmring_namespace, "plant")) == []


def close_through_worker(namespace: str) -> None:
    path = paths.pool_directory(namespace, "plant") / "worker-0.sock"
    with contextlib.closing(Connection.connect(path)) as connection:
        connection.request(Request(Op.CLOSE, channel_body("ctl")))
    give_up = time.monotonic() + PATIENCE_S
    while paths.shm_file(paths.channel_segment(namespace, "ctl")).exists():
        assert time.monotonic() < give_up  # the worker answers before it removes the name


@pytest.mark.check
def test_a_channel_that_its_worker_closed_leaves_no_record(
    shmring_namespace: str, eventually: Any
) -> None:
    with shmring.Pool("plant", policy="other") as pool:
        pool.open("ctl", **OPTIONS)
        close_through_worker(shmring_namespace)
        eventually(lambda: pool.channels() == [])
        assert records.names(paths.pool_directory(shmring_namespace, "plant")) == []


@pytest.mark.check
def test_of_many_that_open_what_was_closed_one_gets_it(shmring_namespace: str) -> None:
    with shmring.Pool("plant", policy="other") as pool:
        pool.open("ctl", **OPTIONS)
        for _ in range(20):
            close_through_worker(shmring_namespace)
            opened: list[Any] = []
            refused: list[str] = []

            def open_it(opened: list[Any] = opened, refused: list[str] = refused) -> None:
                try:
                    opened.append(pool.open("ctl", **OPTIONS | {"exist_ok": False}))
                except shmring.ShmringError as caught:
                    refused.append(f"{type(caught).__name__}: {caught}")

            threads = [threading.Thread(target=open_it) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE_S)
            (channel,) = opened
            assert all(line.startswith("ChannelExists") for line in refused), refused
            assert (channel.state, channel.created) == (shmring.State.OPEN, True)


TWO_WORKERS = SERVER.replace("policy=", "cpus=[0, 1], policy=")
BESIDE = "import sys, shmring\nch = shmring.open('beside', pool='plant')\nprint(flush=True)\n"


@pytest.mark.check
@pytest.mark.parametrize("local", [("127.0.0.1", 0), None])
def test_a_revived_channel_is_found_whatever_its_port(
    serve: Any, program: Any, python: Any, shmring_namespace: str, local: Any
) -> None:
    """Its worker died while no process ran the pool."""
    server = serve(TWO_WORKERS)
    first = program(local=local)
    python(BESIDE + "sys.stdin.readline()").line()
    (served,) = [info for info in shmring.channels(shmring_namespace) if info.name == "ctl"]
    first.kill()
    server.kill()
    os.kill(served.worker_pid, signal.SIGKILL)
    serve(TWO_WORKERS)
    second = program(local=local)
    assert second.said.split()[:2] == [first.said.split()[0], "False"]


@pytest.mark.check
def test_a_name_of_a_pool_that_may_be_alive_is_refused_at_once(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes of another pid namespace cannot be seen."""
    program(pool=None)
    monkeypatch.setattr("shmring._existing.opener_of", lambda _: (4242, None))
    monkeypatch.setattr("shmring._existing.VANISH_S", 2 * PATIENCE_S)
    began = time.monotonic()
    with pytest.raises(shmring.errors.ChannelExists, match="opened on pool 'private-"):
        shmring.open("ctl", **OPTIONS)
    assert time.monotonic() - began < PATIENCE_S


# --- opens that meet other events ----------------------------------------------------------------


@pytest.mark.check
@pytest.mark.parametrize("fails", [False, True])
def test_a_channel_that_is_opened_held_again_is_held(
    program: Any, shmring_namespace: str, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    with shmring.Pool("plant", policy="other") as pool:
        program(held=True).kill()
        reader = shmring.attach("ctl")
        reader.release()
        os.kill(pool.workers()[0].pid, signal.SIGKILL)  # the open waits for its successor
        if fails:
            fail_once(monkeypatch, shmring.Channel, "_begin")
            with pytest.raises(MemoryError):
                pool.open("ctl", held=True, **OPTIONS)
            assert reader.state is shmring.State.OPEN
            assert program(held=True).said.split()[1] == "False"
        else:
            assert not pool.open("ctl", held=True, **OPTIONS).created
        assert reader.state is shmring.State.HELD
        pool.close(linger=0)


@pytest.mark.check
def test_a_channel_that_was_held_stays_so_after_a_failed_open(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shmring.Pool("plant", policy="other") as pool:
        program(held=True).kill()
        fail_once(monkeypatch, shmring.Channel, "_begin")
        with pytest.raises(MemoryError):
            pool.open("ctl", held=True, **OPTIONS)
        assert shmring.attach("ctl").state is shmring.State.HELD
        pool.close(linger=0)


@pytest.mark.check
def test_a_program_finds_its_channel_while_the_worker_is_replaced(
    serve: Any, program: Any, shmring_namespace: str
) -> None:
    serve()
    first = program()
    reader = shmring.attach("ctl")
    (served,) = shmring.channels(shmring_namespace)
    first.kill()
    os.kill(served.worker_pid, signal.SIGKILL)
    second = program()
    port, created, sequence = second.said.split()
    assert (port, created, sequence) == (first.said.split()[0], "False", "1")
    assert reader.tx_waiting == 2
    reader.close()


@pytest.mark.check
def test_the_channel_outlives_openers_that_die_at_any_moment(
    serve: Any, python: Any, program: Any
) -> None:
    serve()
    program().kill()
    reader = shmring.attach("ctl")
    script = (
        "import sys, shmring\n"
        "print('starts', flush=True)\n"
        f"ch = shmring.open('ctl', pool='plant', **{OPTIONS!r})\n"
        "sys.stdin.readline()\n"
    )
    for after_ms in range(0, 40, 2):
        pair = [python(script, stderr=subprocess.DEVNULL) for _ in range(2)]
        assert [process.line() for process in pair] == ["starts", "starts"]
        time.sleep(after_ms / 1000)
        for process in pair:
            process.close()
        assert (reader.state, reader.stats().epoch) == (shmring.State.OPEN, 1)
    assert program().said.split()[1] == "False"
    reader.close()


@pytest.mark.check
@pytest.mark.parametrize("existed", [True, False])
def test_an_open_whose_program_stopped_waiting_is_undone(
    program: Any,
    shmring_namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Any,
    existed: bool,
) -> None:
    """It was interrupted, for example. Its process lives on, so nobody could take the channel."""
    make, made, hung_up = shmring.Pool._make_channel, threading.Event(), threading.Event()

    def make_and_wait(*arguments: Any, **named: Any) -> Any:
        result = make(*arguments, **named)
        made.set()
        assert hung_up.wait(PATIENCE_S)
        return result

    with shmring.Pool("plant", policy="other") as pool:
        if existed:
            first = program()
            first.kill()
        monkeypatch.setattr(shmring.Pool, "_make_channel", make_and_wait)
        options = {"local": ["127.0.0.1", 0], "remote": list(REMOTE)}
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(paths.pool_directory(shmring_namespace, "plant") / "pool.sock"))
            request = {"op": "open", "name": "ctl", "options": options, "exist_ok": True}
            client.send(json.dumps(request).encode())
            assert made.wait(PATIENCE_S)
        hung_up.set()
        if existed:
            eventually(lambda: shmring.channels(shmring_namespace)[0].opener_pid == first.pid)
            check_orphaned(shmring_namespace, first.pid)
            assert noted_opener(shmring_namespace).pid == first.pid
        else:
            eventually(lambda: pool.channels() == [])
        pool.close(linger=0)
