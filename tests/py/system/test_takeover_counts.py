"""What a channel and the kernel have counted goes on when the worker is replaced."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtpsynth.RtpServer import RtpServer
from shmring import udt

LOOPBACK = ("127.0.0.1", 0)
MS = 1_000_000
SMALL_BYTES = 8192


def dropped_by_kernel(port: int) -> int:
    """What the kernel says of the IPv4 socket that is bound to this port. Its table is read in
    parts, so a look misses a socket if others are closed meanwhile."""
    for _ in range(100):
        for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                return int(fields[-1])
    raise AssertionError(f"no socket is bound to port {port}")


def overflow(to: tuple[str, int], datagrams: int = 300) -> None:
    """Send more than a small socket buffer holds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(datagrams):
            sender.sendto(bytes(1000), to)


OPEN: dict[str, Callable[[shmring.Pool], Any]] = {
    "udp": lambda pool: pool.open(
        "ctl",
        shmring.Udp(socket=shmring.Socket(rcvbuf_bytes=SMALL_BYTES)),
        local=LOOPBACK,
    ),
    "rtp": lambda pool: pool.open(
        "ctl",
        shmring.Rtp(socket=shmring.Socket(rcvbuf_bytes=SMALL_BYTES)),
        local=LOOPBACK,
        remote=("127.0.0.1", 9),
    ),
    "netflux": lambda pool: pool.open(
        "ctl",
        shmring.Netflux(
            receive=8, send=8, cycle_ns=10 * MS, socket=shmring.Socket(rcvbuf_bytes=SMALL_BYTES)
        ),
        local=LOOPBACK,
        remote=("127.0.0.1", 9),
    ),
}


@pytest.mark.parametrize("engine", OPEN)
def test_the_kernels_drops_are_counted_over_a_takeover(
    shmring_pool: shmring.Pool, engine: str, eventually: Any
) -> None:
    here = OPEN[engine](shmring_pool)
    port = here.local[1]
    here.hold()
    overflow(here.local)
    before = dropped_by_kernel(port)
    assert before > 0
    eventually(lambda: here.stats().rx_kernel_drops == before)
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGKILL)
    overflow(here.local)  # between two workers, or under the second
    eventually(lambda: here.stats().epoch == 2)
    after = dropped_by_kernel(port)
    assert after > before
    eventually(lambda: here.stats().rx_kernel_drops == after)


def overflow_while_stopped(pid: int, to: tuple[str, int]) -> None:
    os.kill(pid, signal.SIGSTOP)
    overflow(to, 1000)


def check_drops_of_ports(
    workers: Callable[[], int], to: tuple[str, int], counted: Callable[[], int], eventually: Any
) -> None:
    """Of an engine that cannot be held: its worker is stopped, and dies like that."""
    worker = workers()
    overflow_while_stopped(worker, to)
    before = dropped_by_kernel(to[1])
    assert before > 0
    os.kill(worker, signal.SIGCONT)
    eventually(lambda: counted() == before)
    overflow_while_stopped(worker, to)
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: workers() not in (0, worker))
    after = dropped_by_kernel(to[1])
    assert after > before
    eventually(lambda: counted() == after)


def test_drops_of_a_udt_port_are_counted_over_a_takeover(
    shmring_pool: shmring.Pool, eventually: Any
) -> None:
    port = udt.Port(LOOPBACK, pool=shmring_pool, rcvbuf_bytes=SMALL_BYTES)
    with port, udt.listen(port=port) as listener:
        check_drops_of_ports(
            lambda: shmring_pool.workers()[0].pid,
            listener.local,
            lambda: shmring.attach(listener.port.name, readonly=True).stats().rx_kernel_drops,
            eventually,
        )


def test_drops_of_a_servers_ports_are_counted_over_a_takeover(
    shmring_namespace: str, eventually: Any
) -> None:
    server = RtpServer()
    try:
        channel = server.create_channel(lambda *_: None, "127.0.0.1")
        (info,) = shmring.channels(shmring_namespace)
        check_drops_of_ports(
            lambda: shmring.default_pool().workers()[0].pid,
            channel.local_addr[:2],
            lambda: shmring.attach(info.name, readonly=True).stats().rx_kernel_drops,
            eventually,
        )
    finally:
        server.shutdown()


def test_a_reset_of_the_statistics_holds_over_a_takeover(
    shmring_pool: shmring.Pool, eventually: Any
) -> None:
    here = OPEN["udp"](shmring_pool)
    here.hold()
    overflow(here.local)
    eventually(lambda: here.stats().rx_kernel_drops > 0)
    here.reset_stats()
    assert here.stats().rx_kernel_drops == 0
    before = dropped_by_kernel(here.local[1])
    os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
    eventually(lambda: here.stats().epoch == 2)
    overflow(here.local)
    more = dropped_by_kernel(here.local[1]) - before
    eventually(lambda: here.stats().rx_kernel_drops == more)
