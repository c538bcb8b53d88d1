"""Sizes that commands choose, and errors that name the largest size that fits."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

import shmring
from shmring import room
from shmring.errors import NoSpace
from shmring.udt.options import Settings, connection_channel

FREE_BYTES = 400_000


def linear(count: int) -> int:
    return 1000 + 10 * count


@pytest.mark.parametrize(
    ("free", "wanted", "least", "count"),
    [
        (10**9, 500, 1, 500),
        (5 * 3000, 500, 1, 200),
        (5 * 3000, 200, 1, 200),
        (5 * 3000, 201, 1, 200),
        (0, 500, 1, 1),
        (5 * 1100, 500, 64, 64),
    ],
)
def test_a_share_of_what_is_free_is_taken(
    free: int, wanted: int, least: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda: free)
    found = room.fitting(wanted, linear, least=least)
    assert found == room.Room(count, wanted, linear(count), free)


def test_the_bytes_of_a_channel_are_those_that_it_takes(shmring_pool: Any) -> None:
    plain, local = shmring.Udp(tx=shmring.Queue(77, 100)), ("127.0.0.1", 0)
    with shmring_pool.open("ctl", plain, local=local) as channel:
        assert channel.stats().segment_bytes == room.channel_bytes(plain, local=local)
    engine = shmring.Cyclic(period_ns=10**6)
    remote = ("127.0.0.1", 9)
    with shmring_pool.open("grid", engine, remote=remote) as channel:
        assert channel.stats().segment_bytes == room.channel_bytes(engine, remote=remote)


@pytest.mark.parametrize(
    ("engine", "sizes"),
    [
        (shmring.Udp(), "tx"),
        (shmring.Udp(tx=shmring.Queue(1 << 16, 1500)), "tx"),
        (shmring.Rtp(), "tx"),
        (shmring.Rtp(tx=shmring.Queue(1 << 14, 100)), "tx"),
        (shmring.Udp(tx=shmring.Queue(16, 8), rx=1 << 20), "rx"),
        (shmring.Udp(tx=shmring.Queue(1 << 20, 8), rx=1 << 20), "tx and rx"),
    ],
)
def test_an_error_names_the_largest_size_that_fits(
    engine: Any, sizes: str, shmring_pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = dataclasses.replace(engine, report_capacity=64)
    options: dict[str, Any] = {"local": ("127.0.0.1", 0), "remote": ("127.0.0.1", 9)}
    monkeypatch.setattr(room, "free_bytes", lambda: FREE_BYTES)
    with pytest.raises(NoSpace, match="shared memory and /dev/shm has 400000 free") as full:
        shmring_pool.open("ctl", engine, **options)
    named = re.search(r"open it with (.*), the most that fits", str(full.value))
    assert named
    found = eval(f"dict({named[1].replace(' and ', ', ')})", {"Queue": shmring.Queue})
    assert " and ".join(found) == sizes

    def with_room(more: int) -> Any:
        return dataclasses.replace(engine, **{name: _more(n, more) for name, n in found.items()})

    assert room.channel_bytes(with_room(0), **options) <= FREE_BYTES
    assert room.channel_bytes(with_room(1), **options) > FREE_BYTES
    shmring_pool.open("ctl", with_room(0), **options).close()


def _more(queue: Any, more: int) -> Any:
    is_queue = isinstance(queue, shmring.Queue)
    return shmring.Queue(queue.packets + more, queue.packet_bytes) if is_queue else queue + more


def test_nothing_is_named_if_nothing_fits(
    shmring_pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda: 4096)
    with pytest.raises(NoSpace, match="/dev/shm has 4096 free: close channels, or mount"):
        shmring_pool.open("ctl", local=("127.0.0.1", 0))


def test_a_udt_connection_is_made_smaller_by_its_rings() -> None:
    settings = Settings.of({})
    options, config = connection_channel(settings, "port", ("127.0.0.1", 9), None)
    (size,) = re.fullmatch(r"ring_bytes=(\d+)", room.what_fits(options, config, 1 << 20)).groups()
    assert 256 * 1024 < int(size) < 512 * 1024
    smaller = Settings.of({"ring_bytes": int(size)})
    options, config = connection_channel(smaller, "port", ("127.0.0.1", 9), None)
    assert room.what_fits(options, config, 1 << 20) == f"ring_bytes={size}"
