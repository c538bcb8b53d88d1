"""The verdicts on packets, as the names of their counters: one list for all tools."""

from __future__ import annotations

from rtworkers import layout

_NOT_LATE = ("on_time", "cancelled", "failed")

VERDICTS = tuple(f"tx_{verdict}" for verdict in layout.VERDICT)
"""Counters of all verdicts, in the order of their numbers."""
LATE = tuple(f"tx_{verdict}" for verdict in layout.VERDICT if verdict not in _NOT_LATE)
"""Counters of the verdicts that mean late, dropped packets included, in the order of their
numbers."""
LATE_SENT = tuple(name for name in LATE if name != "tx_dropped_late")
"""Those of packets that were sent, late."""
