"""What a trouble is, and what a rule is that finds one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from rtstat.frozen import Frozen

Severity = Literal["broken", "troubled"]
Verdict = Literal["ok", "troubled", "broken"]
Scope = Literal["file", "pool", "worker", "channel"]
SEVERITIES: tuple[Severity, ...] = ("broken", "troubled")


class Trouble(Frozen):
    """One thing that is wrong."""

    name: str
    """One of `RULES`."""
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


class Rule(NamedTuple):
    """A row of `RULES`."""

    name: str
    severity: Severity
    scope: Scope
    unit: str
    """Of the figure."""
    find: Callable[[Any], Found | None]
    meaning: str
    grows: bool = False
    """Whether it is about what grew since the previous snapshot. If not, about what stands."""
    own: bool = False
    """Of a channel: whether it holds whatever the worker does, so that it is judged even if no
    worker serves the channel. Others rest on figures that a worker keeps up to date."""
