"""Named pools: run by one process, used by others, and adopted by the next."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import needs
import pytest

import shmring
from rtworkers import launch, paths
from shmring._pool_server import RemotePool

LOOPBACK = ("127.0.0.1", 0)

SERVER = """
import signal, sys, shmring
pool = shmring.Pool('x', policy='other', cpus={cpus})
signal.signal(signal.SIGTERM, lambda *_: pool.request_stop())
signal.signal(signal.SIGUSR1, lambda *_: (pool.detach()))
print('ready', *pool.channels(), flush=True)
pool.serve_forever()
pool.close()
print('ended', flush=True)
"""


@pytest.fixture
def serve(python: Any, shmring_namespace: str) -> Iterator[Callable[..., Any]]:
    """Run pool "x" in another process; whatever lives of it at the end is ended."""

    started: list[Any] = []

    def start(cpus: list[int] | None = None) -> Any:
        process = python(SERVER.format(cpus=cpus))
        started.append(process)
        process.channels = process.line().removeprefix("ready").split()
        return process

    yield start
    for process in started:
        process.close()
    for path in paths.pool_directory(shmring_namespace, "x").glob("worker-*.sock"):
        worker = launch.adopt(path)
        if worker is not None:
            worker.kill()
            worker.reap(20)
            worker.close()
    shmring.gc(namespace=shmring_namespace)


@pytest.fixture
def remote(shmring_namespace: str) -> RemotePool:
    return RemotePool(shmring_namespace, "x")


@pytest.fixture
def cores() -> list[int]:
    """Two, for a pool of two workers."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        needs.skip("cores")
    return cores


def facts(namespace: str) -> dict[str, Any]:
    return {info.name: info for info in shmring.channels(namespace)}


def test_channels_are_opened_through_it(serve: Any, remote: RemotePool) -> None:
    server = serve()
    channel = shmring.open("ctl", shmring.Udp(tx=64), pool="x", local=LOOPBACK)
    assert channel.stats().pool == "x"
    channel.send(b"x", to=channel.local)
    assert channel.recv(timeout=20).data == b"x"
    assert remote.channels() == ["ctl"]
    assert [worker.channels for worker in remote.workers()] == [1]
    channel.close()
    assert remote.channels() == []
    server.popen.send_signal(signal.SIGTERM)
    assert server.line() == "ended"
    assert server.wait() == 0


def test_a_client_that_dies_leaves_the_channel(serve: Any, remote: RemotePool, python: Any) -> None:
    serve()
    client = python(
        "import sys, shmring\n"
        "ch = shmring.open('ctl', pool='x', local=('127.0.0.1', 0))\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()"
    )
    assert client.line() == "open"
    client.kill()
    assert remote.channels() == ["ctl"]
    channel = shmring.attach("ctl")
    channel.send(b"x", to=channel.local)
    channel.close()


class Number:
    """An integer as NumPy's are."""

    def __index__(self) -> int:
        return 4


def test_integers_of_any_type_travel(serve: Any, shmring_namespace: str) -> None:
    serve()
    four: Any = Number()
    engine = shmring.Udp(tx=four, tolerance_ns=four, socket=shmring.Socket(dscp=four))
    channel = shmring.open("ctl", engine, pool="x", local=LOOPBACK)
    assert channel._endpoint.mapped().config.tolerance_ns == 4
    channel.close()


def test_options_sockets_and_refusals_travel(serve: Any, shmring_namespace: str) -> None:
    serve()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(LOOPBACK)
        address = sock.getsockname()
        channel = shmring.open(
            "ctl",
            shmring.Udp(
                socket=shmring.Socket(
                    existing=sock, multicast=shmring.Multicast(groups=["239.7.7.7"])
                )
            ),
            pool="x",
            impair=shmring.Impairment(loss=1.0),
        )
    assert channel.local == address
    channel.send(b"lost", to=channel.local)
    with pytest.raises(shmring.ReceiveTimeout):
        channel.recv(timeout=0.05)
    with pytest.raises(shmring.errors.ChannelExists):
        shmring.open("ctl", pool="x", local=LOOPBACK)
    with pytest.raises(shmring.errors.BadConfig, match="connect is set but"):
        shmring.open("other", shmring.Udp(socket=shmring.Socket(connect=True)), pool="x")
    with pytest.raises(TypeError, match="did you mean 'held'"):
        shmring.open("other", pool="x", helt=1)  # type: ignore[call-arg]
    with pytest.raises(OSError, match="other") as caught:
        shmring.open("other", pool="x", local=address)
    assert caught.value.errno == errno.EADDRINUSE
    assert list(facts(shmring_namespace)) == ["ctl"]
    channel.close()


