"""Fixtures for tests of programs that use shmring.

Every test gets its own namespace, so that tests do not see or disturb each other or other programs
on the machine. A test fails if it leaves something in shared memory.

    def test_echo(shmring_open):
        here, there = shmring_open()
        here.send(b"ping")
        assert there.recv(timeout=5).data == b"ping"

ini options: ``shmring_cpus`` (cores to pin workers to, such as ``1`` or ``2 3``, by default empty:
no pinning), ``shmring_policy`` (``fifo`` or ``other``, the default; also for pools that the code
under test makes without naming a class).
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, Unpack

import pytest

if TYPE_CHECKING:
    from rtworkers.paths import ShmName
    from shmring._opening import Udp
    from shmring.channel import Channel
    from shmring.engine import OpenOptions
    from shmring.net.capture import ReplayReport
    from shmring.pool import Pool
    from shmring.rtp.channel import Channel as RtpChannel
    from shmring.testing.netns import NetHost
    from shmring.testing.plc import Partner, SimulatedPlc
    from shmring.types import Impairment

    class EndOptions(OpenOptions, total=False):
        """Options of one of the two channels of `shmring_open`."""

        engine: Udp


P = TypeVar("P", bound="Partner")

# shmring is imported only when a fixture is used: every run of pytest loads the plugin
# of the environment.


class ChannelFactory(Protocol):
    """What the fixture `shmring_open` returns."""

    def __call__(
        self,
        name: str | None = None,
        engine: Udp | None = None,
        *,
        here: EndOptions | None = None,
        there: EndOptions | None = None,
        **options: Unpack[OpenOptions],
    ) -> tuple[Channel, Channel]: ...


class Replay(Protocol):
    """What the fixture `shmring_replay` returns."""

    def __call__(self, path: Any, **options: Any) -> ReplayReport: ...


class PlcFactory(Protocol):
    """What the fixture `plc_sim` returns."""

    def __call__(
        self,
        partner: P,
        *,
        local: tuple[str, int] = ...,
        to_plc: Impairment | None = None,
        from_plc: Impairment | None = None,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        delay_ns: int = 0,
        jitter_ns: int = 0,
        restart_every_ns: int = 0,
        restart_off_ns: int = 500_000_000,
        seed: int = 0,
    ) -> SimulatedPlc[P]: ...


LOOPBACK = "127.0.0.1"

_numbers = itertools.count()
_LEAVING_S = 20.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("shmring_cpus", "cores that workers of shmring_pool are pinned to", "args", [])
    parser.addini("shmring_policy", "scheduling class of workers", default="other")


@pytest.fixture
def shmring_namespace(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> Iterator[str]:
    """A unique namespace. ``SHMRING_NAMESPACE`` is set to it during the test, and
    ``SHMRING_POLICY`` to the ini option ``shmring_policy``.

    At the end, the default pool of the namespace is closed, and the test fails if something of the
    namespace is left in /dev/shm. Private workers of a process that the test has killed have 20 s
    to end. Leftovers that no process owns are removed.
    """
    from rtworkers import paths
    from shmring.pool import close_default_pool
    from shmring.registry import gc

    namespace = f"test-{os.getpid()}-{next(_numbers)}"
    monkeypatch.setenv("SHMRING_NAMESPACE", namespace)
    monkeypatch.setenv("SHMRING_POLICY", pytestconfig.getini("shmring_policy"))
    yield namespace
    close_default_pool(namespace, linger=0)
    give_up = time.monotonic() + _LEAVING_S
    while _has_workers_of_others(paths.shm_names(namespace)) and time.monotonic() < give_up:
        time.sleep(0.002)
    left = [name.posix_name for name in paths.shm_names(namespace)]
    gc(namespace=namespace)
    if left:
        pytest.fail(f"left behind in /dev/shm: {', '.join(left)}", pytrace=False)


def _has_workers_of_others(names: Iterable[ShmName]) -> bool:
    """Return whether a worker of another process's private pool is among them."""
    pools = [name.pool for name in names if name.pool is not None]
    own = f"private-{os.getpid()}-"
    return any(pool.startswith("private-") and not pool.startswith(own) for pool in pools)


@pytest.fixture
def shmring_pool(shmring_namespace: str, pytestconfig: pytest.Config) -> Iterator[Pool]:
    """A private pool in `shmring_namespace`, closed at the end of the test."""
    from shmring.pool import Pool

    cpus = [int(core) for core in pytestconfig.getini("shmring_cpus")]
    policy = pytestconfig.getini("shmring_policy")
    pool = Pool(cpus=cpus or None, policy=policy, namespace=shmring_namespace)
    yield pool
    pool.close(linger=0)


