"""Who holds a slot, as the worker knows it."""

from __future__ import annotations

from rtworkers.layout import SHM_OWNER_ELSEWHERE


def process_id(owner: int) -> int | None:
    """None: the process is in another pid namespace, in which the worker cannot see it."""
    return None if owner == SHM_OWNER_ELSEWHERE else owner


def process_text(pid: int | None) -> str:
    """For a person."""
    return "process in another pid namespace" if pid is None else f"process {pid}"
