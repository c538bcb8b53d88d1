"""The `shmring` pool of each endpoint, and the end of endpoints without references.

Needs `shmring`. `rtudp.rtudp` imports it only after it has found `shmring`.

Endpoints without a core, or with one that does not exist, share one worker. On machines with more
than two cores, those that only receive share another one, so that a burst of sending does not delay
the reads of their sockets. Each core that an endpoint names has a worker, and priorities other than
the default have separate workers. The first worker is that of the process's default pool. Every
other one has its own pool. All of them run until the process ends.
"""

import contextlib
import os
import queue
import threading
import warnings

import shmring
from shmring.types import Policy

DEFAULT_PRIORITY = 80
_CORES = os.sysconf("SC_NPROCESSORS_CONF")
_USABLE_CORES = len(os.sched_getaffinity(0))
# Two workers that spin for a moment leave nothing of two cores to Python.
_CORES_TO_SHARE = 2

_lock = threading.Lock()
_pools: dict[tuple[str | None, int, int, bool], shmring.Pool] = {}
_forgotten: queue.SimpleQueue[tuple[shmring.Pool, str]] = queue.SimpleQueue()
_warned_of: set[int] = set()
_closer: threading.Thread | None = None


def pool_for(cpu: int, priority: int, *, receives_only: bool) -> shmring.Pool:
    """Return the pool whose worker runs on core ``cpu`` (-1: any) with that priority (0: none).

    If the worker does not get a setting, it gives a `shmring.errors.RealtimeWarning` at its start,
    no error.
    """
    if cpu >= _CORES:
        _warn_of_core(cpu)
    if cpu < 0 or cpu >= _CORES:
        cpu = -1
    apart = receives_only and cpu < 0 and _USABLE_CORES > _CORES_TO_SHARE
    if cpu < 0 and priority == DEFAULT_PRIORITY and not apart:
        return shmring.default_pool()
    key = (os.environ.get("SHMRING_NAMESPACE"), cpu, priority, apart)
    with _lock:
        pool = _pools.get(key)
        if pool is None or pool.closed:
            pool = _pools[key] = shmring.Pool(
                cpus=None if cpu < 0 else [cpu],
                priority=priority or DEFAULT_PRIORITY,
                policy=_policy(priority),
            )
        return pool


def _policy(priority: int) -> Policy | None:
    """Return the class to ask for. None: that of pools which are not told one."""
    if priority == DEFAULT_PRIORITY:
        return None
    return "fifo" if priority else "other"


def _warn_of_core(cpu: int) -> None:
    with _lock:
        if cpu in _warned_of:
            return
        _warned_of.add(cpu)
    warnings.warn(
        f"core {cpu} does not exist, this machine has 0 to {_CORES - 1}; the worker runs unpinned: "
        "give cpu= one of them",
        shmring.errors.RealtimeWarning,
        stacklevel=6,
    )


def close_pools() -> None:
    """End the workers of all pools made here. `shmring` closes the default pool."""
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.close()


def start_closer() -> None:
    """Start the thread that closes the channels passed to `close_later`."""
    global _closer
    with _lock:
        if _closer is None:
            _closer = threading.Thread(target=_close_forgotten, name="closer of rtudp", daemon=True)
            _closer.start()


def close_later(pool: shmring.Pool, name: str) -> None:
    """Close a channel soon, in another thread.

    This is for finalizers. They run in any thread, under any lock it holds, so this takes no lock.
    """
    _forgotten.put((pool, name))


def _close_forgotten() -> None:
    while True:
        pool, name = _forgotten.get()
        with contextlib.suppress(OSError):
            pool.end(name)


def _after_fork() -> None:
    global _lock, _forgotten, _closer
    _lock = threading.Lock()
    _forgotten = queue.SimpleQueue()
    _closer = None
    _pools.clear()


os.register_at_fork(after_in_child=_after_fork)
