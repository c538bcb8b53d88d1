"""Programs that send packets on a schedule, one per compared system.

Each runs in a separate process (``python -m shmring_bench.senders SYSTEM``), so that none inherits
another's threads, sockets or scheduling. The first 8 bytes of every packet are its deadline
(CLOCK_MONOTONIC, ns), which the independent receiver compares with the kernel's timestamp. The last
line on standard output is a JSON object with the sender's own results.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import socket
import struct
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from shmring.errors import RealtimeWarning
from shmring_bench import child, floor

LEAD_NS = 200_000_000
"""Time from the start of the process to the first packet, without the time to queue
the schedule."""
PAST_NS = time.monotonic_ns() - 1_000_000_000
"""A deadline that has passed on any clock."""

SPARE = 100
"""Cycles in addition to those that are received: the receiver stops by itself."""

CHANNEL = "sender"
"""Name of the measured channel."""

_HEAD = struct.Struct("=q")
_AT_ONCE = 4096
AHEAD = 64 * _AT_ONCE
"""Packets that wait at saturation, about 45 ms of them. An ordinary process that fills a ring may
lose its core for 20 ms, and an empty ring would count against the worker."""
_RTUDP_PACKET_BYTES = 1536
_RTUDP_RING_BYTES = 34 << 20
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What to send, the destination, and the core."""

    port: int
    count: int
    interval_ns: int
    payload_bytes: int = 64
    cpu: int | None = None
    seconds: float = 0.0
    ahead: int = AHEAD
    """Packets that wait at saturation."""

    @property
    def duration_s(self) -> float:
        return self.count * self.interval_ns / 1e9


def dues(job: Job) -> range:
    """Return the deadlines of all packets, starting a little later than now."""
    start = time.monotonic_ns() + LEAD_NS + job.count * 2000
    return range(start, start + job.count * job.interval_ns, job.interval_ns)


def packets(job: Job, due_ns: range) -> bytearray:
    """Return all packets of a schedule in one buffer."""
    buffer = bytearray(job.count * job.payload_bytes)
    for i, due in enumerate(due_ns):
        _HEAD.pack_into(buffer, i * job.payload_bytes, due)
    return buffer


def shm_bytes(count: int, payload_bytes: int) -> int:
    """Return the shared memory that a system of ours takes for so many packets at most."""
    from shmring import Queue, Udp
    from shmring.room import channel_bytes

    of_rtudp = min(count * _RTUDP_PACKET_BYTES, _RTUDP_RING_BYTES)
    own = channel_bytes(Udp(tx=Queue(count, payload_bytes), direction="tx"))
    return max(own, of_rtudp)


@contextlib.contextmanager
def plain_socket(job: Job) -> Iterator[socket.socket]:
    """Return a UDP socket connected to the receiver, and pin the process to its core."""
    if job.cpu is not None:
        os.sched_setaffinity(0, {job.cpu})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", job.port))
        yield sock


# --- the systems ----------------------------------------------------------------------------------


def send_with_sleep(job: Job) -> Facts:
    payload = bytearray(job.payload_bytes)
    with plain_socket(job) as sock:
        for due in dues(job):
            _HEAD.pack_into(payload, 0, due)
            wait_ns = due - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)
            sock.send(payload)
    return {}


def send_with_asyncio(job: Job) -> Facts:
    async def send() -> None:
        payload = bytearray(job.payload_bytes)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=("127.0.0.1", job.port)
        )
        for due in dues(job):
            _HEAD.pack_into(payload, 0, due)
            wait_ns = due - time.monotonic_ns()
            if wait_ns > 0:
                await asyncio.sleep(wait_ns / 1e9)
            transport.sendto(payload)
        transport.close()

    if job.cpu is not None:
        os.sched_setaffinity(0, {job.cpu})
    asyncio.run(send())
    return {}


def send_with_shmring(job: Job, **options: Any) -> Facts:
    from shmring import Pool, Queue, Udp

    cpus = None if job.cpu is None else [job.cpu]
    with (
        Pool(cpus=cpus) as pool,
        pool.open(
            CHANNEL,
            Udp(tx=Queue(job.count, job.payload_bytes), direction="tx", **options),
            remote=("127.0.0.1", job.port),
        ) as channel,
    ):
        due_ns = dues(job)
        channel.send_many(
            packets(job, due_ns),
            size=job.payload_bytes,
            at=due_ns.start,
            interval_ns=job.interval_ns,
        )
        _wait_until_sent(lambda: channel.tx_waiting, job)
        return _effective(channel)


