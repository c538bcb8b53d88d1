"""A process may hold a lease on a file (fcntl(2)): whoever opens it waits, or is refused."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.commands import SHMRING, run

import shmring
from rtstat.snapshot import Watch
from rtworkers import paths

HERE = ("127.0.0.1", 0)
REASON = "a process holds a lease on this file"


@pytest.fixture
def leased(shmring_namespace: str) -> Iterator[str]:
    """A deserted file named like channel "leased", whose lease is not given up."""
    name = paths.channel_segment(shmring_namespace, "leased")
    file = paths.shm_file(name)
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.write(fd, bytes(8192))
    fcntl.fcntl(fd, fcntl.F_SETSIG, 23)  # SIGURG, which is ignored, in place of SIGIO
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    yield name
    os.close(fd)
    file.unlink(missing_ok=True)


@pytest.mark.parametrize("dry_run", [True, False])
def test_gc_skips_it_and_says_so(leased: str, shmring_namespace: str, dry_run: bool) -> None:
    other = paths.channel_segment(shmring_namespace, "other")
    paths.shm_file(other).write_bytes(b"")
    found = shmring.gc(namespace=shmring_namespace, dry_run=dry_run)
    assert found == shmring.observe.Removed((other,), (), (f"{leased}: {REASON}",))
    paths.shm_file(other).unlink(missing_ok=True)
    assert paths.shm_file(leased).exists()


def test_the_command_skips_it_and_says_so(leased: str, shmring_namespace: str) -> None:
    gc = [*SHMRING, "gc", "--namespace", shmring_namespace]
    assert run(gc).stdout == f"skipped {leased}: {REASON}\n"
    assert json.loads(run(gc, "--json").stdout)["skipped"] == [f"{leased}: {REASON}"]


def test_who_looks_on_sees_the_others(leased: str, shmring_pool: shmring.Pool) -> None:
    shmring_pool.open("ctl", local=HERE)
    space = shmring_pool.namespace
    assert [info.name for info in shmring.channels(space)] == ["ctl"]
    (file,) = shmring.observe.unreadable(space)
    assert (file.name, file.reason) == ("leased", REASON)
    with Watch(space) as watch:
        shot = watch.read()
        assert [channel.name for channel in shot.channels] == ["ctl"]
        assert [item.name for item in shot.unreadable] == ["leased"]


def test_who_wants_the_name_is_told(leased: str, shmring_pool: shmring.Pool) -> None:
    with pytest.raises(shmring.ShmringError, match=REASON):
        shmring_pool.open("leased", local=HERE)
    with pytest.raises(shmring.ShmringError, match=REASON):
        shmring.attach("leased")
    with shmring_pool.open("ctl", local=HERE) as channel:
        channel.send(b"x", to=channel.local)
        assert channel.recv(timeout=20).data == b"x"
    assert Path(paths.shm_file(leased)).exists()
