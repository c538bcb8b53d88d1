"""The worker processes of shmring: where they lie, how they start, who looks after them.

The loops themselves are C (``csrc/worker``); this package starts one process per core, watches it,
and starts it again. It is used through `shmring.Pool`; nothing here is public interface.

What is named here is imported when it is first asked for: who only reads where things lie
(`rtworkers.paths`) starts without the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtworkers.config import PoolSettings
    from rtworkers.launch import WorkerStartError, worker_binary
    from rtworkers.supervisor import PASSING, Holding, SlotFacts, Supervisor, WorkerDown

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
    "WorkerStartError": "launch",
    "worker_binary": "launch",
    "PASSING": "supervisor",
    "Holding": "supervisor",
    "SlotFacts": "supervisor",
    "Supervisor": "supervisor",
    "WorkerDown": "supervisor",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
