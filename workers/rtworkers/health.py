"""The health of a channel and of a worker, in the words that all tools use."""

from __future__ import annotations

STALE_NS = 1_000_000_000
"""If a heartbeat is older than this, the other values are not true any more."""

_YOUNG_S = 1.0


def of_channel(state: str, heartbeat_age_ns: int | None, made_age_s: float) -> str:
    """Return ``ok``, ``new`` (at most a second old and not served yet), ``stale`` (no heartbeat for
    a second, or never a worker), ``failed`` or ``closed`` (and its file still exists).

    heartbeat_age_ns: None: no worker has served it yet. made_age_s: the age of its file.
    """
    if state in ("open", "held"):
        return of_worker(heartbeat_age_ns)
    if state == "new":
        return "new" if made_age_s < _YOUNG_S else "stale"
    return state if state in ("closed", "failed") else "failed"


def of_worker(heartbeat_age_ns: int | None) -> str:
    """Return ``ok`` or ``stale``."""
    return "ok" if heartbeat_age_ns is not None and heartbeat_age_ns < STALE_NS else "stale"


def served(health: str) -> bool:
    """Return whether a worker serves a channel of this health, or it is new or closed."""
    return health in ("ok", "new", "closed")
