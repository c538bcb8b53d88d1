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
limits = shmring.pool.UserLimits(
    channels=2, shm_bytes=4 << 20, connections=4, channel_bytes=8 << 20
)
pool = shmring.Pool(
    'x', policy='other', group={group}, user_limits=limits, worker_per_user={own_workers}
)
signal.signal(signal.SIGTERM, lambda *_: pool.request_stop())
print('ready', flush=True)
pool.serve_forever()
pool.close()
"""

MEMBER = """
import os, sys
import shmring
from shmring._pool_server import RemotePool
shmring.Rtp  # from a module that the other user may not read
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

    def start(files: int = 0, group: int | None = None, own_workers: bool = False) -> Any:
        script = SERVER.format(files=files, group=group, own_workers=own_workers)
        with (tmp_path / "log").open("wb") as log:
            server = python(script, stderr=log)
        assert server.line() == "ready"
        started.append(server)
        return server

    yield start
    for server in started:
        if server.popen.returncode is None:  # else the test has killed it
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


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"op": "list", "first": "x"}, "first must be an integer, not 'x'"),
        ({"op": "list", "first": -1}, "first is -1; it must be between 0 and"),
        ({"op": "workers", "first": None}, "first must be an integer, not None"),
        ({"op": "workers", "first": 1 << 70}, "it must be between 0 and"),
        ({"engine": ["cyclic", "", -1]}, "shared_bytes is -1; it must be between 0 and"),
        ({"engine": ["cyclic", "", 1 << 70]}, "it must be between 0 and"),
        ({"engine": ["cyclic", "xx", 0]}, "the engine's configuration: non-hexadecimal"),
        ({"engine": ["cyclic", "00" * 4096, 0]}, "has 4096 bytes, at most 496"),
    ],
)
def test_a_request_that_cannot_be_is_answered_in_words(
    own: shmring.Pool, shmring_namespace: str, request_: dict[str, Any], words: str
) -> None:
    opening = {"op": "open", "name": "ctl", "options": {"local": LOOPBACK}}
    with connect(shmring_namespace) as client:
        client.settimeout(20)
        client.send(json.dumps(opening | request_).encode())
        answer = json.loads(client.recv(65536))
    assert answer["error"] in ("BadConfig", "TypeError")
    assert words in answer["text"]
    assert own.channels() == []


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
        with pytest.raises(shmring.errors.NoSpace, match="limit of 64 open files"):
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
    assert "may not end channel 'owners'" in ask(stranger, "remote.end('owners')")
    assert "may not stop pool 'x'" in ask(stranger, "remote.stop()")
    assert "may not end channel 'own'" in ask(member(60000), "remote.end('own')")
    assert remote.channels() == ["own", "owners"]
    assert ask(stranger, "remote.end('own')") == "done"
    assert remote.channels() == ["owners"]


def test_a_member_keeps_within_the_limits(member: Any, serve: Any, remote: RemotePool) -> None:
    serve(group=GROUP)
    stranger = member()
    ask(stranger, "large = {'capacity': 40000, 'packet_bytes': 8}")
    assert "limit is 4194304" in ask(stranger, "remote._make_channel('big', large)")
    for name in ("a", "b"):
        assert ask(stranger, f"remote._make_channel('{name}', {{'capacity': 64}})") == "done"
    text = ask(stranger, "remote._make_channel('c', {'capacity': 64})")
    assert text.startswith("NoSpace")
    assert "has 2 channels open on pool 'x', the limit is 2" in text
    assert "--user-limits channels=" in text
    remote.end("a")
    for option, value in (("rcvbuf_bytes", 5 << 20), ("sndbuf_bytes", 5 << 20), ("so_priority", 7)):
        text = ask(stranger, f"remote._make_channel('c', {{'{option}': {value}}})")
        assert text.startswith(f"NoSpace [Errno 122] user {STRANGER} asks pool 'x' for ")
        assert f"{option.removeprefix('so_')}={value}, the limit is" in text
    assert ask(stranger, "remote._make_channel('c', {'capacity': 64})") == "done"
    remote._make_channel("owners", {"capacity": 1 << 20})  # the limits are not the owner's


def test_what_a_worker_takes_beside_a_channel_counts(
    member: Any, serve: Any, remote: RemotePool
) -> None:
    """A history of sent packets is not in the segment."""
    serve(group=GROUP)
    stranger = member()
    ask(stranger, "from shmring.rtp import Nack, Rtcp; o = dict(remote=('127.0.0.1', 9))")
    ask(stranger, "repair = lambda n: Rtcp(nack=Nack(history_packets=n))")
    ask(stranger, "sized = dict(tx=shmring.Queue(64, 160))")
    ask(stranger, "e = lambda n: shmring.Rtp(rtcp=repair(n), **sized).prepare(o)")
    ask(stranger, "make = lambda name, s: remote._make_channel(name, s.options, s.config)")
    text = ask(stranger, "make('long', e(32768))")
    assert text.startswith("NoSpace")
    assert "a history of 32768 packets" in text
    assert "are left of what its user may have" in text
    assert "--user-limits shm=" in text
    assert ask(stranger, "make('short', e(512))") == "done"
    assert remote.channels() == ["short"]
    history = 512 * 3968  # at least so much is gone of the 4 MiB
    text = ask(stranger, f"remote._make_channel('udp', {{'capacity': {history // 1000}}})")
    assert "in use on pool 'x', the limit is 4194304" in text


