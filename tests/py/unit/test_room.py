"""Sizes that commands choose, and errors that name the largest size that fits."""

from __future__ import annotations

import re
from typing import Any

import pytest

import shmring
from shmring import room
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
    options: dict[str, Any] = {"local": ("127.0.0.1", 0), "capacity": 77, "packet_bytes": 100}
    with shmring_pool.open("ctl", **options) as channel:
        assert channel.stats().segment_bytes == room.channel_bytes(**options)
    engine = shmring.Cyclic(period_ns=10**6)
    remote = ("127.0.0.1", 9)
    with shmring_pool.open("grid", remote=remote, engine=engine) as channel:
        assert channel.stats().segment_bytes == room.channel_bytes(engine=engine, remote=remote)


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, "capacity"),
        ({"capacity": 1 << 16, "packet_bytes": 1500}, "capacity"),
        ({"engine": shmring.Rtp(), "remote": ("127.0.0.1", 9)}, "capacity"),
        ({"capacity": 16, "rx_capacity": 1 << 20, "packet_bytes": 8}, "rx_capacity"),
        (
            {"capacity": 1 << 20, "rx_capacity": 1 << 20, "packet_bytes": 8},
            "capacity and rx_capacity",
        ),
    ],
)
def test_an_error_names_the_largest_size_that_fits(
    options: dict[str, Any], sizes: str, shmring_pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"local": ("127.0.0.1", 0), "report_capacity": 64, **options}
    monkeypatch.setattr(room, "free_bytes", lambda: FREE_BYTES)
    with pytest.raises(shmring.NoSpace, match="shared memory and /dev/shm has 400000 free") as full:
        shmring_pool.open("ctl", **options)
    named = re.search(r"open it with (.*), the most that fits", str(full.value))
    assert named
    found = {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", named[1])}
    assert " and ".join(found) == sizes
    more = {name: n + 1 for name, n in found.items()}
    assert room.channel_bytes(**options | found) <= FREE_BYTES
    assert room.channel_bytes(**options | more) > FREE_BYTES
    shmring_pool.open("ctl", **options | found).end()


def test_nothing_is_named_if_nothing_fits(
    shmring_pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda: 4096)
    with pytest.raises(shmring.NoSpace, match="/dev/shm has 4096 free: close channels, or mount"):
        shmring_pool.open("ctl", local=("127.0.0.1", 0))


def test_a_udt_connection_is_made_smaller_by_its_rings() -> None:
    settings = Settings.of({})
    options, config = connection_channel(settings, "port", ("127.0.0.1", 9), None)
    (size,) = re.fullmatch(r"ring_bytes=(\d+)", room.what_fits(options, config, 1 << 20)).groups()
    assert 256 * 1024 < int(size) < 512 * 1024
    smaller = Settings.of({"ring_bytes": int(size)})
    options, config = connection_channel(smaller, "port", ("127.0.0.1", 9), None)
    assert room.what_fits(options, config, 1 << 20) == f"ring_bytes={size}"
