"""The machine runs short or goes away: shared memory, memory, files, addresses, links, time."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtworkers.launch import worker_binary

pytestmark = pytest.mark.check

PATIENCE_S = 60

# Fills shared memory to its last byte, uses what it got, makes room, and opens another one.
FILL = """
import os, time, shmring

def fill():
    with open('/dev/shm/rest', 'wb', buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                pass
    assert os.statvfs('/dev/shm').f_bavail == 0

def open_again(pool):
    until = time.monotonic() + 20  # the memory of a closed channel comes back a moment later
    while True:
        try:
            return pool.open('again', shmring.Udp(tx=1024), local=('127.0.0.1', 0))
        except shmring.errors.NoSpace:
            if time.monotonic() > until:
                raise
        time.sleep(0.01)

with shmring.Pool(policy='other') as pool:
    channels = []
    local = pool.open('local', shmring.Local())
    rtp = pool.open('rtp', shmring.Rtp(), local=('127.0.0.1', 0),
                    remote=('127.0.0.1', 9))
    try:
        while len(channels) < 1000:
            name = f'c{len(channels)}'
            channels.append(pool.open(name, shmring.Udp(tx=1024), local=('127.0.0.1', 0)))
    except shmring.errors.NoSpace as error:
        print(len(channels), error)
    fill()
    for number in range(200):
        local.send(bytes(1000))
        local.recv(timeout=20)
        rtp.send(bytes(160))
    rtp.flush(timeout=20)
    for channel in channels:
        for number in range(64):
            channel.send(bytes(1000), to=channel.local)
        assert sum(len(channel.recv(timeout=20).data) for _ in range(64)) == 64000
    os.unlink('/dev/shm/rest')
    channels.pop().close()
    with open_again(pool) as channel:
        channel.send(b'x', to=channel.local)
        print(channel.recv(timeout=20).data)
"""

SMALL = """
import shmring
with shmring.Pool(policy='other') as pool:
    here = pool.open('here', local=('127.0.0.1', 0))
    rtp = pool.open('rtp', shmring.Rtp(codec='pcmu'), local=('127.0.0.1', 0))
    here.send(b'x', to=here.local)
    print(here.recv(timeout=20).data)
"""

NO_MAPPINGS = """
import resource, shmring
pool = shmring.Pool(policy='other')
first = pool.open('first', local=('127.0.0.1', 0))
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20), resource.RLIM_INFINITY))
try:
    pool.open('big', shmring.Udp(tx=1 << 16))
except shmring.ShmringError as error:
    print(type(error).__name__, error, flush=True)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
