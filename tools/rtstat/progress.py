"""Since when a channel makes no progress, as far as a watch has seen it.

Two snapshots may be so near to each other that a program which is well did not run between them.
So a watch remembers when it first saw a counter at its present value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rtstat.numbers import CHANNEL_WORDS, ENGINE_WORDS
from shmring.observe.reading import READER_WORDS

Key = tuple[int, ...]
Stood = dict[Key, tuple[int, int]]
"""What may stand still: its count, and when the watch first saw that."""

SENT: Key = ()
"""The packets that left the send ring. A reader has its slot and owner as key."""

_NEXT_SEQUENCE, _WAITING = CHANNEL_WORDS["tx_next_sequence"], CHANNEL_WORDS["tx_waiting"]


def reader_rows(row: memoryview | None, engine: str) -> Iterator[tuple[int, ...]]:
    """Return slot, owner, packets taken, lost and waiting of each reader in a channel's row."""
    first = len(CHANNEL_WORDS) + len(ENGINE_WORDS.get(engine, ()))
    if row is not None:
        for i in range(first, len(row), READER_WORDS):
            yield tuple(row[i : i + READER_WORDS].tolist())


def advance(before: Stood, row: memoryview, engine: str, *, waits: bool, mono_ns: int) -> Stood:
    """Return what stood still until a new row of a channel.

    waits: whether its worker waits for readers. Only then they can hold it up.
    """
    counts: Mapping[Key, int] = {
        **({SENT: row[_NEXT_SEQUENCE] - row[_WAITING]} if row[_WAITING] else {}),
        **({reader[:2]: reader[2] for reader in reader_rows(row, engine)} if waits else {}),
    }
    found: Stood = {}
    for key, count in counts.items():
        seen = before.get(key)
        found[key] = seen if seen is not None and seen[0] == count else (count, mono_ns)
    return found
