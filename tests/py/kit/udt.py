"""Sockets of the drop-in udt4 that are connected."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import udt4
from kit.waiting import PATIENCE_S

HERE = "127.0.0.1"


def listener(kind: int = socket.SOCK_STREAM, **options: object) -> udt4.UDTSOCKET:
    """Return a socket that listens on a port of its own; `options` by name, as UDT_MSS."""
    sock = udt4.socket(socket.AF_INET, kind, 0)
    for name, value in options.items():
        udt4.setsockopt(sock, getattr(udt4, name), value)
    udt4.bind(sock, HERE, 0)
    udt4.listen(sock, 10)
    return sock


@contextlib.contextmanager
def connection(
    kind: int = socket.SOCK_STREAM,
) -> Iterator[tuple[udt4.UDTSOCKET, udt4.UDTSOCKET]]:
    """Give two ends, the client's first, whose calls end after a minute."""
    server = listener(kind)
    client = udt4.socket(socket.AF_INET, kind, 0)
    udt4.connect(client, *udt4.getsockname(server))
    accepted, _ = udt4.accept(server)
    for sock in (client, accepted):
        udt4.setsockopt(sock, udt4.UDT_RCVTIMEO, int(PATIENCE_S * 1000))
    yield client, accepted
    for sock in (client, accepted, server):
        udt4.close(sock)


def read(sock: udt4.UDTSOCKET, count: int) -> bytes:
    """Receive exactly so many bytes."""
    got = bytearray()
    while len(got) < count:
        got += udt4.recv(sock, count - len(got))
    return bytes(got)
