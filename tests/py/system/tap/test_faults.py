"""A tool that is stopped, killed or too slow disturbs nobody; a worker that dies ends no tap."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from shmring.net import tap

MS = 1_000_000
WAIT_S = 20.0

TOOL = """
import sys
from shmring.net import tap
t = tap.open(sys.argv[1], sys.argv[2], buffer_bytes=int(sys.argv[3]))
print("taps", flush=True)
sys.stdin.readline()
t.close()
print(t.stats().seen, t.stats().lost, flush=True)
"""


def start_tool(python: Any, path: Path, buffer_bytes: int = 1 << 20) -> Any:
    process = python(TOOL.replace("sys.argv[1]", "'ctl'").replace("sys.argv[2]", repr(str(path)))
                     .replace("sys.argv[3]", str(buffer_bytes)))  # fmt: skip
    assert process.line() == "taps"
    return process


def exchange(here: Any, there: Any, count: int) -> None:
    """Everything arrives, in order, whatever a tool does."""
    sender = threading.Thread(
        target=lambda: [here.send(b"%d" % i, timeout=WAIT_S) for i in range(count)]
    )
    sender.start()
    got = [int(there.recv(timeout=WAIT_S).data) for _ in range(count)]
    sender.join()
    assert got == list(range(count))


def test_a_killed_tool_leaves_nothing_behind(
    shmring_pool: shmring.Pool,
    shmring_open: Any,
    python: Any,
    mapped: Any,
    eventually: Any,
    tmp_path: Path,
) -> None:
    here, there = shmring_open(
        name="ctl",
        there={"engine": shmring.Udp(tx=8192, socket=shmring.Socket(rcvbuf_bytes=8 << 20))},
    )
    (worker,) = shmring_pool.workers()
    tool = start_tool(python, tmp_path / "x")
    assert mapped(worker.pid)
    exchange(here, there, 500)
    tool.kill()
    exchange(here, there, 500)
    eventually(lambda: not mapped(worker.pid))
    exchange(here, there, 500)
    (after,) = shmring_pool.workers()
    assert (after.pid, after.restarts) == (worker.pid, 0)


@pytest.mark.check
def test_a_stopped_tool_loses_copies_and_nobody_a_packet(
    shmring_open: Any, python: Any, tmp_path: Path
) -> None:
    here, there = shmring_open(
        name="ctl",
        there={"engine": shmring.Udp(tx=8192, socket=shmring.Socket(rcvbuf_bytes=8 << 20))},
    )
    tool = start_tool(python, tmp_path / "x", 256 << 10)
    exchange(here, there, 100)
    os.kill(tool.pid, signal.SIGSTOP)
    try:
        exchange(here, there, 4000)  # of which the log holds an eighth or so
    finally:
        os.kill(tool.pid, signal.SIGCONT)
    tool.tell()
    seen, lost = map(int, tool.line().split())
    assert seen + lost == 4100
    assert lost > 1000


@pytest.mark.check
def test_many_tools_come_and_die(
    shmring_pool: shmring.Pool, shmring_open: Any, mapped: Any, eventually: Any, tmp_path: Path
) -> None:
    here, there = shmring_open(
        name="ctl",
        there={"engine": shmring.Udp(tx=8192, socket=shmring.Socket(rcvbuf_bytes=8 << 20))},
    )
    (worker,) = shmring_pool.workers()
    for number in range(20):
        pid = os.fork()
        if pid == 0:
            try:
                tap.open("ctl", tmp_path / str(number % 4))
                os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(1)
        here.send(b"%d" % number)
        assert there.recv(timeout=WAIT_S).data == b"%d" % number
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    eventually(lambda: not mapped(worker.pid))


def test_a_tap_goes_on_with_the_next_worker(
    shmring_pool: shmring.Pool,
    shmring_open: Any,
    eventually: Any,
    tmp_path: Path,
    tshark: Any,
) -> None:
    here, there = shmring_open(name="ctl")
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path, direction="tx") as t:
        here.send(b"before")
        assert there.recv(timeout=WAIT_S).data == b"before"
        eventually(lambda: t.stats().seen >= 1)
        os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
        eventually(lambda: t.stats().restarts == 1)
        here.send(b"behind")
        eventually(lambda: t.stats().written >= 2)
    seen = tshark(path)
    assert [packet.payload for packet in seen] == [b"before", b"behind"]
    assert seen[1].comments[1].startswith("another worker from here on, epoch 2")


def test_a_closed_channel_ends_its_taps(shmring_open: Any, tmp_path: Path, tshark: Any) -> None:
    here, _ = shmring_open(name="ctl")
    path = tmp_path / "ctl.pcapng"
    with tap.open("ctl", path, direction="tx") as t:
        here.send(b"last")
        here.flush(timeout=WAIT_S)
        here.close()
        assert t.wait(timeout=WAIT_S)
        assert t.ended == "channel closed"
    assert [packet.payload for packet in tshark(path)] == [b"last"]


@pytest.mark.check
def test_a_pool_that_ends_ends_the_taps(shmring_namespace: str, tmp_path: Path) -> None:
    pool = shmring.Pool(policy="other")
    pool.open("ctl", local=("127.0.0.1", 0))
    t = tap.open("ctl", tmp_path / "x")
    pool.close()
    assert t.wait(timeout=WAIT_S)
    assert t.ended == "channel closed"


@pytest.mark.check
def test_an_output_that_cannot_be_written_is_told(shmring_open: Any) -> None:
    here, _ = shmring_open(name="ctl")
    t = tap.open("ctl", "/dev/full")
    here.send(b"x")
    with pytest.raises(OSError, match="No space left"):
        t.wait(timeout=WAIT_S)
    assert t.ended == "error"


@pytest.mark.check
def test_dead_workers_cannot_be_tapped(
    shmring_pool: shmring.Pool, shmring_open: Any, tmp_path: Path
) -> None:
    shmring_open(name="ctl")
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        with pytest.raises(shmring.errors.WorkerFailed, match=r"not answer TAP.*a tap needs"):
            tap.open("ctl", tmp_path / "x")
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    tap.open("ctl", tmp_path / "x").close()


OTHER_USER = """
import os
from shmring.net import tap
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    tap.open("ctl", "/dev/null")
except OSError as reason:
    print(type(reason).__name__, reason, flush=True)
