"""rtstat and all listings look at what is no segment any more, or never was: it is marked, and that
is all.

What could end a process that reads a damaged mapping ends the one here that looks, not the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kit.commands import RTSTAT, run

import shmring
from rtstat.snapshot import Watch
from shmring import _host, udt
from shmring._ring import lib

pytestmark = pytest.mark.check

HERE = ("127.0.0.1", 0)
PATIENCE_S = 60.0
SEED = 20240611
NO_PROCESS = 0xFFFFFFF0  # no system call takes such an id

# Reads lines "path size": writes the bytes that follow on standard input there, reads twice, and
# says what it saw of it. Everything of every view, and every listing, is asked for.
LOOKER = """
import contextlib, io, json, sys
import shmring
import shmring_doctor
from rtstat.snapshot import Watch
from rtstat.table import values
from rtstat.selection import Selection
from rtstat.plain import overview
from rtstat.export import facts
from rtworkers import history
from shmring_cli import ls
import argparse

everything = argparse.Namespace(namespace=sys.argv[1], json=None)
nothing = argparse.Namespace(channel=[], pool=[], unhealthy=False, sort=None)
watch = Watch(sys.argv[1])
stream = sys.stdin.buffer
while line := stream.readline():
    path, size = line.decode().split()
    with open(path, "wb") as file:
        file.write(stream.read(int(size)))
    for _ in range(2):
        shot = watch.read()
        json.dumps(facts(shot, Selection(nothing)), allow_nan=False)
        overview(shot, Selection(nothing))
        for channel in shot.channels:
            channel.buckets("lateness"), channel.buckets("lateness", interval=True)
        for worker in shot.workers:
            worker.buckets()
    watch.rebase()
    with contextlib.redirect_stdout(io.StringIO()):
        ls.run(everything)
    shmring.gc(namespace=sys.argv[1], dry_run=True)
    history.errors(namespace=sys.argv[1]), history.events(namespace=sys.argv[1])
    shmring_doctor.choose_cpus()
    listed = {info.name for info in shmring.channels(sys.argv[1])}
    refused = {file.name for file in shmring.observe.unreadable(sys.argv[1])}
    assert "udp" in listed and listed.isdisjoint(refused), (listed, refused)  # of `samples`
    print(len(shot.channels), len(shot.workers), len(shot.unreadable), flush=True)
"""


class Looker:
    """The process that looks."""

    def __init__(self, namespace: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-X", "faulthandler", "-c", LOOKER, namespace],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def look(self, path: Path, content: bytes) -> tuple[int, int, int]:
        """How many channels, workers and unreadable files there are with this one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path} {len(content)}\n".encode() + content)
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"it ended with {self._process.wait(PATIENCE_S)}"
        channels, workers, unreadable = map(int, answer.split())
        return channels, workers, unreadable

    def close(self) -> int:
        self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode


@pytest.fixture
def looker(shmring_namespace: str) -> Iterator[Looker]:
    made = Looker(shmring_namespace)
    yield made
    assert made.close() == 0


def file_of(namespace: str, rest: str) -> Path:
    return Path(f"/dev/shm/shmring:{namespace}:{rest}")


@contextlib.contextmanager
def left_behind(path: Path) -> Iterator[Path]:
    """A file of a test's own, old enough not to be one in the making."""
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


class Sample(NamedTuple):
    """What a file had, and its name: a segment is read under its own name only."""

    rest: str
    content: bytes


@pytest.fixture
def samples(shmring_pool: shmring.Pool, shmring_namespace: str) -> dict[str, Sample]:
    """A whole segment of each engine, and a worker's page."""
    a = shmring_pool.open("udp", shmring.Udp(tx=shmring.Queue(16, 200)), local=HERE)
    spare = shmring_pool.open("spare", shmring.Udp(tx=shmring.Queue(16, 200)), local=HERE)
    b = shmring_pool.open("rtp", shmring.Rtp(codec="pcmu"), local=HERE, remote=a.local)
    c = shmring_pool.open(
        "netflux",
        shmring.Netflux(send=4, values=b"abcd"),
        local=HERE,
        remote=a.local,
    )
    with udt.listen(HERE, pool=shmring_pool) as listener:
        client = udt.connect(listener.local, pool=shmring_pool)
        server, _ = listener.accept(timeout=20)
        a.send(b"x", to=a.local)
        a.recv(timeout=20)
        found = {}
        with Watch(shmring_namespace) as watch:
            shot = watch.read()
        others = [channel for channel in shot.channels if channel.name != "udp"]
        rests = {channel.engine: f"c:{channel.name}" for channel in others}
        for kind, rest in (*rests.items(), ("worker", f"w:{shot.workers[0].pool}:0")):
            found[kind] = Sample(rest, file_of(shmring_namespace, rest).read_bytes())
        server.close()
        client.close()
    for end in (b, c, spare):
        end.close()
    assert set(found) == {"udp", "rtp", "netflux", "udt", "udt-port", "worker"}
    return found


def damaged(content: bytes, chance: random.Random) -> bytes:
    """A few words of it changed, most of them near the beginning, or a part of it cut off."""
    spoiled = bytearray(content)
    for _ in range(chance.choice((1, 2, 8, 64))):
        reach = chance.choice((256, 4096, 8192, 65536, len(spoiled)))
        at = chance.randrange(max(1, min(reach, len(spoiled)) - 8))
        word = chance.choice((bytes(8), b"\xff" * 8, chance.randbytes(8), b"\xff" * 7 + b"\x7f"))
        spoiled[at : at + 8] = word
    if chance.random() < 0.2:
        del spoiled[chance.randrange(len(spoiled)) :]
    return bytes(spoiled)


