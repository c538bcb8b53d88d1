"""What many rules need: words and numbers of their sentences, and limits."""

from __future__ import annotations

from rtstat.numbers import NS_PER_S
from rtstat.views import ChannelView, WorkerView
from shmring_cli.output import duration, quantity

FULL_SHARE = 0.95
"""A ring that is fuller has no room for the next burst."""
STUCK_NS = 900_000_000
"""A program that the machine does not run for a shorter time is not stuck. A little less than the
second between two snapshots of most watchers."""


def amount(count: float) -> str:
    return str(int(count)) if count < 10_000 else quantity(count, "").strip()


def many(count: float, what: str) -> str:
    return f"{amount(count)} {what}{'' if count == 1 else 's'}"


def packets(count: float) -> str:
    return many(count, "packet")


def percentage(share: float) -> str:
    return quantity(100 * share, "percent")


def full_name(channel: ChannelView) -> str:
    """Return the name that commands take, whatever the reader's namespace is."""
    return f"{channel.namespace}/{channel.name}"


def start_pool(namespace: str, pool: str) -> str:
    return f"shmring up {namespace}/{pool}"


def within(view: ChannelView | WorkerView) -> str:
    """Return the interval of a trouble. It is not "the last" one if the trouble is kept."""
    return f"within {duration((view.seconds or 0) * NS_PER_S)}"


def so_far(times: int) -> str:
    """Return a sentence about earlier times, with a space before it, or nothing the first time."""
    return f". This has happened {times} times" if times > 1 else ""


def grown(view: ChannelView, name: str) -> int:
    return view.delta(name) or 0
