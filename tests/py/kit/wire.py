"""Plain sockets, the other ends of what is tested."""

from __future__ import annotations

import socket

from kit.waiting import PATIENCE_S


def udp(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Return a bound UDP socket, whose calls end after a minute."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, port))
    sock.settimeout(PATIENCE_S)
    return sock


def free_port(host: str = "127.0.0.1") -> int:
    """Return a UDP port that nobody has now."""
    with udp(host) as sock:
        return int(sock.getsockname()[1])
