"""Somebody cuts files in shared memory short, again and again: no process dies of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.commands import SHMRING, run

import shmring
from rtworkers import paths
from shmring import udt
from shmring.errors import LoanOverwritten

pytestmark = pytest.mark.check

HERE = ("127.0.0.1", 0)
PAGE = 4096
NOBODY = 65534
LOOK_S = 1.5
PATIENCE_S = 60.0

# Looks at everything of a namespace in every way there is, until it is told to end.
LOOKER = """
import sys, time
import shmring
from shmring import observe
from rtstat.snapshot import Watch
from rtstat.selection import Selection
from rtstat.plain import overview
from rtstat.export import facts
from rtstat.metrics import Collector
from prometheus_client import CollectorRegistry, generate_latest
import argparse, json

space, until = sys.argv[1], time.monotonic() + float(sys.argv[2])
nothing = argparse.Namespace(channel=[], pool=[], unhealthy=False, sort=None)
watch, looks = Watch(space), 0
registry = CollectorRegistry()
registry.register(Collector(Watch(space)))
while time.monotonic() < until:
    shot = watch.read()
    json.dumps(facts(shot, Selection(nothing)), allow_nan=False)
    overview(shot, Selection(nothing))
    shmring.channels(space)
    shmring.observe.unreadable(space)
    observe.workers(namespace=space)
    shmring.gc(namespace=space, dry_run=looks % 2 == 0)
    assert b"shmring_channel_tx_sent_packets" in generate_latest(registry)
    looks += 1
