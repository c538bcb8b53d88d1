"""Processes of the harness. A mould that has everything imported forks them, so that one costs
milliseconds. On a board in shared memory they say how far they are."""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SLOTS, WORDS = 4096, 8
STARTING, READY, ENDED, BROKEN = range(4)
FINISH = 1
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None)


class Board:
    """A line for each life: its state, what it was told, the number it tries now, spare words."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * WORDS * 8)
        self._words = np.frombuffer(self._memory, np.int64).reshape(SLOTS, WORDS)

    def clear(self, life: int) -> None:
        self._words[life % SLOTS] = 0

    def tell(self, life: int, state: int) -> None:
        self._words[life % SLOTS, 0] = state

    def state(self, life: int) -> int:
        return int(self._words[life % SLOTS, 0])

    def order(self, life: int, command: int) -> None:
        self._words[life % SLOTS, 1] = command

    def command(self, life: int) -> int:
        return int(self._words[life % SLOTS, 1])

    def attempt(self, life: int, number: int) -> None:
        self._words[life % SLOTS, 2] = number

    def attempted(self, life: int) -> int:
        return int(self._words[life % SLOTS, 2])

    def put(self, life: int, word: int, value: int) -> None:
        self._words[life % SLOTS, 3 + word] = value

    def get(self, life: int, word: int) -> int:
        return int(self._words[life % SLOTS, 3 + word])


class Actor:
    """A process of the harness, known by its life: a number that no other has."""

    def __init__(self, life: int, pid: int, role: str, stage: Stage) -> None:
        self.life, self.pid, self.role = life, pid, role
        self._stage = stage
        self._pidfd = os.pidfd_open(pid)
        self.stopped = False

    @property
    def board(self) -> Board:
        return self._stage.board

    @property
    def state(self) -> int:
        return self.board.state(self.life)

    def alive(self) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    def signal(self, number: int) -> None:
        if self._pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def finish(self) -> None:
        self.board.order(self.life, FINISH)

    def wait_ready(self, timeout: float = 30.0) -> None:
        give_up = time.monotonic() + timeout
        while self.state == STARTING and self.alive():
            if time.monotonic() > give_up:
                raise TimeoutError(f"{self.role} {self.life} (process {self.pid}) does not start")
            time.sleep(0.002)

    def wait_end(self, timeout: float = 30.0) -> bool:
        """Whether it has ended in time."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class Stage:
    """Starts actors in `folder`. `roles`: functions called with (board, life, **arguments)."""

    def __init__(self, folder: Path, load: Callable[[], dict[str, Callable[..., None]]]) -> None:
        self.folder = folder
        self.board = Board()
        self.log = folder / "actors.log"
        self._lives = 0
        self._actors: list[Actor] = []
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._mould = os.fork()
        if self._mould == 0:
            self._control.close()
            try:
                _serve(theirs, self.board, load, self.log)
            finally:
                os._exit(0)
        theirs.close()

    def start(self, role: str, env: dict[str, str] | None = None, **arguments: Any) -> Actor:
        self._lives += 1
        life = self._lives
        self.board.clear(life)
        order = {"role": role, "life": life, "env": env or {}, "arguments": arguments}
        self._control.send(json.dumps(order).encode())
        pid = int(self._control.recv(64))
        actor = Actor(life, pid, role, self)
        self._actors.append(actor)
        return actor

    def forget(self, actor: Actor) -> None:
        actor.close()
        if actor in self._actors:
            self._actors.remove(actor)

    def reap(self) -> None:
        """Orphans come to this process: workers whose pool died, children of dead tools."""
        _reap()

    def clear(self) -> None:
        """Kill all actors that are left."""
        for actor in self._actors:
            actor.signal(signal.SIGCONT)
            actor.signal(signal.SIGKILL)
        for actor in self._actors:
            actor.wait_end()
            actor.close()
        self._actors.clear()

    def close(self) -> None:
        self.clear()
        self._control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._mould, 0)
        self.reap()


def _serve(
    control: socket.socket,
    board: Board,
    load: Callable[[], dict[str, Callable[..., None]]],
    log: Path,
) -> None:
    roles = load()
    while order := control.recv(1 << 16):
        told = json.loads(order)
        _reap()  # only now: whoever ordered the last one has its descriptor by this time
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            control.close()
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                _be(roles[told["role"]], board, told, log)
            os._exit(0)
        control.send(str(pid).encode())


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] > 0:
            pass


def _be(role: Callable[..., None], board: Board, told: dict[str, Any], log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(told["env"])
    try:
        role(board, told["life"], **told["arguments"])
    except BaseException:
        board.tell(told["life"], BROKEN)
        os.write(2, f"{told['role']} {told['life']}: {traceback.format_exc()}\n".encode())
        os._exit(1)


# --- what the system knows of other processes ---------------------------------------------------


def workers_of(runtime: Path) -> list[int]:
    """Process ids of the workers of a runtime directory, from their command lines alone."""
    wanted = os.fsencode(runtime)
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{entry}/cmdline").read_bytes()
            if b"shmring-worker" in line.split(b"\0")[0] and wanted in line:
                found.append(int(entry))
    return sorted(found)


def run_delay_ns(pid: int) -> int:
    """How long the threads of a process were ready to run and had no core, so far."""
    total = 0
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError, IndexError):
                total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[1])
    return total


def parent_of(pid: int) -> int:
    """0 if the process is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def segments(namespace: str) -> list[str]:
    return sorted(name for name in os.listdir("/dev/shm") if f"shmring:{namespace}:" in name)
