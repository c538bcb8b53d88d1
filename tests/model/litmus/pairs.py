"""The named ordering pairs of csrc, each as a litmus test.

The C code marks each release, acquire and fence between processes with a label and names its
partner, such as `/* T2, pairs with T3 */`. Here each pair is reduced to the few accesses that it
orders. `SHAPES` are the patterns that occur; `PAIRS` says which pair has which shape, and what
would go wrong without it.

Payload bytes are modelled as relaxed accesses: the question is whether a stale or torn value is
believed, not whether a plain access races (ThreadSanitizer looks for that in tests/c/stress).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rc11 import (
    ACQ_REL,
    ACQUIRE,
    RELAXED,
    RELEASE,
    SEQ_CST,
    Access,
    Add,
    Cas,
    Fence,
    Load,
    Outcome,
    Store,
    Swap,
    Thread,
)

NONE = ""  # no fence at all

# What the code uses at each point of a shape. A weaker mode is tried at each in turn.
Modes = dict[str, str]


@dataclass(frozen=True)
class Shape:
    modes: Modes
    threads: Callable[[Modes], list[Thread]]
    forbidden: Callable[[Outcome], bool]
    weaker: dict[str, str]


def _fence(mode: str) -> Iterator[Access]:
    if mode != NONE:
        yield Fence(mode)


# --- shapes ---------------------------------------------------------------------------------------


def _publish(m: Modes) -> list[Thread]:
    def writer():
        yield Store("data", 1)
        yield Store("word", 1, m["store"])

    def reader():
        word = yield Load("word", m["load"])
        data = yield Load("data")
        return {"seen": word, "got": data}

    return [writer, reader]


PUBLISH = Shape(
    {"store": RELEASE, "load": ACQUIRE},
    _publish,
    lambda o: o["seen"] == 1 and o["got"] == 0,
    {"store": RELAXED, "load": RELAXED},
)


def _publish_by_swap(m: Modes) -> list[Thread]:
    def writer():
        yield Store("data", 1)
        yield Cas("word", 0, 1, m["swap"])

    def reader():
        word = yield Load("word", m["load"])
        data = yield Load("data")
        return {"seen": word, "got": data}

    return [writer, reader]


PUBLISH_BY_SWAP = Shape(
    {"swap": ACQ_REL, "load": ACQUIRE},
    _publish_by_swap,
    lambda o: o["seen"] == 1 and o["got"] == 0,
    {"swap": RELAXED, "load": RELAXED},
)


def _reuse(m: Modes) -> list[Thread]:
    """One clears a place and gives it away, the other writes there."""

    def giver():
        yield Store("place", 1)  # clears it
        yield Store("given", 1, m["store"])

    def taker():
        given = yield Load("given", m["load"])
        if given:
            yield Store("place", 2)
        return {"taken": given}

    return [giver, taker]


REUSE = Shape(
    {"store": RELEASE, "load": ACQUIRE},
    _reuse,
    lambda o: o["taken"] == 1 and o["place"] == 1,
    {"store": RELAXED, "load": RELAXED},
)


def _overwrite(m: Modes) -> list[Thread]:
    """A writer says that it will overwrite, and does; a reader copies first and asks afterwards."""

    def writer():
        yield Store("said", 1)
        yield from _fence(m["writer"])
        yield Store("data", 1)

    def reader():
        data = yield Load("data")
        yield from _fence(m["reader"])
        said = yield Load("said")
        return {"copied": data, "said_seen": said}

    return [writer, reader]


OVERWRITE = Shape(
    {"writer": RELEASE, "reader": ACQUIRE},
    _overwrite,
    lambda o: o["copied"] == 1 and o["said_seen"] == 0,
    {"writer": NONE, "reader": NONE},
)


def _sleep(m: Modes) -> list[Thread]:
    """One brings work and looks for a sleeper; the other says that it sleeps and looks for work."""

    def waker():
        yield Store("work", 1, RELEASE)
        yield from _fence(m["waker"])
        asleep = yield Load("asleep")
        return {"saw_sleeper": asleep}

    def sleeper():
        yield Store("asleep", 1)
        yield from _fence(m["sleeper"])
        work = yield Load("work", ACQUIRE)
        return {"saw_work": work}

    return [waker, sleeper]


SLEEP = Shape(
    {"waker": SEQ_CST, "sleeper": SEQ_CST},
    _sleep,
    lambda o: o["saw_sleeper"] == 0 and o["saw_work"] == 0,
    {"waker": ACQ_REL, "sleeper": ACQ_REL},
)


def _sleep_taken(m: Modes) -> list[Thread]:
    """As _sleep with two wakers, of which the one that takes the wish wakes the sleeper."""

    def waker(name: str) -> Thread:
        def body():
            yield Store(name, 1, RELEASE)
            yield from _fence(m["waker"])
            asleep = yield Load("asleep")
            if asleep:
                asleep = yield Swap("asleep", 0)
            return {f"{name}_wakes": asleep}

        return body

    def sleeper():
        yield Store("asleep", 1)
        yield from _fence(m["sleeper"])
        a = yield Load("a", ACQUIRE)
        b = yield Load("b", ACQUIRE)
        return {"saw": a + b}

    return [waker("a"), waker("b"), sleeper]


SLEEP_TAKEN = Shape(
    {"waker": SEQ_CST, "sleeper": SEQ_CST},
    _sleep_taken,
    lambda o: o["saw"] == 0 and not o["a_wakes"] and not o["b_wakes"],
    {"waker": ACQ_REL, "sleeper": ACQ_REL},
)


def _chain(m: Modes) -> list[Thread]:
    """What one saw before it moved the tail, the next one that sees the tail sees as well."""

    def worker():
        yield Store("head", 1, RELEASE)

    def first():
        head = yield Load("head", ACQUIRE)
        if head:
            yield Cas("tail", 0, 1, m["swap"])

    def second():
        tail = yield Load("tail", m["load"])
        head = yield Load("head", ACQUIRE)
        return {"tail_seen": tail, "head_seen": head}

    return [worker, first, second]


CHAIN = Shape(
    {"swap": ACQ_REL, "load": ACQUIRE},
    _chain,
    lambda o: o["tail_seen"] == 1 and o["head_seen"] == 0,
    {"swap": RELAXED, "load": RELAXED},
)


def _count(m: Modes) -> list[Thread]:
    """A client changes a word, then counts that it did; who sees the count sees the word."""

    def client():
        yield Cas("word", 0, 1)
        yield from _fence(m["client"])
        yield Add("count", 1)

    def worker():
        count = yield Load("count", m["worker"])
        word = yield Load("word", ACQUIRE)
        return {"counted": count, "found": word}

    return [client, worker]


COUNT = Shape(
    {"client": SEQ_CST, "worker": ACQUIRE},
    _count,
    lambda o: o["counted"] == 1 and o["found"] == 0,
    {"client": NONE, "worker": RELAXED},
)


def _halves(m: Modes) -> list[Thread]:
    """Two copies and a number that names the whole one. The writer fills the other one."""

    def writer():
        yield Store("one", 1)
        yield Store("current", 1, m["store"])
        yield from _fence(m["writer"])
        yield Store("zero", 1)

    def reader():
        current = yield Load("current", m["load"])
        value = yield Load("one" if current else "zero")
        yield from _fence(m["reader"])
        again = yield Load("current")
        return {"named": current, "value": value, "again": again}

    return [writer, reader]


HALVES = Shape(
    {"store": RELEASE, "load": ACQUIRE, "writer": RELEASE, "reader": ACQUIRE},
    _halves,
    lambda o: o["named"] == o["again"] and o["value"] != o["named"],
    {"store": RELAXED, "load": RELAXED, "writer": NONE, "reader": NONE},
)


# --- which pair has which shape -------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    files: tuple[str, ...]  # where its labels stand, below csrc
    labels: tuple[str, ...]
    shape: Shape
    without: str


_TX = ("shm/tx_ring.c", "shm/tx_queue.c", "shm/tx_release.c", "shm/tx_move.c")
_RX = ("shm/rx_ring.c",)
_BOXES = ("shm/latest_box.c", "shm/netflux_shm.c")

PAIRS = [
    Pair(("shm/shm_segment.c",), ("V1", "V2"), PUBLISH, "a segment is mapped before it is whole"),
    Pair(_TX, ("T1",), PUBLISH_BY_SWAP, "a claim is seen and the announcement of its owner is not"),
    Pair(_TX, ("T2", "T3"), PUBLISH, "a committed record with old bytes is sent"),
    Pair(
        _TX, ("T4", "T5"), REUSE, "a producer's record is zeroed by the worker that freed its place"
    ),
    Pair(_TX, ("T6",), SLEEP_TAKEN, "the worker sleeps and nobody rings"),
    Pair(_TX, ("T7",), SLEEP, "a producer sleeps although there is room"),
    Pair(_TX, ("T8",), CHAIN, "a head that is a lap behind promises room that is not there"),
    Pair(_TX, ("T9",), COUNT, "the worker searches for a cancelled record and does not find it"),
    Pair(_TX, ("T10",), OVERWRITE, "bytes inside an open claim are taken for the record behind it"),
    Pair(_TX, ("T11",), PUBLISH, "a packet that shows as finished is missing in the counters"),
    Pair(_TX, ("T12",), PUBLISH_BY_SWAP, "a packet that was moved is not found by who cancels it"),
    Pair(_RX, ("X1", "X2"), PUBLISH, "a packet is read before it is whole"),
    Pair(_RX, ("X3", "X4"), OVERWRITE, "a torn packet is believed"),
    Pair(_RX, ("X5",), SLEEP_TAKEN, "a reader sleeps although there is a packet"),
    Pair(("shm/slot_ring.c",), ("S1", "S2"), OVERWRITE, "a torn slot is believed"),
    Pair(("shm/slot_ring.c",), ("S3", "S4"), PUBLISH, "a slot is read before it is whole"),
    Pair(("shm/error_log.c",), ("E1",), PUBLISH, "an entry is read before it is whole"),
    Pair(("shm/tap_ring.c",), ("T0",), PUBLISH, "a log is read before its head is whole"),
    Pair(("shm/tap_ring.c",), ("T1", "T2"), OVERWRITE, "a torn copy is believed"),
    Pair(("shm/tap_ring.c",), ("T3", "T4"), PUBLISH, "a copy is read before it is whole"),
    Pair(
        ("shm/latest_box.c",),
        ("B1", "B2"),
        PUBLISH_BY_SWAP,
        "the latest values are named before they are whole",
    ),
    Pair(_BOXES, ("B3", "B5"), OVERWRITE, "torn values are believed"),
    Pair(_BOXES, ("B4", "B5"), PUBLISH, "values are read before they are whole"),
    Pair(("shm/netflux_shm.c",), ("B6",), PUBLISH, "a snapshot is read before it is whole"),
    Pair(("shm/netflux_shm.c",), ("B7",), HALVES, "a state that is being written is believed"),
    Pair(("shm/cyclic_shm.c",), ("B8",), PUBLISH, "a fail-safe payload is read before it is whole"),
    Pair(
        ("worker/agents/rtp/rtcp.c", "client/engine_stats.c"),
        ("N1", "N2"),
        OVERWRITE,
        "a torn CNAME is believed",
    ),
    Pair(
        ("librtpsynth/spmc_queue.c",), ("P1", "P2"), PUBLISH, "a packet is taken before it is whole"
    ),
    Pair(
        ("librtpsynth/spmc_queue.c",),
        ("Q1", "Q2"),
        REUSE,
        "a slot is filled while it is still read",
    ),
]
