"""Several users on one host: what another user, and a member of the pool's group, cannot do.

docs/explanation/threat-model.md claims it; here it is tried, as root that becomes others.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtworkers import paths
from rtworkers.launch import worker_binary

USER, OTHER, GROUP = 65533, 65531, 65532
LOOPBACK = ("127.0.0.1", 0)

pytestmark = [pytest.mark.check, pytest.mark.needs("unprivileged", "chown")]

BECOME = """
import os
import shmring
from shmring import *  # what the other user may not read
from shmring import control
from rtworkers import paths
from rtworkers.control import Connection, Request, channel_body
from rtworkers.layout import Op
os.setgroups({groups}); os.setgid({user}); os.setuid({user})
def tried(what, *arguments, **named):
    try:
        result = what(*arguments, **named)
    except (shmring.ShmringError, OSError) as error:
        print(type(error).__name__, flush=True)
    else:
        print('done', result, flush=True)
"""


@pytest.fixture
def as_user(python: Callable[..., Any]) -> Callable[..., Any]:
    """Run a script as another user; it has `tried(function, ...)`, which prints what came of it."""

    def start(script: str, *groups: int, user: int = USER, **options: Any) -> Any:
        return python(BECOME.format(user=user, groups=list(groups)) + script, **options)

    return start


@pytest.fixture
def shared_runtime(other_runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory that other users can find."""
    base = other_runtime / "base"
    monkeypatch.setenv("SHMRING_RUNTIME_DIR", str(base))
    return base


@pytest.fixture
def pool(shared_runtime: Path, shmring_namespace: str) -> Iterator[shmring.Pool]:
    with shmring.Pool(policy="other") as pool:
        yield pool


@pytest.fixture
def group_pool(shared_runtime: Path, shmring_namespace: str) -> Iterator[shmring.Pool]:
    with shmring.Pool(policy="other", group=GROUP) as pool:
        yield pool


def files_of(namespace: str, runtime: Path) -> dict[str, os.stat_result]:
    names = [paths.shm_file(found.posix_name) for found in paths.shm_names(namespace)]
    return {path.name: path.lstat() for path in [*names, *runtime.rglob("*")]}


def test_files_of_a_pool_are_closed_to_others(
    pool: shmring.Pool, shared_runtime: Path, shmring_namespace: str
) -> None:
    pool.open("ctl", local=LOOPBACK)
    found = files_of(shmring_namespace, shared_runtime)
    assert {"lock", "worker-0.sock"} <= set(found)
    for name, facts in found.items():
        assert facts.st_uid == 0, name
        assert stat.S_IMODE(facts.st_mode) & 0o077 == 0, name


def test_files_of_a_pool_with_a_group_are_closed_to_those_outside(
    group_pool: shmring.Pool, shared_runtime: Path, shmring_namespace: str
) -> None:
    group_pool.open("ctl", local=LOOPBACK)
    for name, facts in files_of(shmring_namespace, shared_runtime).items():
        mode = stat.S_IMODE(facts.st_mode)
        assert mode & 0o006 == 0, name
        if mode & 0o060:
            assert facts.st_gid == GROUP, name


def test_another_user_reads_and_writes_nothing(
    pool: shmring.Pool, as_user: Callable[..., Any], shmring_namespace: str
) -> None:
    channel = pool.open("ctl", local=LOOPBACK)
    (worker,) = pool.workers()
    other = as_user(
        "tried(shmring.attach, 'ctl')\n"
        "tried(shmring.attach, 'ctl', readonly=True)\n"
        f"segment = paths.shm_file(paths.channel_segment({shmring_namespace!r}, 'ctl'))\n"
        "tried(open, segment, 'rb')\n"
        "tried(os.truncate, segment, 0)\n"
        "tried(os.unlink, segment)\n"
        f"directory = paths.pool_directory({shmring_namespace!r}, {pool.name!r})\n"
        "tried(os.listdir, directory)\n"
        "tried(Connection.connect, paths.worker_socket(directory, 0))\n"
        f"tried(os.kill, {worker.pid}, 9)\n"
        f"tried(open, '/proc/{worker.pid}/mem', 'rb')\n"
        "print('end', flush=True)\n"
    )
    said = []
    while (line := other.line()) not in ("end", ""):
        said.append(line)
    assert len(said) == 9
    assert {*said} <= {"NoPermission", "PermissionError"}
    channel.send(b"x", to=channel.local)
    assert channel.recv(timeout=20).data == b"x"