first.send(b'x', to=first.local)
print(first.recv(timeout=20).data, pool.channels(), flush=True)
pool.close()
"""

SHORT_FILES = """
import resource, shmring
pool = shmring.Pool(policy='other')
first = pool.open('first', local=('127.0.0.1', 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
try:
    pool.open('big', shmring.Udp(tx=1 << 16))
except shmring.ShmringError as error:
    print(type(error).__name__, error, flush=True)
first.send(b'x', to=first.local)
print(first.recv(timeout=20).data, pool.channels(), flush=True)
pool.close()
"""

# Says what fails when the file system of the runtime directory has no room for bytes, or for files.
FULL_RUNTIME = """
import os, shmring
folder = os.environ['SHMRING_RUNTIME_DIR']

def fill():
    try:
        with open(folder + '/fill', 'wb', buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError:
        pass

def fails(what):
    try:
        what()
    except shmring.ShmringError as error:
        print(type(error).__name__, error)

before = len(os.listdir('/proc/self/fd'))
fill()
fails(lambda: shmring.Pool('x', policy='other'))
os.unlink(folder + '/fill')
assert len(os.listdir('/proc/self/fd')) == before
with shmring.Pool('x', policy='other') as pool:
    fill()
    fails(lambda: pool.open('ctl', local=('127.0.0.1', 0)))
    os.unlink(folder + '/fill')
    with pool.open('ctl', local=('127.0.0.1', 0)) as channel:
        channel.send(b'x', to=channel.local)
        print(channel.recv(timeout=20).data)
"""

NO_FILES = """
import shmring
try:
    shmring.Pool('x', policy='other')
except shmring.ShmringError as error:
    print(type(error).__name__, error)
"""

NETWORK = """
import subprocess, time, shmring

def ip(*words):
    subprocess.run(['ip', *words], check=True)

def send(channel, count=20):
    for number in range(count):
        channel.send(b'%d' % number)
    channel.flush(timeout=20)
    return [report.verdict.name.lower() for report in channel.reports(timeout=0)]

def received(channel, count=20):
    return [int(channel.recv(timeout=20).data) for _ in range(count)] == list(range(count))

ip('link', 'set', 'lo', 'up')
ip('addr', 'add', '10.99.0.1/32', 'dev', 'lo')
with shmring.Pool(policy='other') as pool:
    there = pool.open('there', local=('127.0.0.1', 0))
    here = pool.open(
        'here',
        shmring.Udp(reports='all'),
        local=('10.99.0.1', 0),
        remote=there.local,
    )
    assert 'failed' not in send(here)
    assert received(there)
    {break_it}
    print(sorted(set(send(here))), here.state, flush=True)
    {mend_it}
    assert 'failed' not in send(here)
    print(received(there), here.state, flush=True)
"""


def inside(setup: str, flags: list[str], script: str, **environment: str) -> list[str]:
    """The lines a script prints in namespaces of its own, after `setup` ran there."""
    line = f'{setup or "true"} && exec {shlex.quote(sys.executable)} -c "$SCRIPT"'
    done = subprocess.run(
        ["unshare", *flags, "sh", "-c", line],
        env=os.environ | {"SCRIPT": script} | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def small_shm(mib: int) -> str:
    return f"mount -t tmpfs -o size={mib}m,mode=1777 tmpfs /dev/shm"


@pytest.mark.needs("mount")
@pytest.mark.parametrize("mib", [8, 64])
def test_shared_memory_is_full(shmring_namespace: str, mib: int) -> None:
    told, again = inside(small_shm(mib), ["--mount"], FILL)
    count, _, text = told.partition(" ")
    assert int(count) > 0
    assert "/dev/shm" in text
    # No channel may fit into what is left.
    assert "open it with" in text or "close channels" in text
    assert again == "b'x'"


@pytest.mark.needs("mount")
def test_a_container_with_64_mib_is_enough(shmring_namespace: str) -> None:
    assert inside(small_shm(64), ["--mount"], SMALL) == ["b'x'"]


@pytest.mark.needs("mount")
@pytest.mark.parametrize(
    ("limit", "script", "end"),
    [("size=32k", FULL_RUNTIME, ["b'x'"]), ("nr_inodes=3", NO_FILES, [])],
)
def test_the_runtime_directory_is_full(
    shmring_namespace: str, other_runtime: Path, limit: str, script: str, end: list[str]
) -> None:
    """It is another file system than /dev/shm, which the advice must not confuse."""
    mount = f"mount -t tmpfs -o {limit} tmpfs {other_runtime}"
    lines = inside(mount, ["--mount"], script, SHMRING_RUNTIME_DIR=str(other_runtime))
    told = lines[: len(lines) - len(end)]
    assert lines == [*told, *end]
    assert len(told) == 1 + len(end)
    for line in told:
        assert line.startswith("NoSpace")
        assert str(other_runtime) in line
        assert "set SHMRING_RUNTIME_DIR" in line
        assert "/dev/shm" not in line


@pytest.mark.parametrize(
    ("script", "kind"), [(NO_MAPPINGS, "NoSpace"), (SHORT_FILES, "ShmringOSError")]
)
def test_a_process_at_its_limit(python: Callable[..., Any], script: str, kind: str) -> None:
    process = python(script)
    line = process.line()
    assert line.startswith(kind)
    assert "bytes" in line
    assert process.line() == "b'x' ['first']"
    assert process.wait() == 0


@pytest.mark.needs("unprivileged")
def test_a_user_who_may_lock_no_memory(python: Callable[..., Any], other_runtime: Path) -> None:
    script = (
        "import os, resource, warnings, shmring\n"
        "from shmring import *\n"  # what the other user may not read
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "warnings.simplefilter('ignore')\n"
        "with shmring.Pool(policy='fifo') as pool:\n"
        "    ch = pool.open('ctl', shmring.Udp(tx=65536), local=('127.0.0.1', 0))\n"
        "    ch.send(b'x', to=ch.local)\n"
        "    print(ch.recv(timeout=20).data, pool.workers()[0].memory_locked)\n"
    )
    binary = shutil.copy(worker_binary(), other_runtime)
    other_runtime.chmod(0o777)
    changes = {"SHMRING_RUNTIME_DIR": str(other_runtime / "base"), "SHMRING_WORKER": binary}
    process = python(script, env=os.environ | changes)
    assert process.line() == "b'x' False"
    assert process.wait() == 0


@pytest.mark.needs("netns")
@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [
        ("ip('link', 'set', 'lo', 'down')", "ip('link', 'set', 'lo', 'up')"),
        (
            "ip('addr', 'del', '10.99.0.1/32', 'dev', 'lo')",
            "ip('addr', 'add', '10.99.0.1/32', 'dev', 'lo')",
        ),
    ],
    ids=["interface", "address"],
)
def test_the_network_goes_and_comes_back(
    shmring_namespace: str, break_it: str, mend_it: str
) -> None:
    script = NETWORK.format(break_it=break_it, mend_it=mend_it)
    broken, mended = inside("", ["--net"], script)
    assert broken.endswith("open")
    assert mended == "True open"


@pytest.mark.needs("netns", "qdisc tbf")
def test_a_link_without_buffers(shmring_namespace: str) -> None:
    slow = "ip link set lo up && tc qdisc add dev lo root tbf rate 64kbit burst 2000 limit 2000"
    script = (
        "import shmring\n"
        "with shmring.Pool(policy='other') as pool:\n"
        "    ch = pool.open('ctl', local=('127.0.0.1', 0))\n"
        "    for number in range(200):\n"
        "        ch.send(bytes(1000), to=ch.local)\n"
        "    ch.flush(timeout=30)\n"
        "    print(len(list(ch.reports(timeout=0))), ch.state)\n"
    )
    assert inside(slow, ["--net"], script) == ["200 open"]


def test_everything_stands_still_for_5_s(python: Callable[..., Any]) -> None:
    owner = python(
        "import time, shmring\n"
        "with shmring.Pool(policy='other') as pool:\n"
        "    ch = pool.open('ctl', shmring.Udp(tx=1024), local=('127.0.0.1', 0))\n"
        "    ch.send(b'first', to=ch.local); ch.recv(timeout=20)\n"
        "    print(pool.workers()[0].pid, flush=True)\n"
        "    start = time.monotonic_ns() + 100_000_000\n"
        "    for number in range(700):\n"
        "        ch.send(b'%d' % number, start + number * 10_000_000, to=ch.local)\n"
        "    got = [int(ch.recv(timeout=30).data) for _ in range(700)]\n"
        "    ch.flush(timeout=20)\n"
        "    count, epoch = len(list(ch.reports(timeout=0))), ch.stats().epoch\n"
        "    print(got == list(range(700)), count, epoch, ch.state)\n"
    )
    pids = [int(owner.line()), owner.pid]
    time.sleep(0.5)
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(5)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert owner.line() == "True 701 1 open"
    assert owner.wait() == 0
