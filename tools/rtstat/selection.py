"""Which channels are shown, and in which order: options that several commands share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from rtstat.snapshot import Snapshot
from rtstat.troubles import Trouble, Verdict, concerns, verdict
from rtstat.views import ChannelView, WorkerView
from rtstat.worst import Worst
from rtworkers import paths
from rtworkers.similar import did_you_mean, meant_namespace
from shmring_cli import options
from shmring_cli.common import BROKEN, FAILED, FINE, LATE

SEE = "see rtstat list --namespace '*'"
"""Where the names of all channels are."""

EXIT_CODES: dict[Verdict, int] = {"ok": FINE, "troubled": LATE, "broken": BROKEN}


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """Add --namespace."""
    options.add_namespace(parser, "$SHMRING_NAMESPACE, else all")


def namespace_of(arguments: argparse.Namespace) -> str | None:
    """Return the requested namespace, or None for all."""
    return options.namespace_of(arguments, os.environ.get("SHMRING_NAMESPACE") or None)


def warn_of_namespace(arguments: argparse.Namespace) -> None:
    """Say which namespace was meant, if nothing is open in the one of --namespace."""
    name = arguments.namespace
    if name not in (None, "*") and not paths.shm_names(name):
        hint = meant_namespace(name)
        if hint:
            print(f"rtstat: nothing is open in namespace {name!r}{hint}", file=sys.stderr)


def warn_of_absence(selection: Selection, shot: Snapshot) -> None:
    """Say that no channel has a requested name, and which was meant."""
    absence = selection.absence(shot)
    if absence:
        print(f"rtstat: {absence}", file=sys.stderr)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add --channel, --pool, --unhealthy and --sort."""
    parser.add_argument(
        "--channel",
        metavar="PATTERN",
        action="append",
        default=[],
        help="only channels whose name matches, such as 'axis-*'; may be repeated",
    )
    add_narrowing(parser)
    parser.add_argument(
        "--sort",
        metavar="FIELD",
        type=_sort_key,
        default=None,
        help="sort channels by this field, largest first, such as late or "
        "lateness_interval_p99_ns (default: by name)",
    )


def add_narrowing(parser: argparse.ArgumentParser) -> None:
    """Add --pool and --unhealthy."""
    parser.add_argument(
        "--pool", metavar="PATTERN", action="append", default=[], help="only of matching pools"
    )
    parser.add_argument(
        "--unhealthy", action="store_true", help="only channels and workers that have a trouble"
    )


def _sort_key(name: str) -> Callable[[ChannelView], Any]:
    from rtstat.table import FIELD

    found = FIELD.get(("channel", name))
    if found is None:
        hint = did_you_mean(name, [field for scope, field in FIELD if scope == "channel"])
        raise argparse.ArgumentTypeError(
            f"channels have no field {name!r}: shmring help rtstat{hint}"
        )
    return found.get


class Selection:
    """The part of a snapshot that is shown."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._channels: list[str] = arguments.channel
        self._pools: list[str] = arguments.pool
        self._unhealthy: bool = arguments.unhealthy
        self._sort: Callable[[ChannelView], Any] | None = arguments.sort
        # A monitor that asks about a namespace is told if nothing is open there: its plant is down.
        self._expected = namespace_of(arguments) if getattr(arguments, "check", False) else None

    @property
    def named(self) -> bool:
        """Whether names were given, so that it is a failure if nothing matches."""
        return bool(self._channels or self._pools)

    def channels(self, shot: Snapshot) -> list[ChannelView]:
        """Return the selected channels, in the requested order."""
        found = [channel for channel in shot.channels if self._asked_for(channel)]
        if self._unhealthy:
            troubled = self._troubled(shot)
            found = [channel for channel in found if channel.key in troubled]
        if self._sort is None:
            return found
        values = [(self._sort(channel), channel) for channel in found]
        if any(isinstance(value, str) for value, _ in values):
            return [c for _, c in sorted(values, key=lambda pair: str(pair[0]))]
        return [c for _, c in sorted(values, key=lambda pair: pair[0] or 0, reverse=True)]

    def worst_first(self, shot: Snapshot) -> list[ChannelView]:
        """Return the selected channels, the worst first unless another order was requested."""
        found = self.channels(shot)
        return found if self._sort is not None else sorted(found, key=Worst(shot.troubles).place)

    def workers(self, shot: Snapshot) -> list[WorkerView]:
        """Return the workers of the selected channels, or all."""
        found = [w for w in shot.workers if _matches(w.pool, self._pools)]
        if self._channels:
            serving = {c.worker_pid for c in self.channels(shot)}
            found = [w for w in found if w.pid in serving]
        if self._unhealthy:
            troubled = self._troubled(shot)
            found = [w for w in found if w.key in troubled]
        return found

    def troubles(self, shot: Snapshot) -> tuple[Trouble, ...]:
        """Return the troubles of what is selected, the worst first."""
        if not self.named:
            return shot.troubles
        asked = [c for c in shot.channels if self._asked_for(c)]
        return tuple(
            trouble
            for trouble in shot.troubles
            if any(concerns(trouble, channel) for channel in asked)
            or (trouble.scope == "file" and _matches(trouble.view.name, self._channels))
        )

    def exists(self, shot: Snapshot) -> bool:
        """Return whether no name was given, or a channel has it. For --check, something must be
        open in the requested namespace, too."""
        if self._is_empty(shot):
            return False
        return not self.named or any(self._asked_for(channel) for channel in shot.channels)

    def _is_empty(self, shot: Snapshot) -> bool:
        return self._expected is not None and shot.is_empty

    def absence(self, shot: Snapshot) -> str:
        """Return that nothing matches the requested names, and which was meant. Else empty."""
        if self.exists(shot):
            return ""
        namespace = self._expected
        if namespace is not None and self._is_empty(shot):
            return f"nothing is open in namespace {namespace!r}{meant_namespace(namespace)}"
        asked = (("", self._channels), ("pool ", self._pools))
        given = [f"{kind}{name!r}" for kind, names in asked for name in names]
        hint = ""
        if len(given) == 1:
            known = [c.name if self._channels else c.pool for c in shot.channels]
            hint = did_you_mean((self._channels or self._pools)[0], known)
        return f"no channel matches {', '.join(given)}: {SEE}{hint}"

    def exit_code(self, shot: Snapshot) -> int:
        """Return the exit code of a command that shows the selection, see `EXIT_CODES`. If there is
        no such channel: `FAILED`."""
        return EXIT_CODES[verdict(self.troubles(shot))] if self.exists(shot) else FAILED

    def _asked_for(self, channel: ChannelView) -> bool:
        return _matches(channel.name, self._channels) and _matches(channel.pool, self._pools)

    def _troubled(self, shot: Snapshot) -> set[tuple[object, ...]]:
        """Return the channels and workers that have a trouble, and the channels of the workers."""
        found: set[tuple[object, ...]] = {
            t.view.key for t in shot.troubles if t.scope in ("channel", "worker")
        }
        return found | {c.key for c in shot.channels if c.worker_key in found}


def _matches(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
