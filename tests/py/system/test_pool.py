"""Private pools: opening, sharing, refusing, and leaving nothing behind."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import re
import shutil
import signal
import socket
import stat
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import shmring
from rtworkers import affinity, page, paths
from rtworkers.launch import worker_binary
from shmring.errors import ChannelExists, RealtimeWarning

LOOPBACK = ("127.0.0.1", 0)


def test_a_packet_crosses(shmring_open: Any) -> None:
    here, there = shmring_open()
    here.send(b"ping", at=time.monotonic_ns() + 1_000_000)
    packet = there.recv(timeout=20)
    assert packet.data == b"ping"
    assert packet.source == here.local
    there.send(b"pong")
    assert here.recv(timeout=20).data == b"pong"


def test_two_processes_on_one_channel_both_send_and_both_read(
    shmring_open: Any, python: Any
) -> None:
    here, there = shmring_open("ctl")
    other = python(
        "import shmring\n"
        "ch = shmring.attach('ctl')\n"
        "ch.try_recv()\n"  # attached as a reader from here on
        "ch.send(b'from the other process')\n"
        "print(ch.recv(timeout=20).data.decode(), flush=True)"
    )
    assert there.recv(timeout=20).data == b"from the other process"
    here.send(b"from this process")
    assert there.recv(timeout=20).data == b"from this process"
    there.send(b"for both")
    assert here.recv(timeout=20).data == b"for both"
    assert other.line() == "for both"
    assert other.wait() == 0


def test_a_worker_is_in_the_session_of_its_pool_and_in_a_group_of_its_own(
    shmring_pool: shmring.Pool,
) -> None:
    """Ctrl-C must not reach it, and the kernel must not weigh it against whole sessions."""
    shmring_pool.open("any", shmring.Local())
    worker = shmring_pool.workers()[0]
    assert os.getsid(worker.pid) == os.getsid(0)
    assert os.getpgid(worker.pid) == worker.pid


def test_a_tap_reads_along(shmring_open: Any) -> None:
    here, there = shmring_open("ctl")
    tap = shmring.attach("ctl-peer", readonly=True)
    here.send(b"seen by both")
    assert there.recv(timeout=20).data == b"seen by both"
    assert tap.recv(timeout=20).data == b"seen by both"
    with pytest.raises(shmring.errors.NoPermission):
        tap.send(b"no")
    tap.close()


def test_a_worker_whose_deadlines_are_always_near_lets_everybody_in(
    shmring_open: Any, shmring_namespace: str
) -> None:
    here, _ = shmring_open(name="busy", engine=shmring.Udp(tx=50_000))
    soon = here.now_ns() + 100_000_000
    for i in range(50_000):  # for ten seconds, nearer than control messages may come
        here.send(b"x", at=soon + i * 200_000)
    time.sleep(0.2)
    for _ in range(10):
        with shmring.attach("busy", namespace=shmring_namespace) as channel:
            channel.try_recv()  # connects to the worker
    assert here.tx_waiting > 0
    here.purge()


def test_what_is_open_is_listed(shmring_open: Any, shmring_namespace: str) -> None:
    here, there = shmring_open("ctl", there={"engine": shmring.Udp(direction="rx")})
    found = {info.name: info for info in shmring.channels(shmring_namespace)}
    assert set(found) == {"ctl", "ctl-peer"}
    assert found["ctl"].local == here.local
    assert found["ctl"].remote == there.local
    assert found["ctl-peer"].direction == "rx"
    assert found["ctl"].state == "open"
    assert found["ctl"].epoch == 1


def test_a_channel_that_is_not_there(shmring_namespace: str) -> None:
    with pytest.raises(shmring.ChannelNotFound, match='no channel "nosuch"'):
        shmring.attach("nosuch")
    with pytest.raises(shmring.errors.BadConfig, match="A-Z"):
        shmring.attach("no such")


def test_a_worker_soon_has_all_of_a_channel_in_memory(
    shmring_pool: shmring.Pool, shmring_namespace: str, eventually: Any
) -> None:
    ch = shmring_pool.open("ctl", local=LOOPBACK)
    (worker,) = shmring_pool.workers()
    smaps = Path(f"/proc/{worker.pid}/smaps")
    if not os.access(smaps, os.R_OK):
        pytest.skip("the worker's memory map is not for this user")
    file = paths.shm_file(paths.channel_segment(shmring_namespace, "ctl")).stat()

    def present_kb() -> tuple[int, int]:
        _, _, mapping = smaps.read_text().partition(f" {file.st_ino} ")
        found = dict(re.findall(r"^(Size|Rss): +(\d+) kB$", mapping, re.MULTILINE)[:2])
        return int(found["Rss"]), int(found["Size"])

    size = file.st_size // 1024
    eventually(lambda: present_kb() == (size, size))
    ch.close()


def test_a_name_is_taken_once(shmring_pool: shmring.Pool, shmring_namespace: str) -> None:
    first = shmring_pool.open("ctl", local=LOOPBACK)
    with pytest.raises(ChannelExists, match=f"opened by this process .{os.getpid()}"):
        shmring_pool.open("ctl", local=LOOPBACK)
    with (
        shmring.Pool(namespace=shmring_namespace, policy="other") as other,
        pytest.raises(ChannelExists),
    ):
        other.open("ctl", local=LOOPBACK)
    address = first.local
    first.close()
    shmring_pool.open("ctl", local=address).close()


def test_namespaces_keep_names_apart(shmring_pool: shmring.Pool, shmring_namespace: str) -> None:
    shmring_pool.open("ctl", local=LOOPBACK)
    with shmring.Pool(namespace=f"{shmring_namespace}-b", policy="other") as other:
        other.open("ctl", local=LOOPBACK)
        assert [info.name for info in shmring.channels(f"{shmring_namespace}-b")] == ["ctl"]


def test_a_bound_socket_is_adopted(shmring_pool: shmring.Pool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(LOOPBACK)
        address = sock.getsockname()
        channel = shmring_pool.open("ctl", shmring.Udp(socket=shmring.Socket(existing=sock)))
    assert channel.local == address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"in", address)
    assert channel.recv(timeout=20).data == b"in"


def test_permissions_of_the_segment(shmring_pool: shmring.Pool, shmring_namespace: str) -> None:
    def access(name: str) -> tuple[int, int]:
        facts = paths.shm_file(paths.channel_segment(shmring_namespace, name)).stat()
        return stat.S_IMODE(facts.st_mode), facts.st_gid

    shmring_pool.open("own", local=LOOPBACK)
    shmring_pool.open("group", local=LOOPBACK, share=shmring.Share(group=os.getegid()))
    shmring_pool.open("read", local=LOOPBACK, share=shmring.Share(permissions=0o644))
    assert access("own") == (0o600, os.getegid())
    assert access("group") == (0o660, os.getegid())
    assert access("read") == (0o644, os.getegid())


# --- refusals leave nothing behind ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"remote": ("127.0.0.1", 0)}, shmring.errors.BadAddress),
        ({"local": ("192.0.2.1", 0)}, OSError),  # an address this host does not have
        ({"engine": shmring.Udp(socket=shmring.Socket(device="nosuch0"))}, OSError),
        ({"local": LOOPBACK, "cpu": 4000}, shmring.errors.BadConfig),
        ({"engine": shmring.Udp(tx=shmring.Queue(50_000_000, 8))}, shmring.errors.NoSpace),
    ],
)
def test_a_refused_channel_leaves_nothing(
    shmring_pool: shmring.Pool,
    shmring_namespace: str,
    open_files: Callable[[], int],
    options: dict[str, Any],
    kind: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind is shmring.errors.NoSpace:  # whatever this machine has: as if it had a gigabyte
        monkeypatch.setattr("psutil.virtual_memory", lambda: type("m", (), {"available": 2**30})())
    shmring_pool.open("first", local=LOOPBACK).close()
    before = open_files()
    with pytest.raises(kind) as caught:
        shmring_pool.open("ctl", **options)
    assert isinstance(caught.value, shmring.ShmringError)
    assert open_files() == before
    assert shmring_pool.channels() == []
    assert [name.channel for name in paths.shm_names(shmring_namespace) if name.channel] == []


def test_a_port_in_use(shmring_pool: shmring.Pool) -> None:
    first = shmring_pool.open("first", local=LOOPBACK)
    with pytest.raises(OSError, match="second") as caught:
        shmring_pool.open("second", local=first.local)
    assert caught.value.errno == errno.EADDRINUSE
    host, port = first.local
    namespace = shmring_pool.namespace
    owner = f"channel {namespace}/first, opened by process {os.getpid()}"
    assert f"{host}:{port} is in use by {owner}" in str(caught.value)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(LOOPBACK)
        with pytest.raises(OSError, match=rf"in use by process {os.getpid()} \(") as caught:
            shmring_pool.open("third", local=other.getsockname())
    assert caught.value.errno == errno.EADDRINUSE
    assert shmring_pool.channels() == ["first"]


@pytest.mark.check
def test_opening_and_closing_leaks_no_descriptors(
    shmring_pool: shmring.Pool, open_files: Callable[[], int]
) -> None:
    shmring_pool.open("warm", local=LOOPBACK).close()
    before = open_files()
    for _ in range(50):
        channel = shmring_pool.open("ctl", shmring.Udp(tx=16), local=LOOPBACK)
        channel.send(b"x", to=channel.local)
        assert channel.recv(timeout=20).data == b"x"
        channel.close()
    gc.collect()
    assert open_files() == before


@pytest.mark.check
def test_pools_leak_no_descriptors(
    shmring_namespace: str, open_files: Callable[[], int], leftovers: Callable[[], list[str]]
) -> None:
    def use() -> None:
        with shmring.Pool(policy="other", namespace=shmring_namespace) as pool:
            pool.open("ctl", local=LOOPBACK)

    use()
    before = open_files()
    for _ in range(5):
        use()
    gc.collect()
    assert open_files() == before
    assert leftovers() == []


LIMITED = """
import resource, shmring
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
with shmring.Pool(policy='other') as pool:
    opened = 0
    try:
        for opened in range({count}):
            pool.open(
                f'c{{opened}}',
                shmring.Udp(tx=shmring.Queue(8, 64)),
                local=('127.0.0.1', 0),
            )
        print('all')
    except shmring.errors.NoSpace as error:
        print(opened, error)