def test_a_member_of_the_group_uses_channels_and_commands_no_worker(
    group_pool: shmring.Pool, as_user: Callable[..., Any], shmring_namespace: str
) -> None:
    channel = group_pool.open("ctl", local=LOOPBACK)
    member = as_user(
        f"directory = paths.pool_directory({shmring_namespace!r}, {group_pool.name!r})\n"
        "worker = Connection.connect(paths.worker_socket(directory, 0))\n"
        "for op, body in ((Op.QUIT, b''), (Op.ADOPT, b''), (Op.CLOSE, channel_body('ctl')),\n"
        "                 (Op.EXPORT, channel_body('ctl'))):\n"
        "    tried(worker.request, Request(op, body))\n"
        "channel = shmring.attach('ctl')\n"
        "channel.send(b'from a member', to=channel.local)\n"
        "print('sent', flush=True)\n",
        GROUP,
    )
    assert [member.line() for _ in range(4)] == ["ControlError"] * 4
    assert member.line() == "sent"
    assert channel.recv(timeout=20).data == b"from a member"
    assert group_pool.workers()[0].restarts == 0


@pytest.mark.parametrize("kind", ["file", "pipe", "folder", "link"])
def test_a_squatted_channel_name_is_refused(
    pool: shmring.Pool, shmring_namespace: str, kind: str
) -> None:
    """Its owner may keep the name; nobody is led to use what he left there."""
    path = paths.shm_file(paths.channel_segment(shmring_namespace, "ctl"))
    try:
        match kind:
            case "file":
                path.write_bytes(os.urandom(65536))
            case "pipe":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
            case "link":
                path.symlink_to("/etc/passwd")
        os.chown(path, USER, USER, follow_symlinks=False)
        if kind != "link":
            path.chmod(0o666)
        for readonly in (True, False):
            with pytest.raises(shmring.ShmringError):
                shmring.attach("ctl", readonly=readonly)
        try:
            channel = pool.open("ctl", local=LOOPBACK)
        except shmring.ShmringError:
            assert path.lstat().st_uid == USER
            channel = pool.open("other", local=LOOPBACK)
        else:  # root may remove what nobody owns any more, and makes a file of its own
            assert path.lstat().st_uid == 0
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        channel.send(b"x", to=channel.local)
        assert channel.recv(timeout=20).data == b"x"
    finally:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("level", ["base", "namespace", "pool"])
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_squatted_runtime_directory_is_refused(
    shared_runtime: Path, shmring_namespace: str, tmp_path: Path, level: str, kind: str
) -> None:
    folders = {
        "base": shared_runtime,
        "namespace": shared_runtime / shmring_namespace,
        "pool": shared_runtime / shmring_namespace / "x",
    }
    squatted = folders[level]
    squatted.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        squatted.mkdir(mode=0o777)
    else:
        squatted.symlink_to(tmp_path)
    os.chown(squatted, USER, USER, follow_symlinks=False)
    with pytest.raises(PermissionError, match=f"belongs to user {USER}|SHMRING_RUNTIME_DIR"):
        shmring.Pool("x", policy="other").open("ctl", local=LOOPBACK)
    assert list(tmp_path.iterdir()) == []


HIDDEN = """
import os, subprocess, sys, time
import shmring
from shmring import *
os.setgroups([{group}]); os.setgid({group}); os.setuid({user})
with shmring.Pool(policy="other", group={group}) as pool:
    channel = pool.open("ctl", local=("127.0.0.1", 0))
    print("open", flush=True)
    seen = 0
    while seen < 300:
        seen += len(channel.recv_many(64, timeout=20))
    stats = channel.stats()
    print(seen, stats.rx_overwritten, channel.stats().state.value, flush=True)
    input()
"""
SENDER = f"""
import os, time, shmring
from shmring import *
os.setgroups([{GROUP}]); os.setgid({OTHER}); os.setuid({OTHER})
channel = shmring.attach("ctl")
for i in range(300):
    channel.send(b"%d" % i, to=channel.local)
    time.sleep(0.01)
print("sent", flush=True)
"""


