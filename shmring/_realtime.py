"""What workers did not get: said in two lines, once, and in full where it is asked for."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from shmring.errors import RealtimeWarning

HELP = "The rest, with the fix: shmring doctor realtime"

_refused: dict[tuple[str, str, int], str] = {}
_shown: dict[Any, Any] = {}  # which Python keeps, so that one text is shown once


class Shortfall(NamedTuple):
    """One setting: what is missing in few words, and the reason with the fix."""

    what: str
    details: str


def text_of(shortfalls: Sequence[Shortfall]) -> str:
    """Return the long form."""
    return "; ".join(one.details for one in shortfalls)


def note(namespace: str, pool: str, slot: int, shortfalls: Sequence[Shortfall]) -> None:
    """Keep the long form of a worker that this process started, for `lacking`."""
    _refused[namespace, pool, slot] = text_of(shortfalls)


def lacking(namespace: str, pool: str, slot: int) -> str:
    """Return the long form for a worker. Empty: it lacks nothing, or another process started it."""
    return _refused.get((namespace, pool, slot), "")


def warn(shortfalls: Sequence[Shortfall]) -> None:
    """Give the warning. It is about the machine, not about a line of the program, so it names none:
    Python would print that line, too, and would repeat the warning for another line."""
    what = ", ".join(one.what for one in shortfalls)
    text = f"{what}: packets may be late under load.\n{HELP}"
    warning = RealtimeWarning(text, text_of(shortfalls))
    warnings.warn_explicit(warning, RealtimeWarning, "shmring", 0, registry=_shown)
