"""Names and folders of the workers' side."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtworkers import paths


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "x" * 64, "-dash", "a..", ".a", "..."])
def test_good_names(name: str) -> None:
    assert paths.check_name("channel name", name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é", "x" * 65, "a\n", "a:b", "a\0"])
def test_bad_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ValueError, match=r"channel name .*A-Z a-z 0-9"):
        paths.check_name("channel name", name)


@pytest.mark.parametrize("name", [None, b"bytes", 7])
def test_names_are_strings(name: object) -> None:
    with pytest.raises(TypeError, match="must be a string"):
        paths.check_name("pool name", name)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SHMRING_RUNTIME_DIR": "/r", "XDG_RUNTIME_DIR": "/x"}, Path("/r")),
        ({"XDG_RUNTIME_DIR": "/x"}, Path("/x/shmring")),
        ({}, None),
    ],
)
def test_runtime_base(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: Path | None
) -> None:
    for name in ("SHMRING_RUNTIME_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    uid = os.geteuid()
    fallback = Path("/run/shmring") if uid == 0 else Path(f"/tmp/shmring-{uid}")
    assert paths.runtime_base() == (expected or fallback)


def test_default_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHMRING_NAMESPACE", raising=False)
    assert paths.default_namespace() == "default"
    monkeypatch.setenv("SHMRING_NAMESPACE", "lab")
    assert paths.default_namespace() == "lab"
    monkeypatch.setenv("SHMRING_NAMESPACE", "not a name")
    with pytest.raises(ValueError, match="SHMRING_NAMESPACE"):
        paths.default_namespace()


def test_directories_are_for_the_user_alone(tmp_path: Path) -> None:
    directory = paths.pool_directory("ns", "pool", tmp_path / "base")
    paths.make_directory(directory, None)
    paths.make_directory(directory, None)
    for folder in (directory, directory.parent, directory.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_group_may_enter_but_not_list_what_lies_above(tmp_path: Path) -> None:
    directory = paths.pool_directory("ns", "pool", tmp_path / "base")
    paths.make_directory(directory, os.getegid())
    assert stat.S_IMODE(directory.stat().st_mode) == 0o750
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o711


def test_a_link_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "base").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="SHMRING_RUNTIME_DIR"):
        paths.make_directory(tmp_path / "base" / "ns" / "pool", None)


def test_a_folder_that_cannot_be_made_is_named_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    base.touch()
    with pytest.raises(OSError, match="File exists: set SHMRING_RUNTIME_DIR to") as caught:
        paths.make_directory(base / "ns" / "pool", None)
    assert caught.value.filename == str(base)

    def refuse(self: Path, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=r"Read-only file system: set SHMRING_RUNTIME_DIR.*other"):
        paths.make_directory(tmp_path / "other" / "ns" / "pool", None)


def test_the_umask_cannot_lock_this_user_out(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        paths.make_directory(tmp_path / "base" / "ns" / "pool", None)
    finally:
        os.umask(before)
    for folder in ("base", "base/ns", "base/ns/pool"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_too_long_socket_paths_are_refused_early() -> None:
    paths.check_socket_paths(Path("/run/shmring/default/private-12345-0"), 4095)
    with pytest.raises(ValueError, match=r"107.*SHMRING_RUNTIME_DIR"):
        paths.check_socket_paths(Path("/run/shmring") / ("n" * 60) / ("p" * 60), 0)


names = st.from_regex(r"\A[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}\Z")


@settings(deadline=None)
@given(names, names, st.integers(0, 4095))
def test_shm_names_can_be_taken_apart(namespace: str, name: str, slot: int) -> None:
    channel = paths.parse_shm_name(paths.channel_segment(namespace, name)[1:])
    assert channel is not None
    assert (channel.namespace, channel.channel, channel.pool) == (namespace, name, None)
    page = paths.parse_shm_name(paths.worker_page(namespace, name, slot)[1:])
    assert page is not None
    assert (page.namespace, page.pool, page.slot) == (namespace, name, slot)
    assert len(paths.worker_page(namespace, name, slot)) < 255


@settings(deadline=None)
@given(st.text())
def test_foreign_names_are_never_ours_by_accident(name: str) -> None:
    parsed = paths.parse_shm_name(name)
    assert parsed is None or parsed.posix_name == f"/{name}"


@pytest.mark.parametrize(
    "name", ["sem.x", "shmring:", "shmring:a:x:b", "shmring:a:w:b:x", "shmring:a:c:.."]
)
def test_names_that_are_not_ours(name: str) -> None:
    assert paths.parse_shm_name(name) is None


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /dev/shm, with what anybody may put there."""
    monkeypatch.setattr(paths, "SHM_DIRECTORY", tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "socket"))
    return tmp_path


@pytest.mark.timeout(30)
@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("name", ["pipe", "folder", "link", "socket", "none"])
def test_only_files_are_opened_and_none_is_waited_for(
    strange: Path, name: str, writable: bool
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=name):
        paths.open_shm(f"/{name}", writable=writable)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_file_is_opened(strange: Path) -> None:
    fd = paths.open_shm("/file", writable=True)
    assert os.write(fd, b"y") == 1
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_a_folder_that_is_removed_during_a_look_contains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def removed_first(folder: Path) -> object:
        os.rmdir(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", removed_first)
    assert paths.listed(tmp_path) == []
