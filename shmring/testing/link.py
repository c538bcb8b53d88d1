"""One direction of a network, without sockets and clock: the impaired path of the channels."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, TypeAlias

from shmring._check import check
from shmring._proto import ffi, lib
from shmring.types import Impairment

Address: TypeAlias = tuple[str, int]

NEVER_NS: int = lib.RT_NEVER_NS
"""A deadline that means that nothing is waited for."""

_STORE_BYTES = 4 << 20
_BATCH = 64


def sans_io_check(rc: int) -> int:
    """Return `rc`, or raise the error that the protocol core recorded."""
    return check(rc, ffi.string(lib.rt_err_text()).decode() if rc < 0 else None)


class LinkCounts(NamedTuple):
    """Datagrams since the start. offered + duplicated = passed + lost + those on the way."""

    offered: int
    passed: int
    lost: int
    duplicated: int
    reordered: int


class Link:
    """Treats datagrams as an `Impairment` says. The same seed gives the same result for the same
    sequence of datagrams.

    One thread. Times are in ns of any clock that never goes back.
    """

    def __init__(self, impairment: Impairment | None = None) -> None:
        """impairment: None passes everything at once. Raises BadConfig for values out of range."""
        config = ffi.new("impair_config_t *", {"max_datagram_bytes": 2048})
        for name, value in dataclasses.asdict(impairment or Impairment()).items():
            setattr(config, name, value)
        config.store_bytes = _STORE_BYTES
        size = lib.impair_memory_bytes(config)
        self._memory = ffi.new("uint64_t[]", size // 8 + 1)
        self._link = ffi.new("impair_t *")
        sans_io_check(lib.impair_init(self._link, config, self._memory, size))
        self._in = ffi.new("impair_in_t *")
        self._out = ffi.new("impair_out_t[]", _BATCH)
        self._sources: list[Address] = []

    def offer(self, data: bytes, source: Address, now_ns: int) -> None:
        """A datagram enters the link. `source` comes out with it."""
        if source not in self._sources:
            self._sources.append(source)
        entry: Any = self._in
        entry.data = buffer = ffi.from_buffer(data)
        entry.len = len(data)
        entry.time_ns = self._sources.index(source)
        sans_io_check(lib.impair_offer(self._link, entry, now_ns))
        ffi.release(buffer)

    def take(self, now_ns: int) -> list[tuple[bytes, Address]]:
        """Return what leaves the link by `now_ns`, in order."""
        taken: list[tuple[bytes, Address]] = []
        while count := lib.impair_emit(self._link, self._out, _BATCH, now_ns):
            taken += [
                (bytes(ffi.buffer(out.data, out.len)), self._sources[out.time_ns])
                for out in self._out[0:count]
            ]
        return taken

    @property
    def deadline_ns(self) -> int:
        """When the next datagram leaves, or `NEVER_NS` if none is on the way."""
        return int(lib.impair_deadline_ns(self._link))

    @property
    def counts(self) -> LinkCounts:
        """What became of the datagrams so far."""
        c = self._link.counters
        lost = c.lost + c.burst_lost + c.queue_dropped
        return LinkCounts(c.offered, c.passed, lost, c.duplicated, c.reordered)
