"""Nobody believes what a client writes about its channel's geometry: neither the worker that takes
the channel over, nor a pool that adopts it."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import needs
import pytest

import shmring
from rtworkers import paths
from shmring._ring import ffi

HERE = ("127.0.0.1", 0)
PAGE = 4096
# Places in a segment's first page.
SEGMENT_BYTES = 16
CONFIG = 32
ENGINE_BYTES = CONFIG + ffi.offsetof("shm_config_t", "engine_bytes")


def file_of(name: str, namespace: str) -> Path:
    return paths.shm_file(paths.channel_segment(namespace, name))


def word(page: mmap.mmap, at: int) -> int:
    return int.from_bytes(page[at : at + 8], "little")


def shrink_engine_part(file: Path) -> None:
    """As a client can: says in the first page that the engine has one page, and cuts the file."""
    with file.open("r+b") as opened:
        page = mmap.mmap(opened.fileno(), PAGE)
        engine_bytes, segment_bytes = word(page, ENGINE_BYTES), word(page, SEGMENT_BYTES)
        assert segment_bytes == file.stat().st_size
        assert 0 < engine_bytes < segment_bytes
        assert engine_bytes % PAGE == 0
        smaller = segment_bytes - engine_bytes + PAGE
        page[ENGINE_BYTES : ENGINE_BYTES + 8] = PAGE.to_bytes(8, "little")
        page[SEGMENT_BYTES : SEGMENT_BYTES + 8] = smaller.to_bytes(8, "little")
        page.close()
        os.truncate(file, smaller)


def test_a_smaller_engine_part_is_not_believed(shmring_pool: shmring.Pool, eventually: Any) -> None:
    """The successor maps the channels in their order, each below the one before."""
    oracle = shmring_pool.open("oracle", shmring.Udp(direction="rx"), local=HERE)
    spoiled = shmring_pool.open(
        "spoiled",
        shmring.Netflux(send=64, receive=64, cycle_ns=1_000_000),
        local=HERE,
        remote=("127.0.0.1", 9),
    )
    file = file_of("oracle", shmring_pool.namespace)
    before = file.read_bytes()[:PAGE]
    shrink_engine_part(file_of("spoiled", shmring_pool.namespace))
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: oracle.stats().epoch == 2)
    time.sleep(0.1)  # some hundred cycles, whose figures lie in the engine's part
    assert file.read_bytes()[:PAGE] == before
    eventually(lambda: spoiled.state is shmring.State.FAILED)
    assert oracle.state is shmring.State.OPEN
    with pytest.raises(shmring.ShmringError, match="spoiled"):
        spoiled.configure(sending=True)


def test_a_pool_that_adopts_asks_its_own_notes(shmring_namespace: str, eventually: Any) -> None:
    """Pool and worker die, and the client has written what it liked meanwhile."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        needs.skip("cores")
    first = serve(cores)
    try:
        alive = shmring.open("alive", pool="x", local=HERE, cpu=cores[0])
        spoiled = shmring.open(
            "spoiled",
            shmring.Udp(max_payload=500),
            pool="x",
            local=HERE,
            cpu=cores[1],
        )
        local = spoiled.local
        (info,) = [i for i in shmring.channels(shmring_namespace) if i.name == "spoiled"]
        with file_of("spoiled", shmring_namespace).open("r+b") as opened:
            page = mmap.mmap(opened.fileno(), PAGE)
            page[CONFIG : PAGE - 8] = bytes(PAGE - 8 - CONFIG)  # all that it says of itself
            page.close()
        first.kill()
        os.kill(info.worker_pid, signal.SIGKILL)
        second = serve(cores)
        try:
            eventually(lambda: spoiled.stats().epoch == 2)
            assert spoiled.local == local
            spoiled.send(b"still there", to=local)
            assert spoiled.recv(timeout=20).data == b"still there"
            assert alive.stats().epoch == 1
        finally:
            second.stop()
    finally:
        first.kill()


SERVE = """
import shmring, sys
pool = shmring.Pool("x", cpus=[int(core) for core in sys.argv[1:]], policy="other")
print("ready", flush=True)
sys.stdin.read()
pool.close()
"""


class Server:
    """A process that is the pool x."""

    def __init__(self, cores: list[int]) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", SERVE, *map(str, cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.popen.kill()
        self.popen.communicate()

    def stop(self) -> None:
        self.popen.communicate("", timeout=60)


def serve(cores: list[int]) -> Server:
    return Server(cores)