def test_a_pool_that_does_not_run(shmring_namespace: str) -> None:
    with pytest.raises(shmring.ChannelNotFound, match="shmring up nosuch"):
        shmring.open("ctl", pool="nosuch", local=LOOPBACK)


def test_only_one_process_is_the_pool(serve: Any) -> None:
    server = serve()
    with pytest.raises(shmring.errors.ShmringOSError, match=f"process {server.pid}") as caught:
        shmring.Pool("x", policy="other")
    assert caught.value.errno == errno.EBUSY


def test_workers_outlive_the_pool_and_are_adopted(
    serve: Any, remote: RemotePool, shmring_namespace: str, eventually: Any
) -> None:
    first = serve()
    channel = shmring.open("ctl", pool="x", local=LOOPBACK)
    before = facts(shmring_namespace)["ctl"]
    first.kill()
    channel.send(b"served without a pool", to=channel.local)
    assert channel.recv(timeout=20).data == b"served without a pool"
    assert shmring.gc(namespace=shmring_namespace) == shmring.observe.Removed((), ())

    second = serve()
    assert second.channels == ["ctl"]
    after = facts(shmring_namespace)["ctl"]
    assert (after.worker_pid, after.epoch) == (before.worker_pid, before.epoch)
    assert remote.workers()[0].pid == before.worker_pid

    # What was adopted is supervised: socket, bell and segment are the new pool's as well.
    os.kill(before.worker_pid, signal.SIGKILL)
    channel.send(b"served by a new worker", to=channel.local)
    assert channel.recv(timeout=20).data == b"served by a new worker"
    assert facts(shmring_namespace)["ctl"].local == before.local
    channel.close()
    assert remote.channels() == []


def test_a_pool_can_be_left_to_the_next(serve: Any, shmring_namespace: str) -> None:
    first = serve()
    channel = shmring.open("ctl", pool="x", local=LOOPBACK)
    first.popen.send_signal(signal.SIGUSR1)
    assert first.line() == "ended"
    assert first.wait() == 0
    assert serve().channels == ["ctl"]
    assert facts(shmring_namespace)["ctl"].epoch == 1
    channel.close()


def test_a_private_pool_cannot_be_left(shmring_pool: shmring.Pool) -> None:
    with pytest.raises(shmring.errors.BadConfig, match="name the pool"):
        shmring_pool.detach()


@pytest.mark.check
def test_a_channel_whose_worker_died_unwatched_is_served_again(
    serve: Any, shmring_namespace: str, cores: list[int]
) -> None:
    first = serve(cores)
    alive = shmring.open("alive", pool="x", local=LOOPBACK, cpu=cores[0])
    orphan = shmring.open("orphan", pool="x", local=LOOPBACK, cpu=cores[1])
    before = facts(shmring_namespace)
    orphan.send(b"waits", at=orphan.now_ns() + 2_000_000_000, to=orphan.local)
    first.kill()
    os.kill(before["orphan"].worker_pid, signal.SIGKILL)
    assert shmring.gc(namespace=shmring_namespace) == shmring.observe.Removed((), ())
    second = serve(cores)
    assert second.channels == ["alive", "orphan"]
    after = facts(shmring_namespace)
    assert after["orphan"].local == before["orphan"].local
    assert (after["alive"].epoch, after["orphan"].epoch) == (1, 2)
    # Pool and worker held its socket, so what waited in it is lost, and nobody knows how much.
    assert (alive.stats().rx_sockets_reopened, orphan.stats().rx_sockets_reopened) == (0, 1)
    assert orphan.recv(timeout=20).data == b"waits"
    alive.close()
    orphan.close()


