"""What came in while workers died: each datagram is delivered once, or counted."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtpsynth.RtpServer import RtpServer
from shmring import Impairment

LOOPBACK = ("127.0.0.1", 0)
MS = 1_000_000
DEATHS = 6  # after 8 fast ones the pool gives the worker up, and a start may fail by itself
BURST = 4096
BATCH = 64
CHANCE = random.Random(1)


def send_numbers(to: tuple[str, int], first: int, *, segment: bool) -> int:
    """A burst of numbered datagrams, with GSO if `segment`. Returns the next number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        if segment:
            sender.setsockopt(socket.IPPROTO_UDP, 103, 8)  # UDP_SEGMENT
        for start in range(first, first + BURST, BATCH):
            data = [number.to_bytes(8, "big") for number in range(start, start + BATCH)]
            for part in [b"".join(data)] if segment else data:
                sender.sendto(part, to)
    return first + BURST


def read_until_quiet(here: Any, got: list[int], quiet_s: float) -> None:
    while True:
        try:
            packet = here.recv(timeout=quiet_s)
        except shmring.ReceiveTimeout:
            return
        got.append(int.from_bytes(packet.data, "big"))


def kill_while_it_reads(pool: shmring.Pool, here: Any, first: int, *, segment: bool) -> int:
    """A worker that finds much in its socket, and dies a moment later. Returns the next number."""
    pid = pool.workers()[0].pid
    os.kill(pid, signal.SIGSTOP)
    following = send_numbers(here.local, first, segment=segment)
    os.kill(pid, signal.SIGCONT)
    time.sleep(CHANCE.uniform(0.0, 0.002))
    os.kill(pid, signal.SIGKILL)
    return following


@pytest.mark.parametrize("batches", [False, True], ids=["datagrams", "gro"])
def test_every_arrival_is_delivered_once_or_counted(
    shmring_pool: shmring.Pool, eventually: Any, batches: bool
) -> None:
    engine = shmring.Udp(
        direction="rx",
        max_payload=64,
        rx=1 << 16,
        socket=shmring.Socket(rcvbuf_bytes=16 << 20, gro=batches),
    )
    here = shmring_pool.open("ctl", engine, local=LOOPBACK)
    got: list[int] = []
    reader = threading.Thread(target=read_until_quiet, args=(here, got, 5.0))
    reader.start()
    sent = 0
    for epoch in range(2, DEATHS + 2):
        sent = kill_while_it_reads(shmring_pool, here, sent, segment=batches)
        eventually(lambda epoch=epoch: here.stats().epoch == epoch)
    reader.join()
    stats = here.stats()
    assert len(set(got)) == len(got), "delivered twice"
    assert got == sorted(got)
    assert stats.rx_lost_takeover == 0  # the socket lives on: nothing need be lost
    assert sent - len(got) == stats.rx_kernel_drops + stats.rx_overwritten


def test_what_an_emulated_link_held_is_counted(shmring_pool: shmring.Pool, eventually: Any) -> None:
    here = shmring_pool.open(
        "ctl",
        shmring.Udp(socket=shmring.Socket(rcvbuf_bytes=8 << 20)),
        local=LOOPBACK,
        impair_rx=Impairment(delay_ns=300 * MS),
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(100):
            sender.sendto(number.to_bytes(8, "big"), here.local)
    eventually(lambda: here.stats().rx_received == 100)
    os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
    eventually(lambda: here.stats().epoch == 2)
    got: list[int] = []
    read_until_quiet(here, got, 1.0)
    stats = here.stats()
    assert len(got) + stats.rx_lost_takeover == 100
    assert stats.rx_lost_takeover > 0
    assert stats.impair_rx_offered == 100


# --- every socket of a channel lives on ---------------------------------------------------------


def bound_sockets(ports: range | list[int]) -> dict[int, str]:
    """The kernel's number of the IPv4 socket bound to each of these ports. One look is not enough:
    see dropped_by_kernel in test_takeover_counts.py."""
    found: dict[int, str] = {}
    for _ in range(20):
        for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            if port in ports:
                found[port] = fields[9]
        if len(found) == len(ports):
            break
    return found


def test_the_rtcp_socket_outlives_its_worker(shmring_pool: shmring.Pool, eventually: Any) -> None:
    here = shmring_pool.open(
        "ctl",
        shmring.Rtp(rtcp=shmring.rtp.Rtcp(port="next_port")),
        local=LOOPBACK,
        remote=("127.0.0.1", 9),
    )
    ports = [here.local[1], here.local[1] + 1]
    before = bound_sockets(ports)
    assert len(before) == 2
    for epoch in (2, 3):
        os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
        eventually(lambda epoch=epoch: here.stats().epoch == epoch)
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
