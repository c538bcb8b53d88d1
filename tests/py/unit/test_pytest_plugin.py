"""The fixtures that programs using shmring get for their own tests."""

from __future__ import annotations

import os

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHMRING_NAMESPACE", raising=False)


def test_a_pair_of_channels(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, shmring

        def test_echo(shmring_channel, shmring_namespace):
            here, there = shmring_channel(here={"direction": "tx"}, capacity=8)
            here.send(b"ping")
            assert there.recv(timeout=20).data == b"ping"
            assert here.remote == there.local
            assert os.environ["SHMRING_NAMESPACE"] == shmring_namespace

        def test_default_pool(shmring_namespace):
            shmring.default_pool()
            shmring.Pool(policy="other").open("ctl", local=("127.0.0.1", 0)).close()

        def test_ipv6(shmring_channel):
            here, there = shmring_channel(local=("::1", 0))
            here.send(b"ping")
            assert there.recv(timeout=20).data == b"ping"
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=3)


def test_what_is_left_behind_fails_the_test_that_left_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, posix_ipc

        def make(namespace):
            posix_ipc.SharedMemory(f"/shmring:{namespace}:c:ctl", posix_ipc.O_CREX).close_fd()

        def test_leaves_something(shmring_namespace):
            make(shmring_namespace)

        def test_does_not_look_at_other_namespaces(shmring_namespace):
            make(f"{shmring_namespace}-other")

        def test_next(shmring_namespace):
            for name in os.listdir("/dev/shm"):
                if name.startswith(f"shmring:test-{os.getpid()}-"):
                    posix_ipc.unlink_shared_memory(f"/{name}")
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*left behind in /dev/shm: /shmring:test-*:c:ctl"])


def test_workers_can_be_pinned_by_an_ini_option(pytester: pytest.Pytester) -> None:
    core = min(os.sched_getaffinity(0))
    pytester.makeini(f"[pytest]\nshmring_cpus = {core}\n")
    pytester.makepyfile(
        f"""
        def test_pinned(shmring_pool):
            shmring_pool.open("ctl", local=("127.0.0.1", 0))
            assert [worker.cpu for worker in shmring_pool.workers()] == [{core}]
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
