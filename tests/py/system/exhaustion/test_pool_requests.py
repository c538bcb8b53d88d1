"""A named pool's socket: clients that do not read, limits of descriptors, of users."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import needs
import psutil
import pytest

import shmring
from rtworkers import paths
from shmring import _pool_server
from shmring._pool_server import RemotePool, socket_path

pytestmark = pytest.mark.check

LOOPBACK = ("127.0.0.1", 0)
GROUP = 65533
STRANGER = 65534
FILES = 64

SERVER = """
import logging, resource, signal, sys, shmring
logging.basicConfig()
files = {files}
if files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
limits = shmring.UserLimits(channels=2, shm_bytes=4 << 20, connections=4)
pool = shmring.Pool('x', policy='other', group={group}, user_limits=limits)
signal.signal(signal.SIGTERM, lambda *_: pool.request_stop())
print('ready', flush=True)
pool.serve_forever()
pool.close()
"""

MEMBER = """
import os, sys
import shmring
from shmring._pool_server import RemotePool
os.setgroups([])
os.setgid({gid})
os.setuid({uid})
remote = RemotePool(os.environ['SHMRING_NAMESPACE'], 'x')

def tell(call):
    try:
        print(call() or 'done', flush=True)
    except shmring.ShmringError as error:
        print(type(error).__name__, error, flush=True)

for line in sys.stdin:
    tell(lambda: exec(line, globals()))
