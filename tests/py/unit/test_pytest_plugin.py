"""The fixtures that programs using shmring get for their own tests."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rtworkers.examine import Latency
from shmring.pytest_plugin import assert_lateness
from shmring.testing import lateness

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHMRING_NAMESPACE", raising=False)


def test_a_pair_of_channels(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, shmring

        def test_echo(shmring_open, shmring_namespace):
            here, there = shmring_open(
                engine=shmring.Udp(tx=8), here={"engine": shmring.Udp(direction="tx")}
            )
            here.send(b"ping")
            assert there.recv(timeout=20).data == b"ping"
            assert here.remote == there.local
            assert os.environ["SHMRING_NAMESPACE"] == shmring_namespace

        def test_default_pool(shmring_namespace):
            shmring.open("default", local=("127.0.0.1", 0))
            assert shmring.default_pool().workers()[0].policy == "other"
            shmring.Pool(policy="other").open("ctl", local=("127.0.0.1", 0)).close()

        def test_ipv6(shmring_open):
            here, there = shmring_open(local=("::1", 0))
            here.send(b"ping")
            assert there.recv(timeout=20).data == b"ping"
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=3)


@pytest.mark.check
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


@pytest.mark.check
def test_workers_of_a_killed_process_have_time_to_end(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, signal, subprocess, sys, threading

        PROGRAM = (
            "import shmring, sys; pool = shmring.Pool(); "
            "ch = pool.open('ctl', local=('127.0.0.1', 0)); "
            "print(pool.workers()[0].pid, flush=True); sys.stdin.read()"
        )

        def test_kills(shmring_namespace):
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            with subprocess.Popen([sys.executable, "-c", PROGRAM], **pipes) as program:
                worker = int(program.stdout.readline())
                os.kill(worker, signal.SIGSTOP)  # as a busy machine does
                threading.Timer(0.3, os.kill, (worker, signal.SIGCONT)).start()
                program.kill()
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.check
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
        from shmring.testing.plc import PARTNERS

        @pytest.mark.parametrize("kind", PARTNERS)
        @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
        def test_answers(kind, host, plc_sim):
            plc = plc_sim(PARTNERS[kind](receive=2, send=3, cycle_ns=1_000_000), local=(host, 0))
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


@pytest.mark.check
def test_what_the_program_of_a_partner_raises_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from shmring.testing.plc import Codesys4

        def test_program(plc_sim):
            plc = plc_sim(Codesys4(program=lambda plc: 1 / 0))
            plc._thread.join(20)
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ZeroDivisionError*"])


@pytest.mark.check
def test_partners_leave_no_threads(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading
        from shmring.testing.plc import Siemens

        BEFORE = threading.active_count()

        def test_many(plc_sim):
            for _ in range(5):
                plc_sim(Siemens(), restart_every_ns=10_000_000, restart_off_ns=1_000_000)

        def test_none_left():
            assert threading.active_count() == BEFORE
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=2)


def floors(*p99_ns: int) -> Iterator[Latency]:
    yield from (Latency(100, 1, 1, value, value, 0) for value in p99_ns)


@pytest.fixture
def late_by_a_second(shmring_open: Any) -> Any:
    here, _ = shmring_open("late")
    here.send(b"", at=here.now_ns() - 1_000_000_000)
    here.flush(timeout=60)
    return here


def test_lateness_is_judged_against_the_floor(
    late_by_a_second: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = floors(3_600_000_000_000)
    monkeypatch.setattr(lateness, "host_floor", functools.cache(lambda *_: next(measured)))
    assert_lateness(late_by_a_second, p99_ns=0)
    assert_lateness(late_by_a_second, p99_ns=0)  # measured once
    with pytest.raises(AssertionError, match=r'channel "late" is 1\d+ ns .*allowed are 0 ns'):
        assert_lateness(late_by_a_second, p99_ns=0, relative_to=None)


@pytest.mark.check
def test_a_failure_says_why_and_shows_the_test_only(late_by_a_second: Any) -> None:
    with pytest.raises(AssertionError) as caught:
        assert_lateness(late_by_a_second, p99_ns=0, relative_to=None)
    for words in ("p99 lateness", "the latest 1 of 1 that are kept", "\nso: ", "\n  do: "):
        assert words in str(caught.value)  # of `rtstat why`
    shown = [entry.frame.code.name for entry in caught.traceback.filter(caught)]
    assert shown == ["test_a_failure_says_why_and_shows_the_test_only"]


@pytest.mark.check
def test_the_floor_is_measured_again_before_lateness_fails(
    late_by_a_second: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = floors(1000, 3_600_000_000_000, 1000, 7000)
    floor = functools.cache(lambda *_: next(measured))
    monkeypatch.setattr(lateness, "host_floor", floor)
    assert_lateness(late_by_a_second, p99_ns=500)
    floor.cache_clear()
    with pytest.raises(AssertionError, match=r"allowed are 7500 ns: p99_ns=500 .*floor of 7000 ns"):
        assert_lateness(late_by_a_second, p99_ns=500)


def test_lateness_of_a_channel_without_deadlines_is_an_error(shmring_open: Any) -> None:
    here, _ = shmring_open("idle")
    with pytest.raises(AssertionError, match="no packet with a deadline"):
        assert_lateness(here, p99_ns=1)
    with pytest.raises(ValueError, match="relative_to is 'me'"):
        assert_lateness(here, p99_ns=1, relative_to="me")  # type: ignore[arg-type]


def test_the_floor_is_that_of_this_host() -> None:
    found = lateness.host_floor(None, "other")
    assert found.n > 100
    assert 0 < found.p50_ns <= found.p99_ns


def netns_of(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def test_two_hosts_have_a_link_of_their_own(shmring_netns: Any) -> None:
    left, right = shmring_netns
    assert len({netns_of(left.pid), netns_of(right.pid), netns_of(os.getpid())}) == 3
    for mine, theirs in ((left.address, right.address), (left.address6, right.address6)):
        with (
            right.open("there", local=(theirs, 0)) as there,
            left.open("here", local=(mine, 0), remote=there.local) as here,
        ):
            here.send(b"ping")
            packet = there.recv(timeout=60)
            assert (packet.data, packet.source) == (b"ping", here.local)
    assert right.interface in left.run("ip", "-brief", "link")


@pytest.mark.check
def test_namespaces_end_with_a_test_that_is_killed(
    shmring_netns: Any, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        """
        import os, pathlib, signal

        def test_killed(shmring_netns):
            pathlib.Path("pids").write_text(" ".join(str(host.pid) for host in shmring_netns))
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    pytester.runpytest_subprocess()
    pids = [int(pid) for pid in (pytester.path / "pids").read_text().split()]
    until_s = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
