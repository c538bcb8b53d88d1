"""The list of troubles: what the rules find now, and what they found in the last minute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import log10
from typing import Any

from rtstat.numbers import NS_PER_S
from rtstat.troubles.rule import SEVERITIES, Rule, Scope, Serving, Trouble, Verdict
from rtstat.troubles.table import RULES
from rtstat.views import ChannelView, OwnerState, PoolView, Unreadable, WorkerView

RECENT_S = 60.0
"""How long a trouble that does not grow any more stays in the list. A person who looks once a
minute misses none."""

_PLACE = {rule.name: place for place, rule in enumerate(RULES)}
_GROWING = frozenset(rule.name for rule in RULES if rule.grows)
_STANDSTILL = frozenset(("worker_dead", "worker_stopped", "worker_stalled"))
_SCOPES: tuple[Scope, ...] = ("file", "pool", "worker", "channel")
_OF = {scope: [rule for rule in RULES if rule.scope == scope] for scope in _SCOPES}
_OWN = [rule for rule in _OF["channel"] if rule.own]
_OWN_BUT_UNSERVED = [rule for rule in _OWN if rule.name != "channel_unserved"]


def judge(
    workers: Sequence[WorkerView],
    channels: Sequence[ChannelView],
    pools: Sequence[PoolView] = (),
    unreadable: Sequence[Unreadable] = (),
) -> tuple[Trouble, ...]:
    """Return what is wrong with these, the worst first.

    What a channel suffers only because its worker stands still is part of the worker's trouble. So
    of a channel that no worker serves, only the rules that are its own are judged.
    """
    of_worker = _by_worker(channels)
    owners: dict[tuple[str, str], OwnerState | None] = {
        pool.key: pool.owner_state for pool in pools
    }
    found: list[Trouble] = []
    for file in unreadable:
        found += _apply(_OF["file"], file, f"{file.namespace}/{file.name}")
    for pool in pools:
        found += _apply(_OF["pool"], pool, f"{pool.namespace}/{pool.name}:")
    still: set[tuple[str, str, int]] = set()
    for worker in workers:
        owner_state = owners.get((worker.namespace, worker.pool))
        given = Serving(worker, tuple(of_worker.get(worker.key, ())), owner_state)
        subject = f"{worker.namespace}/{worker.pool}:{worker.slot}"
        own = list(_apply(_OF["worker"], worker, subject, given))
        if any(trouble.name in _STANDSTILL for trouble in own):
            still.add(worker.key)
        found += own
    for channel in channels:
        rules = _rules_of(channel, channel.worker_key in still)
        found += _apply(rules, channel, f"{channel.namespace}/{channel.name}")
    return in_order(found)


def _rules_of(channel: ChannelView, worker_still: bool) -> Sequence[Rule]:
    if worker_still:
        return _OWN_BUT_UNSERVED
    return _OWN if channel.figures_stale else _OF["channel"]


def _by_worker(channels: Iterable[ChannelView]) -> dict[tuple[str, str, int], list[ChannelView]]:
    found: dict[tuple[str, str, int], list[ChannelView]] = {}
    for channel in channels:
        found.setdefault(channel.worker_key, []).append(channel)
    return found


def _apply(rules: Iterable[Rule], view: Any, subject: str, given: Any = None) -> Iterator[Trouble]:
    """Return what rules find in a view. They get `given`, by default the view."""
    for rule in rules:
        found = rule.find(view if given is None else given)
        if found is not None:
            yield Trouble(rule.name, rule.severity, subject, *found, rule.scope, view)


def in_order(troubles: Iterable[Trouble]) -> tuple[Trouble, ...]:
    """Return the worst first: by severity, rule, order of magnitude of the figure, subject. So the
    order does not change while the figures only vary."""
    return tuple(sorted(troubles, key=_weight))


def _weight(trouble: Trouble) -> tuple[int, int, int, str]:
    size = int(log10(trouble.figure)) if trouble.figure >= 1 else 0
    if 0 < trouble.figure < 1:
        size = int(log10(trouble.figure)) - 1
    severity = SEVERITIES.index(trouble.severity)
    return severity, _PLACE[trouble.name], -size, trouble.subject


def concerns(trouble: Trouble, channel: ChannelView) -> bool:
    """Return whether it is a trouble of the channel, of its worker or of its pool."""
    keys = {
        "channel": channel.key,
        "worker": channel.worker_key,
        "pool": (channel.namespace, channel.pool),
    }
    return trouble.scope in keys and trouble.view.key == keys[trouble.scope]


def verdict(troubles: Iterable[Trouble]) -> Verdict:
    """Return the worst severity, or ok."""
    found = {trouble.severity for trouble in troubles}
    for severity in SEVERITIES:
        if severity in found:
            return severity
    return "ok"


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
