"""Processes killed while they open and close channels: nothing of theirs stays behind."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtworkers import paths

pytestmark = pytest.mark.check

KILLS = 60
SEED = int(os.environ.get("SHMRING_TEST_SEED", "1"))
LONGEST_LIFE_S = 0.12

# Forks a child per line, so that a child needs no time for its imports.
NURSERY = """
import os, signal, sys, shmring

def live(namespace):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        with shmring.Pool(policy='other', namespace=namespace) as pool:
            for number in range(3):
                with pool.open('ctl', local=('127.0.0.1', 0)):
                    pass
                pool.end('ctl')

print('ready', flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        live(line.strip())
    print(child, flush=True)
    os.waitpid(child, 0)
    print('dead', flush=True)
"""


@pytest.fixture
def nursery(python: Callable[..., Any], other_runtime: Path) -> Any:
    process = python(NURSERY, env=os.environ | {"SHMRING_RUNTIME_DIR": str(other_runtime)})
    assert process.line() == "ready"
    return process


def left_in_shm(prefix: str) -> list[str]:
    return sorted(name for name in os.listdir("/dev/shm") if name.startswith(f"shmring:{prefix}"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_owner_killed_while_it_opens_or_closes_leaves_nothing(
    how: signal.Signals,
    nursery: Any,
    shmring_namespace: str,
    other_runtime: Path,
    eventually: Any,
) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}", file=sys.stderr)
    for number in range(KILLS):
        nursery.tell(f"{shmring_namespace}-{number}")
        child = int(nursery.line())
        time.sleep(chance.uniform(0, LONGEST_LIFE_S))
        os.kill(child, how)
        assert nursery.line() == "dead"
    # a namespace each: no later pool cleared up after an earlier one
    eventually(lambda: not left_in_shm(shmring_namespace))
    eventually(lambda: not list(other_runtime.rglob("*")))


@pytest.mark.parametrize("left", [b"", b"x" * 5000])
def test_a_deserted_file_of_the_name_is_replaced_at_once(
    shmring_pool: shmring.Pool, left: bytes
) -> None:
    file = paths.shm_file(paths.channel_segment(shmring_pool.namespace, "ctl"))
    file.write_bytes(left)
    with shmring_pool.open("ctl", local=("127.0.0.1", 0)) as channel:
        channel.send(b"hello", to=channel.local)
        assert channel.recv(timeout=20).data == b"hello"
    shmring_pool.end("ctl")
    assert not file.exists()


def test_gc_removes_an_empty_file_that_nobody_holds(shmring_namespace: str) -> None:
    name = paths.channel_segment(shmring_namespace, "ctl")
    paths.shm_file(name).touch()
    assert shmring.gc(namespace=shmring_namespace).segments == (name,)
    assert not paths.shm_file(name).exists()


def test_the_next_pool_clears_up_after_one_that_died_with_its_worker(
    python: Callable[..., Any],
    shmring_namespace: str,
    other_runtime: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHMRING_RUNTIME_DIR", str(other_runtime))
    owner = python(
        "import os, sys, shmring\n"
        "pool = shmring.Pool(policy='other')\n"
        "pool.open('ctl', local=('127.0.0.1', 0))\n"
        "print(pool.workers()[0].pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    worker = int(owner.line())
    owner.kill_with(worker)
    assert left_in_shm(shmring_namespace)
    while not shmring.gc(namespace=shmring_namespace, dry_run=True).directories:
        time.sleep(0.01)
    shmring.Pool(policy="other").close()
    assert not left_in_shm(shmring_namespace)
    assert not list(other_runtime.rglob("*"))


TESTS = """
import after_kill, os, sys, shmring
after_kill.watch()
pool = shmring.Pool('stays', policy='other', namespace=f'test-{os.getpid()}-0')
pool.open('ctl', local=('127.0.0.1', 0))
print('ready', flush=True)
sys.stdin.read()
"""


def test_a_killed_test_process_leaves_no_worker_of_a_named_pool(
    python: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    tests = python(TESTS, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])})
    assert tests.line() == "ready"
    assert left_in_shm(f"test-{tests.pid}-")
    tests.kill()
    eventually(lambda: not left_in_shm(f"test-{tests.pid}-"))
    eventually(lambda: not list(paths.runtime_base().glob(f"test-{tests.pid}-*")))
