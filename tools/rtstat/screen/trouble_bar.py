"""The troubles as lines of a screen: the title's verdict, and the bar with the worst and fixes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.text import Text

from rtstat.screen.ink import BAD, WARN
from rtstat.trouble_text import headline
from rtstat.troubles import Trouble
from rtstat.worst import sign

_TEXT_LINES = 2
_INDENT = 3
_FIX = "   -> "


def subject(trouble: Trouble, namespace: str | None) -> str:
    """Return the subject, without the namespace if only one is shown."""
    return trouble.subject.removeprefix(f"{namespace}/") if namespace else trouble.subject


def title(
    troubles: Sequence[Trouble], namespace: str | None, room: int, *, empty: bool = False
) -> str:
    """Return the verdict and the worst troubles in at most `room` characters, at least 20:
    ``BROKEN: 3 troubles; press:0 (worker_stopped), plc (link_silent), ...``

    empty: nothing is open.
    """
    text = headline(troubles, empty=empty)[:room]
    if not troubles:
        return text
    text += "; "
    for i, trouble in enumerate(troubles):
        words = _brief(trouble, namespace)
        more = "" if i == len(troubles) - 1 else ", ..."
        if len(text) + len(words) + len(more) > room:
            return f"{text}..." if i else f"{text}{words}"[: room - 3] + "..."
        text += words if not more else f"{words}, "
    return text


def _brief(trouble: Trouble, namespace: str | None) -> str:
    return f"{subject(trouble, namespace)} ({trouble.name})"


def room(height: int) -> int:
    """Return the most lines of the bar on a screen of `height` lines. On 24 lines, three troubles
    of usual length and the line of the others fit."""
    return max(3, height // 2 - 1)


def lines(
    troubles: Sequence[Trouble], namespace: str | None, width: int, height: int
) -> list[Text]:
    """Return the worst troubles with their fixes, in at most `height` lines of `width` columns.
    If some are left out, the last line names them."""
    found: list[Text] = []
    for i, trouble in enumerate(troubles):
        entry = _entry(trouble, namespace, width)
        rest = i < len(troubles) - 1
        if len(found) + len(entry) + rest > height:
            found.append(_others(troubles[i:], namespace, width, first=i == 0))
            break
        found += entry
    return found[:height]


def _entry(trouble: Trouble, namespace: str | None, width: int) -> list[Text]:
    """A trouble in up to two lines, and its fix in one or two."""
    head = f"{sign(trouble)} {subject(trouble, namespace)}"
    said = f"{head}  {trouble.name}: {trouble.text}"
    ink = BAD if trouble.severity == "broken" else WARN
    texts = [Text(line) for line in _wrapped(said, width, "", _INDENT)]
    texts[0].stylize(f"bold {ink}", 0, len(head))
    fix = [Text(line) for line in _wrapped(trouble.fix, width, _FIX, len(_FIX))]
    return texts + fix


def _wrapped(text: str, width: int, begin: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=begin,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        max_lines=_TEXT_LINES,
        placeholder=" ...",
    )


def _others(troubles: Sequence[Trouble], namespace: str | None, width: int, *, first: bool) -> Text:
    more = "" if first else f"and {len(troubles)} more: "
    text = more + ", ".join(_brief(trouble, namespace) for trouble in troubles)
    return Text(text if len(text) <= width else f"{text[: width - 4]} ...")