"""


def test_too_few_open_files_is_an_error_that_names_the_limit(
    python: Any, leftovers: Callable[[], list[str]]
) -> None:
    other = python(LIMITED.format(soft=128, hard=128, count=200))
    line = other.line()
    assert "limit of 128 open files" in line
    assert "ulimit -n" in line
    assert int(line.split()[0]) > 10
    assert other.wait() == 0
    assert leftovers() == []


@pytest.mark.shm_mb(100)
@pytest.mark.needs("files")
def test_the_soft_limit_is_raised_when_it_is_in_the_way(python: Any) -> None:
    other = python(LIMITED.format(soft=128, hard=1024, count=200))
    assert other.line() == "all"
    assert other.wait() == 0


def test_a_supervisor_that_sees_the_end_before_it_is_woken_for_it(
    shmring_namespace: str, leftovers: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = shmring.Pool(policy="other")
    pool.open("ctl", local=LOOPBACK)
    wake = os.eventfd_write

    def slowly(fd: int, value: int) -> None:
        wake(fd, value)
        time.sleep(0.2)  # long enough for the thread to end, were it not made to wait
        wake(fd, value)

    with monkeypatch.context() as patch:
        patch.setattr(os, "eventfd_write", slowly)
        pool.close()
    assert leftovers() == []


# --- scheduling -----------------------------------------------------------------------------------


def test_workers_say_what_is_in_force(shmring_pool: shmring.Pool) -> None:
    assert shmring_pool.workers() == []
    shmring_pool.open("ctl", local=LOOPBACK)
    (worker,) = shmring_pool.workers()
    assert (worker.slot, worker.cpu_wanted, worker.cpu) == (0, None, None)
    assert (worker.policy, worker.priority, worker.state) == ("other", 0, "running")
    assert (worker.channels, worker.restarts, worker.error) == (1, 0, "")
    assert worker.heartbeat_age_ns < 20 * 10**9
    assert 0 <= worker.cpu_share <= 1
    assert os.path.exists(f"/proc/{worker.pid}")


@pytest.mark.needs("cores")
def test_channels_are_spread_over_the_cores(shmring_namespace: str) -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    with shmring.Pool(cpus=cores, policy="other", namespace=shmring_namespace) as pool:
        for index in range(4):
            pool.open(f"c{index}", local=LOOPBACK)
        pool.open("fifth", local=LOOPBACK, cpu=cores[1])
        assert [(w.cpu, w.channels) for w in pool.workers()] == [(cores[0], 2), (cores[1], 3)]


def test_a_core_that_does_not_exist_is_a_warning_that_names_the_fix(shmring_namespace: str) -> None:
    with shmring.Pool(cpus=[4000], policy="other", namespace=shmring_namespace) as pool:
        with pytest.warns(RealtimeWarning, match="core 4000") as caught:
            pool.open("ctl", local=LOOPBACK)
        assert "Pool(cpus=...)" in vars(caught[0].message)["details"]
        assert [(w.cpu_wanted, w.cpu) for w in pool.workers()] == [(4000, None)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # once a worker
            pool.open("second", local=LOOPBACK)
        with pytest.raises(shmring.errors.NoPermission, match="core 4000"):
            pool.open("third", local=LOOPBACK, strict=True)


@pytest.mark.needs("fifo")
def test_a_worker_that_would_spin_on_the_last_core_is_a_warning(
    shmring_namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = max(affinity.allowed_cores())
    monkeypatch.setattr(affinity, "allowed_cores", lambda: frozenset({core}))
    with shmring.Pool(cpus=[core], policy="fifo", namespace=shmring_namespace) as pool:
        pool.open("usual", local=LOOPBACK)
        with pytest.warns(RealtimeWarning, match="no core without a worker that spins"):
            pool.open("ctl", local=LOOPBACK, profile="latency")
        assert pool.name in [worker.pool for worker in page.spinning()]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it spins already
            pool.open("another", local=LOOPBACK, profile="latency")


def test_strict_makes_it_an_error(
    shmring_namespace: str, leftovers: Callable[[], list[str]]
) -> None:
    with shmring.Pool(cpus=[4000], policy="other", strict=True) as pool:
        with pytest.raises(shmring.errors.BadConfig, match="core 4000"):
            pool.open("ctl", local=LOOPBACK)
        assert pool.workers() == []
    assert leftovers() == []


@pytest.mark.usefixtures("shmring_namespace")
def test_the_environment_names_the_class_of_pools_that_are_not_told_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHMRING_POLICY", "other")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with shmring.Pool() as pool:
            pool.open("ctl", local=LOOPBACK)
            assert pool.workers()[0].policy == "other"
    monkeypatch.setenv("SHMRING_POLICY", "rr")
    with pytest.raises(shmring.errors.BadConfig, match="SHMRING_POLICY is 'rr': use one of 'fifo'"):
        shmring.Pool()
    shmring.Pool(policy="other").close()


@pytest.mark.needs("fifo")
@pytest.mark.usefixtures("shmring_namespace")
def test_a_pool_asks_for_real_time_priority_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SHMRING_POLICY")
    with shmring.Pool() as pool:
        pool.open("ctl", local=LOOPBACK)
        assert pool.workers()[0].policy == "fifo"


@pytest.mark.needs("unprivileged")
def test_no_permission_for_sched_fifo_is_a_warning(python: Any, other_runtime: Any) -> None:
    os.chown(other_runtime, 65534, 65534)
    script = (
        "import os, resource, warnings, shmring\n"
        "from shmring import *\n"  # what the other user may not read
        "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "pool = shmring.Pool(policy='fifo')\n"
        "with warnings.catch_warnings(record=True) as caught, pool:\n"
        "    warnings.simplefilter('always')\n"
        "    ch = pool.open('ctl', local=('127.0.0.1', 0))\n"
        "    ch.send(b'x', to=ch.local); assert ch.recv(timeout=20).data == b'x'\n"
        "    told = caught[0].message\n"
        "    print(pool.workers()[0].policy, type(told).__name__, told.details)\n"
    )
    # A copy: where shmring is installed may be out of that user's reach.
    binary = shutil.copy(worker_binary(), other_runtime)
    changes = {"SHMRING_RUNTIME_DIR": str(other_runtime), "SHMRING_WORKER": binary}
    other = python(script, env=os.environ | changes)
    line = other.line()
    assert line.startswith("other RealtimeWarning")
    assert "setcap" in line
    assert "ulimit -l" in line
    assert other.wait() == 0


@pytest.mark.check
@pytest.mark.needs("unprivileged")
def test_members_of_a_group_may_use_the_pool(python: Any, other_runtime: Any) -> None:
    script = (
        "import os, sys, shmring\n"
        "with shmring.Pool(policy='other', group=65534) as pool:\n"
        "    ch = pool.open('ctl', local=('127.0.0.1', 0))\n"
        "    print('open', flush=True)\n"
        "    print(ch.recv(timeout=20).data, flush=True)\n"
    )
    member = (
        "import os, shmring\n"
        "from shmring import *\n"
        "os.setgroups([]); os.setgid({gid}); os.setuid(65534)\n"
        "try:\n"
        "    ch = shmring.attach('ctl')\n"
        "    ch.send(b'from a member', to=ch.local)\n"
        "    print('sent', flush=True)\n"
        "except PermissionError as error:\n"
        "    print(type(error).__name__, flush=True)\n"
    )
    env = os.environ | {"SHMRING_RUNTIME_DIR": str(other_runtime / "base")}
    owner = python(script, env=env)
    assert owner.line() == "open"
    assert python(member.format(gid=65533), env=env).line() == "NoPermission"
    assert python(member.format(gid=65534), env=env).line() == "sent"
    assert owner.line() == "b'from a member'"
    assert owner.wait() == 0


# --- the default pool -----------------------------------------------------------------------------


def test_the_default_pool_ends_with_its_process(
    python: Any, leftovers: Callable[[], list[str]]
) -> None:
    other = python(
        "import shmring\n"
        "ch = shmring.open('ctl', local=('127.0.0.1', 0))\n"
        "ch.send(b'x', to=ch.local)\n"
        "print(ch.recv(timeout=20).data, shmring.default_pool().workers()[0].pid, flush=True)\n"
        "input()"
    )
    data, pid = other.line().rsplit(" ", 1)
    assert data == "b'x'"
    assert leftovers() != []
    other.tell()
    assert other.wait() == 0
    assert leftovers() == []
    assert not os.path.exists(f"/proc/{pid}")


def test_a_forgotten_pool_ends_by_itself(
    shmring_namespace: str, leftovers: Callable[[], list[str]]
) -> None:
    shmring.Pool(policy="other").open("ctl", local=LOOPBACK)
    gc.collect()
    assert leftovers() == []


def test_a_channel_keeps_its_pool(shmring_namespace: str) -> None:
    channel = shmring.Pool(policy="other").open("ctl", local=LOOPBACK)
    gc.collect()
    channel.send(b"x", to=channel.local)
    assert channel.recv(timeout=20).data == b"x"
    channel.close()


def test_a_closed_pool_says_so(shmring_namespace: str) -> None:
    pool = shmring.Pool(policy="other")
    channel = pool.open("ctl", local=LOOPBACK)
    pool.close()
    pool.close()
    assert pool.closed
    assert "closed" in repr(pool)
    with pytest.raises(shmring.ChannelClosed):
        channel.recv(timeout=20)
    with pytest.raises(shmring.ChannelClosed, match="make another"):
        pool.open("ctl2", local=LOOPBACK)
    channel.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own(
    shmring_pool: shmring.Pool, shmring_namespace: str
) -> None:
    channel = shmring_pool.open("ctl", local=LOOPBACK)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            assert shmring_pool.closed
            with pytest.raises(shmring.ChannelClosed, match="forked"):
                shmring_pool.open("no", local=LOOPBACK)
            shmring_pool.close()
            with shmring.Pool(policy="other") as own:
                mine = own.open("child", local=LOOPBACK)
                mine.send(b"x", to=mine.local)
                assert mine.recv(timeout=20).data == b"x"
                assert own.name != shmring_pool.name
            os.write(write_end, b"ok")
        except BaseException as error:
            os.write(write_end, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as result:
        assert result.read() == b"ok"
    os.waitpid(pid, 0)
    channel.send(b"still here", to=channel.local)
    assert channel.recv(timeout=20).data == b"still here"


@pytest.mark.check
def test_threads_open_and_close_at_once_while_workers_die(
    shmring_pool: shmring.Pool, open_files: Callable[[], int], eventually: Any
) -> None:
    def answered(channel: shmring.Channel) -> bool:
        for _ in range(10):  # what a worker was sending when it died may be lost
            channel.send(b"x", to=channel.local)
            with contextlib.suppress(shmring.ReceiveTimeout):
                return bool(channel.recv(timeout=2).data == b"x")
        return False

    def open_and_use(number: int) -> int:
        used = 0
        for index in range(10):
            with shmring_pool.open(
                f"t{number}-{index}", shmring.Udp(tx=16), local=LOOPBACK
            ) as channel:
                used += answered(channel)
        return used

    shmring_pool.open("warm", local=LOOPBACK).close()
    before = open_files()
    with ThreadPoolExecutor(4) as threads:
        results = [threads.submit(open_and_use, number) for number in range(4)]
        for _ in range(2):  # after a third so soon it would not be there for a while
            time.sleep(0.03)
            (worker,) = shmring_pool.workers()
            if worker.pid:
                os.kill(worker.pid, signal.SIGKILL)
        assert [result.result(60) for result in results] == [10] * 4
    eventually(lambda: shmring_pool.workers()[0].state == "running")
    assert shmring_pool.channels() == []
    eventually(lambda: open_files() == before)
