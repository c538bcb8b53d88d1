"""Which `shmring` pool serves an endpoint, and the end of endpoints nobody refers to any more.

Needs `shmring`; imported by `rtudp.rtudp` only once that was found.

Endpoints that ask for no core and the usual priority share the process's default pool. Every other
pair of core and priority has a pool of its own, with one worker, from the first endpoint that asks
for it until the process ends.
"""

import contextlib
import os
import queue
import threading
import warnings

import shmring
from rtworkers import paths

DEFAULT_PRIORITY = 80
_HIGHEST_CORE = 4095

_lock = threading.Lock()
_pools: dict[tuple[str, int, int], shmring.Pool] = {}
_forgotten: queue.SimpleQueue[tuple[shmring.Pool, str]] = queue.SimpleQueue()
_closer: threading.Thread | None = None


def pool_for(cpu: int, priority: int) -> shmring.Pool:
    """Return the pool whose worker runs on core ``cpu`` (-1: any) with that priority (0: none).

    Whatever the worker cannot have is a `shmring.RealtimeWarning` when it starts, not an error.
    """
    if cpu > _HIGHEST_CORE:
        warnings.warn(
            f"core {cpu} does not exist; the worker runs unpinned",
            shmring.RealtimeWarning,
            stacklevel=5,
        )
        cpu = -1
    if cpu < 0 and priority == DEFAULT_PRIORITY:
        return shmring.default_pool()
    key = (paths.default_namespace(), max(cpu, -1), priority)
    with _lock:
        pool = _pools.get(key)
        if pool is None or pool.closed:
            pool = _pools[key] = shmring.Pool(
                cpus=None if cpu < 0 else [cpu],
                priority=priority or DEFAULT_PRIORITY,
                policy="fifo" if priority else "other",
            )
        return pool


def close_pools() -> None:
    """End the workers of all pools made here; the default pool is `shmring`'s to close."""
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.close()


def start_closer() -> None:
    """Have a thread that closes what `close_later` is told of."""
    global _closer
    with _lock:
        if _closer is None:
            _closer = threading.Thread(target=_close_forgotten, name="closer of rtudp", daemon=True)
            _closer.start()


def close_later(pool: shmring.Pool, name: str) -> None:
    """Close a channel, soon and elsewhere.

    For finalizers, which run in any thread, under whatever lock it holds: this takes none.
    """
    _forgotten.put((pool, name))


def _close_forgotten() -> None:
    while True:
        pool, name = _forgotten.get()
        with contextlib.suppress(OSError):
            pool.close_channel(name)


def _after_fork() -> None:
    global _lock, _forgotten, _closer
    _lock = threading.Lock()
    _forgotten = queue.SimpleQueue()
    _closer = None
    _pools.clear()


os.register_at_fork(after_in_child=_after_fork)