print(looks)
"""


def file_of(name: str, namespace: str) -> Path:
    return paths.shm_file(paths.channel_segment(namespace, name))


def cut(file: Path, size: int = 0) -> None:
    os.truncate(file, size)


def rewrite(file: Path, content: bytes) -> None:
    """A file of another user, if this one may give it away; made anew if it is gone."""
    try:
        fd = os.open(file, os.O_WRONLY | os.O_TRUNC)
    except FileNotFoundError:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with contextlib.suppress(PermissionError):
            os.fchown(fd, NOBODY, NOBODY)
    with os.fdopen(fd, "wb") as opened:
        opened.write(content)


def send_for_ever(end: Any) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        end.send(b"x" * 500)
        time.sleep(0.001)


def test_those_who_are_attached_get_an_error(shmring_pool: shmring.Pool, eventually: Any) -> None:
    channel = shmring_pool.open("short", local=HERE, remote=("127.0.0.1", 9))
    oracle = shmring_pool.open("oracle", local=HERE)
    tap = shmring.attach("short", readonly=True)
    channel.send(b"before")
    eventually(lambda: channel.tx_waiting == 0)
    cut(file_of("short", shmring_pool.namespace))
    with pytest.raises(shmring.ShmringError, match="short"):
        send_for_ever(channel)
    with pytest.raises(shmring.ShmringError, match="short"):
        channel.recv(timeout=5)
    with pytest.raises(shmring.ShmringError, match="short"):
        tap.recv(timeout=5)
    eventually(lambda: channel.state is shmring.State.FAILED)
    oracle.send(b"x", to=oracle.local)
    assert oracle.recv(timeout=5).data == b"x"
    assert [worker.restarts for worker in shmring_pool.workers()] == [0]
    for end in (tap, channel, oracle):
        end.close()


def test_the_worker_fails_the_channel_and_says_why(
    shmring_pool: shmring.Pool, eventually: Any
) -> None:
    """The rest of the first pages is left: clients that touch no more of it hear it there."""
    channel = shmring_pool.open("short", local=HERE, remote=("127.0.0.1", 9))
    watcher = shmring.attach("short", readonly=True)
    file = file_of("short", shmring_pool.namespace)
    cut(file, 2 * PAGE)
    eventually(lambda: watcher.state is shmring.State.FAILED)
    with pytest.raises(shmring.ShmringError, match="cut short"):
        watcher.recv(timeout=5)
    with pytest.raises(shmring.ShmringError, match="cut short"):
        watcher.stats()
    assert [worker.restarts for worker in shmring_pool.workers()] == [0]
    channel.close()
    watcher.close()


def test_a_loan_from_a_short_file_is_overwritten(
    shmring_pool: shmring.Pool, eventually: Any
) -> None:
    channel = shmring_pool.open("short", local=HERE)
    for _ in range(3):
        channel.send(b"lent", to=channel.local)
    eventually(lambda: channel.rx_waiting == 3)
    loan = channel.loan_many()
    assert (bytes(loan[0].data), loan.overwritten) == (b"lent", 0)
    cut(file_of("short", shmring_pool.namespace))
    assert bytes(loan[1].data) == bytes(4)
    assert loan.overwritten == 3
    with pytest.raises(LoanOverwritten, match=r"3 of 3 .*the channel's file was cut"):
        loan.release()
    channel.detach()


def test_many_short_files_and_restarts_give_up_no_core(
    shmring_pool: shmring.Pool, eventually: Any
) -> None:
    """Each successor finds another file cut short; eight deaths in a row would end the core."""
    oracle = shmring_pool.open("oracle", local=HERE)
    spoiled = [shmring_pool.open(f"short-{i}", local=HERE) for i in range(9)]
    for number, channel in enumerate(spoiled):
        cut(file_of(channel.name, shmring_pool.namespace), number * PAGE)
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, 9)
    eventually(lambda: oracle.stats().epoch == 2)
    oracle.send(b"x", to=oracle.local)
    assert oracle.recv(timeout=20).data == b"x"
    time.sleep(0.3)
    (worker,) = shmring_pool.workers()
    assert (worker.state, worker.restarts) == ("running", 1)
    for channel in spoiled:
        channel.close()


@pytest.fixture
def looker(shmring_namespace: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", LOOKER, shmring_namespace, str(LOOK_S)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_tools_that_look_survive_a_toggled_file(
    shmring_pool: shmring.Pool, looker: subprocess.Popen[str]
) -> None:
    shmring_pool.open("ctl", local=HERE)
    whole = file_of("ctl", shmring_pool.namespace).read_bytes()
    pages = [name for name in paths.shm_names(shmring_pool.namespace) if name.pool is not None]
    page = paths.shm_file(pages[0].posix_name).read_bytes()
    space = shmring_pool.namespace
    fakes = {
        file_of("fake", space): whole,
        paths.shm_file(paths.worker_page(space, "fake", 0)): page,
    }
    try:
        toggles = 0
        while looker.poll() is None:
            for fake, content in fakes.items():
                rewrite(fake, content)
                with contextlib.suppress(FileNotFoundError):  # the collector has removed it
                    cut(fake, (0, PAGE, 2 * PAGE, len(content) // 2)[toggles % 4])
            toggles += 1
        assert looker.returncode == 0
        assert looker.stdout is not None
        assert int(looker.stdout.read()) > 0
        assert toggles > 10
    finally:
        for fake in fakes:
            fake.unlink(missing_ok=True)


def test_ls_shows_what_cannot_be_read(shmring_pool: shmring.Pool) -> None:
    shmring_pool.open("good", local=HERE)
    fake = file_of("bad", shmring_pool.namespace)
    fake.write_bytes(file_of("good", shmring_pool.namespace).read_bytes()[: 2 * PAGE])
    try:
        assert [file.name for file in shmring.observe.unreadable(shmring_pool.namespace)] == ["bad"]
        assert [info.name for info in shmring.channels(shmring_pool.namespace)] == ["good"]
        plain = run(SHMRING, "ls", code=None)
        assert plain.returncode != 0
        assert "bad" in plain.stdout
        assert "damaged" in plain.stdout
        rows = json.loads(run(SHMRING, "ls", "--json", code=None).stdout)
        (row,) = [row for row in rows if row["kind"] == "unreadable"]
        assert row["name"] == "bad"
        assert "uid" in row["owner"]
    finally:
        fake.unlink()


def test_udt_ends_get_an_error(shmring_namespace: str, eventually: Any) -> None:
    with udt.listen(("127.0.0.1", 0)) as listener, udt.connect(listener.local) as here:
        there, _ = listener.accept(timeout=20)
        here.send(b"hello")
        assert there.recv(100, timeout=20) == b"hello"
        for name in paths.shm_names(shmring_namespace):
            if name.channel is not None:
                cut(paths.shm_file(name.posix_name), PAGE)
        with pytest.raises((OSError, EOFError)):
            send_for_ever(here)
        there.close()
