"""A proxy whose memory a client overwrites, and requests that mean ill: it alone may suffer."""

from __future__ import annotations

import mmap
import os
import random
import signal
import socket
import time

from kit.wire import udp

import shmring
from rtworkers import paths
from shmring._endpoint import Endpoint
from shmring._ring import lib
from shmring.engine_channel import EngineChannel

PATIENCE_S = 30.0
PAGE = 4096
ROUNDS = 40


def passes(link: shmring.proxy.Channel, server: socket.socket) -> None:
    with udp() as client:
        client.sendto(b"there", link.local or ("", 0))
        data, source = server.recvfrom(100)
        server.sendto(data, source)
        assert client.recv(100) == b"there"


def after(epoch: int, link: shmring.proxy.Channel) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while link.stats().epoch <= epoch:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_scribbled_engine_part_hurts_no_other_channel(
    shmring_pool: shmring.Pool, shmring_namespace: str
) -> None:
    chance = random.Random(7)
    with udp() as server:
        here, there = ("127.0.0.1", 0), server.getsockname()
        spoilt = shmring_pool.open("spoilt", shmring.Proxy(), local=here, remote=there)
        fine = shmring_pool.open("fine", shmring.Proxy(), local=here, remote=there)
        (name,) = (one for one in paths.shm_names(shmring_namespace) if one.channel == "spoilt")
        file = paths.shm_file(name.posix_name)
        with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as memory:
            part = len(memory) - PAGE  # the engine's part is the last one
            for _ in range(ROUNDS):
                memory[part : part + 1024] = chance.randbytes(1024)
                passes(spoilt, server)
            pid = shmring_pool.workers()[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            after(1, fine)
            after(1, spoilt)
            # No impairment that can be: the successor takes the one that it was opened with.
            passes(spoilt, server)
        passes(fine, server)
        assert fine.forward == shmring.Impairment()
        assert fine.proxy_stats().flows_lost == 0


def test_requests_that_mean_ill_are_refused(shmring_pool: shmring.Pool) -> None:
    chance = random.Random(3)
    with udp() as server:
        link = shmring_pool.open(
            "link",
            shmring.Proxy(),
            local=("127.0.0.1", 0),
            remote=server.getsockname(),
        )
        end = EngineChannel(Endpoint("link"))
        whole = lib.SHM_PROXY_SET.to_bytes(4, "little") + (3).to_bytes(4, "little")
        refused = 0
        for size in (0, 1, 8, 199, 200, 201, 4096):
            for body in (bytes(size), chance.randbytes(size), (whole + b"\xff" * 4096)[:size]):
                try:
                    end.request(body)
                except shmring.ShmringError:
                    refused += 1
        assert refused >= 20
        assert (link.forward, link.proxy_stats().changes) == (shmring.Impairment(), 0)
        passes(link, server)
        end.close()
