"""What a pool may be asked to be, and where channels go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rtworkers import affinity
from rtworkers.config import PoolSettings
from rtworkers.door import Door
from rtworkers.launch import WorkerStartError, describe_status, launch, worker_binary


def settings(**changes: Any) -> PoolSettings:
    values: dict[str, Any] = {
        "namespace": "ns",
        "name": "pool",
        "directory": Path("/run/shmring/ns/pool"),
        "cpus": (1,),
    }
    return PoolSettings(**(values | changes))


def test_command_line() -> None:
    line = settings(strict=True).arguments(1, 1, 7, 9, 8)
    assert " ".join(line) == (
        "--namespace ns --pool pool --slot 1 --cpu 1 --policy fifo --priority 80 "
        "--profile balanced --runtime /run/shmring/ns/pool --page-fd 7 --rx-fd 9 --pool-fd 8 "
        "--private --strict"
    )
    assert "--private" not in settings(private=False).arguments(1, 1, 7, 9, 8)


def test_unpinned_pools_have_one_slot() -> None:
    pool = settings(cpus=None)
    assert [slot for slot in range(9000) if pool.has_slot(slot)] == [0]
    assert pool.cpu_of(0) == affinity.UNPINNED
    own = settings(cpus=(3,), group=1, worker_per_user=True)
    assert [slot for slot in range(9000) if own.has_slot(slot)] == [3, 4099, 8195]
    assert own.cpu_of(8195) == 3


def test_all_slots_have_sockets_that_fit() -> None:
    """107 bytes at most."""
    directory = Path("/run") / ("x" * 85)  # with worker-4095.sock
    assert settings(directory=directory, group=1).has_slot(1)
    with pytest.raises(ValueError, match=r"worker-16777215\.sock has 111 bytes"):
        settings(directory=directory, group=1, worker_per_user=True)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"priority": 0}, "1 .lowest. to 99"),
        ({"priority": 100}, "priority is 100"),
        ({"policy": "rr"}, "'fifo', 'other'"),
        ({"profile": "fast"}, "'balanced', 'latency', 'power'"),
        ({"name": "a b"}, "pool name"),
        ({"namespace": ""}, "namespace"),
        ({"worker_per_user": True}, "group="),
    ],
)
def test_wrong_values_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        settings(**changes)


@pytest.mark.parametrize("priority", [True, "80", 80.0, None])
def test_priority_is_a_number(priority: object) -> None:
    with pytest.raises(TypeError, match="priority must be an integer"):
        settings(priority=priority)


@pytest.mark.parametrize(
    ("cpus", "expected"), [(None, None), ([1], (1,)), ((3, 1, 3), (3, 1)), (range(2), (0, 1))]
)
def test_cores(cpus: object, expected: tuple[int, ...] | None) -> None:
    assert affinity.check_cores(cpus) == expected


@pytest.mark.parametrize("cpus", [1, "1", [True], ["1"], [1.0], {1}])
def test_cores_are_a_list_of_integers(cpus: object) -> None:
    with pytest.raises(TypeError, match="cpus"):
        affinity.check_cores(cpus)


@pytest.mark.parametrize("cpus", [[], [-1], [4096]])
def test_impossible_cores(cpus: object) -> None:
    with pytest.raises(ValueError, match="cpus"):
        affinity.check_cores(cpus)


def test_placement_fills_the_emptiest_core_in_the_users_order() -> None:
    assert affinity.place((3, 1), None, {}) == 3
    assert affinity.place((3, 1), None, {3: 1}) == 1
    assert affinity.place((3, 1), None, {3: 1, 1: 1}) == 3
    assert affinity.place((3, 1), 1, {1: 99}) == 1
    assert affinity.place(None, None, {0: 5}) == 0


def test_placement_refuses_other_cores() -> None:
    with pytest.raises(ValueError, match=r"must be a core of this pool.*cpus=\[3, 1, 2\]"):
        affinity.place((3, 1), 2, {})
    with pytest.raises(ValueError, match="no pinned workers"):
        affinity.place(None, 2, {})
    with pytest.raises(TypeError):
        affinity.place((1,), True, {})


def test_explanations_name_the_fix() -> None:
    assert "cpuset" in affinity.explain_cpu(4095)
    text = affinity.explain_policy(80, "/opt/my venv/worker")
    assert "sudo chgrp realtime '/opt/my venv/worker'" in text
    order = ("chgrp", "chmod 0750", "setcap", "usermod -aG realtime")
    assert sorted(order, key=text.index) == list(order)
    assert "RLIMIT_RTPRIO) to 90" in affinity.explain_priority(90, 80)


def test_a_program_that_may_not_be_run_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "worker"
    file.write_text("")
    assert "install shmring again" in affinity.explain_unrunnable(str(file), "Permission denied")


def test_binary_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHMRING_WORKER", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="install shmring again"):
        worker_binary()
    monkeypatch.setenv("SHMRING_WORKER", "/bin/false")
    assert worker_binary() == Path("/bin/false")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (None, "ended"),
        (1, "ended with exit status 1"),
        (-9, "was ended by SIGKILL"),
        (-64 - 1, "was ended by signal 65"),
    ],
)
def test_exit_status_in_words(status: int | None, text: str) -> None:
    assert describe_status(status) == text


@pytest.mark.parametrize(
    ("mode", "content", "text"),
    [(None, b"", "is missing"), (0o644, b"", "Permission denied"), (0o755, b"\0\1", "Exec format")],
)
def test_a_program_that_cannot_be_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int | None, content: bytes, text: str
) -> None:
    program = tmp_path / "worker"
    if mode is not None:
        program.write_bytes(content)
        program.chmod(mode)
    monkeypatch.setenv("SHMRING_WORKER", str(program))
    with (
        (tmp_path / "page").open("wb") as file,
        pytest.raises(WorkerStartError, match=f"{text}.*install shmring again"),
    ):
        launch(settings(), 1, 1, file.fileno(), file.fileno())


def worker_script(tmp_path: Path, body: str) -> str:
    script = tmp_path / "worker"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("echo 'core 9: no such core: choose 0 to 1' >&2; exit 1", "choose 0 to 1"),
        ("exit 3", "exit status 3 while starting, no message"),
        ("kill -9 $$", "SIGKILL"),
    ],
)
def test_a_worker_that_does_not_come_up_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, text: str
) -> None:
    monkeypatch.setenv("SHMRING_WORKER", worker_script(tmp_path, body))
    with (tmp_path / "page").open("wb") as file, pytest.raises(WorkerStartError, match=text):
        launch(settings(), 1, 1, file.fileno(), file.fileno())


@pytest.mark.parametrize(
    ("mode", "body", "text"),
    [
        (0o755, "echo 'no sockets here' >&2; exit 3", "exit status 3 .*: no sockets here"),
        (0o644, "", "Permission denied.*install shmring again"),
    ],
)
def test_a_door_that_does_not_open_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int, body: str, text: str
) -> None:
    program = Path(worker_script(tmp_path, body))
    program.chmod(mode)
    monkeypatch.setenv("SHMRING_WORKER", str(program))
    with pytest.raises(WorkerStartError, match=text):
        Door(settings(directory=tmp_path, group=os.getgid()))
