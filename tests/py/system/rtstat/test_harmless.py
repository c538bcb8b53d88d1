"""rtstat only reads: seen from outside of it, by the kernel's own account."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from kit.commands import RTSTAT

from rtstat.snapshot import Watch

pytestmark = pytest.mark.check

PATIENCE_S = 120.0
SHM = "/dev/shm/shmring:"

# What could change something for somebody else. A private futex is of the process's own threads.
TRACED = (
    "futex,open,openat,creat,mmap,mprotect,flock,fcntl,ftruncate,fallocate,unlink,unlinkat,rename,"
    "connect,sendto,sendmsg,kill,tgkill,chmod,fchmod,chown,fchown,pwrite64,write,writev"
)


@pytest.mark.needs("ptrace")
@pytest.mark.program("strace")
@pytest.mark.parametrize(
    "words",
    [
        ("--json-lines", "-i", "0.01", "-n", "5"),
        ("--plain", "-i", "0.01", "-n", "3"),
        ("show", "ctl", "--interval", "0.05"),
        ("errors",),
    ],
)
def test_system_calls_open_and_map_for_reading_and_wake_nobody(words, shmring_open, tmp_path):
    here, there = shmring_open("ctl")
    here.send(b"x")
    there.recv(timeout=20)
    trace = tmp_path / "trace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-y", "-e", f"trace={TRACED}", "-o", str(trace), *RTSTAT, *words],
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    calls = trace.read_text().splitlines()
    ours = [line for line in calls if SHM in line]
    assert any("openat(" in line for line in ours)
    for line in ours:
        assert re.search(r"\b(openat|mmap)\(", line), line
        assert "O_RDWR" not in line, line
        assert "O_WRONLY" not in line, line
        assert "PROT_WRITE" not in line, line
    for line in calls:
        assert "futex(" not in line or "_PRIVATE" in line, line
        assert not re.search(r"\b(flock|connect|sendto|sendmsg|unlink\w*|ftruncate)\(", line), line
        if match := re.search(r"\bwritev?\((\d+)<([^>]*)>", line):
            assert match[1] in ("1", "2"), line  # what it prints
        assert not re.search(r"mmap\(.*PROT_WRITE.*MAP_SHARED", line), line


@pytest.mark.needs("unprivileged")
def test_a_user_who_may_only_read_sees_it_all(shmring_namespace, shmring_open):
    here, there = shmring_open("ctl")
    here.send(b"x")
    there.recv(timeout=20)
    files = list(Path("/dev/shm").glob(f"shmring:{shmring_namespace}:*"))
    for file in files:
        file.chmod(stat.S_IMODE(file.stat().st_mode) | stat.S_IROTH)
    pid = os.fork()
    if pid == 0:
        try:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            with Watch(shmring_namespace) as watch:
                watch.read()
                shot = watch.read()
            sees = shot.verdict == "ok" and len(shot.channels) == 2 and len(shot.workers) == 1
            sees = sees and shot.channel("ctl-peer")["rx_received"] == 1
            writable = any(os.access(file, os.W_OK) for file in files)
            os._exit(0 if sees and not writable else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_tools_that_are_stopped_and_killed_hold_up_nothing(shmring_open, shmring_namespace):
    """Packets go on, and closing a channel does not wait for those who look at it."""
    here, there = shmring_open("ctl")
    tools = [
        subprocess.Popen([*RTSTAT, "--json-lines", "-i", "0.001"], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    try:
        for tool in tools:
            assert tool.stdout is not None
            tool.stdout.readline()
            tool.send_signal(signal.SIGSTOP)
        for i in range(200):
            here.send(b"%d" % i)
        assert [int(there.recv(timeout=20).data) for _ in range(200)] == list(range(200))
        tools[0].kill()
        here.close()
        there.close()
    finally:
        for tool in tools:
            tool.kill()
            tool.communicate()
    with Watch(shmring_namespace) as watch:
        assert watch.read().channels == ()
