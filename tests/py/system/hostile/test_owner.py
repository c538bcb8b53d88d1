"""Everybody may make a file of any name in /dev/shm: its owner decides whether it is trusted."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import shmring
from rtworkers import paths
from shmring import _pool_server

HERE = ("127.0.0.1", 0)
NOBODY = 65534

pytestmark = pytest.mark.needs("unprivileged", "chown")


def file_of(name: str, namespace: str) -> Path:
    return paths.shm_file(paths.channel_segment(namespace, name))


def test_another_users_channel_is_refused_unless_they_are_named(
    shmring_pool: shmring.Pool,
) -> None:
    shmring_pool.open("ctl", local=HERE)
    file = file_of("ctl", shmring_pool.namespace)
    os.chown(file, NOBODY, NOBODY)
    for readonly in (False, True):
        with pytest.raises(shmring.errors.NoPermission, match=r"uid 65534.*owner=65534"):
            shmring.attach("ctl", readonly=readonly)
        with pytest.raises(shmring.errors.NoPermission):
            shmring.attach("ctl", readonly=readonly, owner=1)
        shmring.attach("ctl", readonly=readonly, owner=NOBODY).close()
    with pytest.raises(shmring.errors.NoPermission, match="uid 65534"):
        shmring.attach("ctl")
    (info,) = shmring.channels(shmring_pool.namespace)
    assert info.owner_uid == NOBODY
    with pytest.raises(shmring.errors.BadConfig, match="no user"):
        shmring.attach("ctl", owner="nobody-of-that-name")
    with pytest.raises(TypeError, match="owner"):
        shmring.attach("ctl", owner=1.5)  # type: ignore[arg-type]


def test_a_group_of_the_process_vouches_for_its_files(shmring_pool: shmring.Pool) -> None:
    shmring_pool.open("ctl", local=HERE)
    file = file_of("ctl", shmring_pool.namespace)
    os.chown(file, NOBODY, 12345)
    file.chmod(0o660)
    before = os.getgroups()
    try:
        with pytest.raises(shmring.errors.NoPermission):
            shmring.attach("ctl")
        os.setgroups([*before, 12345])
        shmring.attach("ctl").close()
        file.chmod(0o606)  # open to everybody, and to no group
        with pytest.raises(shmring.errors.NoPermission):
            shmring.attach("ctl")
    finally:
        os.setgroups(before)


def listen_as(user: int, squatter: socket.socket) -> None:
    """The kernel remembers who called listen: a thread's own user id is enough."""

    def squat() -> None:
        ctypes.CDLL(None).syscall(117, -1, user, -1)  # setresuid of this thread alone
        squatter.listen(8)

    thread = threading.Thread(target=squat)
    thread.start()
    thread.join()


def test_a_squatted_socket_is_refused(shmring_pool: shmring.Pool) -> None:
    """Who listens there runs as another user than the one whose channel it is."""
    channel = shmring_pool.open("ctl", local=HERE)
    directory = paths.pool_directory(shmring_pool.namespace, shmring_pool.name)
    path = paths.worker_socket(directory, 0)
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as squatter:
        squatter.bind(os.fspath(path))
        listen_as(NOBODY, squatter)
        end = shmring.attach("ctl")
        with pytest.raises(shmring.errors.NoPermission, match="uid 65534"):
            end.send(b"x", to=channel.local)
        end.close()


@pytest.fixture
def squatted_pool(
    shmring_namespace: str, other_runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The socket of a pool "x", at which another user listens and answers."""
    monkeypatch.setenv("SHMRING_RUNTIME_DIR", str(other_runtime))
    path = _pool_server.socket_path(shmring_namespace, "x")
    path.parent.mkdir(parents=True)
    squatter = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    squatter.bind(os.fspath(path))
    listen_as(NOBODY, squatter)

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = squatter.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(20)
                    if connection.recv(65536):
                        connection.send(b'{"channels": ["forged"], "count": 1}')

    thread = threading.Thread(target=answer)
    thread.start()
    yield path
    squatter.shutdown(socket.SHUT_RDWR)
    thread.join()
    squatter.close()


def test_a_squatted_pool_is_refused(squatted_pool: Path, shmring_namespace: str) -> None:
    """Another user made the folder before the pool did, with or without this user's help."""
    remote = _pool_server.RemotePool(shmring_namespace, "x")
    for owner in (0, NOBODY):
        os.chown(squatted_pool, owner, NOBODY)
        squatted_pool.chmod(0o666)
        with pytest.raises(shmring.errors.NoPermission, match=r"pool 'x'.*uid 65534"):
            remote.channels()
        with pytest.raises(shmring.errors.NoPermission, match=r"pool 'x'.*uid 65534"):
            shmring.open("ctl", pool="x", local=HERE)


def test_a_group_of_the_process_vouches_for_a_pool(
    squatted_pool: Path, shmring_namespace: str
) -> None:
    os.chown(squatted_pool, NOBODY, 12345)
    squatted_pool.chmod(0o660)
    before = os.getgroups()
    try:
        os.setgroups([*before, 12345])
        assert _pool_server.RemotePool(shmring_namespace, "x").channels() == ["forged"]
    finally:
        os.setgroups(before)


def test_what_is_no_pools_socket_is_an_error(
    shmring_namespace: str, other_runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHMRING_RUNTIME_DIR", str(other_runtime))
    path = _pool_server.socket_path(shmring_namespace, "x")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(os.fspath(path))
        stream.listen(1)
        with pytest.raises(shmring.ShmringError, match="pool 'x'"):
            _pool_server.RemotePool(shmring_namespace, "x").channels()
