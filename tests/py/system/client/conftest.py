"""C programs that are built against the installed libshmring, as users build theirs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import needs
import pytest

HERE = Path(__file__).parent
# Far beyond what anything here takes: only what never happens must fail.
PATIENCE_S = 20.0


def flags() -> list[str]:
    """What `shmring cflags` prints."""
    command = [sys.executable, "-m", "shmring_cli", "cflags"]
    return shlex.split(subprocess.check_output(command, text=True, timeout=PATIENCE_S))


@pytest.fixture(scope="session")
def compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        needs.require_program("gcc")
    return found


@pytest.fixture(scope="session")
def build(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Compile a C file with the installed header and library."""

    def compile_and_link(source: Path) -> Path:
        program = tmp_path_factory.mktemp("c") / source.stem
        subprocess.run(
            [compiler, "-Wall", "-Wextra", "-Werror", "-o", program, source, *flags()],
            check=True,
            timeout=PATIENCE_S * 3,
        )
        return program

    return compile_and_link


class CClient:
    """A running c_client: tell it a line, get its answer."""

    def __init__(self, program: Path, *arguments: str) -> None:
        self.popen = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        self.attached = self.line()

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().rstrip("\n")

    def tell(self, line: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()

    def ask(self, line: str) -> str:
        self.tell(line)
        return self.line()

    def close(self) -> int:
        """End it as its input ends; how it ended."""
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()
        self.popen.stdout.close()
        return self.popen.wait(PATIENCE_S)


@pytest.fixture(scope="session")
def c_client_program(build: Callable[[Path], Path]) -> Path:
    return build(HERE / "c_client.c")


@pytest.fixture
def c_client(c_client_program: Path, shmring_namespace: str) -> Iterator[Callable[..., CClient]]:
    """Start a C program on a channel; what still runs at the end of the test is killed."""
    started: list[CClient] = []

    def start(channel: str, how: str = "") -> CClient:
        started.append(CClient(c_client_program, channel, *([how] if how else [])))
        return started[-1]

    yield start
    for client in started:
        if client.popen.poll() is None:
            client.popen.kill()
            client.popen.wait(PATIENCE_S)
        for pipe in (client.popen.stdin, client.popen.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
