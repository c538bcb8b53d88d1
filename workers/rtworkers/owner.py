"""The holder of a slot, as the worker knows it."""

from __future__ import annotations

from rtworkers.layout import SHM_OWNER_ELSEWHERE


def process_id(owner: int) -> int | None:
    """Return a process id. None: the process is in another pid namespace, where the worker cannot
    see it."""
    return None if owner == SHM_OWNER_ELSEWHERE else owner


def process_text(pid: int | None) -> str:
    """Return the holder in words."""
    return "process in another pid namespace" if pid is None else f"process {pid}"