@pytest.fixture
def shmring_open(shmring_pool: Pool) -> ChannelFactory:
    """A factory of pairs of channels on loopback, each with the other as its remote, on
    `shmring_pool`.

    `engine` and options apply to both channels, those in the dictionaries `here` and `there` to
    one of them.
    `name` names the first one, and the second gets the same name with ``-peer``. Without it, names
    are generated.
    """
    from dataclasses import replace

    from shmring._opening import Udp

    def make(
        name: str | None = None,
        engine: Udp | None = None,
        *,
        here: EndOptions | None = None,
        there: EndOptions | None = None,
        **options: Unpack[OpenOptions],
    ) -> tuple[Channel, Channel]:
        name = name or f"pair-{next(_numbers)}"
        local = options.pop("local", None) or (LOOPBACK, 0)
        both: EndOptions = {"engine": engine or Udp(), **options}

        def end(name: str, sock: Any, remote: Any, own: EndOptions | None) -> Channel:
            given: EndOptions = {"remote": remote, **both, **(own or {})}
            sockets_own = replace(given["engine"].socket, existing=sock)
            given["engine"] = replace(given["engine"], socket=sockets_own)
            return shmring_pool.open(name, **given)

        sockets = [_bound_socket(local) for _ in range(2)]
        try:
            first, second = (sock.getsockname()[:2] for sock in sockets)
            return (
                end(name, sockets[0], second, here),
                end(f"{name}-peer", sockets[1], first, there),
            )
        finally:
            for sock in sockets:
                sock.close()

    return make


@pytest.fixture
def shmring_replay(shmring_pool: Pool) -> Replay:
    """`shmring.net.replay` on `shmring_pool`: it sends a capture and returns the report.

    ``report = shmring_replay("line.pcapng", to=there.local, scale=0.1)``
    """

    def play(path: Any, **options: Any) -> ReplayReport:
        from shmring.net.capture import replay

        return replay(path, pool=shmring_pool, **options)

    return play


def assert_lateness(
    channel: Channel | RtpChannel,
    *,
    p99_ns: int,
    relative_to: Literal["host"] | None = "host",
) -> None:
    """Fail if the 99th percentile of a channel's lateness is too high.

    channel: any end of it. All packets with a deadline count that were sent since it was opened,
        or since `reset_stats`.
    p99_ns: what is allowed, ns.
    relative_to: "host": `p99_ns` is allowed in addition to this host's floor, the 99th percentile
        of how late a sleeping process of the worker's scheduling class wakes up on its core.
        None: in addition to nothing.

    The floor is measured for half a second when it is first needed, and kept for the session. It is
    measured again before the assertion fails, because the machine may have become busier.
    """
    __tracebackhide__ = True
    from shmring.testing.lateness import check_lateness

    check_lateness(channel, p99_ns, relative_to)


@pytest.fixture
def shmring_netns(
    shmring_namespace: str, pytestconfig: pytest.Config
) -> Iterator[tuple[NetHost, NetHost]]:
    """Two network namespaces joined by a veth pair, each with a pool whose workers run in it.

    ``left, right = shmring_netns``; ``left.open(name, ...)`` opens a channel there, `address` is
    its IPv4 address, and ``left.run("tc", ...)`` runs a program there. The test is skipped without
    the privileges for it (root) or without ``ip``. Nothing remains when the test process is killed.
    """
    from shmring.testing.netns import two_hosts, unavailable

    reason = unavailable()
    if reason:
        pytest.skip(f"no network namespaces: {reason}")
    cpus = [int(core) for core in pytestconfig.getini("shmring_cpus")]
    with two_hosts(pytestconfig.getini("shmring_policy"), cpus) as hosts:
        yield hosts


@pytest.fixture
def plc_sim() -> Iterator[PlcFactory]:
    """A factory of simulated Netflux partners, each on its own socket on loopback.

    The first argument is the partner, such as ``shmring.testing.plc.Siemens()``. `local`
    is its address. `loss`, `duplicate`, `reorder` (shares), `delay_ns` and `jitter_ns` describe the
    network in each direction. `to_plc` and `from_plc` give one direction its own `Impairment`.
    `restart_every_ns`, `restart_off_ns`: power cycles. `seed`: the seed of these random choices.

    At the end of the test the partners are stopped. If their programs raised an exception, the test
    fails.
    """
    from contextlib import ExitStack

    from shmring.testing.plc import SimulatedPlc

    with ExitStack() as stack:

        def make(
            partner: P,
            *,
            local: tuple[str, int] = (LOOPBACK, 0),
            to_plc: Impairment | None = None,
            from_plc: Impairment | None = None,
            loss: float = 0.0,
            duplicate: float = 0.0,
            reorder: float = 0.0,
            delay_ns: int = 0,
            jitter_ns: int = 0,
            restart_every_ns: int = 0,
            restart_off_ns: int = 500_000_000,
            seed: int = 0,
        ) -> SimulatedPlc[P]:
            from shmring.types import Impairment

            ways = [
                Impairment(
                    loss=loss,
                    duplicate=duplicate,
                    reorder=reorder,
                    delay_ns=delay_ns,
                    jitter_ns=jitter_ns,
                    seed=2 * seed + way,
                )
                for way in range(2)
            ]
            plc = SimulatedPlc(
                partner,
                local=local,
                to_plc=to_plc or ways[0],
                from_plc=from_plc or ways[1],
                restart_every_ns=restart_every_ns,
                restart_off_ns=restart_off_ns,
                seed=seed,
            )
            return stack.enter_context(plc)

        yield make


def _bound_socket(local: tuple[str, int]) -> Any:
    import socket

    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(local)
    return sock
