"""One end of streams over `shmring.udt` or TCP, for `shmring bench udt`, in a separate process.

    python -m shmring_bench.udt_end sink|source '{"system": "shmring", "streams": 1, ...}'

It behaves like the programs made from ``udt_end.cpp``: the first line on standard output is
``{"port": N, "pids": [...]}``. A sink then prints a line every 20 ms: CLOCK_MONOTONIC in ns and the
bytes received so far on each stream. Both run until SIGTERM.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import shmring
from shmring import udt
from shmring_cli.ending import Told

BLOCK_BYTES = 1 << 20
SAMPLE_S = 0.02
BACKLOG = 128
_TCP = "tcp"

Receive = Callable[[bytearray], int]
Send = Callable[[bytes], object]


def main(arguments: list[str]) -> None:
    role, text = arguments
    job: dict[str, Any] = json.loads(text)
    with Told("udt_end", lasts=True) as told, ExitStack() as stack:
        work = _sink if role == "sink" else _source
        failures: list[BaseException] = []
        _beside(_do, work, stack, job, told, failures)
        told.wait()
        if failures:
            raise failures[0]


def _do(
    work: Callable[[ExitStack, dict[str, Any]], None],
    stack: ExitStack,
    job: dict[str, Any],
    told: Told,
    failures: list[BaseException],
) -> None:
    """Work in a thread. The main thread waits for its end, or for SIGTERM."""
    try:
        work(stack, job)
    except BaseException as failure:
        if not told:
            failures.append(failure)
    finally:
        told.set()


def _sink(stack: ExitStack, job: dict[str, Any]) -> None:
    port, pids, accept = (
        _listen_tcp(stack, job) if job["system"] == _TCP else _listen_udt(stack, job)
    )
    _introduce(port, pids)
    received = [0] * job["streams"]
    for number in range(len(received)):
        _beside(_receive, accept(), received, number)
    while True:
        print(time.monotonic_ns(), *received, flush=True)
        time.sleep(SAMPLE_S)


def _receive(take: Receive, received: list[int], number: int) -> None:
    room = bytearray(BLOCK_BYTES)
    with contextlib.suppress(OSError):
        while count := take(room):
            received[number] += count


def _source(stack: ExitStack, job: dict[str, Any]) -> None:
    made = _connect_tcp(stack, job) if job["system"] == _TCP else _connect_udt(stack, job)
    pids, sends = made
    senders = [_beside(_send, send) for send in sends]
    _introduce(job["port"], pids)
    for sender in senders:
        sender.join()


def _send(send: Send) -> None:
    block = bytes(BLOCK_BYTES)
    with contextlib.suppress(OSError):
        while True:
            send(block)


# --- shmring --------------------------------------------------------------------------------------


def _pool(stack: ExitStack, job: dict[str, Any]) -> shmring.Pool:
    cpu = job.get("cpu")
    cpus = None if cpu is None else [cpu]
    return stack.enter_context(shmring.Pool(cpus=cpus, namespace=job["namespace"]))


def _pids(pool: shmring.Pool) -> list[int]:
    return [os.getpid(), *(worker.pid for worker in pool.workers() if worker.pid)]


def _listen_udt(
    stack: ExitStack, job: dict[str, Any]
) -> tuple[int, list[int], Callable[[], Receive]]:
    pool = _pool(stack, job)
    listener = stack.enter_context(udt.listen((job["address"], 0), pool=pool, **job["options"]))

    def accept() -> Receive:
        connection, _ = listener.accept()
        stack.enter_context(_closing(connection))
        return connection.recv_into

    return listener.local[1], _pids(pool), accept


def _connect_udt(stack: ExitStack, job: dict[str, Any]) -> tuple[list[int], Iterator[Send]]:
    pool = _pool(stack, job)
    made = []
    for _ in range(job["streams"]):
        connection = udt.connect((job["address"], job["port"]), pool=pool, **job["options"])
        stack.enter_context(_closing(connection))
        made.append(connection.sendall)
    return _pids(pool), iter(made)


@contextlib.contextmanager
def _closing(connection: udt.UdtSocket) -> Iterator[None]:
    """Discard unsent data at the end."""
    try:
        yield
    finally:
        connection.close(linger=0)


# --- TCP ------------------------------------------------------------------------------------------


def _choose_control(stream: socket.socket, job: dict[str, Any]) -> socket.socket:
    if name := job["options"].get("congestion"):
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        except OSError as error:
            sys.exit(f"this kernel has no congestion control {name}: modprobe tcp_{name} ({error})")
    return stream


def _listen_tcp(
    stack: ExitStack, job: dict[str, Any]
) -> tuple[int, list[int], Callable[[], Receive]]:
    listener = stack.enter_context(socket.create_server((job["address"], 0), backlog=BACKLOG))

    def accept() -> Receive:
        return stack.enter_context(listener.accept()[0]).recv_into

    return listener.getsockname()[1], [os.getpid()], accept


def _connect_tcp(stack: ExitStack, job: dict[str, Any]) -> tuple[list[int], Iterator[Send]]:
    to = job["address"], job["port"]
    made = [
        _choose_control(stack.enter_context(socket.create_connection(to)), job).sendall
        for _ in range(job["streams"])
    ]
    return [os.getpid()], iter(made)


# --------------------------------------------------------------------------------------------------


def _introduce(port: int, pids: list[int]) -> None:
    print(json.dumps({"port": port, "pids": pids}), flush=True)


def _beside(work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


if __name__ == "__main__":
    main(sys.argv[1:])