def send_wire(job: Job) -> Facts:
    return send_with_shmring(job, align="wire")


def send_unstamped(job: Job) -> Facts:
    from shmring import Socket

    return send_with_shmring(job, socket=Socket(tx_stamp="off"), reports="off")


def send_saturated(job: Job) -> Facts:
    """Send packets whose deadline has passed, as fast as possible, for ``job.seconds``."""
    batch = _past_packets(job, min(_AT_ONCE, job.ahead))
    with _bare_channel(job, job.ahead) as channel:
        end = time.monotonic() + job.seconds
        while time.monotonic() < end:
            channel.send_many(batch, size=job.payload_bytes, at=PAST_NS, timeout=5.0)
        _wait_until_sent(lambda: channel.tx_waiting, job)
        return _effective(channel)


def send_preloaded(job: Job) -> Facts:
    """Send ``job.count`` packets whose deadline has passed, released at once."""
    with _bare_channel(job, job.count, held=True) as channel:
        channel.send_many(_past_packets(job, job.count), size=job.payload_bytes, at=PAST_NS)
        channel.release()
        _wait_until_sent(lambda: channel.tx_waiting, job)
        return _effective(channel)


@contextlib.contextmanager
def _bare_channel(job: Job, capacity: int, *, held: bool = False) -> Iterator[Any]:
    from shmring import Pool, Queue, Socket, Udp

    with (
        Pool(cpus=None if job.cpu is None else [job.cpu]) as pool,
        pool.open(
            CHANNEL,
            Udp(
                tx=Queue(capacity, job.payload_bytes),
                direction="tx",
                reports="off",
                socket=Socket(tx_stamp="off"),
            ),
            remote=("127.0.0.1", job.port),
            held=held,
        ) as channel,
    ):
        yield channel


def send_with_rtudp(job: Job) -> Facts:
    with _rtudp_endpoint(job, job.count) as endpoint:
        due_ns = dues(job)
        payload = bytearray(job.payload_bytes)
        for due in due_ns:
            _HEAD.pack_into(payload, 0, due)
            endpoint.send_data(bytes(payload), due)
        _wait_until_sent(endpoint.get_send_length, job)
        return _rtudp_facts(endpoint)


def send_preloaded_with_rtudp(job: Job) -> Facts:
    payload = bytes(_past_packets(job, 1))
    with _rtudp_endpoint(job, job.count) as endpoint:
        endpoint.stop()
        for _ in range(job.count):
            endpoint.send_data(payload, PAST_NS)
        endpoint.start()
        _wait_until_sent(endpoint.get_send_length, job)
        return _rtudp_facts(endpoint)


def send_cycles(job: Job) -> Facts:
    """Run a Netflux link without a partner. After the first values Python has nothing to do."""
    from shmring import Netflux, Pool

    cpus = None if job.cpu is None else [job.cpu]
    values = bytes(job.payload_bytes)
    with (
        Pool(cpus=cpus) as pool,
        pool.open(
            CHANNEL,
            Netflux(send=job.payload_bytes, cycle_ns=job.interval_ns, values=values),
            remote=("127.0.0.1", job.port),
        ) as link,
    ):
        _wait_until_sent(lambda: max(0, job.count + SPARE - link.link().sent), job)
        return _effective(link)


def send_cycles_with_netflux(job: Job) -> Facts:
    with netflux_main(job.cpu, job.port, job.interval_ns / 1e9) as main:
        _wait_until_sent(
            lambda: max(0, job.count + SPARE - main.sender.stats.total_packets_sent), job
        )
        return {"sent": main.sender.stats.total_packets_sent}


