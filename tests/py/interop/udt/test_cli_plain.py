"""`shmring udt --plain` with what libudt's programs sendfile and recvfile do."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kit.commands import SHMRING

COMMAND = [*SHMRING, "udt"]
PATIENCE_S = 60
FILE_BYTES = 10_000_019

pytestmark = [pytest.mark.check, pytest.mark.usefixtures("shmring_namespace")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(random.Random(6).randbytes(FILE_BYTES))
    return path


@contextmanager
def offering(*files: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A `send --plain` that listens, and its port."""
    process = subprocess.Popen(
        [*COMMAND, "send", "--plain", *map(str, files), "127.0.0.1:0", "--json-lines"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        row: dict[str, Any] = json.loads(process.stdout.readline())
        yield process, row["local"][1]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


def test_their_recvfile_gets_a_file_of_ours(
    app_program: Path, start: Callable[..., Any], source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    with offering(source) as (process, port):
        start(app_program, "recvfile", port, "source", target).ended_well()
        assert process.wait(PATIENCE_S) == 0
    assert target.read_bytes() == source.read_bytes()


def test_their_recvfile_learns_that_there_is_no_such_file(
    app_program: Path, source: Path, tmp_path: Path
) -> None:
    with offering(source) as (_, port):
        done = subprocess.run(
            [app_program, "recvfile", str(port), "other", tmp_path / "target"],
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 3


@pytest.mark.parametrize("size", [FILE_BYTES, 1, 0])
def test_a_file_from_their_sendfile(
    app_program: Path,
    start: Callable[..., Any],
    free_port: Callable[[], int],
    source: Path,
    tmp_path: Path,
    size: int,
) -> None:
    os.truncate(source, size)
    port = free_port()
    program = start(app_program, "sendfile", port)
    subprocess.run(
        [*COMMAND, "recv", "--plain", f"127.0.0.1:{port}", source, tmp_path / "in"],
        timeout=PATIENCE_S,
        check=True,
    )
    program.ended_well()
    assert (tmp_path / "in" / "source").read_bytes() == source.read_bytes()
