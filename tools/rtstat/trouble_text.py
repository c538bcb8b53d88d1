"""The list of troubles as text: a headline, a line for monitoring, paragraphs for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rtstat.troubles import Trouble, verdict

WIDTH = 80
_WORST = 3


def headline(troubles: Sequence[Trouble]) -> str:
    """Return the verdict and how many troubles there are: ``TROUBLED: 3 troubles``."""
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


def wrapped(text: str, begin: str, width: int = WIDTH) -> list[str]:
    """Return the lines of a text of which the first begins with `begin`."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_on_hyphens=False,
    )
