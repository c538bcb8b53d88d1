"""When the packets of a capture are due: the arguments of a replay as a plan (capture_plan.h)."""

import math
from typing import Any

from shmring._proto import ffi, lib

_NS_PER_S = 1_000_000_000


def _positive(value: float, name: str, hint: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}: it must be above 0{hint}")
    return value


def plan(scale: float, pps: float | None, bps: float | None) -> Any:
    """Return a ``capture_plan_t *`` without its start. Raises `ValueError`."""
    made = ffi.new("capture_plan_t *")
    if pps is not None and bps is not None:
        raise ValueError(f"pps is {pps} and bps {bps}: give one of them")
    if (pps is not None or bps is not None) and scale != 1.0:
        raise ValueError(
            f"scale is {scale}: it goes with the times of the file, not with pps or bps"
        )
    if not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"scale is {scale}: it must be 0 (no waiting) or above, 1 is as captured")
    made.scale = scale
    made.pace = lib.CAPTURE_BY_TIME if scale > 0 else lib.CAPTURE_AT_ONCE
    if pps is not None:
        made.pace = lib.CAPTURE_BY_COUNT
        made.interval_ns = _NS_PER_S / _positive(pps, "pps", " packets a second")
    if bps is not None:
        made.pace = lib.CAPTURE_BY_BITS
        made.interval_ns = _NS_PER_S / _positive(bps, "bps", " bit/s")
    return made
