"""Locks that tell the living from the dead."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtworkers import layout, liveness, opener, page, paths


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return paths.pool_directory("ns", "pool", tmp_path)


def test_a_held_directory_is_not_deserted(directory: Path) -> None:
    fd = liveness.hold_directory(directory)
    with liveness.deserted(directory) as empty:
        assert not empty
    os.close(fd)
    with liveness.deserted(directory) as empty:
        assert empty


def test_a_directory_in_the_making_is_not_deserted(directory: Path) -> None:
    directory.mkdir(parents=True)
    with liveness.deserted(directory) as empty:
        assert not empty


def test_whoever_comes_while_a_directory_is_removed_gets_a_new_one(directory: Path) -> None:
    os.close(liveness.hold_directory(directory))
    script = (
        "import os, sys; from pathlib import Path; from rtworkers import liveness\n"
        "print('ready', flush=True)\n"
        f"fd = liveness.hold_directory(Path({str(directory)!r}))\n"
        f"print(liveness.is_same_file(fd, Path({str(directory / 'lock')!r})))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as late:
        with liveness.deserted(directory) as empty:
            assert empty
            assert late.stdout is not None
            assert late.stdout.readline() == "ready\n"
            time.sleep(0.02)  # it may stand before the lock now, or come later: both must end well
            liveness.remove_directory(directory)
            assert not (directory / "lock").exists()
        output, _ = late.communicate(timeout=30)
    assert output == "True\n"


def test_a_child_that_has_not_started_yet_does_not_stand_for_a_dead_pool(directory: Path) -> None:
    """A fork copies the lock's descriptor, which only the program that follows closes."""
    script = (
        "import os, sys, time; from pathlib import Path; from rtworkers import liveness\n"
        f"liveness.own_directory(Path({str(directory)!r}))\n"
        "if os.fork():\n"
        "    os._exit(0)\n"
        "time.sleep(0.3)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    owned = liveness.own_directory(directory)
    assert liveness.owner(directory) == os.getpid()
    for fd in owned:
        os.close(fd)


def test_a_child_that_keeps_the_lock_of_a_dead_pool_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "CHILD_STARTS_S", 0.05)
    script = (
        "import os, sys; from pathlib import Path; from rtworkers import liveness\n"
        f"liveness.own_directory(Path({str(directory)!r}))\n"
        "if os.fork():\n"
        "    os._exit(0)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as pool:
        while pool.poll() is None:
            time.sleep(0.01)
        with pytest.raises(BlockingIOError, match=f"process {pool.pid} was this pool and is dead"):
            liveness.own_directory(directory)


def test_only_one_process_is_the_pool(directory: Path) -> None:
    lock_fd, owner_fd = liveness.own_directory(directory)
    with pytest.raises(BlockingIOError, match=f"process {os.getpid()} is this pool"):
        liveness.own_directory(directory)
    os.close(owner_fd)
    os.close(lock_fd)
    for fd in liveness.own_directory(directory):
        os.close(fd)


def test_a_shared_descriptor_keeps_the_lock_of_its_dead_maker(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.touch()
    made = os.open(path, os.O_RDWR)
    liveness.lock_shared(made)
    handed_on = os.dup(made)
    os.close(made)
    seen = os.open(path, os.O_RDONLY)
    assert not liveness.file_deserted(seen)
    os.close(handed_on)
    assert liveness.file_deserted(seen)
    os.close(seen)


def test_an_owned_page_cannot_be_taken_and_a_deserted_one_is_removed() -> None:
    name = paths.worker_page(f"unit-{os.getpid()}", "pool", 0)
    file = paths.shm_file(name)
    owned = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        liveness.lock_shared(owned)
        with pytest.raises(FileExistsError, match="in use"):
            page.create(name)
        os.close(owned)
        owned = -1
        made = page.create(name)
        assert os.fstat(made).st_size == layout.SHM_WORKER_SEGMENT_BYTES
        assert not file.exists()  # its worker names it
        os.close(made)
    finally:
        if owned >= 0:
            os.close(owned)
        file.unlink(missing_ok=True)


def test_only_the_own_file_of_a_name_is_removed() -> None:
    name = paths.worker_page(f"unit-{os.getpid()}", "pool", 1)
    file = paths.shm_file(name)
    file.touch()
    own = os.open(file, os.O_RDWR)
    try:
        file.unlink()
        file.touch()
        assert not liveness.remove_own(name, own)
        assert file.exists()
    finally:
        os.close(own)
        file.unlink(missing_ok=True)


def test_an_unwritten_page_says_nothing() -> None:
    assert page.read(bytes(layout.SHM_WORKER_SEGMENT_BYTES)) is None


@pytest.mark.parametrize("pid", [(1 << 22) + 1, (1 << 31) - 1, 1 << 31, 0xFFFFFFF0])
def test_a_process_whose_number_is_out_of_range_is_gone(pid: int) -> None:
    assert not opener.ran_at(pid, time.monotonic_ns())
    assert opener.Opener(pid, 0, 0, "").is_dead
