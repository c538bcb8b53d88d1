"""A channel's memory that another process overwrites while clients send and receive: nobody dies
of it, and what comes out of every call is a result or one of the package's own errors."""

from __future__ import annotations

import mmap
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import shmring
from rtworkers import paths

pytestmark = pytest.mark.check

PAGE = 4096
TX_CURSORS = PAGE + 384  # behind status
RX_SEQUENCE_HIGH = TX_CURSORS + 512 + 16
SPOILT_S = 2.0  # a backend
PATIENCE_S = 60.0
LIFE_S = 0.15  # of one segment
WRITES = 8  # between two rests
ARRIVALS = 4  # likewise

# Does all that a client can do with a channel that is being spoilt, until it is told to end.
CLIENT = """
import faulthandler, random, sys, time
import shmring

faulthandler.enable()
print("ready", flush=True)
until, chance = time.monotonic() + float(sys.argv[1]), random.Random(int(sys.argv[2]))
HERE = ("127.0.0.1", 9)
calls = refused = taken = 0


def look_at(packet):
    return repr((packet, packet.data, packet.source, packet.sequence, packet.timestamp_ns))


def receive(end):
    global taken
    look_at(end.recv(timeout=0.002))
    taken += 1


def receive_many(end):
    global taken
    batch = end.recv_many(chance.randrange(1, 64), timeout=0.002)
    assert sum(len(packet.data) for packet in batch) <= 64 * end.max_payload
    for packet in batch:
        look_at(packet)
    taken += len(batch)


def reports(end):
    for report in end.reports(100, timeout=0):
        repr(report)
    end.reports().read(100)
    end.reports().lost


def statistics(end):
    stats = end.stats()
    repr(stats)
    repr((end.state, stats.epoch, end.local, end.remote, end.lost, end.rx_waiting, end.tx_waiting))


def send(end):
    end.send(b"x" * chance.randrange(300), timeout=0.002)


def send_later(end):
    number = end.send(b"later", end.now_ns() + 10**8, to=HERE)
    if number < 1 << 63:  # of what is spoilt, and refused as an argument
        end.replace(number, b"instead")
        end.cancel(number)


def send_many(end):
    end.send_many([b"y" * 90] * chance.randrange(1, 30), timeout=0.002)


WAYS = [receive, receive_many, reports, statistics, send, send_later, send_many]


def use(ends):
    global calls, refused
    for _ in range(chance.randrange(100)):
        calls += 1
        try:
            chance.choice(WAYS)(chance.choice(ends))
        except shmring.ShmringError:
            refused += 1


while time.monotonic() < until:
    ends = []
    try:
        for readonly in (False, False, True):
            ends.append(shmring.attach("spoilt", readonly=readonly))
        use(ends)
    except shmring.ShmringError:
        refused += 1
        time.sleep(0.002)
    finally:
        for end in ends:
            end.close()
print(calls, refused, taken)
"""


class Scribbler:
    """Another client of the segment, which writes what it likes, but leaves it in service."""

    def __init__(self, file: Path, chance: random.Random) -> None:
        self._chance = chance
        with open(file, "r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), 0)
        self._served = self._memory[PAGE : PAGE + 8]  # state and epoch

    def _value(self) -> bytes:
        other = self._place()
        return self._chance.choice(
            [
                self._chance.randbytes(8),
                self._chance.randrange(256).to_bytes(8, "little"),
                bytes(8),
                b"\xff" * 8,
                self._memory[other : other + 8],
            ]
        )

    def _place(self) -> int:
        """Half of the time among the cursors, which all lie in front."""
        most = len(self._memory) if self._chance.random() < 0.5 else 2 * PAGE
        return self._chance.randrange(PAGE // 8, most // 8) * 8

    def scribble(self) -> None:
        for _ in range(WRITES):
            at = self._place()
            self._memory[at : at + 8] = self._value()
        self._memory[PAGE : PAGE + 8] = self._served

    def close(self) -> None:
        self._memory.close()


def spoil(pool: shmring.Pool, seed: int) -> None:
    """One life of a channel, to which datagrams come."""
    chance = random.Random(seed)
    channel = pool.open(
        "spoilt",
        shmring.Udp(reports="all"),
        local=("127.0.0.1", 0),
        remote=("127.0.0.1", 9),
    )
    local = channel.local
    assert local is not None
    scribbler = Scribbler(paths.shm_file(paths.channel_segment(pool.namespace, "spoilt")), chance)
    until = time.monotonic() + LIFE_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        while time.monotonic() < until:
            for _ in range(ARRIVALS):
                stranger.sendto(chance.randbytes(chance.randrange(400)), local)
            scribbler.scribble()
            time.sleep(0.002)
    scribbler.close()
    channel.close(linger=0)  # spoilt packets wait for ever


def overwrite(namespace: str, name: str, at: int, word: int) -> None:
    file = paths.shm_file(paths.channel_segment(namespace, name))
    with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as memory:
        memory[at : at + 8] = word.to_bytes(8, "little")


@pytest.mark.parametrize("wrong", [3 << 62, (1 << 31) + 15], ids=["far", "half a lap"])
def test_waits_end_in_time_when_no_promised_packet_can_be_taken(
    shmring_pool: shmring.Pool, wrong: int
) -> None:
    channel = shmring_pool.open("spoilt", shmring.Local())
    channel.send_many([b"x"] * 20)
    channel.flush(timeout=PATIENCE_S)
    overwrite(channel.namespace, channel.name, RX_SEQUENCE_HIGH, wrong)
    for take in (channel.loan_many, channel.recv_many, channel.recv):
        with pytest.raises(shmring.ReceiveTimeout):
            take(timeout=0.02)
        with pytest.raises(shmring.ReceiveTimeout):
            take(timeout=0)
    channel.close(linger=0)


@pytest.mark.filterwarnings("error")
def test_a_grid_waits_for_no_packets_at_its_end(shmring_pool: shmring.Pool) -> None:
    grid = shmring.ticks(1_000_000, name="spoilt", pool=shmring_pool)
    grid.next(timeout=PATIENCE_S)
    overwrite(shmring_pool.namespace, "spoilt", TX_CURSORS, 1000 << 32)
    assert grid.channel._endpoint.tx_waiting == 1000
    grid.close()


def test_clients_of_a_spoilt_channel_get_results_or_errors(shmring_pool: shmring.Pool) -> None:
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"SEED={seed}")
    with subprocess.Popen(
        [sys.executable, "-P", "-c", CLIENT, str(SPOILT_S), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == "ready\n"
            life, give_up = 0, time.monotonic() + PATIENCE_S
            while client.poll() is None and time.monotonic() < give_up:
                spoil(shmring_pool, seed + life)
                life += 1
            out, err = client.communicate(timeout=1)
        finally:
            client.kill()
    assert client.returncode == 0, err
    print(out)
    calls, refused, taken = map(int, out.split())
    assert calls > 0
    assert refused > 0
    assert taken > 0
