"""The real libudt as the other end: two small programs over it, built when they are needed.

Where it is missing its tests are skipped with the reason, but not in CI, which installs it. Every
process is bounded in time, also when the tests that started it are killed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = "127.0.0.1"
PATIENCE_S = 60
HEADER = Path("/usr/include/udt/udt.h")
FOLDER = Path(__file__).parent
PEER = FOLDER.parents[2] / "c" / "interop" / "udt" / "libudt_peer.cpp"


class Program:
    """A program over libudt that runs."""

    def __init__(self, *args: object) -> None:
        self._popen = subprocess.Popen(list(map(str, args)), stderr=subprocess.PIPE, text=True)

    def ended_well(self) -> None:
        """Wait for its end and see that all was right with it."""
        _, complaints = self._popen.communicate(timeout=PATIENCE_S)
        assert self._popen.returncode == 0, complaints

    def close(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate()


def build(source: Path, folder: Path) -> Path:
    if not HEADER.exists() or shutil.which("g++") is None:
        reason = "libudt or g++ is not installed (Debian: libudt-dev g++)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    made = folder / source.stem
    subprocess.run(
        ["g++", "-std=c++17", "-O1", "-o", made, source, "-ludt", "-lpthread"],
        check=True,
        timeout=PATIENCE_S,
    )
    return made


@pytest.fixture(scope="session")
def peer_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libudt_peer: sends and receives streams or messages that depend on their position."""
    return build(PEER, tmp_path_factory.mktemp("libudt"))


@pytest.fixture(scope="session")
def file_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libudt_file: sends or receives one file."""
    return build(FOLDER / "libudt_file.cpp", tmp_path_factory.mktemp("libudt"))


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Start a program; what still runs at the end of the test is killed."""
    started: list[Program] = []

    def run(*args: object) -> Program:
        started.append(Program(*args))
        return started[-1]

    yield run
    for program in started:
        program.close()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port that was free a moment ago."""

    def find() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HERE, 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def app_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libudt_app: what libudt's own programs sendfile and recvfile do."""
    return build(FOLDER / "libudt_app.cpp", tmp_path_factory.mktemp("libudt"))
