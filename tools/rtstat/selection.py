"""Which channels are shown, and in which order: options that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from rtstat.snapshot import Snapshot
from rtstat.views import ChannelView, WorkerView


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """Add --namespace and --all."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--namespace", metavar="NS", help="default: $SHMRING_NAMESPACE, else every namespace"
    )
    where.add_argument("--all", action="store_true", help="every namespace of this host")


def namespace_of(arguments: argparse.Namespace) -> str | None:
    """Return the requested namespace, or None for all."""
    if arguments.all:
        return None
    return arguments.namespace or os.environ.get("SHMRING_NAMESPACE") or None


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add --channel, --pool, --unhealthy and --sort."""
    parser.add_argument(
        "--channel",
        metavar="PATTERN",
        action="append",
        default=[],
        help="only channels whose name matches, such as 'axis-*'; may be repeated",
    )
    parser.add_argument(
        "--pool", metavar="PATTERN", action="append", default=[], help="only of matching pools"
    )
    parser.add_argument(
        "--unhealthy", action="store_true", help="only stale, failed or unreadable ones"
    )
    parser.add_argument(
        "--sort",
        metavar="FIELD",
        type=_sort_key,
        default=None,
        help="sort channels by this field, largest first, such as late or "
        "lateness_interval_p99_ns (default: by name)",
    )


def _sort_key(name: str) -> Callable[[ChannelView], Any]:
    from rtstat.table import FIELD

    found = FIELD.get(("channel", name))
    if found is None:
        raise argparse.ArgumentTypeError(f"channels have no field {name!r}: shmring help rtstat")
    return found.get


class Selection:
    """The part of a snapshot that is shown."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._channels: list[str] = arguments.channel
        self._pools: list[str] = arguments.pool
        self._unhealthy: bool = arguments.unhealthy
        self._sort: Callable[[ChannelView], Any] | None = arguments.sort

    @property
    def named(self) -> bool:
        """Whether names were given, so that it is a failure if nothing matches."""
        return bool(self._channels or self._pools)

    def channels(self, shot: Snapshot) -> list[ChannelView]:
        """Return the selected channels, in the requested order."""
        found = [channel for channel in shot.channels if self._shown(channel)]
        if self._sort is None:
            return found
        values = [(self._sort(channel), channel) for channel in found]
        if any(isinstance(value, str) for value, _ in values):
            return [c for _, c in sorted(values, key=lambda pair: str(pair[0]))]
        return [c for _, c in sorted(values, key=lambda pair: pair[0] or 0, reverse=True)]

    def workers(self, shot: Snapshot) -> list[WorkerView]:
        """Return the workers of the selected channels, or all."""
        found = [w for w in shot.workers if _matches(w.pool, self._pools)]
        if self._channels:
            serving = {c.worker_pid for c in self.channels(shot)}
            found = [w for w in found if w.pid in serving]
        return [w for w in found if not (self._unhealthy and w.healthy)]

    def healthy(self, shot: Snapshot) -> bool:
        """Return whether everything selected exists and is healthy."""
        if not self.named:
            return shot.healthy
        channels = [c for c in shot.channels if self._asked_for(c)]
        workers = self.workers(shot)
        lost = [u for u in shot.unreadable if u.permitted and _matches(u.name, self._channels)]
        if not channels or lost:
            return False
        return all(c.healthy for c in channels) and all(w.healthy for w in workers)

    def _asked_for(self, channel: ChannelView) -> bool:
        return _matches(channel.name, self._channels) and _matches(channel.pool, self._pools)

    def _shown(self, channel: ChannelView) -> bool:
        return self._asked_for(channel) and not (self._unhealthy and channel.healthy)


def _matches(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
