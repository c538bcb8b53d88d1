"""Limits of descriptors and processes: a channel that opens works, and its worker comes back."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from typing import Any

import pytest

import shmring
from rtworkers.launch import worker_binary

pytestmark = pytest.mark.check

# Opens channels up to the limit, uses every one, has the worker killed, and uses every one again.
FULL = """
import os, resource, signal, shmring
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
pool = shmring.Pool(policy='other')
channels = []
try:
    while True:
        channels.append(pool.open(f'c{{len(channels)}}', local=('127.0.0.1', 0)))
except shmring.errors.NoSpace as error:
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

# Tries again and again with {left} descriptors left, then with all of them back.
AT_LIMIT = """
import os, resource, shmring
channel = shmring.attach('ctl')
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
for _ in range({left}):
    os.close(taken.pop())
failed = 0
for _ in range(10):
    try:
        channel.{call}
    except shmring.errors.NoSpace as error:
        failed, text = failed + 1, str(error)
    except shmring.ReceiveTimeout:
        break
print(failed, text, sep='\\n', flush=True)
input()
for fd in taken:
    os.close(fd)
try:
    channel.{call}
except shmring.ReceiveTimeout:
    pass
print('done', flush=True)
"""

# Attached as reader, it has one descriptor left, too few to attach as sender.
READER_AT_LIMIT = """
import os, resource, shmring
channel = shmring.attach('ctl')
try:
    channel.recv(timeout=0.01)
except shmring.ReceiveTimeout:
    print('reads', flush=True)
input()
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    os.close(taken.pop())
try:
    channel.send(b'y', to=channel.local)
except shmring.errors.NoSpace as error:
    print(error, flush=True)
print(channel.recv(timeout=20).data, flush=True)
"""

# The channel's only sender, which has no descriptors left when its worker has been replaced.
SENDER_AT_LIMIT = """
import os, resource, shmring, time
channel = shmring.attach('ctl')
channel.send(b'before', to=channel.local)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
print('full', flush=True)
input()
failed = 0
while failed < 10:
    try:
        channel.send(b'x', to=channel.local)  # until the next worker serves the channel
        time.sleep(0.01)
    except shmring.errors.NoSpace as error:
        failed, text = failed + 1, str(error)
print(text, flush=True)
for fd in taken:
    os.close(fd)
channel.send(b'after', to=channel.local)
input()
"""

FEW_PROCESSES = """
import os, resource, shmring
from shmring import *  # what the other user may not read
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


@pytest.mark.needs("unprivileged")
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


# Has so many descriptors left: one is enough to connect, but not for what the worker sends back.
@pytest.mark.parametrize("left", [0, 1, 2])
@pytest.mark.parametrize("call", ["send(b'x', to=channel.local)", "recv(timeout=1)"])
def test_a_process_at_its_limit_takes_no_slots(
    python: Callable[..., Any], shmring_pool: shmring.Pool, left: int, call: str
) -> None:
    channel = shmring_pool.open(
        "ctl",
        local=("127.0.0.1", 0),
        share=shmring.Share(producers=3, readers=3),
    )
    process = python(AT_LIMIT.format(left=left, call=call))
    assert int(process.line()) >= 1
    text = process.line()
    assert "limit of 40 open files" in text
    assert "ulimit -n" in text
    channel.send(b"x", to=channel.local)
    assert channel.recv(timeout=20).data == b"x"
    process.tell()
    assert process.line() == "done"
    channel.close()


def test_a_reader_at_its_limit_goes_on_reading_when_it_cannot_send(
    python: Callable[..., Any], shmring_pool: shmring.Pool
) -> None:
    channel = shmring_pool.open("ctl", local=("127.0.0.1", 0))
    process = python(READER_AT_LIMIT)
    assert process.line() == "reads"
    process.tell()
    assert "limit of 40 open files" in process.line()
    channel.send(b"x", to=channel.local)
    assert process.line() == "b'x'"
    channel.close()


def test_a_sender_at_its_limit_keeps_its_slot_when_its_worker_is_replaced(
    python: Callable[..., Any], shmring_pool: shmring.Pool
) -> None:
    channel = shmring_pool.open("ctl", local=("127.0.0.1", 0), share=shmring.Share(producers=1))
    process = python(SENDER_AT_LIMIT)
    assert channel.recv(timeout=20).data == b"before"
    assert process.line() == "full"
    os.kill(shmring_pool.workers()[0].pid, signal.SIGKILL)
    process.tell()
    assert "limit of 40 open files" in process.line()
    while channel.recv(timeout=20).data != b"after":
        pass
    with pytest.raises(shmring.errors.NoSpace, match="no free producer slot of 1"):
        channel.send(b"x", to=channel.local)
    channel.close()