"""


@pytest.mark.check
@pytest.mark.needs("unprivileged")
def test_other_users_are_told_why_not(shmring_open: Any, python: Callable[..., Any]) -> None:
    shmring_open(name="ctl")
    said = python(OTHER_USER).line()
    assert said.startswith("NoPermission")
    assert "a tap needs a connection to the channel's worker" in said


@pytest.mark.check
@pytest.mark.parametrize("keep", [None, 0.1])
def test_bulk_is_copied_or_counted(
    keep: float | None, shmring_pool: shmring.Pool, tmp_path: Path
) -> None:
    there = shmring_pool.open("there", shmring.Udp(direction="rx"), local=("127.0.0.1", 0))
    here = shmring_pool.open(
        "ctl",
        shmring.Udp(tx=65536),
        local=("127.0.0.1", 0),
        remote=there.local,
    )
    options: Any = {"keep": keep, "triggers": (), "direction": "tx", "buffer_bytes": 1 << 20}
    with tap.open("ctl", tmp_path / "x", **options) as t:
        begin = time.monotonic()
        sent = 0
        while time.monotonic() - begin < 1.0:
            here.send_many([b"x" * 64] * 512, timeout=WAIT_S)
            sent += 512
        here.flush(timeout=WAIT_S)
    stats = t.stats()
    assert stats.seen + stats.lost == sent
    assert (stats.written > 0) == (keep is None)
