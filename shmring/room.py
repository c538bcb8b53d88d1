"""What fits into the shared memory that is free.

Commands choose the sizes that they were not given with `fitting`, so that several of them fit
beside each other. Defaults of `open` are constants: where one does not fit, the error names what
`what_fits` returns.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Unpack

from rtworkers import paths
from shmring import _options
from shmring._ring import lib
from shmring.engine import Engine, EngineConfig, OpenOptions, start_of
from shmring.observe.engines import ENGINES, repeats

SHARE = 5
"""`fitting` takes at most one part in this many of what is free."""

_UDT_RECORD_BYTES = 1024
_NOT_SIZES = ("socket", "groups", "group")


@dataclass(frozen=True, slots=True)
class Room:
    """How much of something fits, and the shared memory that it takes."""

    count: int
    wanted: int
    shm_bytes: int
    free_bytes: int
    """Shared memory that was free before."""

    def to_dict(self) -> dict[str, int]:
        """Return everything as values that `json` accepts."""
        return dataclasses.asdict(self)


def free_bytes() -> int:
    """Return how much shared memory is free on this host."""
    shm = os.statvfs(paths.SHM_DIRECTORY)
    return shm.f_bavail * shm.f_frsize


def total_bytes() -> int:
    """Return how much shared memory this host has, free or not."""
    shm = os.statvfs(paths.SHM_DIRECTORY)
    return shm.f_blocks * shm.f_frsize


def channel_bytes(engine: Engine[Any], **options: Unpack[OpenOptions]) -> int:
    """Return the shared memory that a channel takes which is opened with these options. Raises as
    `open`."""
    start = start_of(engine, options)
    return _segment_bytes(start.options, start.config)


def fitting(wanted: int, bytes_of: Callable[[int], int], *, least: int = 1) -> Room:
    """Return how much of what is wanted takes at most its `SHARE` of the free shared memory.

    bytes_of: how much shared memory so many take. least: fewer are of no use, even if they do
        not fit.
    """
    free = free_bytes()
    count = max(least, largest(wanted, bytes_of, free // SHARE))
    return Room(count, wanted, bytes_of(count), free)


def largest(wanted: int, bytes_of: Callable[[int], int], limit: int) -> int:
    """Return the largest number up to `wanted` that takes at most `limit` bytes. 0: not even 1."""
    if bytes_of(wanted) <= limit:
        return wanted
    low, high = 0, wanted
    while high - low > 1:
        middle = (low + high) // 2
        if bytes_of(middle) <= limit:
            low = middle
        else:
            high = middle
    return low


def what_fits(options: Mapping[str, Any], config: EngineConfig | None, free: int) -> str:
    """Return the largest size with which a channel would fit, as it is given: ``tx=512``.
    Empty: there is none."""
    for way in _ways(options, "" if config is None else config.name):

        def bytes_of(count: int, way: _Way = way) -> int:
            return _segment_bytes({**options, **way.changed(count)}, config)

        count = largest(way.most, bytes_of, free)
        if count:
            return way.text(count)
    return ""


class _Way(NamedTuple):
    """How a channel can be made smaller."""

    text: Callable[[int], str]
    """Returns the words of a size."""
    most: int
    changed: Callable[[int], dict[str, Any]]
    """Returns the options of a size."""


def _ways(options: Mapping[str, Any], engine: str) -> Iterator[_Way]:
    if engine == "udt":
        yield _Way(_udt_text, options["capacity"], _udt_options)
        return
    if engine in ENGINES and not ENGINES[engine].sized:
        return
    capacity = options.get("capacity") or _options.CAPACITY
    rx_capacity = options.get("rx_capacity") or capacity
    sizes = _packet_bytes(options, engine)
    yield _way(capacity, sizes, "tx")
    yield _way(rx_capacity, sizes, "rx")
    yield _way(min(capacity, rx_capacity), sizes, "tx", "rx")


def _packet_bytes(options: Mapping[str, Any], engine: str) -> dict[str, int]:
    """Return the expected payloads of the queues that have one, as a `Queue` takes them."""
    if repeats(engine):
        return {}
    heads = {"tx": 0, "rx": 0}
    if engine == "rtp":
        from shmring.rtp.options import RX_HEAD_BYTES, TX_HEAD_BYTES

        heads = {"tx": TX_HEAD_BYTES, "rx": RX_HEAD_BYTES}
    sizes = {"tx": options.get("packet_bytes"), "rx": options.get("rx_packet_bytes")}
    return {queue: size - heads[queue] for queue, size in sizes.items() if size is not None}


def _way(most: int, packet_bytes: Mapping[str, int], *queues: str) -> _Way:
    def text(count: int) -> str:
        counts = {queue: f"Queue({count}, {size})" for queue, size in packet_bytes.items()}
        return " and ".join(f"{queue}={counts.get(queue, count)}" for queue in queues)

    def changed(count: int) -> dict[str, Any]:
        return {"capacity" if queue == "tx" else "rx_capacity": count for queue in queues}

    return _Way(text, most, changed)


def _udt_text(records: int) -> str:
    return f"ring_bytes={records * _UDT_RECORD_BYTES}"


def _udt_options(records: int) -> dict[str, Any]:
    longest = records * _UDT_RECORD_BYTES // 4
    return {"capacity": records, "max_payload": min(longest, lib.SHM_MAX_RECORD)}


def _segment_bytes(options: Mapping[str, Any], config: EngineConfig | None) -> int:
    sizes = {name: value for name, value in options.items() if name not in _NOT_SIZES}
    prepared = _options.prepare("room", "default", "room", "balanced", sizes, config)
    return prepared.segment_bytes


__all__ = ["Room", "channel_bytes", "fitting", "free_bytes", "largest"]
