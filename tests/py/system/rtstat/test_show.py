"""`rtstat show`, `why` and `post-mortem` of a channel with long names, in 80 columns."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.commands import RTSTAT, run

import shmring

pytestmark = pytest.mark.check

PATIENCE_S = 60
NAME = "a-channel-whose-name-is-as-long-as-a-name-may-be-" + 15 * "x"
NARROW = 80


def rtstat(*words: str, columns: str = "") -> str:
    """What the command prints into a pipe."""
    done = run(RTSTAT, *words, code=None, env=os.environ | {"COLUMNS": columns})
    assert done.returncode in (0, 3, 5), (done.stdout, done.stderr)
    return done.stdout


def is_missing_ipv6() -> bool:
    return not Path("/proc/net/if_inet6").exists()


@pytest.fixture
def late(shmring_pool: shmring.Pool, eventually: Any) -> Iterator[shmring.Channel]:
    """A channel with a long name that sent late packets, and is read by this process."""
    host = "127.0.0.1" if is_missing_ipv6() else "::1"
    with shmring_pool.open(NAME, shmring.Udp(reports="off"), local=(host, 0)) as channel:
        assert channel.local is not None
        for late_ns in (5_000_000, 5_000_000, -1_000_000):
            channel.send(b"late", at=time.monotonic_ns() - late_ns, to=channel.local)
        for _ in range(3):
            channel.recv(timeout=PATIENCE_S)
        eventually(lambda: channel.stats().tx_late >= 2)
        yield channel


@pytest.mark.parametrize("words", [("show",), ("why",), ("post-mortem",)])
def test_everything_fits_80_columns(late: shmring.Channel, words: tuple[str, ...]) -> None:
    lines = rtstat(*words, NAME).splitlines()
    assert [line for line in lines if len(line) > NARROW] == []
    assert NAME in "".join(line.strip() for line in lines)
    wide = rtstat(*words, NAME, columns="200").splitlines()
    assert len(wide) < len(lines)
    assert max(map(len, wide)) <= 200


def test_show_names_the_processes(late: shmring.Channel, shmring_pool: shmring.Pool) -> None:
    me = f"{os.getpid()} ({Path('/proc/self/comm').read_text().strip()})"
    (worker,) = shmring_pool.workers()
    lines = [line.split(None, 2) for line in rtstat("show", NAME, "--interval", "0").splitlines()]
    for begin in (["opened", "by"], ["sent", "by"], ["read", "by"]):
        assert [*begin, me] in lines
    assert ["worker", str(worker.pid), "(shmring-w0)"] in lines


def test_show_marks_the_tolerance(late: shmring.Channel) -> None:
    text = rtstat("show", NAME)
    _, _, histogram = text.partition("lateness since it was opened\n")
    assert "-- tolerance 50.0 µs, late below --" in histogram
    assert "p99.9" in histogram
