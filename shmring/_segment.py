"""Words of a mapped segment as text, who opened its channel and who sends on it."""

from typing import Any

from rtworkers import layout
from rtworkers.opener import ran_at, sees_worker
from shmring._ring import ffi, lib

_DIRECTIONS = {number: name for name, number in layout.DIRECTION.items()}


def text_of(raw: Any) -> str:
    """Return a C string (``char *`` or ``char[]``) as text."""
    text: bytes = ffi.string(raw)
    return text.decode("utf-8", "replace")


def direction_of(config: Any) -> str:
    """Return ``"tx"``, ``"rx"`` or ``"duplex"``."""
    return _DIRECTIONS.get(config.direction, "?")


def opener_of(segment: Any) -> tuple[int | None, bool | None]:
    """Return the process that opened a channel, as its file says, and whether it is alive. None:
    unknown, for it may be in another pid namespace."""
    opener = ffi.new("shm_opener_t *")
    lib.shm_segment_opener(segment, opener)
    if opener.pid == 0:
        return None, None
    if ran_at(opener.pid, opener.since_mono_ns):
        return int(opener.pid), True
    return int(opener.pid), False if sees_worker(segment.status.worker_pid) else None
