"""Starts one worker process and waits until it serves."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtworkers import affinity, liveness
from rtworkers.config import PoolSettings
from rtworkers.control import (
    Connection,
    ControlError,
    WorkerGone,
    WorkerSilent,
    WorkerStartError,
)

READY_TIMEOUT_S = 10.0
STDERR_TAIL_BYTES = 2000


@dataclass(slots=True)
class Process:
    """A running worker, as its pool holds it. This object owns all descriptors."""

    pid: int
    child: subprocess.Popen[bytes] | None
    """None: another process started it."""
    pidfd: int
    connection: Connection
    stderr_fd: int

    def stderr_text(self) -> str:
        """The last lines that the worker wrote to stderr."""
        return read_tail(self.stderr_fd)

    def reap(self, timeout: float) -> int | None:
        """Wait at most `timeout` seconds until it has ended. Return its exit status, or None if it
        is not a child of this process, which then cannot reap it. Raises `TimeoutError`."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if not poll.poll(timeout * 1000):
            raise TimeoutError(f"worker {self.pid} still runs")
        return None if self.child is None else self.child.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Close this process's descriptors of it. The worker itself is not affected."""
        self.connection.close()
        for fd in (self.pidfd, self.stderr_fd):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.stderr_fd = -1


def worker_binary() -> Path:
    """Return the worker program: ``$SHMRING_WORKER`` (for builds under test), or the installed one.

    Raises `FileNotFoundError`.
    """
    chosen = os.environ.get("SHMRING_WORKER")
    path = Path(chosen) if chosen else _installed_binary()
    if not path.is_file():
        raise FileNotFoundError(f"worker program {path} is missing: install shmring again")
    return path


def _installed_binary() -> Path:
    beside = Path(__file__).with_name("bin") / "shmring-worker"
    if beside.exists():
        return beside
    import importlib.resources  # an editable installation has it elsewhere

    return Path(str(importlib.resources.files("rtworkers") / "bin" / "shmring-worker"))


def launch(
    settings: PoolSettings,
    slot: int,
    cpu: int,
    page_fd: int,
    rx_fd: int,
    settle_directory: Callable[[], None] = lambda: None,
) -> Process:
    """Start the worker of `slot` on core `cpu` and return it when it serves.

    `settle_directory` is called once the process exists: if this process is killed from then on,
    the worker removes the runtime directory. Raises its exceptions, and `WorkerStartError` if there
    is no program, if it ended, or if it reported an error.
    """
    with contextlib.ExitStack() as undo:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.callback(ours.close)
        undo.enter_context(theirs)
        stderr_fd = os.memfd_create(f"shmring-worker-{slot}-stderr", os.MFD_CLOEXEC)
        undo.callback(os.close, stderr_fd)
        words = settings.arguments(slot, cpu, page_fd, rx_fd, theirs.fileno())
        child = start_program(words, (page_fd, rx_fd, theirs.fileno()), stderr_fd)
        undo.callback(child.wait)
        undo.callback(child.kill)
        settle_directory()
        connection = Connection(ours, f"worker {slot} of pool {settings.name!r}", child.pid)
        worker = Process(child.pid, child, os.pidfd_open(child.pid), connection, stderr_fd)
        undo.pop_all()
        theirs.close()
    _wait_ready(worker, slot)
    affinity.release(worker.pid, cpu)
    return worker


def start_program(
    words: Sequence[str], fds: Sequence[int], stderr_fd: int
) -> subprocess.Popen[bytes]:
    """Start the worker program with these arguments and descriptors. Raises `OSError`, and
    `WorkerStartError` if there is no program, or none that can run here."""
    try:
        binary = worker_binary()
    except FileNotFoundError as error:
        raise WorkerStartError(str(error)) from None
    try:
        return subprocess.Popen(
            [str(binary), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr_fd,
            pass_fds=fds,
            # Ctrl-C is for the pool, not for its other processes. They begin no session: the
            # kernel weighs sessions against each other (sched_autogroup): on Linux 6.18 a worker
            # without real-time class then waited for up to 1.5 s beside busy processes, not 0.09 s.
            # If the pool dies, the kernel continues a stopped worker (setpgid(2), orphaned).
            process_group=0,
        )
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.ENOENT, errno.ENOEXEC):
            raise
        raise WorkerStartError(
            affinity.explain_unrunnable(str(binary), str(error.strerror))
        ) from None


def _wait_ready(worker: Process, slot: int) -> None:
    try:
        raise_file_limit(worker.pid)
        worker.connection.receive_ready(READY_TIMEOUT_S)
    except BaseException as error:
        worker.kill()
        exit_status = worker.reap(READY_TIMEOUT_S)
        text = worker.stderr_text()
        worker.close()
        if isinstance(error, ControlError):
            raise WorkerStartError(error.strerror or text, error.errno or 0) from None
        if isinstance(error, WorkerGone):
            raise WorkerStartError(
                text or f"worker {slot} {describe_status(exit_status)} while starting, no message"
            ) from None
        if isinstance(error, WorkerSilent):
            raise WorkerStartError(
                f"worker {slot} did not serve within {READY_TIMEOUT_S:g} s: is the machine, or its "
                f"core, busy with real-time processes? {text}".rstrip()
            ) from None
        raise


def adopt(path: Path) -> Process | None:
    """Connect to a running worker by its control socket. None if no process listens there."""
    try:
        connection = Connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    pid, _, _ = liveness.peer(connection.socket)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        connection.close()
        return None
    return Process(pid, None, pidfd, connection, _foreign_stderr(pid))


def _foreign_stderr(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}/fd/2", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return -1


def start_thread(thread: threading.Thread) -> None:
    """Start a thread. Raises `BlockingIOError` if this user may have no more of them."""
    try:
        thread.start()
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, str(error)) from None


def raise_file_limit(pid: int = 0) -> None:
    """Raise the soft limit on open files to the hard one. 0: of this process.

    Every channel needs some descriptors in the worker and in the pool. If raising is not allowed,
    the limit stays, and the error of a later open names it.
    """
    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))


def grow_file_table(fd: int, room: int = 4096) -> None:
    """Grow the descriptor table to this size now, while this process may still have only one
    thread.

    In a process with threads the kernel waits for a grace period at each doubling of the table.
    Measured, this took 10 to 14 ms during the opening of a channel. `fd` is any open descriptor.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = min(room, soft) - 1 if soft != resource.RLIM_INFINITY else room
    with contextlib.suppress(OSError):
        os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, highest))


def read_tail(fd: int) -> str:
    """Return the end of the text in the file `fd`, without surrounding whitespace."""
    if fd < 0:
        return ""
    try:
        size = os.fstat(fd).st_size
        data = os.pread(fd, STDERR_TAIL_BYTES, max(0, size - STDERR_TAIL_BYTES))
    except OSError:
        return ""  # an adopted worker whose stderr is a terminal or a pipe
    return data.decode("utf-8", "replace").strip()


def describe_status(status: int | None) -> str:
    """Return an exit status in words."""
    if status is None:
        return "ended"
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
