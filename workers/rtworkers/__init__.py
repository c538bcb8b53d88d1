"""The worker processes of shmring: where they lie, how they start, who looks after them.

The loops themselves are C (``csrc/worker``); this package starts one process per core, watches it,
and starts it again. It is used through `shmring.Pool`; nothing here is public interface.
"""

from rtworkers.config import PoolSettings
from rtworkers.launch import WorkerStartError, worker_binary
from rtworkers.supervisor import Holding, SlotFacts, Supervisor, WorkerDown

__all__ = [
    "Holding",
    "PoolSettings",
    "SlotFacts",
    "Supervisor",
    "WorkerDown",
    "WorkerStartError",
    "worker_binary",
]
