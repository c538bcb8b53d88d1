"""Changes of a proxy's impairments at given times."""

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from shmring.errors import BadConfig
from shmring.proxy.channel import Channel
from shmring.proxy.words import _time, change
from shmring.types import Impairment

_NS_PER_S = 10**9
_WAYS = ("forward", "backward")


class Entry(NamedTuple):
    """A line of a timetable."""

    at_ns: int
    """Since the start of the round."""
    way: str
    """``"forward"``, ``"backward"``, or ``"both"``."""
    words: str
    """For `change`. Empty: nothing changes."""


class Timetable:
    """Changes of a `Channel` at times since the start, read from lines of text.

    A line is a time, perhaps ``forward`` or ``backward``, and fields: ``10s forward loss=10%``,
    ``12.5s down``. Fields that a line does not name stay as they are. Empty lines and what follows
    ``#`` are skipped. A line that is only a time changes nothing, but a round does not end before.

    The process that calls `run` makes the changes, each a request to the worker: on an idle host
    they are exact to about a millisecond.
    """

    def __init__(self, lines: str | Iterable[str], *, loop: bool = False) -> None:
        """lines: text, or its lines. loop: when the last line's time has come, begin again.

        Raises `BadConfig`, which names the line.
        """
        texts = lines.splitlines() if isinstance(lines, str) else list(lines)
        self.entries = sorted(_entries(texts), key=lambda entry: entry.at_ns)
        self.loop = loop
        if loop and not self.round_ns:
            raise BadConfig("a timetable that is repeated needs a line after 0s, its end")

    @classmethod
    def read(cls, path: str | Path, *, loop: bool = False) -> Self:
        """Read a file. Raises `BadConfig`, `OSError`."""
        try:
            return cls(Path(path).read_text("utf-8-sig"), loop=loop)
        except UnicodeDecodeError:
            raise BadConfig(f"timetable {str(path)!r} is no text in UTF-8") from None

    @property
    def round_ns(self) -> int:
        """Time of the last line."""
        return self.entries[-1].at_ns if self.entries else 0

    def run(self, channel: Channel, *, stop: threading.Event | None = None) -> None:
        """Make all changes, each at its time from now. Returns after the last one, or when `stop`
        is set. Raises what `Channel.set` raises."""
        gone = stop or threading.Event()
        begin_ns = time.monotonic_ns()
        for at_ns, entry in self.schedule():
            while (left_ns := begin_ns + at_ns - time.monotonic_ns()) > 0:
                if gone.wait(left_ns / _NS_PER_S):
                    return
            if gone.is_set():
                return
            apply(channel, entry)

    def schedule(self) -> Iterator[tuple[int, Entry]]:
        """Yield the entries with their times since the start, round after round."""
        begin_ns = 0
        while True:
            yield from ((begin_ns + entry.at_ns, entry) for entry in self.entries)
            if not self.loop:
                return
            begin_ns += self.round_ns


def apply(channel: Channel, entry: Entry) -> None:
    """Make the change of an entry now. Raises what `Channel.set` raises."""
    if not entry.words:
        return
    wanted: dict[str, Impairment] = {
        way: change(entry.words, getattr(channel, way))
        for way in _WAYS
        if entry.way in (way, "both")
    }
    channel.set(**wanted)


def _entries(lines: Iterable[str]) -> Iterator[Entry]:
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            yield _entry(text)
        except BadConfig as caught:
            raise BadConfig(f"line {number} of the timetable, {line.strip()!r}: {caught}") from None


def _entry(text: str) -> Entry:
    at, *parts = text.split()
    way = parts.pop(0) if parts and parts[0] in _WAYS else "both"
    words = ",".join(part.strip(",") for part in parts if part.strip(","))
    if words:
        change(words)  # fails here, not when its time has come
    return Entry(_time("time", at), way, words)


__all__ = ["Entry", "Timetable", "apply"]
