"""What the system tests share: other Python processes, and waiting for what must come to pass."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from after_kill import runtime_prefix
from kit.waiting import until

T = TypeVar("T")

# Far beyond what anything here takes: only what never happens must fail.
PATIENCE_S = 20.0


@pytest.fixture
def eventually() -> Callable[[Callable[[], T]], T]:
    return until


class OtherProcess:
    """A Python process that runs a script and talks in lines."""

    def __init__(self, script: str, **options: Any) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        self.pid = self.popen.pid

    def line(self) -> str:
        """The next line it prints; empty when it has ended."""
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().rstrip("\n")

    def tell(self, line: str = "") -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()

    def wait(self) -> int:
        return self.popen.wait(PATIENCE_S)

    def kill(self) -> None:
        """As `kill -9`."""
        self.popen.kill()
        self.popen.wait(PATIENCE_S)

    def kill_with(self, worker: int) -> None:
        """This pool and its worker, so that neither clears up after the other. Stopping the worker
        is not enough: the kernel continues it when its pool ends (setpgid(2), orphaned)."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)
        os.kill(worker, signal.SIGKILL)
        self.kill()

    def close(self) -> None:
        if self.popen.poll() is None:
            self.kill()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@pytest.fixture
def python(shmring_namespace: str) -> Iterator[Callable[..., OtherProcess]]:
    """Start other Python processes in the namespace of the test; what still runs at its end is
    killed."""
    started: list[OtherProcess] = []

    def start(script: str, **options: Any) -> OtherProcess:
        started.append(OtherProcess(script, **options))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.fixture
def other_runtime() -> Iterator[Path]:
    """A short path, as Unix sockets need it, for a runtime directory of its own."""
    with tempfile.TemporaryDirectory(prefix=runtime_prefix(os.getpid())) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def open_files() -> Callable[[], int]:
    """How many descriptors this process has open, those of garbage not counted."""

    def count() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    return count


@pytest.fixture
def leftovers(shmring_namespace: str) -> Callable[[], list[str]]:
    """Every file of the namespace: in shared memory, and its runtime directory."""
    from rtworkers import paths

    def look() -> list[str]:
        directory = paths.runtime_base() / shmring_namespace
        names = [name.posix_name for name in paths.shm_names(shmring_namespace)]
        return names + [str(path) for path in Path(directory).rglob("*")]

    return look
