"""Who holds a slot, as the worker knows it."""

from __future__ import annotations

_ELSEWHERE = 0xFFFFFFFE
"""SHM_OWNER_ELSEWHERE in csrc/shm/shm_layout.h."""


def process_id(owner: int) -> int | None:
    """None: the process is in another pid namespace, in which the worker cannot see it."""
    return None if owner == _ELSEWHERE else owner


def process_text(pid: int | None) -> str:
    """For a person."""
    return "process in another pid namespace" if pid is None else f"process {pid}"
