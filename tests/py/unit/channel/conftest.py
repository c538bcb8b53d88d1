"""Channels for these tests, all served by real workers."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.engines import spelled

import shmring

Opener = Callable[..., shmring.Channel]


@pytest.fixture
def loop(shmring_pool: shmring.Pool) -> Iterator[Opener]:
    """Opens a channel on loopback that sends to itself."""
    yield lambda name="loop", **options: _open_loop(shmring_pool, name, options)
    gc.collect()  # what a failed test still refers to must not hang on to the segment


@pytest.fixture
def settle() -> Callable[[shmring.Channel], None]:
    """A round trip through the worker of a running channel: what it did so far is counted."""
    return lambda channel: channel.release()


def _open_loop(pool: shmring.Pool, name: str, options: dict[str, object]) -> shmring.Channel:
    given: dict[str, Any] = {"local": ("127.0.0.1", 0)} | options
    channel: shmring.Channel = pool.open(name, **spelled(shmring.Udp, given))
    local = channel.local
    assert local is not None
    channel.home = local  # type: ignore[attr-defined]
    return channel
