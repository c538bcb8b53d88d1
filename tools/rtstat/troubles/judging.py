"""The list of troubles: all rules in their order, and what they find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import log10
from typing import Any

from rtstat.troubles import clients, engines, receiving, sending, serving
from rtstat.troubles.rule import SEVERITIES, Rule, Scope, Trouble, Verdict
from rtstat.troubles.serving import Serving
from rtstat.views import ChannelView, PoolView, Unreadable, WorkerView

ORDER = (
    "worker_dead",
    "worker_stopped",
    "worker_stalled",
    "channel_failed",
    "channel_unserved",
    "connection_lost",
    "link_silent",
    "no_producer",
    "values_stale",
    "not_heard",
    "unreadable",
    "kernel_drops",
    "overwritten",
    "send_failed",
    "dropped_late",
    "late",
    "rtp_loss",
    "rtp_loss_there",
    "ports_lost",
    "connection_stalled",
    "send_ring_full",
    "reader_stuck",
    "pool_gone",
    "orphaned",
    "worker_restarted",
)
"""What others suffer from comes first."""

_SUBJECTS = (serving, clients, sending, receiving, engines)
RULES: tuple[Rule, ...] = tuple(
    sorted(
        (rule for module in _SUBJECTS for rule in module.RULES),
        key=lambda rule: ORDER.index(rule.name),
    )
)
"""In the order in which the list shows them."""

_PLACE = {rule.name: place for place, rule in enumerate(RULES)}
_STANDSTILL = frozenset(("worker_dead", "worker_stopped", "worker_stalled"))


def judge(
    workers: Sequence[WorkerView],
    channels: Sequence[ChannelView],
    pools: Sequence[PoolView] = (),
    unreadable: Sequence[Unreadable] = (),
) -> tuple[Trouble, ...]:
    """Return what is wrong with these, the worst first.

    What a channel suffers only because its worker stands still is part of the worker's trouble.
    """
    of_worker = _by_worker(channels)
    owners = {pool.key: pool.owner_alive for pool in pools}
    found = [
        *_apply("file", ((file, file, _file_subject(file)) for file in unreadable)),
        *_apply("pool", ((pool, pool, f"{pool.namespace}/{pool.name}:") for pool in pools)),
    ]
    still: set[tuple[str, str, int]] = set()
    for worker in workers:
        pool_alive = owners.get((worker.namespace, worker.pool))
        given = Serving(worker, tuple(of_worker.get(worker.key, ())), pool_alive)
        subject = f"{worker.namespace}/{worker.pool}:{worker.slot}"
        own = list(_apply("worker", [(worker, given, subject)]))
        if any(trouble.name in _STANDSTILL for trouble in own):
            still.add(worker.key)
        found += own
    found += _apply(
        "channel",
        (
            (channel, channel, f"{channel.namespace}/{channel.name}")
            for channel in channels
            if channel.worker_key not in still
        ),
    )
    return in_order(found)


def _by_worker(channels: Iterable[ChannelView]) -> dict[tuple[str, str, int], list[ChannelView]]:
    found: dict[tuple[str, str, int], list[ChannelView]] = {}
    for channel in channels:
        found.setdefault(channel.worker_key, []).append(channel)
    return found


def _file_subject(file: Unreadable) -> str:
    return f"{file.namespace}/{file.name}"


def _apply(scope: Scope, views: Iterable[tuple[Any, Any, str]]) -> Iterator[Trouble]:
    """Return what the rules of a scope find in views. Each has what a rule gets, and a subject."""
    rules = [rule for rule in RULES if rule.scope == scope]
    for view, given, subject in views:
        for rule in rules:
            found = rule.find(given)
            if found is not None:
                yield Trouble(rule.name, rule.severity, subject, *found, scope, view)


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
