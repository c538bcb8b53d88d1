"""What a trouble is, and what a rule is that finds one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from rtstat.clocks import Clocks
from rtstat.frozen import Frozen
from rtstat.views import ChannelView, OwnerState, WorkerView

Severity = Literal["broken", "troubled"]
Verdict = Literal["ok", "troubled", "broken"]
Scope = Literal["file", "pool", "worker", "channel"]
SEVERITIES: tuple[Severity, ...] = ("broken", "troubled")


class Trouble(Frozen):
    """One thing that is wrong."""

    name: str
    """That of its rule."""
    severity: Severity
    """``broken``: something does not work at all. ``troubled``: it works, with losses or late."""
    subject: str
    """Where: ``namespace/channel``, ``namespace/pool:slot`` of a worker, or ``namespace/pool:`` of
    a pool."""
    figure: float
    """How much, in the unit of its rule."""
    text: str
    """What is wrong, with figures: a sentence about the subject."""
    fix: str
    """What to do about it: a sentence with a number or a command."""
    scope: Scope
    """What the subject is: ``channel``, ``worker``, ``pool`` or ``file``."""
    view: Any
    """Its view."""


class Found(NamedTuple):
    """What a rule says about a view."""

    figure: float
    text: str
    fix: str


class Serving(NamedTuple):
    """What a rule of workers gets: a worker with the channels it serves."""

    worker: WorkerView
    channels: tuple[ChannelView, ...]
    owner_state: OwnerState | None = None
    """Of its pool. None: unknown."""


class Rule(NamedTuple):
    """A row of the table."""

    name: str
    severity: Severity
    scope: Scope
    unit: str
    """Of the figure."""
    meaning: str
    find: Callable[[Any], Found | None]
    grows: bool
    """Whether it is about what grew since the previous snapshot. If not, about what stands."""
    own: bool
    """Of a channel: whether it holds whatever the worker does, so that it is judged even if no
    worker serves the channel. Others rest on figures that a worker keeps up to date."""
    counters: tuple[str, ...]
    """The counters and gauges it rests on. Those of an engine have its name: ``rtp.lost``."""
    kinds: tuple[str, ...]
    """Kinds of the events it rests on."""
    since: Callable[[Trouble, ChannelView], int] | None
    """Returns when it began, or 0. None: with the latest unbroken row of its events."""
    say: Callable[[ChannelView, Clocks], Iterator[str]] | None
    """Returns what else can be checked, in words."""


ROWS: list[Rule] = []


def rule(
    severity: Severity,
    scope: Scope,
    unit: str,
    meaning: str,
    *,
    grows: bool = False,
    own: bool = False,
    counters: str = "",
    kinds: str = "",
    since: Callable[[Trouble, ChannelView], int] | None = None,
    say: Callable[[ChannelView, Clocks], Iterator[str]] | None = None,
) -> Callable[[Callable[[Any], Found | None]], Callable[[Any], Found | None]]:
    """Add a row with the decorated function, which is named after the trouble that it finds."""

    def add(find: Callable[[Any], Found | None]) -> Callable[[Any], Found | None]:
        evidence = tuple(counters.split()), tuple(kinds.split()), since, say
        row = Rule(find.__name__, severity, scope, unit, meaning, find, grows, own, *evidence)
        ROWS.append(row)
        return find

    return add