@pytest.mark.check
def test_a_living_worker_without_channels_keeps_those_of_a_dead_one(
    serve: Any, shmring_namespace: str, cores: list[int]
) -> None:
    first = serve(cores)
    alive = shmring.open("alive", pool="x", local=LOOPBACK, cpu=cores[0])
    orphan = shmring.open("orphan", pool="x", local=LOOPBACK, cpu=cores[1])
    worker = facts(shmring_namespace)["orphan"].worker_pid
    alive.close()
    first.kill()
    os.kill(worker, signal.SIGKILL)
    assert serve(cores).channels == ["orphan"]
    orphan.close()


@pytest.mark.check
def test_a_pool_whose_workers_all_died_starts_empty(
    serve: Any, shmring_namespace: str, eventually: Any
) -> None:
    first = serve()
    shmring.open("ctl", pool="x", local=LOOPBACK)
    worker = facts(shmring_namespace)["ctl"].worker_pid
    first.kill()
    os.kill(worker, signal.SIGKILL)
    assert serve().channels == []
    assert facts(shmring_namespace) == {}


def end_unwatched(server: Any, worker_pid: int, file: Path) -> None:
    """Kill a pool, then let one of its workers end in order and take its names along."""
    worker = os.pidfd_open(worker_pid)
    try:
        server.kill()
        time.sleep(0.2)  # the worker has seen that its pool is gone
        os.kill(worker_pid, signal.SIGTERM)
        # To its end: as long as it lives, it counts as one of the pool, and nothing is removed.
        ended, _, _ = select.select([worker], [], [], 20)
    finally:
        os.close(worker)
    assert ended
    assert not file.exists()


def notes(namespace: str) -> list[str]:
    return [path.stem for path in paths.pool_directory(namespace, "x").glob("*.channel")]


@pytest.mark.check
def test_another_file_under_a_noted_name_is_not_adopted(
    serve: Any, shmring_namespace: str, cores: list[int]
) -> None:
    """Everybody may make a file of that name once it is free."""
    first = serve(cores)
    alive = shmring.open("alive", pool="x", local=LOOPBACK, cpu=cores[0])
    gone = shmring.open("gone", pool="x", local=LOOPBACK, cpu=cores[1])
    file = paths.shm_file(paths.channel_segment(shmring_namespace, "gone"))
    note = paths.pool_directory(shmring_namespace, "x") / "gone.channel"
    content, noted = file.read_bytes(), note.read_bytes()
    end_unwatched(first, facts(shmring_namespace)["gone"].worker_pid, file)
    note.write_bytes(noted)  # as of a worker that had no time to remove it
    file.write_bytes(content)
    file.chmod(0o666)
    second = serve(cores)
    assert second.channels == ["alive"]
    assert file.read_bytes() == content
    assert notes(shmring_namespace) == ["alive"]
    gone.close()
    alive.close()
    file.unlink(missing_ok=True)  # nobody's


@pytest.mark.check
@pytest.mark.parametrize(
    "changed", ["mode", pytest.param("owner", marks=pytest.mark.needs("chown"))]
)
def test_a_noted_file_is_adopted_only_as_it_was_noted(
    serve: Any, shmring_namespace: str, cores: list[int], changed: str
) -> None:
    first = serve(cores)
    alive = shmring.open("alive", pool="x", local=LOOPBACK, cpu=cores[0])
    gone = shmring.open("gone", pool="x", local=LOOPBACK, cpu=cores[1])
    file = paths.shm_file(paths.channel_segment(shmring_namespace, "gone"))
    first.kill()
    os.kill(facts(shmring_namespace)["gone"].worker_pid, signal.SIGKILL)
    if changed == "owner":
        os.chown(file, 65534, -1)
    else:
        file.chmod(0o666)
    assert serve(cores).channels == ["alive"]
    gone.close()
    alive.close()