def opened_by(pid: int, content: bytes) -> bytes:
    """The segment as if that process had opened it."""
    fd = os.memfd_create("forged")
    try:
        os.write(fd, content)
        with _host.mapped(fd, writable=True) as segment:
            lib.shm_segment_change_opener(segment, pid)
        return os.pread(fd, len(content), 0)
    finally:
        os.close(fd)


@pytest.mark.parametrize("engine", ["udp", "rtp", "netflux", "udt", "udt-port", "worker"])
def test_damaged_segments(
    engine: str, samples: dict[str, Sample], shmring_namespace: str, looker: Looker
) -> None:
    chance = random.Random(f"{SEED} {engine}")
    rest, whole = samples[engine]
    rest = "w:garbage:0" if engine == "worker" else rest
    with left_behind(file_of(shmring_namespace, rest)) as path:
        if engine != "worker":
            looker.look(path, opened_by(NO_PROCESS, whole))
        for _ in range(60):
            looker.look(path, damaged(whole, chance))
        looker.look(path, whole)


def test_truncated_and_random_files(
    samples: dict[str, Sample], shmring_namespace: str, looker: Looker
) -> None:
    chance = random.Random(SEED)
    rest, whole = samples["udp"]
    sizes = [0, 1, 8, 4095, 4096, 4097, 8192, len(whole) - 4096, len(whole) - 1, len(whole)]
    with left_behind(file_of(shmring_namespace, rest)) as path:
        for size in (*sizes, *reversed(sizes)):
            looker.look(path, whole[:size])
            looker.look(path, chance.randbytes(size))


def test_a_segment_that_shrinks_under_the_looker_is_marked(
    samples: dict[str, Sample], shmring_namespace: str
) -> None:
    rest, whole = samples["udp"]
    name = rest.removeprefix("c:")
    with (
        left_behind(file_of(shmring_namespace, rest)) as path,
        Watch(shmring_namespace) as watch,
    ):
        path.write_bytes(whole)
        assert watch.read().channel(name) is not None
        os.truncate(path, 4096)
        old = path.stat().st_ctime - 60
        os.utime(path, (old, old))
        assert watch.read().channel(name) is None
        path.unlink()
        assert watch.read().unreadable == ()


@pytest.mark.parametrize("name", ["c:garbage", "w:garbage:0"])
def test_garbage_is_shown_and_is_a_trouble(
    shmring_namespace: str, eventually: Any, name: str
) -> None:
    with left_behind(file_of(shmring_namespace, name)) as path:
        path.write_bytes(random.Random(SEED).randbytes(200_000))

        def marked() -> dict[str, Any] | None:
            done = run(RTSTAT, "--json", code=None)
            facts = json.loads(done.stdout)
            assert (done.returncode == 3) is bool(facts["unreadable"])
            return facts["unreadable"][0] if facts["unreadable"] else None

        # A page that young may be in the making. A channel has its name when it is whole.
        row = eventually(marked) if name.startswith("w:") else marked()
    assert row is not None
    assert row["name"].startswith("garbage")
    assert row["health"] == "unreadable"
    assert row["reason"].startswith("not a ")


def test_what_is_asked_for_by_name_and_cannot_be_read_says_why(shmring_namespace: str) -> None:
    with left_behind(file_of(shmring_namespace, "c:broken")) as path:
        path.write_bytes(bytes(10_000))
        done = run(RTSTAT, "show", f"{shmring_namespace}/broken", code=2)
    assert "not a finished shmring segment" in done.stderr


def test_names_that_are_not_ours_are_left_alone(shmring_namespace: str) -> None:
    with (
        left_behind(Path(f"/dev/shm/shmring:{shmring_namespace}:x:a")) as one,
        left_behind(Path(f"/dev/shm/shmring:{shmring_namespace}:w:p:x")) as two,
        Watch(shmring_namespace) as watch,
    ):
        one.write_bytes(b"x")
        two.write_bytes(b"x")
        assert watch.read().unreadable == ()


def test_links_pipes_and_folders_keep_nobody_waiting(
    shmring_namespace: str, tmp_path: Path
) -> None:
    pipe = file_of(shmring_namespace, "c:pipe")
    link = file_of(shmring_namespace, "c:link")
    folder = file_of(shmring_namespace, "c:folder")
    os.mkfifo(pipe)
    link.symlink_to(tmp_path)
    folder.mkdir()
    try:
        with Watch(shmring_namespace) as watch:
            shot = watch.read()
        assert shot.channels == ()
        assert {item.name for item in shot.unreadable} <= {"pipe", "link", "folder"}
    finally:
        pipe.unlink()
        link.unlink()
        folder.rmdir()


def test_channels_that_come_and_go_while_they_are_looked_at(
    shmring_pool: shmring.Pool, shmring_namespace: str
) -> None:
    watcher = subprocess.Popen(
        [sys.executable, "-P", "-m", "rtstat", "--json-lines", "-i", "0.001", "-n", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert watcher.stdout is not None
    assert watcher.stderr is not None
    try:
        watcher.stdout.readline()
        seen = set()
        for i in range(100):
            shmring_pool.open(
                f"brief-{i % 7}", shmring.Udp(tx=shmring.Queue(16, 64)), local=HERE
            ).close()
            facts = json.loads(watcher.stdout.readline())
            seen |= {event["kind"] for event in facts["events"]}
            assert all(channel["name"].startswith("brief") for channel in facts["channels"])
        assert seen <= {"new", "gone", "reborn", "epoch", "reset"}
    finally:
        watcher.stdout.close()
        watcher.wait(PATIENCE_S)
    assert watcher.returncode == 0
    assert watcher.stderr.read() == b""
    watcher.stderr.close()
