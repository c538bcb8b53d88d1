"""Limits of descriptors and processes: a channel that opens works, and its worker comes back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from rtworkers.launch import worker_binary

ROOT = os.geteuid() == 0

# Opens channels up to the limit, uses every one, has the worker killed, and uses every one again.
FULL = """
import os, resource, signal, shmring
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
pool = shmring.Pool(policy='other')
channels = []
try:
    while True:
        channels.append(pool.open(f'c{{len(channels)}}', local=('127.0.0.1', 0)))
except shmring.NoSpace as error:
    print(len(channels), error, flush=True)

def use(data):
    for channel in channels:
        channel.send(data, to=channel.local)
        assert channel.recv(timeout=20).data == data

use(b'before')
os.kill(pool.workers()[0].pid, signal.SIGKILL)
use(b'after')
print(pool.workers()[0].restarts, flush=True)
pool.close()
"""

# Takes every descriptor that is left, has the worker killed, and gives them back a second later.
SHORT = """
import os, resource, signal, time, shmring
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
pool = shmring.Pool(policy='other')
channel = pool.open('ctl', local=('127.0.0.1', 0))
channel.send(b'before', to=channel.local)
assert channel.recv(timeout=20).data == b'before'
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
os.kill(pool.workers()[0].pid, signal.SIGKILL)
while pool.workers()[0].state != 'paused':
    time.sleep(0.01)
time.sleep(1)
print(pool.workers()[0].state, pool.workers()[0].error, flush=True)
for fd in taken:
    os.close(fd)
channel.send(b'after', to=channel.local)
print(channel.recv(timeout=20).data, flush=True)
pool.close()
"""

FEW_PROCESSES = """
import os, resource, shmring
os.setgroups([]); os.setgid(60123); os.setuid(60123)
resource.setrlimit(resource.RLIMIT_NPROC, ({most}, {most}))
pool = shmring.Pool(policy='other')
try:
    pool.open('ctl', local=('127.0.0.1', 0))
except shmring.ShmringError as error:
    print(type(error).__name__, error, flush=True)
resource.setrlimit(resource.RLIMIT_NPROC, ({most}, {most}))
pool.close()
"""


@pytest.mark.parametrize("files", [64, 128])
def test_every_channel_that_opens_works_and_its_worker_comes_back(
    python: Callable[..., Any], files: int
) -> None:
    process = python(FULL.format(files=files))
    count, _, text = process.line().partition(" ")
    assert int(count) >= files // 16
    assert f"limit of {files} open files" in text
    assert "ulimit -n" in text
    assert process.line() == "1"
    assert process.wait() == 0


def test_a_worker_is_started_again_once_there_are_descriptors(python: Callable[..., Any]) -> None:
    process = python(SHORT)
    line = process.line()
    assert line.startswith("paused")
    assert "Too many open files" in line
    assert process.line() == "b'after'"
    assert process.wait() == 0


@pytest.mark.skipif(not ROOT, reason="needs root, to become a user with few processes")
@pytest.mark.parametrize("most", [1, 2])
def test_a_user_at_its_limit_of_processes_is_told(
    python: Callable[..., Any], other_runtime: Any, most: int
) -> None:
    # A copy: where shmring is installed may be out of that user's reach.
    binary = shutil.copy(worker_binary(), other_runtime)
    other_runtime.chmod(0o777)
    changes = {"SHMRING_RUNTIME_DIR": str(other_runtime / "base"), "SHMRING_WORKER": binary}
    env = os.environ | changes
    process = python(FEW_PROCESSES.format(most=most), env=env)
    line = process.line()
    assert line.startswith("ShmringOSError")
    assert f"the limit of {most} of processes and threads" in line
    assert "ulimit -u" in line
    assert process.wait() == 0
