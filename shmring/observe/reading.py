"""One reading of a channel: its words by name, and what is no word.

`Channel.stats`, `shmring.channels`, ``shmring ls``, rtstat and the metrics page show this. The
words come from ``csrc/client/monitor.h`` in one call, with the name and meaning of each. Clients
can write to the memory that they come from, so a word may have any value.
"""

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from rtworkers import layout
from rtworkers.foreign_text import printable
from rtworkers.owner import process_id
from rtworkers.page import policy_name
from shmring import _address
from shmring._check import check
from shmring._enums import Stamp, State
from shmring._ring import ffi, lib
from shmring._segment import direction_of, text_of

Word = tuple[str, str, int | None, str, bool]
"""Name, unit, the number that means "not known", meaning, and whether it counts up."""

HISTOGRAM_PARTS = (
    *("count", "sum_ns", "min_ns", "max_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns"),
    *("interval_count", "interval_max_ns", "interval_p50_ns", "interval_p90_ns"),
    *("interval_p99_ns", "interval_p999_ns"),
)
assert len(HISTOGRAM_PARTS) == lib.MONITOR_HIST_WORDS
READER_WORDS: int = lib.MONITOR_READER_WORDS

_READINGS, _OVERFLOWS = tuple(layout.READ_MODE), tuple(layout.OVERFLOW)
_LATES, _CLOCKS = tuple(layout.LATE), tuple(layout.CLOCK)
_STATES = tuple(State)


# --- names of words -------------------------------------------------------------------------------


def _rows(first: Any, count: int) -> list[Word]:
    return [
        (
            text_of(word.name),
            text_of(word.unit),
            int(text_of(word.none)) if word.none[0] != b"\0" else None,
            text_of(word.text),
            bool(word.counts),
        )
        for word in (first[i] for i in range(count))
    ]


def names(fill: Any, *arguments: Any) -> tuple[list[Word], list[Word]]:
    """Return the plain words and the histograms that a function of C lists."""
    found = ffi.new("monitor_names_t *")
    fill(*arguments, found)
    return _rows(found.words, found.count), _rows(found.hists, found.hist_count)


def with_parts(words: list[Word], histograms: list[Word]) -> list[Word]:
    """Return words, and behind them those of histograms."""
    return words + [part for name, _, _, text, _ in histograms for part in _parts(name, text)]


def _parts(histogram: str, text: str) -> list[Word]:
    return [
        (f"{histogram}_{part}", "entries" if part.endswith("count") else "ns", None, text, True)
        for part in HISTOGRAM_PARTS
    ]


def places(words: Iterable[Word], first: int = 0) -> dict[str, int]:
    """Return the position in a row of each word."""
    return {word[0]: first + i for i, word in enumerate(words)}


_COMMON = names(lib.monitor_common_names)
CHANNEL_WORDS = with_parts(*_COMMON)
CHANNEL_HISTOGRAMS = _COMMON[1]
PLACES = places(CHANNEL_WORDS)
_PLAIN = places(_COMMON[0])


@cache
def engine_places(engine: str) -> dict[str, int]:
    """Return the position of each word in `engine_words_of`."""
    return places(names(lib.monitor_engine_names, engine.encode())[0])


# --- reading --------------------------------------------------------------------------------------


def words_of(segment: Any) -> list[int]:
    """Return the row of a mapped segment (``shm_segment_t *``). The words of histograms are 0."""
    row = ffi.new("int64_t[]", lib.monitor_most_words(segment))
    return _unpacked(segment, row, lib.monitor_look(segment, row))


def engine_words_of(segment: Any) -> list[int]:
    """Return the words of its engine alone, which `words_of` has behind those of the channel."""
    row = ffi.new("int64_t[]", lib.monitor_most_words(segment))
    return _unpacked(segment, row, lib.monitor_look_engine(segment, row))


def check_words(words: Sequence[int]) -> None:
    """Raise `OSError` if one of a channel is a number that no worker writes there."""
    for name, kind in (("state", State), ("rx_stamp", Stamp), ("tx_stamp", Stamp)):
        number, most = words[PLACES[name]], len(kind) - 1
        if number > most:
            raise OSError(errno.EPROTO, f"its {name} is {number}: it must be 0 to {most}")


def _unpacked(segment: Any, row: Any, count: int) -> list[int]:
    if count < 0:
        check(lib.attachment_check_whole(segment))
        check(count)
    found: list[int] = ffi.unpack(row, count)
    return found


def text(raw: Any) -> str:
    """Return a C string that another process wrote, without what would control a terminal."""
    found = text_of(raw)
    return found if found.isprintable() else printable(found)


class ChannelFacts(NamedTuple):
    """The properties of a channel: its configuration, and values that are not numbers."""

    name: str
    namespace: str
    pool: str
    engine: str
    device: str
    direction: str
    """``"tx"``, ``"rx"`` or ``"duplex"``."""
    reading: str
    """``"each"`` or ``"shared"``."""
    overflow: str
    """``"oldest"`` or ``"wait"``."""
    late: str
    """``"send"`` or ``"drop"``."""
    clock: str
    """``"monotonic"`` or ``"tai"``."""
    local: tuple[str, int] | None
    remote: tuple[str, int] | None
    interface: str
    qdisc: str
    txtime_reason: str
    failure: str
    """Why it failed, in words, or ``""`` if it did not."""
    tx_bytes: int
    """Size of the tx ring."""
    rx_bytes: int
    tx_capacity: int
    """Packets that may wait at most, 0: as many as fit."""
    rx_capacity: int
    producer_slots: int
    reader_slots: int
    tolerance_ns: int
    segment_bytes: int
    segment_id: int
    """Differs between all segments that ever had this name."""
    opener_pid: int | None
    """The oldest of its openers that run, else the last one. None: unknown, or in another pid
    namespace."""
    opener_mono_ns: int
    """When it was noted here, CLOCK_MONOTONIC."""
    configuration: bytes
    """All of it: the ``shm_config_t``."""

    @property
    def opened_with(self) -> Any:
        """The engine with its options, as `Channel.engine`. Raises `OSError`."""
        from shmring._way_back import engine_of  # not for a host without channels

        config = ffi.new("shm_config_t *")
        ffi.memmove(config, self.configuration, len(self.configuration))
        return engine_of(config[0])


