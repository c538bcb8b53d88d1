"""What happened: each worker's flight recorder and distinct errors, each channel's late packets.

Everything is read from shared memory, read-only and without asking any process. So it can be read
when the worker hangs, and after a whole pool was killed, until ``shmring gc`` removes its files.

    >>> from shmring import observe
    >>> observe.events(namespace="plant")
    >>> observe.late_packets("ctl")
    >>> observe.errors("line-1")

Times are in ns, of CLOCK_MONOTONIC where a name says so, else of the channel's clock.

Names are imported on first use: `shmring.observe.monitor`, which rtstat reads, needs few of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtworkers.history import (
        DistinctError,
        Event,
        EventKind,
        WorkerRecord,
        errors,
        event_kinds,
        events,
        workers,
    )
    from shmring.observe.late import (
        LateChannel,
        LatePacket,
        late_channel,
        late_packets,
        worker_lives,
    )

__all__ = [
    "DistinctError",
    "Event",
    "EventKind",
    "LateChannel",
    "LatePacket",
    "WorkerRecord",
    "errors",
    "event_kinds",
    "events",
    "late_channel",
    "late_packets",
    "worker_lives",
    "workers",
]

_LATE = {"LateChannel", "LatePacket", "late_channel", "late_packets", "worker_lives"}


if not TYPE_CHECKING:  # for a type checker, a module with __getattr__ has every name

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = "shmring.observe.late" if name in _LATE else "rtworkers.history"
        value = globals()[name] = getattr(importlib.import_module(home), name)
        return value
