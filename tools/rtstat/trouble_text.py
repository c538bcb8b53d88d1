"""The list of troubles as text: a headline, a line for monitoring, paragraphs for people."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from rtstat.troubles import Trouble, verdict
from shmring_cli.output import NARROWEST

WIDTH = NARROWEST
_WORST = 3
_NO_BREAK = "\xa0"
_UNIT = re.compile(r"(?<=\d) (?=(?:ns|µs|ms|s|%|[kMG]?(?:B|bit/s|pps|/s))(?!\w))")
"""The space between a number and its unit."""


def headline(troubles: Sequence[Trouble], *, empty: bool = False) -> str:
    """Return the verdict and how many troubles there are: ``TROUBLED: 3 troubles``.

    empty: nothing is open.
    """
    if empty:
        return "NOTHING TO JUDGE: no pool and no channel is open"
    count = len(troubles)
    how_many = "no troubles" if not count else "1 trouble" if count == 1 else f"{count} troubles"
    return f"{verdict(troubles).upper()}: {how_many}"


def line(troubles: Sequence[Trouble]) -> str:
    """Return the headline with the three worst, on one line."""
    worst = (f"{t.subject} {t.name}: {t.text}" for t in troubles[:_WORST])
    return "; ".join((headline(troubles), *worst))


def paragraphs(troubles: Iterable[Trouble], width: int = WIDTH) -> str:
    """Return each trouble with its fix, in lines of at most `width` columns."""
    return "\n".join(_paragraph(trouble, width) for trouble in troubles)


def _paragraph(trouble: Trouble, width: int) -> str:
    mark = "!!" if trouble.severity == "broken" else "! "
    head = f"{mark} {trouble.subject}  {trouble.name}"
    return "\n".join(
        (
            *textwrap.wrap(head, width, subsequent_indent="   "),
            *wrapped(trouble.text, "   ", width),
            *wrapped(trouble.fix, "   -> ", width),
        )
    )


def folded(text: str, width: int) -> str:
    """Return a text whose lines have at most `width` columns. What is cut off a line stands below
    it, four columns deeper than its beginning."""
    lines = []
    for line in text.splitlines():
        begin = line[: len(line) - len(line.lstrip())]
        long = len(line) > width
        lines += wrapped(line.lstrip(), begin, width, f"{begin}    ") if long else [line]
    return "\n".join(lines)


def wrapped(text: str, begin: str, width: int = WIDTH, indent: str | None = None) -> list[str]:
    """Return the lines of a text of which the first begins with `begin`, and the others with
    `indent`, by default with as many spaces. A number stays beside its unit."""
    lines = textwrap.wrap(
        _UNIT.sub(_NO_BREAK, text),
        width,
        initial_indent=begin,
        subsequent_indent=" " * len(begin) if indent is None else indent,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]
