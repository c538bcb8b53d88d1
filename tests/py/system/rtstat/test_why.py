"""`rtstat why` and `rtstat post-mortem` against real workers, alive, stopped and killed."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest
from kit.commands import RTSTAT, run

import shmring

pytestmark = pytest.mark.check

MS = 1_000_000
# Half of this without its core, and the worker of a busy machine would be named as the cause.
LONG_AGO_NS = 4_000 * MS
PATIENCE_S = 60

OWNER = """
import os, sys, time, shmring
pool = shmring.Pool('line-1', policy='other')
here = pool.open(
    'ctl',
    shmring.Udp(reports='off'),
    local=('127.0.0.1', 0),
    remote=('127.0.0.1', 9),
)
for _ in range(3):
    here.send(b'late', at=time.monotonic_ns() - 4_000_000_000)
while here.tx_waiting:
    time.sleep(0.001)
time.sleep(0.1)
print(*[worker.pid for worker in pool.workers()], flush=True)
sys.stdin.read()
"""


def rtstat(*words: str, code: int | None = 0) -> str:
    wide = os.environ | {"COLUMNS": "400"}  # so that no sentence is in two lines
    return run(RTSTAT, *words, *quick(words), code=code, env=wide).stdout


def quick(words: tuple[str, ...]) -> tuple[str, ...]:
    """Without a wait between its two snapshots."""
    return ("--interval", "0") if words[0] == "why" else ()


def latest(*words: str, code: int = 0) -> dict[str, Any]:
    """The latest spell of what `rtstat why ctl --json` says."""
    spell: dict[str, Any] = json.loads(rtstat("why", "ctl", "--json", *words, code=code))["spells"][
        0
    ]
    return spell


def test_no_channel_no_answer(shmring_namespace: str) -> None:
    rtstat("why", "ctl", code=2)
    rtstat("post-mortem", "ctl", code=2)
    rtstat("why", "ctl", "-n", "0", code=1)
    rtstat("why", code=1)
    rtstat("why", "c t l", code=2)


def test_a_late_sender(shmring_open: Any, shmring_namespace: str, eventually: Any) -> None:
    here, _ = shmring_open("ctl", shmring.Udp(reports="off"))
    assert "no packet was late" in rtstat("why", "ctl")
    for index in range(20):
        here.send(b"late", at=time.monotonic_ns() - LONG_AGO_NS - index)
    eventually(lambda: here.stats().tx_late == 20)
    text = rtstat("why", f"{shmring_namespace}/ctl", "-n", "3")
    for words in ("20 packets", "enqueued_late", f"process {os.getpid()}", "the sender was late"):
        assert words in text
    answer = json.loads(rtstat("why", "ctl", "--json", "-n", "3"))
    assert answer["alive"]
    assert len(answer["packets"]) == 3
    assert answer["packets"][0]["relative"]["enqueued_ns"] >= LONG_AGO_NS
    spell = answer["spells"][0]
    assert (spell["cause"], spell["packets"]) == ("sender_late", 20)
    assert spell["verdicts"] == {"enqueued_late": 20}
    assert spell["producers"] == {str(os.getpid()): 20}


def test_a_stopped_worker(
    shmring_pool: shmring.Pool, shmring_open: Any, eventually: Any
) -> None:
    here, there = shmring_open("ctl", shmring.Udp(reports="off"))
    (worker,) = shmring_pool.workers()
    for index in range(3):
        here.send(b"x", at=time.monotonic_ns() + 300 * MS + index)
    time.sleep(0.05)
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        rtstat("why", "ctl")  # nobody needs to answer
        time.sleep(0.8)
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    for _ in range(3):
        there.recv(timeout=20)
    eventually(lambda: here.stats().tx_late == 3)
    spell = latest()
    assert spell["cause"] in ("preempted", "stopped")
    assert "missed_wake" in [event["kind"] for event in spell["events"]]
    assert spell["late_max_ns"] > 100 * MS


def test_a_sender_is_not_blamed_while_the_worker_stands_still(
    shmring_pool: shmring.Pool, shmring_open: Any, eventually: Any
) -> None:
    here, _ = shmring_open("ctl", shmring.Udp(reports="off"))
    for _ in range(3):
        here.send(b"late", at=time.monotonic_ns() - 5 * MS)
    eventually(lambda: here.stats().tx_late == 3)
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            here.send(b"due", at=time.monotonic_ns() + MS)
        time.sleep(1.2)  # a heartbeat is old after a second
        answer = json.loads(rtstat("why", "ctl", "--json"))
        text = rtstat("why", "ctl")
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    assert (answer["verdict"], answer["figures_stale"]) == ("broken", True)
    (now,) = answer["now"]
    assert (now["name"], now["counters"]["tx_waiting"]) == ("worker_stopped", 2)
    assert any("2 packets wait: those due since" in said for said in now["seen"])
    assert f"kill -CONT {worker.pid}" in now["fix"]
    assert now["since_real_ns"] < time.time_ns() - 1000 * MS
    assert "not the worker" not in text
    assert text.index("worker_stopped") < text.index("the latest 3 of 3")


def test_a_killed_worker(shmring_pool: shmring.Pool, shmring_open: Any, eventually: Any) -> None:
    here, there = shmring_open("ctl", shmring.Udp(reports="off"))
    here.send(b"x", at=time.monotonic_ns() + 10**12)  # attached from here on
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGSTOP)  # so that nothing leaves before its end
    for _ in range(3):
        here.send(b"x", at=time.monotonic_ns() + MS)
    time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    for _ in range(3):
        there.recv(timeout=20)
    eventually(lambda: here.stats().tx_late == 3)
    spell = latest()
    assert spell["cause"] == "worker_restart"
    assert "channel_taken_over" in [event["kind"] for event in spell["events"]]
    report = json.loads(rtstat("post-mortem", "ctl", "--json"))
    assert (report["alive"], report["epoch"]) == (True, 2)
    (error,) = [e for e in report["workers"][0]["errors"] if e["kind"] == "worker_died"]
    assert error["detail"] == "was ended by SIGKILL"


def test_a_queue_behind(shmring_open: Any, eventually: Any) -> None:
    """More than leaves in one call, all due at one time, by packets of different destinations."""
    here, _ = shmring_open(
        "ctl",
        shmring.Udp(tx=4096, reports="off", tolerance_ns=0, socket=shmring.Socket(gso=False)),
    )
    due = time.monotonic_ns() + 200 * MS
    for index in range(2000):
        here.send(bytes(8), at=due, to=("127.0.0.1", 20000 + index % 1000))
    eventually(lambda: here.tx_waiting == 0)
    assert here.stats().tx_late > 0
    spell = latest()
    assert spell["conclusion"]
    assert spell["packets"] > 1


def test_everything_was_killed(shmring_namespace: str, python: Any, eventually: Any) -> None:
    owner = python(OWNER)
    worker = int(owner.line())
    owner.kill_with(worker)
    eventually(lambda: "dead" in rtstat("post-mortem", "ctl", code=None).splitlines()[0])
    text = rtstat("post-mortem", "ctl", code=5)
    for words in (
        "pool line-1: dead",
        f"dead, process {worker}",
        "last heartbeat",
        "the channel was opened",
        "packets were late: enqueued_late",
        "the sender was late",
    ):
        assert words in text
    assert "not served since" in rtstat("why", "ctl", code=5)
    report = json.loads(rtstat("post-mortem", "ctl", "--json", code=5))
    assert not report["alive"]
    assert [p["verdict"] for p in report["packets"]] == ["enqueued_late"] * 3
    assert report["workers"][0]["pid"] == worker
    assert not report["workers"][0]["alive"]
    eventually(lambda: shmring.gc(namespace=shmring_namespace).segments)
    rtstat("post-mortem", "ctl", code=2)
