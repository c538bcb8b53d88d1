"""The independent side: plain UDP sockets and a plain clock, without any code of shmring."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from pathlib import Path

import numpy as np
import wire
from stage import ENDED, FINISH, READY, Board

SO_TIMESTAMPNS = 35
SO_RXQ_OVFL = 40
SO_RCVBUFFORCE = 33
RCVBUF_BYTES = 64 << 20
STILL_NS = 5_000_000


def receiver(board: Board, life: int, output: str, sockets: int) -> None:
    """Write a line of every datagram that comes to one of `sockets` ports; the ports stand in
    `output`.ports."""
    socks = [_socket() for _ in range(sockets)]
    ports = Path(f"{output}.ports")
    ports.write_text(" ".join(str(sock.getsockname()[1]) for sock in socks))
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    poll = select.epoll()
    for sock in socks:
        poll.register(sock, select.EPOLLIN)
    by_fd = {sock.fileno(): (index, sock) for index, sock in enumerate(socks)}
    board.tell(life, READY)
    while board.command(life) != FINISH:
        for fd, _ in poll.poll(0.1):
            index, sock = by_fd[fd]
            lines = _drain(index, sock)
            if lines:
                os.write(file, b"".join(lines))
    board.tell(life, ENDED)


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RCVBUF_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RCVBUF_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def _drain(index: int, sock: socket.socket) -> list[bytes]:
    lines: list[bytes] = []
    since_realtime = time.time_ns() - time.monotonic_ns()
    while len(lines) < 256:
        try:
            data, control, _, _ = sock.recvmsg(65536, 256)
        except BlockingIOError:
            return lines
        arrived, drops = time.monotonic_ns(), 0
        for _, kind, value in control:
            if kind == SO_TIMESTAMPNS:
                seconds, ns = struct.unpack("<qq", value[:16])
                arrived = seconds * 1_000_000_000 + ns - since_realtime
            elif kind == SO_RXQ_OVFL:
                (drops,) = struct.unpack("<I", value[:4])
        found = wire.unpack(data)
        if found is None:
            continue
        at, life, number, enqueued, due = found
        line = (life, index, at, number, enqueued, due, arrived, drops, data[:12])
        lines.append(np.array(line, wire.ARRIVAL).tobytes())
    return lines


def injector(board: Board, life: int, targets: str, burst: int, pause_s: float) -> None:
    """Send numbered datagrams to all ports in the file `targets`, in bursts: a worker takes
    one from the kernel in a single call. `attempted` of the board is the next number."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    number = 0
    board.tell(life, READY)
    while board.command(life) != FINISH:
        try:
            ports = [int(port) for port in Path(targets).read_text().split()]
        except FileNotFoundError:
            ports = []
        for _ in range(burst if ports else 0):
            packet = wire.pack(life, number, time.monotonic_ns())
            number += 1
            board.attempt(life, number)
            for port in ports:
                sock.sendto(packet, ("127.0.0.1", port))
        time.sleep(pause_s)
    board.tell(life, ENDED)


def clock(board: Board, life: int, output: str) -> None:
    """Sleep a millisecond, again and again: when that takes long, nobody ran. Notes these times."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    board.tell(life, READY)
    before = time.monotonic_ns()
    while board.command(life) != FINISH:
        time.sleep(0.001)
        now = time.monotonic_ns()
        if now - before > STILL_NS:
            os.write(file, np.array((before, now), wire.STILL).tobytes())
        before = now
    board.tell(life, ENDED)
