"""Where other users come in: `csrc/worker/door/door.h`. Only a pool with a group has a door."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time

from rtworkers import launch, paths
from rtworkers.config import PoolSettings
from rtworkers.control import WorkerStartError

LISTEN_TIMEOUT_S = 10.0
LOOK_S = 0.001
END_TIMEOUT_S = 1.0


class Door:
    """The door of a pool with a group, as its pool holds it."""

    def __init__(self, settings: PoolSettings) -> None:
        """Start it. Raises `WorkerStartError`, `OSError`."""
        self._path = paths.door_socket(settings.directory)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock,
            os.fdopen(os.memfd_create("shmring-door-stderr", os.MFD_CLOEXEC)) as stderr,
        ):
            self._bind(sock, settings.group)
            words = ("--door", str(sock.fileno()), "--runtime", str(settings.directory))
            self._child = launch.start_program(words, (sock.fileno(),), stderr.fileno())
            self.pidfd = os.pidfd_open(self._child.pid)
            try:
                self._await(sock, stderr.fileno())
            except BaseException:
                self.close()
                raise

    def _bind(self, sock: socket.socket, group: int | None) -> None:
        """Nobody can connect before the door listens, so this process holds no connection."""
        self._path.unlink(missing_ok=True)  # that of a former door, which ends then
        old = os.umask(0o177)
        try:
            sock.bind(os.fspath(self._path))
        finally:
            os.umask(old)
        os.chown(self._path, -1, group if group is not None else -1)
        self._path.chmod(0o660)

    def _await(self, sock: socket.socket, stderr_fd: int) -> None:
        until = time.monotonic() + LISTEN_TIMEOUT_S
        while not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            status = self._child.poll()
            if status is not None:
                said = launch.read_tail(stderr_fd) or "no message"
                raise WorkerStartError(
                    f"the door of the pool {launch.describe_status(status)} while starting: {said}"
                )
            if time.monotonic() > until:
                raise WorkerStartError(
                    f"the door of the pool did not listen at {self._path} within "
                    f"{LISTEN_TIMEOUT_S:g} s: is the machine busy with real-time processes?"
                )
            time.sleep(LOOK_S)

    def has_ended(self) -> bool:
        return self._child.poll() is not None

    def close(self) -> None:
        """Take its socket's name away, so that it ends. Do not wait for long: a user can make one
        of its processes wait for ever."""
        self._path.unlink(missing_ok=True)
        self.forget()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(END_TIMEOUT_S)

    def forget(self) -> None:
        """Close this process's descriptor, and leave the door to others."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pidfd = -1