@pytest.mark.check
def test_a_worker_that_takes_its_names_along_takes_the_notes_along(
    serve: Any, shmring_namespace: str, cores: list[int], eventually: Any
) -> None:
    first = serve(cores)
    alive = shmring.open("alive", pool="x", local=LOOPBACK, cpu=cores[0])
    gone = shmring.open("gone", pool="x", local=LOOPBACK, cpu=cores[1])
    assert sorted(notes(shmring_namespace)) == ["alive", "gone"]
    file = paths.shm_file(paths.channel_segment(shmring_namespace, "gone"))
    end_unwatched(first, facts(shmring_namespace)["gone"].worker_pid, file)
    eventually(lambda: notes(shmring_namespace) == ["alive"])
    serve(cores)
    gone.close()
    alive.close()


@pytest.mark.check
def test_a_pool_that_drops_channels_drops_the_notes(
    serve: Any, shmring_namespace: str, cores: list[int]
) -> None:
    """A later pool of this name must not take up what this one did not."""
    first = serve(cores)
    gone = shmring.open("gone", pool="x", local=LOOPBACK, cpu=cores[1])
    first.kill()
    os.kill(facts(shmring_namespace)["gone"].worker_pid, signal.SIGKILL)
    assert serve(cores).channels == []
    assert notes(shmring_namespace) == []
    gone.close()


@pytest.mark.check
def test_a_channel_that_cannot_be_noted_is_not_served(
    serve: Any, remote: RemotePool, shmring_namespace: str, eventually: Any
) -> None:
    """Its worker and the channels beside it do not suffer, now or at a takeover."""
    serve()
    first = shmring.open("first", pool="x", local=LOOPBACK)
    directory = paths.pool_directory(shmring_namespace, "x")
    (directory / "bad.new").mkdir()  # where the note of this channel is written
    with pytest.raises(shmring.errors.ShmringOSError, match=r"bad\.new") as caught:
        remote._make_channel("bad", {"local": LOOPBACK})
    assert caught.value.errno == errno.EISDIR
    (directory / "bad.new").rmdir()
    assert list(facts(shmring_namespace)) == ["first"]
    assert [worker.channels for worker in remote.workers()] == [1]

    last = shmring.open("last", pool="x", local=LOOPBACK)
    os.kill(facts(shmring_namespace)["first"].worker_pid, signal.SIGKILL)
    for channel in (first, last):
        channel.send(b"x", to=channel.local)
        assert channel.recv(timeout=20).data == b"x"
    bad = shmring.open("bad", pool="x", local=LOOPBACK)
    assert facts(shmring_namespace)["bad"].epoch == 1
    for channel in (first, last, bad):
        channel.close()


@pytest.mark.parametrize("by", ["the next pool", "gc"])
def test_who_is_attached_to_a_deserted_channel_learns_of_its_end(
    serve: Any, shmring_namespace: str, by: str
) -> None:
    server = serve()
    channel = shmring.open("ctl", pool="x", local=LOOPBACK)
    channel.send(b"x", to=channel.local)
    assert channel.recv(timeout=20).data == b"x"
    server.kill()
    worker = launch.adopt(next(paths.pool_directory(shmring_namespace, "x").glob("worker-*.sock")))
    assert worker is not None
    worker.kill()
    worker.reap(20)
    worker.close()
    if by == "gc":
        shmring.gc(namespace=shmring_namespace)
    else:
        serve()
    with pytest.raises(shmring.ChannelClosed):
        channel.recv(timeout=20)
    assert channel.state == "closed"


@pytest.mark.check
def test_files_of_a_named_pool_are_for_its_user(serve: Any, shmring_namespace: str) -> None:
    serve()
    directory = paths.pool_directory(shmring_namespace, "x")
    assert directory.stat().st_mode & 0o077 == 0
    assert Path(directory / "pool.sock").stat().st_mode & 0o077 == 0


@pytest.mark.check
def test_a_worker_without_a_pool_takes_everything_along_on_sigterm(
    serve: Any, remote: RemotePool, shmring_namespace: str, eventually: Any
) -> None:
    server = serve()
    remote._make_channel("ctl", {"local": LOOPBACK})
    (worker,) = remote.workers()
    server.kill()
    time.sleep(0.2)  # it has seen that its pool is gone
    os.kill(worker.pid, signal.SIGTERM)
    directory = paths.pool_directory(shmring_namespace, "x")
    eventually(lambda: not directory.exists())
    eventually(lambda: not paths.shm_names(shmring_namespace))
