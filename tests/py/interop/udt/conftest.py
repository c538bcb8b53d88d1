"""The real libudt as the other end: small programs over it, built when they are needed.

Every process is bounded in time, also when the tests that started it are killed.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import needs
import pytest

HERE = "127.0.0.1"
PATIENCE_S = 60
PORTS = (12000, 32000)
FOLDER = Path(__file__).parent


class Program:
    """A program over libudt that runs."""

    def __init__(self, *args: object) -> None:
        self._complaints = ""
        # An environment of its own: that of the process changes with each test, also while another
        # thread starts something with it.
        self._popen = subprocess.Popen(
            list(map(str, args)), stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )

    def ended_well(self) -> None:
        """Wait for its end and see that all was right with it."""
        _, self._complaints = self._popen.communicate(timeout=PATIENCE_S)
        assert self._popen.returncode == 0, self._complaints

    def so_far(self) -> str:
        """Say what became of it until now."""
        code = self._popen.poll()
        if code is None:
            return "the program over libudt still runs"
        pipe = self._popen.stderr
        if pipe is not None and not pipe.closed:
            self._complaints = pipe.read()
        return f"the program over libudt ended with {code}: {self._complaints}"

    def close(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate()


def build(source: Path, folder: Path) -> Path:
    needs.require("libudt")
    made = folder / source.stem
    subprocess.run(
        ["g++", "-std=c++17", "-O1", "-o", made, source, "-ludt", "-lpthread"],
        check=True,
        timeout=PATIENCE_S,
    )
    return made


@pytest.fixture(scope="session")
def end_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libudt_end: one end of a connection that moves files both ways."""
    return build(FOLDER / "libudt_end.cpp", tmp_path_factory.mktemp("libudt"))


def starting() -> Iterator[Callable[..., Program]]:
    started: list[Program] = []

    def run(*args: object) -> Program:
        started.append(Program(*args))
        return started[-1]

    yield run
    for program in started:
        program.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Start a program; what still runs at the end of the test is killed."""
    yield from starting()


@pytest.fixture(scope="module")
def start_in_module() -> Iterator[Callable[..., Program]]:
    """Start a program; what still runs at the end of the module is killed."""
    yield from starting()


@pytest.fixture(scope="session")
def free_port() -> Callable[..., int]:
    """A port that was free a moment ago.

    It is below those that Linux gives to sockets without a port (32768 and above, unless set
    otherwise), so none of the many connections beside it gets the same one.
    """

    def find(host: str = HERE) -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        while True:
            port = random.randrange(*PORTS)
            with (
                contextlib.suppress(OSError),
                socket.socket(family, socket.SOCK_DGRAM) as probe,
            ):
                probe.bind((host, port))
                return port

    return find


@pytest.fixture(scope="session")
def app_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libudt_app: what libudt's own programs sendfile and recvfile do."""
    return build(FOLDER / "libudt_app.cpp", tmp_path_factory.mktemp("libudt"))


@pytest.fixture(scope="session")
def epoll_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libudt_epoll: what an epoll answers from the first socket to the end of its connection."""
    return build(FOLDER / "libudt_epoll.cpp", tmp_path_factory.mktemp("libudt"))