@contextlib.contextmanager
def netflux_main(cpu: int | None, port: int, interval_s: float = 0.005) -> Iterator[Any]:
    """Return the drop-in's `NetfluxMain`, started. It is imported by name,
    like `_rtudp_endpoint`."""
    from shmring import Pool

    module = importlib.import_module("netflux")
    with Pool(cpus=None if cpu is None else [cpu]) as pool:
        main = module.NetfluxMain(
            0, "127.0.0.1", port, send_interval=interval_s, pool=pool, verbose=False
        )
        if not main.start():
            raise OSError(None, main.receiver.error_message or main.sender.error_message)
        try:
            yield main
        finally:
            main.stop()


FLOORS = {"floor": 0, "floor-ahead": 1500}
"""Bare C, and how many ns before each deadline it sends."""

SYSTEMS: dict[str, Callable[[Job], Facts]] = {
    "shmring": send_with_shmring,
    "shmring-wire": send_wire,
    "shmring-unstamped": send_unstamped,
    "shmring-saturated": send_saturated,
    "shmring-preloaded": send_preloaded,
    "rtudp-dropin": send_with_rtudp,
    "rtudp-dropin-preloaded": send_preloaded_with_rtudp,
    "netflux": send_cycles,
    "netflux-dropin": send_cycles_with_netflux,
    "time.sleep": send_with_sleep,
    "asyncio": send_with_asyncio,
}


@contextlib.contextmanager
def _rtudp_endpoint(job: Job, capacity: int) -> Iterator[Any]:
    # By name, like a program of another distribution: shmring does not build on
    # its drop-ins.
    create_rtudp = importlib.import_module("rtudp").create_rtudp
    endpoint = create_rtudp(
        "socket",
        "127.0.0.1",
        0,
        "127.0.0.1",
        job.port,
        direction=0,
        capacity=capacity + 1,
        cpu=-1 if job.cpu is None else job.cpu,
    )
    endpoint.init_socket()
    endpoint.start()
    try:
        yield endpoint
    finally:
        endpoint.stop()
        endpoint.close_socket()


def _rtudp_facts(endpoint: Any) -> Facts:
    stats = endpoint.get_packet_stats()
    return {
        "cpu": stats["effective_cpu"],
        "policy": stats["effective_policy"],
        "sent": stats["n_packets_sent"],
    }


def _past_packets(job: Job, count: int) -> bytes:
    return _HEAD.pack(PAST_NS).ljust(job.payload_bytes, b"\0") * count


def _wait_until_sent(waiting: Callable[[], int], job: Job) -> None:
    deadline = time.monotonic() + LEAD_NS / 1e9 + job.duration_s + 10
    while waiting():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{waiting()} of {job.count} packets were not sent")
        time.sleep(0.02)


def _effective(channel: Any) -> Facts:
    stats = channel.stats()
    return {"cpu": stats.cpu, "policy": stats.policy, "sent": stats.tx_sent}


# --- starting them --------------------------------------------------------------------------------


def run(system: str, job: Job, namespace: str) -> Facts:
    """Run one of `FLOORS` or `SYSTEMS` in a separate process. Return its own results.

    Raises `OSError` with what it wrote to standard error.
    """
    timeout_s = 20 + job.duration_s + job.seconds
    if system in FLOORS:
        floor.run(
            "timed",
            timeout_s=timeout_s,
            port=job.port,
            count=job.count,
            interval_ns=job.interval_ns,
            cpu=job.cpu,
            ahead_ns=FLOORS[system],
        )
        return {"lacking": {}}
    words = [sys.executable, "-P", "-m", "shmring_bench.senders", system, json.dumps(_as_dict(job))]
    printed = child.output(words, f"{system} sender", namespace, timeout_s)
    facts: Facts = json.loads(printed.splitlines()[-1])
    return facts


def long_forms(caught: Iterable[warnings.WarningMessage]) -> dict[str, str]:
    """Return what workers lack in few words, each with its long form."""
    found = (one.message for one in caught)
    return {str(one): one.details for one in found if isinstance(one, RealtimeWarning)}


def _as_dict(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in Job.__slots__}


def main() -> int:
    parser = argparse.ArgumentParser(prog="shmring_bench.senders")
    parser.add_argument("system", choices=sorted(SYSTEMS))
    parser.add_argument("job", type=json.loads)
    arguments = parser.parse_args()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        facts = SYSTEMS[arguments.system](Job(**arguments.job))
    facts["lacking"] = long_forms(caught)
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
