"""Troubles of those that serve: workers and pools, and files that cannot be read."""

from __future__ import annotations

from typing import NamedTuple

from rtstat.numbers import NS_PER_S
from rtstat.troubles.common import many, packets, so_far, start_pool
from rtstat.troubles.rule import Found, Rule
from rtstat.views import ChannelView, OwnerState, PoolView, Unreadable, WorkerView
from shmring_cli.output import duration

RESTARTED_S = 60.0
"""As long as a trouble counts as recent."""


class Serving(NamedTuple):
    """A worker with the channels it serves."""

    worker: WorkerView
    channels: tuple[ChannelView, ...]
    owner_state: OwnerState | None = None
    """Of its pool. None: unknown."""


# --- files and pools ------------------------------------------------------------------------------


def _unreadable(file: Unreadable) -> Found | None:
    if not file.permitted:
        return None
    return Found(
        1,
        f"its file in shared memory cannot be read: {file.reason}",
        "if its processes are dead, remove it: shmring gc",
    )


def _pool_gone(pool: PoolView) -> Found | None:
    seen = any(worker.process_state in ("running", "stopped") for worker in pool.workers)
    if pool.owner_state != "dead" or not seen:
        return None  # a /proc without the workers is another pid namespace's
    count = len(pool.channels)
    return Found(
        count,
        "its process is dead: nobody replaces a worker that dies, and nobody can open a channel. "
        f"{many(count, 'channel')} of it still open",
        "start it again, and it adopts workers and channels: "
        f"{start_pool(pool.namespace, pool.name)}",
    )


def _pool_stopped(pool: PoolView) -> Found | None:
    if pool.owner_state != "stopped":
        return None
    count = len(pool.channels)
    return Found(
        count,
        f"its process {pool.owner_pid} has been stopped, by a signal or a debugger: nobody "
        "replaces a worker that dies, and nobody can open or close a channel. "
        f"{many(count, 'channel')} of it still open",
        f"continue it: kill -CONT {pool.owner_pid}",
    )


# --- workers --------------------------------------------------------------------------------------


def _waiting(serving: Serving) -> str:
    waiting = sum(channel.tx_waiting for channel in serving.channels)
    channels = many(len(serving.channels), "channel")
    return f"{channels} without a worker, {packets(waiting)} not sent"


def _still_s(worker: WorkerView) -> float:
    return worker.heartbeat_age_ns / NS_PER_S


def _worker_dead(serving: Serving) -> Found | None:
    worker = serving.worker
    if worker.alive or worker.process_state not in ("dead", None):
        return None
    age = duration(worker.heartbeat_age_ns)
    return Found(
        _still_s(worker),
        f"process {worker.pid} has been dead for {age}: {_waiting(serving)}"
        if worker.process_state == "dead"
        else f"its last heartbeat was {age} ago, and process {worker.pid} is not seen from here. "
        f"It is dead, or stands still in another pid namespace: {_waiting(serving)}",
        "its pool is not seen, either. If both are dead, adopt the channels: "
        f"{start_pool(worker.namespace, worker.pool)}. Or remove them: shmring gc"
        if serving.owner_state == "dead"
        else "its pool should replace a dead worker within 100 ms. See why it does not: rtstat "
        "errors",
    )


def _worker_stopped(serving: Serving) -> Found | None:
    worker = serving.worker
    if worker.alive or worker.process_state != "stopped":
        return None
    return Found(
        _still_s(worker),
        f"process {worker.pid} has been stopped, by a signal or a debugger, for "
        f"{duration(worker.heartbeat_age_ns)}: {_waiting(serving)}",
        f"continue it: kill -CONT {worker.pid}",
    )


def _worker_stalled(serving: Serving) -> Found | None:
    worker = serving.worker
    if worker.alive or worker.process_state != "running":
        return None
    return Found(
        _still_s(worker),
        f"process {worker.pid} has shown no sign of life for "
        f"{duration(worker.heartbeat_age_ns)}: {_waiting(serving)}",
        "something else has its core, or the machine is out of memory: shmring doctor",
    )


def _worker_restarted(serving: Serving) -> Found | None:
    worker = serving.worker
    if not worker["restarts"] or worker.age_s >= RESTARTED_S:
        return None
    return Found(
        worker["restarts"],
        f"it was restarted {duration(worker.age_s * NS_PER_S)} ago{so_far(worker['restarts'])}",
        "see how it ended: rtstat errors",
    )


# --- the table ------------------------------------------------------------------------------------

RULES = (
    Rule(
        *("worker_dead", "broken", "worker", "s", _worker_dead),
        "the worker had no heartbeat for a second, and its process is dead or not seen from here",
    ),
    Rule(
        *("worker_stopped", "broken", "worker", "s", _worker_stopped),
        "a signal or a debugger stopped the worker",
    ),
    Rule(
        *("worker_stalled", "broken", "worker", "s", _worker_stalled),
        "the worker's process lives, and had no heartbeat for a second",
    ),
    Rule("unreadable", "troubled", "file", "", _unreadable, "a file cannot be read"),
    Rule(
        *("pool_stopped", "troubled", "pool", "channels", _pool_stopped),
        "a signal or a debugger stopped the pool's process",
    ),
    Rule(
        *("pool_gone", "troubled", "pool", "channels", _pool_gone),
        "the pool's process is dead, and its workers continue",
    ),
    Rule(
        *("worker_restarted", "troubled", "worker", "times", _worker_restarted),
        f"the worker was restarted within the last {RESTARTED_S:.0f} s",
    ),
)