def facts_of(segment: Any) -> ChannelFacts:
    """Read them from a mapped segment (``shm_segment_t *``)."""
    opener = ffi.new("shm_opener_t *")
    lib.shm_segment_opener(segment, opener)
    config, status = segment.config, segment.status
    return ChannelFacts(
        text(config.name),
        text(config.name_space),
        text(config.pool),
        text(config.engine),
        text(config.device),
        direction_of(config),
        _one_of(_READINGS, config.read_mode),
        _one_of(_OVERFLOWS, config.overflow),
        _one_of(_LATES, config.late),
        _one_of(_CLOCKS, config.clock),
        _address.unpack(status.bound),
        _address.unpack(config.remote),
        text(status.interface),
        text(status.qdisc),
        text(status.txtime_reason),
        text(status.reason),
        config.tx_bytes,
        config.rx_bytes,
        config.tx_capacity,
        config.rx_capacity,
        config.producers - 1,  # slot 0 is the worker's own
        config.readers,
        config.tolerance_ns,
        segment.bytes,
        segment.segment_id,
        opener.pid or None,
        opener.since_mono_ns,
        bytes(ffi.buffer(ffi.addressof(config))),
    )


def _one_of(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else str(number)


@dataclass(frozen=True, slots=True)
class ReaderInfo:
    """One attached reader of a channel."""

    pid: int | None
    """None: its process is in another pid namespace, where the worker cannot see it."""
    taken: int
    """Packets it has read."""
    lost: int
    """Packets that were overwritten before it read them."""
    waiting: int
    """Packets that it can read now. In shared reading 0."""

    @property
    def never_read(self) -> bool:
        """Whether packets came for it, and it has taken none. In shared reading False."""
        return not self.taken and bool(self.lost or self.waiting)


class ChannelReading:
    """What every reading of a channel has. A subclass has its facts, and its words by name."""

    facts: ChannelFacts

    def __getitem__(self, name: str) -> int:
        """Return a word of the channel."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """Its name."""
        return self.facts.name

    @property
    def namespace(self) -> str:
        """The namespace in which the name is unique."""
        return self.facts.namespace

    @property
    def pool(self) -> str:
        """Name of the pool that serves it."""
        return self.facts.pool

    @property
    def direction(self) -> str:
        """``"tx"``, ``"rx"`` or ``"duplex"``."""
        return self.facts.direction

    @property
    def local(self) -> tuple[str, int] | None:
        """The bound address."""
        return self.facts.local

    @property
    def remote(self) -> tuple[str, int] | None:
        """The destination of packets that name none."""
        return self.facts.remote

    @property
    def opener_pid(self) -> int | None:
        """The oldest of its openers that run, else the last one. None: unknown, or in another pid
        namespace."""
        return self.facts.opener_pid

    @property
    def segment_bytes(self) -> int:
        """Shared memory of the channel."""
        return self.facts.segment_bytes

    @property
    def state(self) -> State:
        """The state that the worker reports."""
        number = self["state"]
        return _STATES[number] if number < len(_STATES) else State.FAILED

    @property
    def epoch(self) -> int:
        """The number of workers that have served the channel so far."""
        return self["epoch"]

    @property
    def worker_pid(self) -> int:
        """Process of the worker."""
        return self["worker_pid"]

    @property
    def cpu(self) -> int | None:
        """Core of the worker. None: not pinned."""
        core = self["cpu"]
        return core if core >= 0 else None

    @property
    def policy(self) -> str:
        """Scheduling class of the worker: ``"fifo"`` or ``"other"``."""
        return policy_name(self["sched_policy"])

    @property
    def tx_waiting(self) -> int:
        """Packets queued and without a verdict."""
        return self["tx_waiting"]


class KeptReading(ChannelReading):
    """A reading that keeps its words."""

    words: Sequence[int]
    """Those of the channel, of its engine, and `READER_WORDS` of each attached reader."""

    def __getitem__(self, name: str) -> int:
        """Return a word of the channel. Raises `KeyError` for those of histograms."""
        return self.words[_PLAIN[name]]

    @property
    def heartbeat_age_ns(self) -> int:
        """Time since the last heartbeat of the worker. All other values are as old as that. 0: no
        worker has served the channel yet."""
        beat_ns = self["heartbeat_mono_ns"]
        return max(0, self["read_mono_ns"] - beat_ns) if beat_ns > 0 else 0

    @property
    def producers(self) -> int:
        """Processes and threads attached to send."""
        return self["producers"]

    @property
    def readers(self) -> tuple[ReaderInfo, ...]:
        """The attached readers."""
        words = self.words
        first = len(words) - READER_WORDS * self["readers"]
        rows = (words[at : at + READER_WORDS] for at in range(first, len(words), READER_WORDS))
        return tuple(ReaderInfo(process_id(pid), *counts) for _, pid, *counts in rows)
