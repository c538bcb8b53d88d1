"""Everybody may make a file of any name in /dev/shm: its owner decides whether it is trusted."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

import shmring
from rtworkers import paths

HERE = ("127.0.0.1", 0)
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user: needs root")


def file_of(name: str, namespace: str) -> Path:
    return paths.shm_file(paths.channel_segment(namespace, name))


@needs_root
def test_another_users_channel_is_refused_unless_they_are_named(
    shmring_pool: shmring.Pool,
) -> None:
    shmring_pool.open("ctl", local=HERE)
    file = file_of("ctl", shmring_pool.namespace)
    os.chown(file, NOBODY, NOBODY)
    for mode in ("rw", "r"):
        with pytest.raises(shmring.NoPermission, match=r"uid 65534.*owner=65534"):
            shmring.attach("ctl", mode=mode)
        with pytest.raises(shmring.NoPermission):
            shmring.attach("ctl", mode=mode, owner=1)
        shmring.attach("ctl", mode=mode, owner=NOBODY).close()
    with pytest.raises(shmring.NoPermission, match="uid 65534"):
        shmring.Channel("ctl")
    (info,) = shmring.channels(shmring_pool.namespace)
    assert info.owner_uid == NOBODY
    with pytest.raises(shmring.BadConfig, match="no user"):
        shmring.attach("ctl", owner="nobody-of-that-name")
    with pytest.raises(TypeError, match="owner"):
        shmring.attach("ctl", owner=1.5)  # type: ignore[arg-type]


@needs_root
def test_a_group_of_the_process_vouches_for_its_files(shmring_pool: shmring.Pool) -> None:
    shmring_pool.open("ctl", local=HERE)
    file = file_of("ctl", shmring_pool.namespace)
    os.chown(file, NOBODY, 12345)
    file.chmod(0o660)
    before = os.getgroups()
    try:
        with pytest.raises(shmring.NoPermission):
            shmring.attach("ctl")
        os.setgroups([*before, 12345])
        shmring.attach("ctl").close()
        file.chmod(0o606)  # open to everybody, and to no group
        with pytest.raises(shmring.NoPermission):
            shmring.attach("ctl")
    finally:
        os.setgroups(before)


@needs_root
def test_a_squatted_socket_is_refused(shmring_pool: shmring.Pool) -> None:
    """Who listens there runs as another user than the one whose channel it is."""
    channel = shmring_pool.open("ctl", local=HERE)
    directory = paths.pool_directory(shmring_pool.namespace, shmring_pool.name)
    path = paths.worker_socket(directory, 0)
    path.unlink()
    squatter = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def squat() -> None:
        """The kernel remembers who called listen: a thread's own user id is enough."""
        import ctypes

        ctypes.CDLL(None).syscall(117, -1, NOBODY, -1)  # setresuid of this thread alone
        squatter.listen(1)

    squatter.bind(os.fspath(path))
    thread = threading.Thread(target=squat)
    thread.start()
    thread.join()
    try:
        end = shmring.attach("ctl")
        with pytest.raises(shmring.NoPermission, match="uid 65534"):
            end.send(b"x", to=channel.local)
        end.close()
    finally:
        squatter.close()