def test_other_names_of_closed_channels_keep_no_memory(
    member: Any, serve: Any, remote: RemotePool, shmring_namespace: str
) -> None:
    serve(group=GROUP)
    stranger = member()
    file, other = (
        paths.shm_file(paths.channel_segment(shmring_namespace, name)) for name in ("own", "squat")
    )
    assert ask(stranger, "remote._make_channel('own', {'capacity': 64})") == "done"
    assert ask(stranger, f"os.link({str(file)!r}, {str(other)!r})") == "done"
    size = file.stat().st_size
    assert [info.name for info in shmring.channels(shmring_namespace)] == ["own"]
    with pytest.raises(shmring.ChannelNotFound, match="another name of channel \"own\""):
        shmring.attach("squat")
    assert shmring.gc(namespace=shmring_namespace).segments == ()
    assert ask(stranger, "remote.end('own')") == "done"
    assert other.stat().st_blocks * 512 <= 8192 < size
    assert shmring.channels(shmring_namespace) == []
    assert shmring.gc(namespace=shmring_namespace).segments == (f"/{other.name}",)
    assert not other.exists()


def test_a_closed_channel_keeps_no_memory_that_its_user_needs(
    member: Any, serve: Any, remote: RemotePool, shmring_namespace: str
) -> None:
    """Whoever still has its file: readers may read the rest of it, for some seconds."""
    serve(group=GROUP)
    stranger = member()
    ask(stranger, "ask = {'capacity': 8000, 'packet_bytes': 64, 'direction': 'rx'}")
    held = []
    for _ in range(8):
        assert ask(stranger, "remote._make_channel('own', ask)") == "done"
        file = paths.shm_file(paths.channel_segment(shmring_namespace, "own"))
        held.append(os.open(file, os.O_RDWR))
        assert ask(stranger, "remote.end('own')") == "done"
    sizes = [os.fstat(fd).st_blocks * 512 for fd in held]
    for fd in held:
        os.close(fd)
    assert sizes[-1] > 500_000  # a reader reads on
    assert sum(sizes) < 4 << 20


def test_members_with_workers_of_their_own_share_none(
    member: Any, serve: Any, remote: RemotePool, shmring_namespace: str, eventually: Any
) -> None:
    """Also after the pool was killed: its successor knows whose worker is whose."""
    first = serve(group=GROUP, own_workers=True)

    def served_by() -> dict[str, int]:
        return {info.name: info.worker_pid for info in shmring.channels(shmring_namespace)}

    one, two = member(), member(60000)
    assert ask(one, "remote._make_channel('one', {'capacity': 64})") == "done"
    assert ask(two, "remote._make_channel('two', {'capacity': 64})") == "done"
    remote._make_channel("owners", {"capacity": 64})
    before = served_by()
    assert len(set(before.values())) == 3
    os.kill(before["two"], signal.SIGKILL)
    eventually(lambda: served_by()["two"] != before["two"])
    assert [served_by()[name] for name in ("one", "owners")] == [before["one"], before["owners"]]
    first.kill()
    serve(group=GROUP, own_workers=True)
    assert ask(one, "remote._make_channel('one-more', {'capacity': 64})") == "done"
    assert served_by()["one-more"] == before["one"]


def test_a_channel_of_a_member_is_not_too_large(
    member: Any, serve: Any, remote: RemotePool
) -> None:
    serve(group=GROUP)
    text = ask(member(), "remote._make_channel('big', {'capacity': 1 << 20})")
    assert text.startswith("NoSpace")
    assert "one channel of user 65534 may have 8388608 on pool 'x'" in text
    assert "--user-limits channel-shm=" in text


def test_a_member_cannot_take_all_connections(member: Any, serve: Any, remote: RemotePool) -> None:
    serve(group=GROUP)
    stranger = member()
    ask(stranger, "import socket; from shmring._pool_server import socket_path as p; held = []")
    ask(stranger, "from rtworkers.control import reach")
    one = (
        "held.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)); "
        "reach(held[-1], p(remote.namespace, 'x'))"
    )
    for _ in range(4):
        assert ask(stranger, one) == "done"
    assert "the limit is 4" in ask(stranger, "remote.channels()")
    assert remote.channels() == []
