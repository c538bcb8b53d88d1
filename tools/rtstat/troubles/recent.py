"""Troubles of the last minute."""

from __future__ import annotations

from collections.abc import Iterable

from rtstat.numbers import NS_PER_S
from rtstat.troubles.judging import RULES, in_order
from rtstat.troubles.rule import Trouble

RECENT_S = 60.0
"""How long a trouble that does not grow any more stays in the list. A person who looks once a
minute misses none."""

_GROWING = frozenset(rule.name for rule in RULES if rule.grows)


class Recent:
    """Keeps troubles that grew within the last minute, for a watcher that looks again and again."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[int, Trouble]] = {}

    def add(self, troubles: Iterable[Trouble], mono_ns: int) -> tuple[Trouble, ...]:
        """Return these and those seen in the last `RECENT_S`, the worst first."""
        now = {(trouble.name, trouble.subject): trouble for trouble in troubles}
        self._seen |= {
            key: (mono_ns, trouble) for key, trouble in now.items() if trouble.name in _GROWING
        }
        oldest_ns = mono_ns - int(RECENT_S * NS_PER_S)
        self._seen = {key: seen for key, seen in self._seen.items() if seen[0] >= oldest_ns}
        kept = [
            _aged(trouble, mono_ns - seen_ns)
            for key, (seen_ns, trouble) in self._seen.items()
            if key not in now
        ]
        return in_order((*now.values(), *kept))


def _aged(trouble: Trouble, age_ns: int) -> Trouble:
    text = f"{trouble.text}. The latest {age_ns // NS_PER_S} s ago"
    return Trouble(
        *(trouble.name, trouble.severity, trouble.subject, trouble.figure),
        *(text, trouble.fix, trouble.scope, trouble.view),
    )
