"""Every execution of a small concurrent program that the repaired C11 memory model (RC11) allows.

The model is that of Lahav, Vafeiadis, Kang, Hur and Dreyer, "Repairing Sequential Consistency in
C/C++11" (PLDI 2017), with the release sequences of C++20: a release sequence is continued by
read-modify-write operations only. Programs are threads, each a generator function that yields
accesses:

    def reader():
        seen = yield Load("flag", ACQUIRE)
        value = yield Load("data")
        return {"seen": seen, "value": value}

All locations start as 0. A candidate execution is one trace of each thread, a store that each
load reads from (rf) and a total order of the stores to each location (mo). `outcomes` keeps the
candidates that are

    coherent           hb ; eco?  is irreflexive
    atomic             a read-modify-write reads from the store just before it in mo
    SC where asked     psc is acyclic
    not out of thin air   sb | rf  is acyclic

and returns what their threads returned and what each location holds in the end. The search is
exhaustive, so it is for programs of about a dozen accesses.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

RELAXED, ACQUIRE, RELEASE, ACQ_REL, SEQ_CST = "relaxed", "acquire", "release", "acq_rel", "seq_cst"
_ACQUIRES = {ACQUIRE, ACQ_REL, SEQ_CST}
_RELEASES = {RELEASE, ACQ_REL, SEQ_CST}


@dataclass(frozen=True)
class Load:
    at: str
    mode: str = RELAXED


@dataclass(frozen=True)
class Store:
    at: str
    value: int
    mode: str = RELAXED


@dataclass(frozen=True)
class Swap:
    """An unconditional exchange; the thread gets the old value."""

    at: str
    value: int
    mode: str = ACQ_REL


@dataclass(frozen=True)
class Cas:
    """A compare-and-swap; the thread gets the value found: `expected` when it took place."""

    at: str
    expected: int
    value: int
    mode: str = ACQ_REL
    failure: str = ACQUIRE


@dataclass(frozen=True)
class Add:
    """A fetch-and-add; the thread gets the old value."""

    at: str
    value: int
    mode: str = RELAXED


@dataclass(frozen=True)
class Fence:
    mode: str


Access = Load | Store | Swap | Cas | Add | Fence
Thread = Callable[[], Generator[Access, int, dict[str, int] | None]]
Outcome = dict[str, int]


@dataclass(frozen=True)
class Event:
    """One access as it took place. `read` or `written` is None where it does not do that."""

    thread: int
    at: str
    read: int | None
    written: int | None
    mode: str

    @property
    def is_fence(self) -> bool:
        return self.at == ""


# --- traces of one thread -------------------------------------------------------------------------


def _event(thread: int, access: Access, found: int) -> Event:
    match access:
        case Load(at, mode):
            return Event(thread, at, found, None, mode)
        case Store(at, value, mode):
            return Event(thread, at, None, value, mode)
        case Swap(at, value, mode):
            return Event(thread, at, found, value, mode)
        case Add(at, value, mode):
            return Event(thread, at, found, found + value, mode)
        case Cas(at, expected, value, mode, failure):
            if found == expected:
                return Event(thread, at, found, value, mode)
            return Event(thread, at, found, None, failure)
        case Fence(mode):
            return Event(thread, "", None, None, mode)


def _replay(
    thread: int, body: Thread, choices: list[int]
) -> tuple[list[Event], Access | None, Outcome]:
    """Run a thread with these values for its reads: events, the access without one, its result."""
    run = body()
    events: list[Event] = []
    left = list(choices)
    try:
        access = next(run)
        while True:
            reads = not isinstance(access, Store | Fence)
            if reads and not left:
                return events, access, {}
            found = left.pop(0) if reads else 0
            events.append(_event(thread, access, found))
            access = run.send(found)
    except StopIteration as end:
        return events, None, end.value or {}


def _traces(
    thread: int, body: Thread, values: dict[str, set[int]]
) -> list[tuple[list[Event], Outcome]]:
    done = []
    open_choices: list[list[int]] = [[]]
    while open_choices:
        choices = open_choices.pop()
        events, lacking, result = _replay(thread, body, choices)
        if lacking is None:
            done.append((events, result))
            continue
        assert not isinstance(lacking, Fence)
        open_choices += [[*choices, value] for value in values.get(lacking.at, {0})]
    return done


def _written(traces: list[list[tuple[list[Event], Outcome]]]) -> dict[str, set[int]]:
    """Each location with the values it may hold, going by these traces."""
    values: dict[str, set[int]] = {}
    for events, _ in itertools.chain.from_iterable(traces):
        for event in events:
            if not event.is_fence:
                values.setdefault(event.at, {0})
            if event.written is not None:
                values[event.at].add(event.written)
    return values


def _most_stores(traces: list[tuple[list[Event], Outcome]]) -> int:
    return max(sum(event.written is not None for event in events) for events, _ in traces)


def _all_traces(threads: list[Thread]) -> list[list[tuple[list[Event], Outcome]]]:
    """The traces of each thread, over all values that some thread may write.

    A value that depends on another one read takes a round more, and there are no more rounds
    than stores.
    """
    values: dict[str, set[int]] = {}
    rounds = 0
    while True:
        traces = [_traces(i, body, values) for i, body in enumerate(threads)]
        found = _written(traces)
        if found == values or rounds > sum(map(_most_stores, traces)):
            return traces
        values = found
        rounds += 1


# --- relations: a row of bits for each event ------------------------------------------------------

Relation = list[int]


def _bits(row: int) -> Iterator[int]:
    while row:
        low = row & -row
        yield low.bit_length() - 1
        row ^= low


def _then(first: Relation, second: Relation) -> Relation:
    out = []
    for row in first:
        reached = 0
        for i in _bits(row):
            reached |= second[i]
        out.append(reached)
    return out


def _union(*relations: Relation) -> Relation:
    return [_or(rows) for rows in zip(*relations, strict=True)]


def _or(rows: tuple[int, ...]) -> int:
    out = 0
    for row in rows:
        out |= row
    return out


def _closure(relation: Relation) -> Relation:
    out = list(relation)
    for k in range(len(out)):
        for i in range(len(out)):
            if out[i] >> k & 1:
                out[i] |= out[k]
    return out


def _or_same(relation: Relation) -> Relation:
    return [row | 1 << i for i, row in enumerate(relation)]


def _has_loop(relation: Relation) -> bool:
    return any(row >> i & 1 for i, row in enumerate(relation))


# --- one candidate --------------------------------------------------------------------------------


class _Candidate:
    """A choice of traces with the initial stores; fixed parts of the relations."""

    def __init__(self, events: list[Event]) -> None:
        places = sorted({event.at for event in events if not event.is_fence})
        self.events = [Event(-1, at, None, 0, RELAXED) for at in places] + events
        self.count = len(self.events)
        self.sb = [self._row(lambda e, i=i: self._before(i, e)) for i in range(self.count)]
        self.same_place = [
            self._row(lambda e, i=i: self.events[e].at == self.events[i].at != "")
            for i in range(self.count)
        ]
        self.fences_sc = self._row(lambda e: self.events[e].is_fence and self._is(e, {SEQ_CST}))
        self.all_sc = self._row(lambda e: self._is(e, {SEQ_CST}))

    def _row(self, holds: Callable[[int], bool]) -> int:
        return sum(1 << i for i in range(self.count) if holds(i))

    def _is(self, event: int, modes: set[str]) -> bool:
        return self.events[event].mode in modes

    def _before(self, first: int, second: int) -> bool:
        a, b = self.events[first], self.events[second]
        if a.thread == -1:
            return b.thread != -1
        return a.thread == b.thread and first < second

    def reads(self) -> list[int]:
        return [i for i, event in enumerate(self.events) if event.read is not None]

    def writers(self, read: int) -> list[int]:
        wanted = self.events[read]
        return [
            i
            for i, event in enumerate(self.events)
            if i != read and event.at == wanted.at and event.written == wanted.read
        ]

    def store_orders(self) -> Iterator[list[list[int]]]:
        """For each location its stores in some order, the initial one first."""
        stores: dict[str, list[int]] = {}
        for i, event in enumerate(self.events):
            if event.written is not None:
                stores.setdefault(event.at, []).append(i)
        rows = [
            [[first, *rest] for rest in itertools.permutations(others)]
            for first, *others in stores.values()
        ]
        yield from map(list, itertools.product(*rows))

    def _only(self, members: int) -> Relation:
        return [1 << i if members >> i & 1 else 0 for i in range(self.count)]

    def synchronizes(self, rf: Relation) -> Relation:
        """sw = [release] ; ([fence] ; sb)? ; (rf ; rmw)* ; rf ; (sb ; [fence])? ; [acquire]"""
        updates = self._row(lambda e: self._updates(e))
        fences = self._row(lambda e: self.events[e].is_fence)
        sequence = _or_same(_closure(_then(rf, self._only(updates))))
        writes = self._row(lambda e: self.events[e].written is not None)
        path = _then(_then(self._only(writes), sequence), rf)
        before = _union(self._only((1 << self.count) - 1), _then(self._only(fences), self.sb))
        after = _union(self._only((1 << self.count) - 1), _then(self.sb, self._only(fences)))
        whole = _then(_then(before, path), after)
        releases = self._row(lambda e: self._is(e, _RELEASES))
        acquires = self._row(lambda e: self._is(e, _ACQUIRES))
        return [row & acquires if releases >> i & 1 else 0 for i, row in enumerate(whole)]

    def _updates(self, event: int) -> bool:
        return self.events[event].read is not None and self.events[event].written is not None

    def allowed(self, sources: tuple[int, ...], orders: list[list[int]]) -> bool:
        rf = [0] * self.count
        mo = [0] * self.count
        source_of = dict(zip(self.reads(), sources, strict=True))
        for read, source in source_of.items():
            rf[source] |= 1 << read
        for order in orders:
            for i, store in enumerate(order):
                mo[store] = sum(1 << later for later in order[i + 1 :])
                source = source_of.get(store)
                if source is not None and order[i - 1] != source:
                    return False  # not atomic
        if _has_loop(_closure(_union(self.sb, rf))):
            return False  # out of thin air
        rb = [0] * self.count
        for read, source in source_of.items():
            rb[read] = mo[source] & ~(1 << read)
        eco = _closure(_union(rf, mo, rb))
        hb = _closure(_union(self.sb, self.synchronizes(rf)))
        if _has_loop(_then(hb, _or_same(eco))):
            return False  # not coherent
        return not _has_loop(_closure(self._psc(hb, eco, mo, rb)))

    def _psc(self, hb: Relation, eco: Relation, mo: Relation, rb: Relation) -> Relation:
        elsewhere = [row & ~same for row, same in zip(self.sb, self.same_place, strict=True)]
        here = [row & same for row, same in zip(hb, self.same_place, strict=True)]
        scb = _union(self.sb, _then(_then(elsewhere, hb), elsewhere), here, mo, rb)
        fences = self._only(self.fences_sc)
        left = _union(self._only(self.all_sc), _then(fences, _or_same(hb)))
        right = _union(self._only(self.all_sc), _then(_or_same(hb), fences))
        base = _then(_then(left, scb), right)
        between = _union(hb, _then(_then(hb, eco), hb))
        return _union(base, _then(_then(fences, between), fences))

    def ends(self, orders: list[list[int]]) -> Outcome:
        return {self.events[o[-1]].at: self.events[o[-1]].written or 0 for o in orders}


def outcomes(threads: list[Thread]) -> list[Outcome]:
    """What the threads may return, together with the last value of each location under its name."""
    found: dict[tuple[tuple[str, int], ...], Outcome] = {}
    for choice in itertools.product(*_all_traces(threads)):
        candidate = _Candidate([event for events, _ in choice for event in events])
        sources = [candidate.writers(read) for read in candidate.reads()]
        if not all(sources):
            continue
        result: Outcome = {}
        for _, returned in choice:
            result |= returned
        for orders in candidate.store_orders():
            outcome = candidate.ends(orders) | result
            key = tuple(sorted(outcome.items()))
            if key in found:
                continue
            if any(candidate.allowed(s, orders) for s in itertools.product(*sources)):
                found[key] = outcome
    return list(found.values())
