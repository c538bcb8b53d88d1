"""The troubles of each channel and worker, out of the one list: the worst, and which there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rtstat.troubles import Trouble
from rtstat.views import ChannelView, WorkerView

_SIGNS = {"broken": "!!", "troubled": "! "}
NO_SIGN = "  "
_NONE: set[str] = set()


class Worst:
    """Finds a channel's or worker's worst trouble without a search of the whole list."""

    def __init__(self, troubles: Sequence[Trouble] = ()) -> None:
        """troubles: the worst first."""
        self._troubles = troubles
        self._places: dict[tuple[str, Any], int] = {}
        self._named: dict[tuple[str, Any], set[str]] = {}
        for place, trouble in enumerate(troubles):
            if trouble.scope != "file":
                key = trouble.scope, trouble.view.key
                self._places.setdefault(key, place)
                self._named.setdefault(key, set()).add(trouble.name)

    def place(self, view: ChannelView | WorkerView) -> int:
        """Return the place in the list of the worst trouble of a channel, its worker or its pool.
        Of a worker: of its own. Without a trouble: the length of the list."""
        none = len(self._troubles)
        if isinstance(view, WorkerView):
            return self._places.get(("worker", view.key), none)
        keys = (
            ("channel", view.key),
            ("worker", view.worker_key),
            ("pool", (view.namespace, view.pool)),
        )
        return min(self._places.get(key, none) for key in keys)

    def of(self, view: ChannelView | WorkerView) -> Trouble | None:
        """Return the worst trouble, or None."""
        place = self.place(view)
        return self._troubles[place] if place < len(self._troubles) else None

    def has(self, view: ChannelView | WorkerView, names: tuple[str, ...]) -> bool:
        """Return whether a channel or worker has one of these troubles itself."""
        scope = "worker" if isinstance(view, WorkerView) else "channel"
        return not self._named.get((scope, view.key), _NONE).isdisjoint(names)

    def sign(self, view: ChannelView | WorkerView) -> str:
        """Return ``!!`` for broken, ``!`` for troubled, in two columns."""
        return sign(self.of(view))


def sign(trouble: Trouble | None) -> str:
    """Return two characters that say the severity without colour."""
    return NO_SIGN if trouble is None else _SIGNS[trouble.severity]
