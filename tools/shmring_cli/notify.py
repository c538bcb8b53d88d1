"""Tell systemd how a service is doing: the protocol of sd_notify(3). Without systemd, nothing."""

from __future__ import annotations

import contextlib
import os
import socket


def tell(*lines: str) -> None:
    """Send lines such as ``READY=1`` to ``$NOTIFY_SOCKET``. A failure is not the service's."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    address = "\0" + address[1:] if address[0] == "@" else address  # "@": the abstract namespace
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.setblocking(False)
        end.sendto("\n".join(lines).encode(), address)


def watchdog_s() -> float | None:
    """Return how often this process must say ``WATCHDOG=1``. None: never."""
    for_pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    limit_us = os.environ.get("WATCHDOG_USEC", "")
    if for_pid != str(os.getpid()) or not limit_us.isdigit():
        return None
    return int(limit_us) / 2e6 or None
