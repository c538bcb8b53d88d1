"""Made-up views of channels, workers and pools, for tests of what rtstat says of them."""

from __future__ import annotations

from array import array
from typing import Any

from rtstat.numbers import CHANNEL_WORDS, ENGINE_WORDS, NS_PER_S, WORKER_WORDS
from rtstat.processes import Process, Processes
from rtstat.progress import Stood
from rtstat.views import ChannelView, OwnerState, PoolView, WorkerView
from rtworkers import layout
from shmring._ring import ffi
from shmring.observe.reading import ChannelFacts

NOW = 1_000 * NS_PER_S
MS = 1_000_000
WORKER, OPENER, READER = 10, 20, 30
OPEN = layout.CHANNEL_STATE["open"]
FACTS: dict[str, Any] = {
    **dict.fromkeys(ChannelFacts._fields, ""),
    **{"name": "ctl", "namespace": "plant", "pool": "line", "engine": "udp", "direction": "duplex"},
    **{"reading": "each", "overflow": "oldest", "late": "send", "clock": "monotonic"},
    **{"local": None, "remote": None, "tx_bytes": 65536, "rx_bytes": 65536, "tx_capacity": 0},
    **{"rx_capacity": 0, "producer_slots": 8, "reader_slots": 8, "tolerance_ns": 50_000},
    **{"segment_bytes": 1 << 20, "segment_id": 1, "opener_pid": OPENER},
    "configuration": bytes(ffi.sizeof("shm_config_t")),
    "opener_mono_ns": NS_PER_S,
}


def processes(**states: str) -> Processes:
    """All of them run, but those given by name."""
    found = Processes()
    for name, pid in (("shmring-worker", WORKER), ("python3", OPENER), ("python3", READER)):
        key = {WORKER: "worker", OPENER: "opener", READER: "reader"}[pid]
        state = states.get(key, "S")
        found[pid] = None if state == "gone" else Process(pid, name, state, 0, 0)
    return found


def row(*parts: tuple[dict[str, int], dict[str, int]], more: tuple[int, ...] = ()) -> memoryview:
    """Numbers at their places, part by part, and what follows them."""
    words = array("q", [0] * sum(len(places) for places, _ in parts))
    for places, numbers in parts:
        for name, number in numbers.items():
            words[places[name]] = number
    words.extend(more)
    return memoryview(words)


class Buckets:
    """A monitor whose histograms are all the same."""

    def __init__(self, counts: tuple[tuple[int, int], ...]) -> None:
        self._counts = list(counts)

    def buckets(self, place: int, interval: bool) -> list[tuple[int, int]]:
        return self._counts


def channel(
    now: dict[str, int] | None = None,
    before: dict[str, int] | None = None,
    *,
    timed: tuple[tuple[int, int], ...] = (),
    readers: tuple[int, ...] = (),
    readers_before: tuple[int, ...] = (),
    part: dict[str, int] | None = None,
    part_before: dict[str, int] | None = None,
    stood: Stood | None = None,
    states: dict[str, str] | None = None,
    **facts: Any,
) -> ChannelView:
    """A channel that is served, with numbers of two snapshots a second apart."""
    of_engine = ENGINE_WORDS.get(facts.get("engine", "udp"), {})
    standing = {
        **{"state": OPEN, "worker_pid": WORKER, "heartbeat_mono_ns": NOW, "read_mono_ns": NOW},
        **{"opened_mono_ns": NS_PER_S, "producers": 1, "readers": len(readers) // 5},
    }
    return ChannelView(
        row((CHANNEL_WORDS, standing | (now or {})), (of_engine, part or {}), more=readers),
        row(
            (CHANNEL_WORDS, standing | (before or {})),
            (of_engine, part_before or {}),
            more=readers_before,
        ),
        CHANNEL_WORDS,
        1.0,
        ChannelFacts(**FACTS | facts),
        Buckets(timed),
        100.0,
        stood or {},
        processes(**(states or {})),
    )


def worker(now: dict[str, int] | None = None, **states: str) -> WorkerView:
    standing = {
        **{"pid": WORKER, "heartbeat_mono_ns": NOW, "read_mono_ns": NOW},
        "started_mono_ns": NS_PER_S,
    }
    numbers = row((WORKER_WORDS, standing | (now or {})))
    return WorkerView(
        numbers, numbers, WORKER_WORDS, 1.0, "plant", "line", 0, None, (), processes(**states)
    )


def pool(*workers: WorkerView, state: OwnerState | None = "running") -> PoolView:
    pid = None if state in ("dead", None) else 5
    return PoolView("plant", "line", pid, state, workers, ())
