"""What the engines note: partners that fall silent, nothing to send, connections that are lost."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import shmring
from shmring import observe, udt

LOOPBACK = ("127.0.0.1", 0)
MS = 1_000_000


def kinds(channel: str | None = None) -> list[str]:
    return [event.kind for event in observe.events(channel=channel)]


def test_a_partner_that_falls_silent(shmring_pool: shmring.Pool, eventually: Any) -> None:
    one = shmring.Netflux(send=1, receive=1, values=b"1")
    here = shmring_pool.open("here", one, local=LOOPBACK, remote=("127.0.0.1", 9))
    there = shmring_pool.open("there", one, local=LOOPBACK, remote=here.local)
    here.aim(there.local)
    eventually(lambda: "netflux_alive" in kinds("here"))
    there.close()
    eventually(lambda: "netflux_timeout" in kinds("here"))
    (problem,) = [e for e in observe.errors(channel="here") if e.kind == "netflux_timeout"]
    assert problem.count >= 1


def test_nothing_to_send_when_it_is_due(shmring_pool: shmring.Pool, eventually: Any) -> None:
    channel = shmring_pool.open(
        "mic",
        shmring.Rtp(underrun="resume", direction="tx"),
        local=LOOPBACK,
        remote=("127.0.0.1", 9),
    )
    channel.send(bytes(160))
    time.sleep(0.3)
    channel.send(bytes(160))
    eventually(lambda: "rtp_underrun" in kinds("mic"))


def test_a_connection_that_is_lost_with_its_worker(
    shmring_pool: shmring.Pool, shmring_namespace: str, eventually: Any
) -> None:
    with (
        udt.listen(LOOPBACK, pool=shmring_pool) as listener,
        udt.connect(listener.local, pool=shmring_pool) as client,
    ):
        server, _ = listener.accept(timeout=20)
        client.send(b"x")
        os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
        eventually(lambda: "udt_broken" in kinds())
        assert [e for e in observe.errors(shmring_pool.name) if e.kind == "udt_broken"]
        server.close()