"""


@pytest.fixture
def serve(
    python: Callable[..., Any],
    other_runtime: Path,
    shmring_namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Callable[..., Any]]:
    monkeypatch.setenv("SHMRING_RUNTIME_DIR", str(other_runtime))
    started = []

    def start(files: int = 0, group: int | None = None) -> Any:
        with (tmp_path / "log").open("wb") as log:
            server = python(SERVER.format(files=files, group=group), stderr=log)
        assert server.line() == "ready"
        started.append(server)
        return server

    yield start
    for server in started:
        server.popen.send_signal(signal.SIGTERM)
        assert server.wait() == 0


@pytest.fixture
def remote(shmring_namespace: str) -> RemotePool:
    return RemotePool(shmring_namespace, "x")


@pytest.fixture
def own(
    shmring_namespace: str, other_runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[shmring.Pool]:
    """Pool "x" in this process."""
    monkeypatch.setenv("SHMRING_RUNTIME_DIR", str(other_runtime))
    with shmring.Pool("x", policy="other") as pool:
        yield pool


@pytest.fixture
def member(python: Callable[..., Any], serve: Any) -> Callable[..., Any]:
    needs.require("unprivileged")

    def start(uid: int = STRANGER) -> Any:
        return python(MEMBER.format(uid=uid, gid=GROUP))

    return start


def connect(namespace: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(os.fspath(socket_path(namespace, "x")))
    return connection


def answers_within_s(remote: RemotePool) -> float:
    began = time.monotonic()
    remote.workers()
    return time.monotonic() - began


def ask(process: Any, line: str) -> str:
    process.tell(line)
    return str(process.line())


def cpu_share(pid: int, seconds: float = 1.0) -> float:
    """Share of a core that a process takes."""
    process = psutil.Process(pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - before) / seconds


def test_a_client_that_does_not_read_holds_nobody_up(
    serve: Any, remote: RemotePool, shmring_namespace: str
) -> None:
    serve()
    remote._make_channel("a" * 60, {"local": LOOPBACK})
    with connect(shmring_namespace) as deaf:
        deaf.settimeout(0.2)
        with contextlib.suppress(OSError):
            while True:
                deaf.send(b'{"op": "list"}')
        assert answers_within_s(remote) < 5
    assert answers_within_s(remote) < 5


def test_a_request_that_comes_back_in_its_error_holds_nobody_up(
    serve: Any, remote: RemotePool, shmring_namespace: str
) -> None:
    serve()
    request = json.dumps({"op": "é" * 30000}, ensure_ascii=False).encode()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(shmring_namespace)) for _ in range(24)]
        for client in clients:
            client.settimeout(20)
            client.send(request)
        assert answers_within_s(remote) < 5
        for client in clients:
            answer = json.loads(client.recv(65536))
            assert answer["text"].startswith("a pool has no request 'éé")
            assert answer["text"].endswith("...")


def test_an_answer_that_cannot_be_sent_ends_that_connection_only(
    own: shmring.Pool, remote: RemotePool, monkeypatch: pytest.MonkeyPatch, shmring_namespace: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(own, "channels", lambda: [object()])
        clients = [connect(shmring_namespace) for _ in range(8)]
        for client in clients:
            client.settimeout(5)
            client.send(b'{"op": "list"}')
        assert answers_within_s(remote) < 5
        for client in clients:
            assert client.recv(65536) == b""
            client.close()


def test_a_request_that_cannot_be_read_ends_that_connection_only(
    own: shmring.Pool, remote: RemotePool, monkeypatch: pytest.MonkeyPatch, shmring_namespace: str
) -> None:
    receive = _pool_server._receive

    def fails_on_one(connection: socket.socket) -> Any:
        request, fds = receive(connection)
        if request.get("op") == "fail":
            raise RuntimeError("of this test")
        return request, fds

    monkeypatch.setattr(_pool_server, "_receive", fails_on_one)
    with connect(shmring_namespace) as client:
        client.settimeout(5)
        client.send(b'{"op": "fail"}')
        assert client.recv(65536) == b""
    assert answers_within_s(remote) < 5


def test_the_workers_of_a_large_host_fit_the_answers(
    own: shmring.Pool, remote: RemotePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    own._make_channel("ctl", {"local": LOOPBACK})
    (info,) = own.workers()
    many = [dataclasses.replace(info, slot=slot) for slot in range(300)]
    monkeypatch.setattr(own, "workers", lambda: many)
    assert [worker.slot for worker in remote.workers()] == list(range(300))


def test_a_request_that_takes_long_holds_nobody_up(
    serve: Any, remote: RemotePool, shmring_namespace: str
) -> None:
    serve()
    remote._make_channel("first", {"local": LOOPBACK})
    worker = remote.workers()[0].pid
    os.kill(worker, signal.SIGSTOP)
    try:
        with connect(shmring_namespace) as opener:
            opener.send(b'{"op": "open", "name": "second", "options": {}}')
            time.sleep(0.1)
            assert answers_within_s(remote) < 3  # the opener gets its answer after 5 s
    finally:
        os.kill(worker, signal.SIGCONT)


def test_a_pool_without_descriptors_does_not_spin(
    serve: Any, remote: RemotePool, shmring_namespace: str, tmp_path: Path
) -> None:
    server = serve(files=FILES)
    held = [connect(shmring_namespace) for _ in range(FILES)]
    assert cpu_share(server.pid) < 0.3
    for connection in held:
        connection.close()
    assert remote.channels() == []
    log = (tmp_path / "log").read_text()
    assert "cannot accept connections" in log
    assert len(log.splitlines()) < 20


def test_a_worker_without_descriptors_does_not_spin_and_says_why(
    serve: Any, remote: RemotePool, shmring_namespace: str, tmp_path: Path
) -> None:
    serve(files=FILES)
    with shmring.open("ctl", pool="x", local=LOOPBACK) as channel:
        worker = remote.workers()[0].pid
        path = paths.worker_socket(paths.pool_directory(shmring_namespace, "x"), 0)
        held = []
        for _ in range(FILES):
            held.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            held[-1].connect(os.fspath(path))
        assert cpu_share(worker) < 0.3
        other = shmring.attach("ctl")
        with pytest.raises(shmring.NoSpace, match="limit of 64 open files"):
            other.send(b"x", to=channel.local)
        for connection in held:
            connection.close()
        other.send(b"y", to=channel.local)
        other.close()
        assert channel.recv(timeout=20).data == b"y"
    assert len((tmp_path / "log").read_text().splitlines()) < 20


def test_a_member_may_close_what_it_opened_and_nothing_else(
    member: Any, serve: Any, remote: RemotePool
) -> None:
    serve(group=GROUP)
    remote._make_channel("owners", {"local": LOOPBACK})
    stranger = member()
    assert ask(stranger, "remote._make_channel('own', {})") == "done"
    assert "may not close channel 'owners'" in ask(stranger, "remote.close_channel('owners')")
    assert "may not stop pool 'x'" in ask(stranger, "remote.stop()")
    assert "may not close channel 'own'" in ask(member(60000), "remote.close_channel('own')")
    assert remote.channels() == ["own", "owners"]
    assert ask(stranger, "remote.close_channel('own')") == "done"
    assert remote.channels() == ["owners"]


def test_a_member_keeps_within_the_limits(member: Any, serve: Any, remote: RemotePool) -> None:
    serve(group=GROUP)
    stranger = member()
    assert "limit is 4194304" in ask(stranger, "remote._make_channel('big', {'capacity': 1 << 20})")
    for name in ("a", "b"):
        assert ask(stranger, f"remote._make_channel('{name}', {{'capacity': 64}})") == "done"
    text = ask(stranger, "remote._make_channel('c', {'capacity': 64})")
    assert text.startswith("NoSpace")
    assert "has 2 channels open on pool 'x', the limit is 2" in text
    assert "--user-channels" in text
    remote.close_channel("a")
    assert ask(stranger, "remote._make_channel('c', {'capacity': 64})") == "done"
    remote._make_channel("owners", {"capacity": 1 << 20})  # the limits are not the owner's


def test_a_member_cannot_take_all_connections(member: Any, serve: Any, remote: RemotePool) -> None:
    serve(group=GROUP)
    stranger = member()
    ask(stranger, "import socket; from shmring._pool_server import socket_path as p; held = []")
    one = (
        "held.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)); "
        "held[-1].connect(str(p(remote.namespace, 'x')))"
    )
    for _ in range(4):
        assert ask(stranger, one) == "done"
    assert "the limit is 4" in ask(stranger, "remote.channels()")
    assert remote.channels() == []
