"""Ends what the tests of a killed process leave behind: workers of named pools live on, as they do
for users.

A watcher, which is another process, waits for the end of the test process. It waits with a
descriptor of that process and not with a pipe, which programs that the tests fork could keep open.
If the tests end by themselves, they stop the watcher first, so that what they leave is noticed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE_S = 30.0
PAUSE_S = 0.05
MNT_FORCE, MNT_DETACH = 1, 2


def watch() -> Callable[[], None]:
    """Start the watcher of this process, and return what stops it."""
    watcher = subprocess.Popen(
        [sys.executable, "-P", __file__, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what ends the group of the tests spares it
    )

    def stop() -> None:
        watcher.kill()
        watcher.wait()

    return stop


def runtime_prefix(pid: int) -> str:
    """Return how the name of each folder in /tmp begins that a test process makes."""
    return f"rt{pid}-"


def main(pid: int) -> None:
    """Wait for the end of a process, then remove what its tests left."""
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])
    unmount(pid)
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        found = list(processes_of(pid))
        if not found:
            break
        for other in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(other, signal.SIGKILL)
        time.sleep(PAUSE_S)
    for path in files_of(pid):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def unmount(pid: int) -> None:
    """Unmount file systems of these tests. Who waits for one of their servers cannot be killed."""
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        folder = line.split()[1]
        if folder.startswith(f"{tempfile.gettempdir()}/{runtime_prefix(pid)}"):
            ctypes.CDLL(None).umount2(os.fsencode(folder), MNT_FORCE | MNT_DETACH)


def processes_of(pid: int) -> Iterator[int]:
    """Find the processes with a namespace of these tests in their command line or environment."""
    namespace = re.compile(rb"\btest-%d-\d+\b" % pid)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if namespace.search(said):
                yield int(folder.name)


def files_of(pid: int) -> Iterator[Path]:
    """Find the shared memory and the runtime directories of these tests."""
    from rtworkers import paths

    yield from Path("/dev/shm").glob(f"shmring:test-{pid}-*")
    yield from paths.runtime_base().glob(f"test-{pid}-*")
    yield from Path(tempfile.gettempdir()).glob(f"{runtime_prefix(pid)}*")


if __name__ == "__main__":
    main(int(sys.argv[1]))
