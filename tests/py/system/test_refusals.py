"""What cannot be: each refusal is an exception of its own kind that names value and fix, and leaves
nothing half-open."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtworkers import paths

LOOPBACK = ("127.0.0.1", 0)


def test_another_layout_version(shmring_pool: shmring.Pool, shmring_namespace: str) -> None:
    channel = shmring_pool.open("ctl", local=LOOPBACK)
    path = paths.shm_file(paths.channel_segment(shmring_namespace, "ctl"))
    own = read_version(path)
    write_version(path, own + 1)
    try:
        for readonly in (False, True):
            with pytest.raises(
                shmring.errors.LayoutMismatch,
                match=rf"version {own + 1}, this build understands {own}: use the same",
            ):
                shmring.attach("ctl", readonly=readonly)
    finally:
        write_version(path, own)
    with shmring.attach("ctl") as other:
        other.send(b"as before", to=channel.local)
    assert channel.recv(timeout=20).data == b"as before"


VERSION_AT = 8  # bytes: behind the magic number, in every version


def read_version(path: Path) -> int:
    (version,) = struct.unpack_from("=I", path.read_bytes(), VERSION_AT)
    return int(version)


def write_version(path: Path, version: int) -> None:
    with path.open("r+b") as file:
        file.seek(VERSION_AT)
        file.write(struct.pack("=I", version))


NO_ROOM = """
import os, shmring
files = lambda: len(os.listdir("/proc/self/fd"))
with shmring.Pool(policy="other") as pool:
    first = pool.open("first", shmring.Udp(tx=shmring.Queue(16, 64)), local=("127.0.0.1", 0))
    first.send(b"queued", at=first.now_ns() + 100_000_000, to=first.local)
    before = files()
    for capacity in (4000, 200_000):  # less than is looked for beforehand, and more
        try:
            pool.open(
                "ctl",
                shmring.Udp(tx=shmring.Queue(capacity, 1400)),
                local=("127.0.0.1", 0),
            )
        except shmring.errors.NoSpace as error:
            print(error, flush=True)
        assert files() == before
    print(pool.channels(), first.recv(timeout=20).data, flush=True)
"""


@pytest.mark.needs("mount")
def test_shared_memory_is_full(python: Any) -> None:
    small = 'mount -t tmpfs -o size=2m tmpfs /dev/shm && exec "$0" -c "$1"'
    arguments = ["unshare", "--mount", "sh", "-c", small, sys.executable, NO_ROOM]
    other = python(f"import os; os.execvp('unshare', {arguments!r})")
    for text in (other.line(), other.line()):
        assert "free" in text
        assert "the most that fits, or smaller packets" in text
        assert "mount -o remount,size=..." in text
    assert other.line() == "['first'] b'queued'"
    assert other.wait() == 0


@pytest.mark.parametrize(
    ("script", "text"),
    [("#!/bin/sh\necho 'no licence' >&2\nexit 3\n", "no licence"), (None, "install shmring again")],
)
def test_a_worker_that_cannot_start(
    shmring_pool: shmring.Pool,
    leftovers: Callable[[], list[str]],
    open_files: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: str | None,
    text: str,
) -> None:
    program = tmp_path / "worker"
    if script is not None:
        program.write_text(script)
        program.chmod(0o755)
    before = open_files(), leftovers()
    with monkeypatch.context() as patch:
        patch.setenv("SHMRING_WORKER", str(program))
        with pytest.raises(shmring.errors.WorkerFailed, match=text):
            shmring_pool.open("ctl", local=LOOPBACK)
    assert (open_files(), leftovers()) == before
    assert shmring_pool.channels() == []
    assert shmring_pool.open("ctl", local=LOOPBACK).state == "open"


@pytest.mark.needs("unprivileged")
def test_a_channel_of_another_user(shmring_pool: shmring.Pool, python: Any) -> None:
    shmring_pool.open("ctl", local=LOOPBACK)
    other = python(
        "import os, shmring\n"
        "from shmring import *\n"  # what the other user may not read
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for readonly in (False, True):\n"
        "    try:\n"
        "        shmring.attach('ctl', readonly=readonly)\n"
        "    except shmring.errors.NoPermission as error:\n"
        "        print(error, flush=True)\n"
    )
    assert 'channel "ctl" belongs to another user' in other.line()
    assert "ctl" in other.line()
    assert other.wait() == 0


def test_a_batch_too_long_for_the_ring_says_how_much_was_queued(shmring_open: Any) -> None:
    here, there = shmring_open(held=True, engine=shmring.Udp(tx=shmring.Queue(4, 8)))
    there.release()
    with pytest.raises(shmring.RingFull, match=r"4 packets wait.*larger tx") as caught:
        here.send_many([b"%d" % number for number in range(10)], timeout=0)
    assert (caught.value.sent, caught.value.first_sequence) == (4, 0)
    here.release()
    assert [int(there.recv(timeout=20).data) for _ in range(4)] == [0, 1, 2, 3]


def test_a_ring_that_is_full_of_long_packets_names_packet_bytes(shmring_open: Any) -> None:
    here, _ = shmring_open(
        held=True,
        engine=shmring.Udp(tx=shmring.Queue(64, 8), max_payload=1400),
    )
    with pytest.raises(shmring.RingFull, match="larger packet_bytes"):
        here.send_many([bytes(1400)] * 64, timeout=0)
