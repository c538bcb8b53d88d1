"""Fixtures for tests of programs that use shmring.

Every test gets a namespace of its own, so that tests neither see nor disturb each other or what
else runs on the machine, and fails if it leaves something behind in shared memory.

    def test_echo(shmring_channel):
        here, there = shmring_channel()
        here.send(b"ping")
        assert there.recv(timeout=5).data == b"ping"

ini options: ``shmring_cpus`` (cores to pin workers to, such as ``1`` or ``2 3``; empty, the
default: no pinning), ``shmring_policy`` (``fifo`` or ``other``, the default).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from shmring.channel import Channel
    from shmring.pool import Pool

# Nothing of shmring is imported before a fixture is used: the plugin is loaded by every pytest run
# of the environment.

ChannelFactory = Callable[..., "tuple[Channel, Channel]"]

LOOPBACK = "127.0.0.1"

_numbers = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("shmring_cpus", "cores that workers of shmring_pool are pinned to", "args", [])
    parser.addini("shmring_policy", "scheduling class of these workers", default="other")


@pytest.fixture
def shmring_namespace(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A namespace that nobody else uses; ``SHMRING_NAMESPACE`` is set to it during the test.

    At its end the default pool of the namespace is closed, and the test fails if anything of the
    namespace is left in /dev/shm. What is left is removed as far as nobody owns it any more.
    """
    from rtworkers import paths
    from shmring.pool import close_default_pool
    from shmring.registry import gc

    namespace = f"test-{os.getpid()}-{next(_numbers)}"
    monkeypatch.setenv("SHMRING_NAMESPACE", namespace)
    yield namespace
    close_default_pool(namespace)
    left = [name.posix_name for name in paths.shm_names(namespace)]
    gc(namespace=namespace)
    if left:
        pytest.fail(f"left behind in /dev/shm: {', '.join(left)}", pytrace=False)


@pytest.fixture
def shmring_pool(shmring_namespace: str, pytestconfig: pytest.Config) -> Iterator[Pool]:
    """A private pool in `shmring_namespace`, closed at the end of the test."""
    from shmring.pool import Pool

    cpus = [int(core) for core in pytestconfig.getini("shmring_cpus")]
    policy = pytestconfig.getini("shmring_policy")
    with Pool(cpus=cpus or None, policy=policy, namespace=shmring_namespace) as pool:
        yield pool


@pytest.fixture
def shmring_channel(shmring_pool: Pool) -> ChannelFactory:
    """A factory of pairs of channels on loopback, each other's remote, on `shmring_pool`.

    Options go to both, those of the dictionaries `here` and `there` to one of them. `name` is the
    first one's name, the second's is the same with ``-peer``; without it names are made up.
    """

    def make(
        name: str | None = None,
        *,
        here: dict[str, Any] | None = None,
        there: dict[str, Any] | None = None,
        **options: Any,
    ) -> tuple[Channel, Channel]:
        name = name or f"pair-{next(_numbers)}"
        sockets = [_bound_socket(options.get("local", (LOOPBACK, 0))) for _ in range(2)]
        options.pop("local", None)
        try:
            ports = [sock.getsockname()[:2] for sock in sockets]
            first = shmring_pool.open(
                name, socket=sockets[0], remote=ports[1], **(options | (here or {}))
            )
            second = shmring_pool.open(
                f"{name}-peer", socket=sockets[1], remote=ports[0], **(options | (there or {}))
            )
        finally:
            for sock in sockets:
                sock.close()
        return first, second

    return make


def _bound_socket(local: tuple[str, int]) -> Any:
    import socket

    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(local)
    return sock
