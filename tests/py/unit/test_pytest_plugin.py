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


def test_a_partner_of_each_kind_talks(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import socket, pytest

        @pytest.mark.parametrize("kind", ["codesys5", "codesys4", "siemens", "python"])
        @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
        def test_answers(kind, host, plc_sim):
            plc = plc_sim(kind, local=(host, 0), receive=2, send=3, cycle_ns=1_000_000)
            plc.partner.put(b"plc")
            if kind == "codesys5":
                plc.wait_for(lambda partner: partner.state == 40)
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as pc:
                pc.settimeout(20)
                pc.sendto(bytes([1, 0]) + b"pc", plc.address)
                plc.wait_for(lambda partner: partner.taken == 1)
                assert pc.recv(2048)[2:] == b"plc"
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=8)


def test_what_the_program_of_a_partner_raises_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_program(plc_sim):
            plc = plc_sim("codesys4", program=lambda plc: 1 / 0)
            plc._thread.join(20)
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ZeroDivisionError*"])


def test_partners_leave_no_threads(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading

        BEFORE = threading.active_count()

        def test_many(plc_sim):
            for _ in range(5):
                plc_sim("siemens", restart_every_ns=10_000_000, restart_off_ns=1_000_000)

        def test_none_left():
            assert threading.active_count() == BEFORE
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=2)


def test_an_unknown_kind_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_kind(plc_sim):
            with pytest.raises(ValueError, match="kind is 's5': use one of codesys5,"):
                plc_sim("s5")
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
