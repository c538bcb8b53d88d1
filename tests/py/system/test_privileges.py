"""What a worker may do: with file capabilities, and once it serves."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtworkers import affinity
from rtworkers.launch import worker_binary

USER = 65533
GROUP = 65532
CAPABILITIES = {"cap_sys_nice", "cap_net_admin", "cap_ipc_lock"}
CAP_NET_ADMIN, CAP_IPC_LOCK = 1 << 12, 1 << 14


@pytest.fixture
def program(other_runtime: Path) -> Path:
    """A copy of the worker that everybody may run."""
    path = Path(shutil.copy(worker_binary(), other_runtime))
    path.chmod(0o755)
    return path


def give_capabilities(path: Path) -> None:
    words = ["setcap", f"{affinity.FILE_CAPABILITIES}+ep", str(path)]
    subprocess.run(words, check=True)


BECOME = """
import os, resource, sys
limit, user, group, program = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
resource.setrlimit(resource.RLIMIT_RTPRIO, (limit, limit))
os.setgroups([group]); os.setgid(user); os.setuid(user)
os.execv(program, sys.argv[4:])
"""


def setup_of(path: Path, priority: int, group: int = USER, limit: int = 0) -> dict[str, Any]:
    """What the program says of itself when an ordinary user runs it."""
    words = [sys.executable, "-c", BECOME, limit, USER, group, path, "--examine", 0]
    words += ["--policy", "fifo", "--priority", priority]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=True)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    return facts


@pytest.mark.needs("setcap")
def test_a_program_that_everybody_may_run_does_not_use_its_capabilities(program: Path) -> None:
    give_capabilities(program)
    setup = setup_of(program, 99)
    assert setup["capabilities"] == []
    assert (setup["policy"], setup["memory_locked"]) == ("other", False)


@pytest.mark.needs("setcap", "fifo")
def test_a_program_of_a_group_grants_a_member_what_it_needs_and_no_more(program: Path) -> None:
    os.chown(program, 0, GROUP)
    program.chmod(0o750)
    give_capabilities(program)
    with pytest.raises(PermissionError) as caught:
        subprocess.run([program], user=USER, group=USER, extra_groups=[])
    assert caught.value.errno == errno.EACCES

    setup = setup_of(program, 99, GROUP)
    assert set(setup["capabilities"]) == CAPABILITIES
    assert setup["priority"] == 80
    assert setup_of(program, 50, GROUP)["priority"] == 50
    if resource.getrlimit(resource.RLIMIT_RTPRIO)[1] >= 90:
        assert setup_of(program, 99, GROUP, limit=90)["priority"] == 90


MEMBER = f"""
import os, resource, warnings, shmring
from shmring import *  # what the other user may not read
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
os.setgroups([{GROUP}]); os.setgid({USER}); os.setuid({USER})
pool = shmring.Pool(priority=90, policy='fifo')
with warnings.catch_warnings(record=True) as caught, pool:
    warnings.simplefilter('always')
    ch = pool.open('ctl', shmring.Udp(socket=shmring.Socket(rcvbuf_bytes=64 << 20)),
                   local=('127.0.0.1', 0))
    ch.send(b'x', to=ch.local); assert ch.recv(timeout=20).data == b'x'
    worker = pool.workers()[0]
    print(worker.policy, worker.priority, ch.stats().rcvbuf_bytes >= 64 << 20)
    print([str(c.message) for c in caught])
    print(*open('/proc/%d/status' % worker.pid).read().split('\\n'), sep='|', flush=True)
"""


def test_a_worker_filters_its_system_calls(shmring_pool: shmring.Pool) -> None:
    channel = shmring_pool.open("ctl", local=("127.0.0.1", 0))
    channel.send(b"x", to=channel.local)
    assert channel.recv(timeout=20).data == b"x"
    (worker,) = shmring_pool.workers()
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    )
    if not worker.calls_filtered:
        pytest.skip("no filter in this build, or on this machine")
    assert worker.calls_refused == 0
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) & ~CAP_IPC_LOCK == 0
    assert int(status["CapBnd"], 16) == 0 or not int(status["CapPrm"], 16)
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0


@pytest.mark.needs("setcap", "fifo")
def test_a_pool_of_a_member_works_and_its_worker_holds_little(
    program: Path, python: Callable[..., Any], other_runtime: Path
) -> None:
    os.chown(program, 0, GROUP)
    program.chmod(0o750)
    give_capabilities(program)
    base = other_runtime / "run"
    base.mkdir()
    os.chown(base, USER, USER)
    changes = {"SHMRING_RUNTIME_DIR": str(base), "SHMRING_WORKER": str(program)}
    other = python(MEMBER, env=os.environ | changes)
    assert other.line() == "fifo 80 True"
    assert "priority 80 instead of 90" in other.line()
    status = dict(word.split(":\t", 1) for word in other.line().split("|") if ":" in word)
    assert int(status["CapEff"], 16) == CAP_IPC_LOCK
    assert int(status["CapPrm"], 16) == CAP_IPC_LOCK | CAP_NET_ADMIN
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert other.wait() == 0
