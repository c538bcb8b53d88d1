"""What came in while workers died: each datagram is delivered once, or counted."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtpsynth.RtpServer import RtpServer
from shmring import Impairment

LOOPBACK = ("127.0.0.1", 0)
MS = 1_000_000
DEATHS = 6


class Flood(threading.Thread):
    """Numbered datagrams to one address until it is told to stop."""

    def __init__(self, to: tuple[str, int], *, burst: int = 30, segment: bool = False) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._to = to
        self._burst = burst
        self._segment = segment
        self._over = threading.Event()

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            if self._segment:
                sender.setsockopt(socket.IPPROTO_UDP, 103, 8)  # UDP_SEGMENT
            while not self._over.wait(0.001):
                numbers = range(self.sent, self.sent + self._burst)
                data = [number.to_bytes(8, "big") for number in numbers]
                for part in [b"".join(data)] if self._segment else data:
                    sender.sendto(part, self._to)
                self.sent += self._burst

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def flood(to: tuple[str, int], **options: Any) -> Iterator[Flood]:
    thread = Flood(to, **options)
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()


def read_until_quiet(here: Any, got: list[int], quiet_s: float) -> None:
    while True:
        try:
            packet = here.recv(timeout=quiet_s)
        except shmring.ReceiveTimeout:
            return
        got.append(int.from_bytes(packet.data, "big"))


def kill_workers(pool: shmring.Pool, here: Any, eventually: Any) -> None:
    for _ in range(DEATHS):
        time.sleep(0.2)
        epoch = here.epoch
        os.kill(pool.workers()[0].pid, signal.SIGKILL)
        eventually(lambda epoch=epoch: here.epoch > epoch)


@pytest.mark.parametrize("batches", [False, True], ids=["datagrams", "gro"])
def test_every_arrival_is_delivered_once_or_counted(
    shmring_pool: shmring.Pool, eventually: Any, batches: bool
) -> None:
    here = shmring_pool.open(
        "ctl",
        direction="rx",
        local=LOOPBACK,
        gro=batches,
        rx_capacity=1 << 16,
        rcvbuf_bytes=8 << 20,
    )
    got: list[int] = []
    reader = threading.Thread(target=read_until_quiet, args=(here, got, 3.0))
    reader.start()
    with flood(here.local, burst=64 if batches else 30, segment=batches) as sender:
        kill_workers(shmring_pool, here, eventually)
    reader.join()
    stats = here.stats()
    assert here.epoch > DEATHS
    assert len(set(got)) == len(got), "delivered twice"
    assert got == sorted(got)
    counted = stats.rx_kernel_drops + stats.rx_overwritten + stats.rx_lost_takeover
    assert sender.sent - len(got) == counted
    assert stats.rx_lost_takeover == 0  # the socket lives on: nothing need be lost


def test_what_an_emulated_link_held_is_counted(shmring_pool: shmring.Pool, eventually: Any) -> None:
    here = shmring_pool.open(
        "ctl",
        local=LOOPBACK,
        rcvbuf_bytes=8 << 20,
        impair_rx=Impairment(delay_ns=300 * MS),
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(100):
            sender.sendto(number.to_bytes(8, "big"), here.local)
    eventually(lambda: here.stats().rx_received == 100)
    os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
    eventually(lambda: here.epoch == 2)
    got: list[int] = []
    read_until_quiet(here, got, 1.0)
    stats = here.stats()
    assert len(got) + stats.rx_lost_takeover == 100
    assert stats.rx_lost_takeover > 0
    assert stats.impair_rx_offered == 100


# --- every socket of a channel lives on ---------------------------------------------------------


def bound_sockets(ports: range | list[int]) -> dict[int, str]:
    """The kernel's number of the IPv4 socket bound to each of these ports."""
    found = {}
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        port = int(fields[1].rpartition(":")[2], 16)
        if port in ports:
            found[port] = fields[9]
    return found


def test_the_rtcp_socket_outlives_its_worker(shmring_pool: shmring.Pool, eventually: Any) -> None:
    here = shmring_pool.open_rtp("ctl", local=LOOPBACK, remote=("127.0.0.1", 9), rtcp="next_port")
    ports = [here.local[1], here.local[1] + 1]
    before = bound_sockets(ports)
    assert len(before) == 2
    for epoch in (2, 3):
        os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
        eventually(lambda epoch=epoch: here.epoch == epoch)
        assert bound_sockets(ports) == before
    here.close()
    assert bound_sockets(ports) == {}


def test_the_ports_of_a_server_outlive_its_worker(shmring_namespace: str, eventually: Any) -> None:
    server = RtpServer()
    try:
        channels = [server.create_channel(lambda *_: None, "127.0.0.1") for _ in range(50)]
        ports = [channel.local_addr[1] for channel in channels]
        before = bound_sockets(ports)
        assert len(before) == len(ports)
        pool = shmring.default_pool()
        worker = pool.workers()[0].pid
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: pool.workers()[0].pid != worker)
        eventually(lambda: len(bound_sockets(ports)) == len(ports))
        assert bound_sockets(ports) == before
        channels[25].close()
        eventually(lambda: ports[25] not in bound_sockets(ports))
        assert len(bound_sockets(ports)) == len(ports) - 1
    finally:
        server.shutdown()
    eventually(lambda: bound_sockets(ports) == {})
