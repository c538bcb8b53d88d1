"""The output of the commands: tables, quantities with units, JSON lines, a progress bar."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from shmring.room import Room

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

NARROWEST = 80
_LONGEST_CELL = 40
_LEAST_PROSE = 30

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_NO_BREAK = "\xa0"


def json_line(facts: dict[str, Any]) -> None:
    """Print one JSON object on its own line, and flush."""
    print(json.dumps(facts), flush=True)


class JsonRows:
    """The objects of a command: one document at its end, or a line for each as it comes."""

    def __init__(self, how: str | None) -> None:
        """how: "document" or "lines". None: nothing is printed."""
        self._how = how
        self._rows: list[dict[str, Any]] = []

    def __bool__(self) -> bool:
        """Return whether anything is printed."""
        return self._how is not None

    def add(self, facts: dict[str, Any]) -> None:
        """Take one object."""
        if self._how == "lines":
            json_line(facts)
        elif self._how == "document":
            self._rows.append(facts)

    def end(self) -> None:
        """Print the document."""
        if self._how == "document":
            print(json.dumps(self._rows), flush=True)


def duration(ns: float) -> str:
    """Return a duration with three digits and the unit that fits: ``1.68 µs``."""
    for limit, unit, text in (
        (NS_PER_US, 1, "ns"),
        (NS_PER_MS, NS_PER_US, "µs"),
        (NS_PER_S, NS_PER_MS, "ms"),
        (float("inf"), NS_PER_S, "s"),
    ):
        # 999 950 ns would become "1000 µs"
        if abs(ns) < limit * 0.9995:
            return f"{_digits(ns / unit)} {text}"
    raise AssertionError(ns)


def quantity(value: float, unit: str) -> str:
    """Return a value in a base unit (``ns pps bps bytes percent per_s packets
    verdict``) for people."""
    if unit == "ns":
        return duration(value)
    if unit == "verdict":
        return _VERDICTS[value]
    if unit == "packets":
        return f"{value:.0f}"
    if unit == "percent":
        return f"{_digits(value)} %"
    for power, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{_digits(value / power)} {prefix}{_UNITS.get(unit, unit)}"
    return f"{_digits(value)} {_UNITS.get(unit, unit)}"


_UNITS = {"pps": "pps", "bps": "bit/s", "bytes": "B", "per_s": "/s"}
_VERDICTS: dict[float, str] = {1: "met", 0: "not decided", -1: "missed"}


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    size = abs(value)
    places = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{value:.{places}f}"


def room_text(label: str, room: Room, what: str = "packets") -> str:
    """Return a size that the command chose: ``queue: 4096 packets, 6.71 MB of shared memory``."""
    text = f"{label}: {room.count} {what}, {quantity(room.shm_bytes, 'bytes')} of shared memory"
    if room.count < room.wanted:
        free = quantity(room.free_bytes, "bytes")
        text += f" (not {room.wanted}, because only {free} were free)"
    return text


def address_text(address: tuple[str, int] | None, none: str = "") -> str:
    """Return ``host:port``, or `none` if there is no address."""
    if address is None:
        return none
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Return columns under their headers: the first aligned left, the others right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        indent
        + "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Like `table`, with all columns aligned left."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        indent + "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def text_width() -> int:
    """Return the columns of the terminal, at least 80. Elsewhere 80."""
    return max(NARROWEST, shutil.get_terminal_size((NARROWEST, 24)).columns)


def prose_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], width: int, indent: str = ""
) -> str:
    """Like `text_table`, in lines of at most `width` columns: the last cells are sentences, and
    wrap. Other cells are cut if they leave too little room."""
    lines = [list(head), *(list(row) for row in rows)]
    first = [[_cut(cell) for cell in line[:-1]] for line in lines]
    widths = [max(len(cell) for cell in column) for column in zip(*first, strict=True)]
    begins = [
        indent + "".join(f"{cell:<{w}}  " for cell, w in zip(cells, widths, strict=True))
        for cells in first
    ]
    beside = len(begins[0]) + _LEAST_PROSE <= width
    margin = " " * (len(begins[0]) if beside else len(indent) + 4)
    found = []
    for begin, line in zip(begins, lines, strict=True):
        texts = textwrap.wrap(line[-1], width - len(margin), break_on_hyphens=False) or [""]
        texts = [margin + text for text in texts]
        if beside:
            texts[0] = begin + texts[0][len(margin) :]
        else:
            texts.insert(0, begin)
        found += [text.rstrip() for text in texts]
    return "\n".join(found)


def _cut(cell: str) -> str:
    return cell if len(cell) <= _LONGEST_CELL else f"{cell[: _LONGEST_CELL - 1]}…"


def split_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], width: int, indent: str = ""
) -> str:
    """Like `text_table`, in lines of at most `width` columns: columns for which there is no room
    are another table below, which begins with the same first column."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    parts, used = [[0]], len(indent) + widths[0]
    for i in range(1, len(head)):
        if used + 2 + widths[i] > width and len(parts[-1]) > 1:
            parts.append([0])
            used = len(indent) + widths[0]
        parts[-1].append(i)
        used += 2 + widths[i]
    texts = [[[line[i] for i in part] for line in lines] for part in parts]
    return "\n\n".join(text_table(found[0], found[1:], indent) for found in texts)


def paragraph(text: str, label: str, indent: str = "  ") -> str:
    """Return text under a label, wrapped to the terminal's width, at most 100 columns.

    What stands in backticks stays on one line, so that a command can be copied.
    """
    width = min(100, shutil.get_terminal_size().columns)
    filled = textwrap.fill(
        re.sub(r"`[^`]*`", lambda command: command[0].replace(" ", _NO_BREAK), text),
        width,
        initial_indent=f"{indent}{label}: ",
        subsequent_indent=" " * (len(indent) + len(label) + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace(_NO_BREAK, " ")


def can_draw(stream: TextIO | None = None) -> bool:
    """Return whether `stream`, by default standard output, can print block characters."""
    encoding = (stream or sys.stdout).encoding or "ascii"
    try:
        _EIGHTHS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def bar(share: float, width: int, *, blocks: bool = True) -> str:
    """Return a bar of up to `width` characters for a share of 0 to 1. Anything above 0
    is visible."""
    if share <= 0:
        return ""
    if not blocks:
        return "#" * max(1, round(share * width))
    eighths = max(1, round(share * width * 8))
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


class Progress:
    """A bar on a terminal, redrawn in place. Elsewhere it prints one line at the end.

    It goes to standard error, so that standard output only has results.
    """

    def __init__(self, label: str, *, show: bool = True, width: int = 24) -> None:
        self._label = label
        self._width = width
        self._show = show
        self._stream = sys.stderr
        self._live = show and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._blocks = can_draw(self._stream)
        self._drawn_at = 0.0

    def update(self, share: float, note: str = "") -> None:
        """Draw the state, at most twenty times a second."""
        now = time.monotonic()
        if not self._live or (now - self._drawn_at < 0.05 and share < 1):
            return
        self._drawn_at = now
        columns = shutil.get_terminal_size().columns
        filled = bar(min(share, 1.0), self._width, blocks=self._blocks)
        drawn = f"[{filled:<{self._width}}] " if self._width else ""
        line = f"{self._label:<20} {drawn}{note}"[: columns - 1]
        self._stream.write(f"\r\x1b[K{line}")
        self._stream.flush()

    def clear(self) -> None:
        """Take the bar away."""
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def done(self, note: str) -> None:
        """End the bar with the result."""
        self.clear()
        if self._show:
            self._stream.write(f"{self._label:<20} {note}\n")
            self._stream.flush()
