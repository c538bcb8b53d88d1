"""The clock of the timestamps in generated packets."""

import time
from typing import Any, Literal

from shmring._proto import ffi, lib
from shmring.types import Clock

StampFormat = Literal["ntp", "ptp"]

_TRIES = 5
_STEP_NS = 10_000
"""Less is the error of reading two clocks, more is a clock that was set."""
_CLOCKS: dict[str, int] = {
    "monotonic": time.CLOCK_MONOTONIC,
    "tai": time.CLOCK_TAI,
    "ntp": time.CLOCK_REALTIME,
    "ptp": time.CLOCK_TAI,
}


class StampClock:
    """Tells how far the clock of the timestamps is ahead of that of the deadlines."""

    def __init__(self, stamp: StampFormat, raw: Any) -> None:
        """raw: the ``traffic_clock_t`` to keep up to date. Raises `ValueError`."""
        if stamp not in ("ntp", "ptp"):
            raise ValueError(f"stamp is {stamp!r}: it must be 'ntp' or 'ptp'")
        self._stamp, self._raw = stamp, raw
        self._state = ffi.new("rt_clock_state_t *")
        raw.format = lib.STAMP_NTP if stamp == "ntp" else lib.STAMP_PTP
        self._known = False
        if stamp == "ptp" and not (
            lib.rt_clock_state(self._state) == 0 and self._state.tai_offset_s
        ):
            raise ValueError(
                "stamp is 'ptp', but the kernel's TAI offset is 0: let ptp4l or chrony set it, or "
                "use stamp='ntp'"
            )

    def look(self, deadlines: Clock) -> None:
        """Read the clocks again. A difference of less than 10 us from before is not an event.

        deadlines: the clock of the deadlines.
        """
        apart_ns, ahead_ns = min(self._ahead(deadlines) for _ in range(_TRIES))
        if not self._known or abs(ahead_ns - self._raw.ahead_ns) > _STEP_NS:
            self._raw.ahead_ns, self._known = ahead_ns, True
        if lib.rt_clock_state(self._state) == 0:
            self._raw.synchronised = self._state.synchronised
            self._raw.error_ns = self._state.max_error_ns + apart_ns

    def _ahead(self, deadlines: Clock) -> tuple[int, int]:
        """Return how long the reading took, and how far ahead the clock of the timestamps is."""
        before_ns = time.clock_gettime_ns(_CLOCKS[deadlines])
        now_ns = time.clock_gettime_ns(_CLOCKS[self._stamp])
        after_ns = time.clock_gettime_ns(_CLOCKS[deadlines])
        return after_ns - before_ns, now_ns - (before_ns + after_ns) // 2
