"""The worker processes of shmring: where their files are, how they start, and who supervises them.

The loops are in C (``csrc/worker``). This package starts one process per core, watches it, and
restarts it. `shmring.Pool` uses it. Nothing here is a public interface.

Names are imported on first use, so that code that only needs paths (`rtworkers.paths`) loads
nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtworkers.config import PoolSettings
    from rtworkers.control import WorkerDown, WorkerStartError
    from rtworkers.launch import worker_binary
    from rtworkers.slot import Holding, SlotFacts
    from rtworkers.supervisor import PASSING, Supervisor

__all__ = [
    "PASSING",
    "Holding",
    "PoolSettings",
    "SlotFacts",
    "Supervisor",
    "WorkerDown",
    "WorkerStartError",
    "worker_binary",
]

_HOMES = {
    "PoolSettings": "config",
    "WorkerStartError": "control",
    "worker_binary": "launch",
    "PASSING": "supervisor",
    "Holding": "supervisor",
    "SlotFacts": "supervisor",
    "Supervisor": "supervisor",
    "WorkerDown": "control",
}


if not TYPE_CHECKING:  # for a type checker, a module with __getattr__ has every name

    def __getattr__(name):
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
        return value