@pytest.mark.needs("pidns")
def test_users_who_cannot_see_each_other(python: Callable[..., Any], shared_runtime: Path) -> None:
    """With hidepid=2 a worker sees no process of another user: that does not make it dead."""
    hide = 'mount -t proc -o hidepid=2 proc /proc && exec "$0" -c "$1" "$2" "$3"'
    script = (
        "import os, subprocess, sys\n"
        "os.mkdir(os.environ['SHMRING_RUNTIME_DIR'])\n"
        f"os.chown(os.environ['SHMRING_RUNTIME_DIR'], {USER}, {GROUP})\n"
        "program, owner, sender = sys.executable, sys.argv[1], sys.argv[2]\n"
        "one = subprocess.Popen([program, '-c', owner], stdin=-1, stdout=-1, text=True)\n"
        "print(one.stdout.readline().strip(), flush=True)\n"
        "two = subprocess.Popen([program, '-c', sender], stdout=-1, text=True)\n"
        "print(two.stdout.readline().strip(), flush=True)\n"
        "print(one.stdout.readline().strip(), flush=True)\n"
        "one.communicate('\\n'); two.wait()\n"
    )
    owner = HIDDEN.format(user=USER, group=GROUP)
    binary = shutil.copy(worker_binary(), shared_runtime.parent)  # where other users can reach it
    words = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", hide]
    words += [sys.executable, script, owner, SENDER]
    other = python(
        f"import os; os.execvp('unshare', {words!r})", env=os.environ | {"SHMRING_WORKER": binary}
    )
    assert other.line() == "open"
    assert other.line() == "sent"
    assert other.line() == "300 0 open"
    assert other.wait() == 0


def test_another_user_may_not_close_hold_or_purge(
    group_pool: shmring.Pool, as_user: Callable[..., Any], shmring_namespace: str
) -> None:
    mine = group_pool.open("mine", local=LOOPBACK, share=shmring.Share(permissions=0o600))
    shared = group_pool.open("shared", local=LOOPBACK)
    say = (
        "def say(what, name):\n"
        "    try: print('done', what(name).name, flush=True)\n"
        "    except shmring.errors.NoPermission as error: print(error.strerror, flush=True)\n"
    )
    stranger = as_user(say + "say(control.end, 'mine'); say(control.purge, 'shared')", user=OTHER)
    for name in ("mine", "shared"):
        line = stranger.line()
        assert line.startswith(f"channel {name!r} in namespace {shmring_namespace!r} belongs to ")
        assert "root (uid 0): run this command as that user" in line
    member = as_user(say + "say(control.hold, 'shared'); say(control.end, 'shared')", GROUP)
    assert member.line() == "done shared"
    assert f"uid {USER} may not do this: only root" in member.line()
    assert (mine.state, shared.state) == (shmring.State.OPEN, shmring.State.HELD)


def test_another_member_of_the_group_may_not_open_a_channel_again(
    shared_runtime: Path,
    shmring_namespace: str,
    as_user: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    script = (
        "try:\n"
        "    ch = shmring.open('ctl', pool='plant', local=('127.0.0.1', 0), exist_ok=True)\n"
        "    print(ch.created, flush=True)\n"
        "except shmring.errors.ChannelExists as error: print(error.strerror, flush=True)\n"
        "import sys; sys.stdin.readline(); ch.close(); print('ended', flush=True)\n"
    )
    with shmring.Pool("plant", policy="other", group=GROUP) as pool:
        first = as_user(script, GROUP)
        assert first.line() == "True"
        first.kill()
        other = as_user(script, GROUP, user=OTHER)
        line = re.sub(r" [0-9.]+ s ago", "", other.line())
        assert f"process {first.pid} (python" in line
        assert f"has died, and only user {USER} may open it again" in line
        again = as_user(script, GROUP)
        assert again.line() == "False"
        with monkeypatch.context() as patched:
            patched.setattr(shmring.Channel, "_begin", fail)
            with pytest.raises(MemoryError):
                pool.open("ctl", local=LOOPBACK, exist_ok=True)
        mine = pool.open("ctl", local=LOOPBACK, exist_ok=True)
        again.tell()
        assert again.line() == "ended"
        assert pool.channels() == ["ctl"]
        mine.detach()
        closes = as_user("print(control.end('ctl').name, flush=True)", GROUP)
        assert closes.line() == "ctl", "it counts for the user who made it"
        assert pool.channels() == []
