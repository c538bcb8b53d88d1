"""Reads channels and workers as rows of 64-bit words, without side effects.

``csrc/client/monitor.h`` reads channels, `rtworkers.page` and `rtworkers.history` read the pages of
workers. This module gives both the same form, with the name and meaning of every word.
"""

import errno
import os
import struct
import time
from typing import Any

from rtworkers import history, layout, page, paths
from rtworkers.history import DistinctError
from shmring._check import last_text
from shmring._ring import ffi, lib
from shmring.observe.engines import PARTS
from shmring.observe.reading import (
    HISTOGRAM_PARTS,
    ChannelFacts,
    facts_of,
    names,
    with_parts,
)

_ENGINES = {engine: names(lib.monitor_engine_names, engine.encode()) for engine in PARTS}
ENGINE_WORDS = {engine: with_parts(*words) for engine, words in _ENGINES.items()}
ENGINE_HISTOGRAMS = {engine: histograms for engine, (_, histograms) in _ENGINES.items()}

_NO_WORDS = frozenset(("magic", "version", "pool", "name_space", "slot_checks"))
_PAGE_WORDS = tuple(name for name in layout.WORKER_PAGE_FIELDS if name not in _NO_WORDS)
WORKER_WORDS: list[str] = [
    *_PAGE_WORDS,
    *("read_mono_ns", "errors", "error_times"),
    *(f"wake_latency_{part}" for part in HISTOGRAM_PARTS),
]


# --- reading --------------------------------------------------------------------------------------


def _check(rc: int) -> int:
    if rc < 0:
        raise OSError(-rc, last_text())
    return rc


def _filled(counts: Any) -> list[tuple[int, int]]:
    """Return (largest value of the bucket in ns, entries in it) for each bucket in use."""
    return [(lib.rt_hist_lower_ns(i + 1) - 1, count) for i, count in enumerate(counts) if count]


class ChannelMonitor:
    """Maps a channel's segment, and reads it any number of times."""

    def __init__(self, name: paths.ShmName) -> None:
        self._monitor = ffi.gc(ffi.new("monitor_t *"), lib.monitor_close)
        space, channel = name.namespace.encode(), str(name.channel).encode()
        fd = paths.open_shm(name.posix_name)
        try:
            _check(lib.monitor_open(self._monitor, fd))
            if not lib.shm_segment_is(ffi.addressof(self._monitor, "s"), space, channel):
                raise OSError(errno.EPROTO, "the file has another channel's name")
        finally:
            os.close(fd)
        self._row = ffi.new("int64_t[]", self._monitor.words)
        self._row_bytes = ffi.buffer(self._row)

    def read(self) -> memoryview:
        count = lib.monitor_read(self._monitor, self._row)
        if count < 0:
            _check(count)
        return memoryview(self._row_bytes[: 8 * count]).cast("q")

    def rebase(self) -> None:
        """Make the next readings count from the last one on."""
        _check(lib.monitor_rebase(self._monitor))

    def buckets(self, histogram: int, interval: bool) -> list[tuple[int, int]]:
        """Return a histogram of the last reading. Those of the engine follow the channel's."""
        counts = ffi.new("uint64_t[]", lib.RT_HIST_BUCKETS)
        _check(lib.monitor_buckets(self._monitor, histogram, interval, counts))
        return _filled(counts)

    def openers(self) -> int:
        """How often `opener_pid` of `facts` was written: it rises when another process is the
        oldest opener that runs."""
        return int(self._opener().count)

    def _opener(self) -> Any:
        opener = ffi.new("shm_opener_t *")
        lib.shm_segment_opener(ffi.addressof(self._monitor, "s"), opener)
        return opener

    def facts(self) -> ChannelFacts:
        """Return what is no word: the configuration, texts and addresses. Raises `OSError` for an
        option that cannot be."""
        facts = facts_of(ffi.addressof(self._monitor, "s"))
        _ = facts.opened_with
        return facts

    def producers(self) -> list[int]:
        """Return the owners of the slots of the attached producers, without the worker."""
        segment = self._monitor.s
        owners = (segment.producers[i].owner for i in range(1, segment.config.producers))
        return [owner for owner in map(int, owners) if owner]


class WorkerMonitor:
    """Reads a worker's page any number of times."""

    def __init__(self, name: paths.ShmName) -> None:
        self._name = name
        self._wake_latency = ffi.gc(ffi.new("monitor_hist_t *"), lib.monitor_hist_forget)
        self._started_mono_ns = -1
        self._copy()

    def _copy(self) -> tuple[bytes, dict[str, Any]]:
        fd = paths.open_shm(self._name.posix_name)
        try:
            raw = page.copy(fd)
            now = page.numbers(raw)
        except ValueError as error:
            raise OSError(errno.EPROTO, str(error)) from None
        finally:
            os.close(fd)
        for core in ("cpu", "cpu_wanted"):
            now[core] = -1 if now[core] == page.NOT_PINNED else now[core]
        return raw, now

    def read(self) -> tuple[memoryview, tuple[DistinctError, ...]]:
        """Return the row, and the distinct errors of the worker or about it."""
        read_mono_ns = time.monotonic_ns()
        raw, now = self._copy()
        errors = history.errors_in(self._name, raw)
        times = sum(error.count for error in errors) + history.other_errors_in(raw)
        latency = self._read_latency(raw, now["started_mono_ns"])
        words = (*(now[name] for name in _PAGE_WORDS), read_mono_ns, len(errors), times)
        row = struct.pack(f"={len(words)}Q", *(word % 2**64 for word in words)) + latency
        return memoryview(row).cast("q"), errors

    def _read_latency(self, raw: bytes, started_mono_ns: int) -> bytes:
        is_first = started_mono_ns != self._started_mono_ns
        if is_first:  # what was kept is a predecessor's
            lib.monitor_hist_forget(self._wake_latency)
        self._started_mono_ns = started_mono_ns
        found, size = ffi.new("rt_hist_t *"), ffi.sizeof("rt_hist_t")
        ffi.memmove(found, raw[layout.WAKE_LATENCY_AT : layout.WAKE_LATENCY_AT + size], size)
        words = ffi.new("int64_t[]", lib.MONITOR_HIST_WORDS)
        _check(lib.monitor_hist_read(self._wake_latency, found, is_first, words))
        return bytes(ffi.buffer(words))

    def rebase(self) -> None:
        """Make the next readings count wake-ups from the last one on."""
        _check(lib.monitor_hist_rebase(self._wake_latency))

    def buckets(self, interval: bool) -> list[tuple[int, int]]:
        """Return the wake-up latencies of the last reading."""
        counts = ffi.new("uint64_t[]", lib.RT_HIST_BUCKETS)
        lib.monitor_hist_copy(self._wake_latency, interval, counts)
        return _filled(counts)
