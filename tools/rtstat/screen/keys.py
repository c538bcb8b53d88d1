"""The keys of the full screen: its help and the manual pages show them.

It imports nothing of Textual, so that the help of the command shows the keys without it, too.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple


class Key(NamedTuple):
    """A row of `KEYS`."""

    names: tuple[str, ...]
    meaning: str


KEYS = (
    Key(
        ("enter",),
        "the marked channel in detail, the marked worker's flight recorder. The worst row is "
        "marked until you mark another one",
    ),
    Key(("escape",), "back; in the overview: no filter"),
    Key(("up", "down"), "mark another row (also j, k, pageup, pagedown, home, end, g, G)"),
    Key(("left", "right"), "other columns; the names stay"),
    Key(("tab",), "workers or channels"),
    Key(("/",), "filter: only rows with all words, and without any !word"),
    Key(("0",), "the worst channels first, and the worst one marked"),
    Key(("1", "2", "3"), "sort channels by late %, by p99, by lost packets per second"),
    Key(("s", "S"), "sort by the next column, by the previous one"),
    Key(("i",), "reverse the order"),
    Key(("v",), "below the channels: the marked one in short, or the latest events"),
    Key(("t",), "in a channel's details: the last interval, or since it was opened"),
    Key(("n",), "in a channel's details: the next histogram"),
    Key(("w",), "in a channel's details: what is wrong, and why packets were late"),
    Key(("e",), "distinct errors of all workers, or of the channel on the screen"),
    Key(("E",), "end the marked channel, after a question"),
    Key(("H",), "hold the marked channel, or release it, after a question"),
    Key(("P",), "purge the marked channel: drop what waits, after a question"),
    Key(("p", "space"), "pause"),
    Key(("+", "-"), "look more often, less often"),
    Key(("r",), "count from now on; the counters of the channels stay as they are"),
    Key(("?", "h"), "the keys, and what the columns mean"),
    Key(("q",), "quit: the exit code is that of the last update"),
)

_NAMES_WIDTH = 12


def epilog() -> str:
    """Return the keys as a part of a command's help, in lines of at most 80 columns."""
    lines = ["keys of the full screen:"]
    for key in KEYS:
        begin = f"  {' '.join(key.names):<{_NAMES_WIDTH}} "
        lines += textwrap.wrap(
            key.meaning, 80, initial_indent=begin, subsequent_indent=" " * len(begin)
        )
    return "\n".join(lines)
