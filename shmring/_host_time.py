"""How this host's clocks relate to each other, and what the kernel knows of them."""

import time
from typing import Any, Literal

from shmring._proto import ffi, lib
from shmring.types import Clock

Scale = Literal["utc", "tai"]

NS_PER_S = 1_000_000_000
_PAIRS_AT_FIRST = 50
_KERNEL_EVERY_NS = 1_000_000_000


class HostTime:
    """UTC and TAI as offsets from CLOCK_MONOTONIC.

    Linux slews CLOCK_REALTIME and CLOCK_MONOTONIC together, so their difference is constant until
    somebody sets the time. Each reading ``mono, real, mono`` bounds it, and all readings since the
    last step are intersected.
    """

    def __init__(self) -> None:
        self._state: Any = ffi.new("rt_clock_state_t *")
        self._low = self._high = 0
        self._kernel_ns = 0
        self.steps = 0
        """How often the host's time was set since this object was made."""
        self._begin(*_pair())
        for _ in range(_PAIRS_AT_FIRST):
            self.refresh()

    def refresh(self) -> int:
        """Compare the clocks once (about 0.3 us). Return the time of CLOCK_MONOTONIC."""
        low, high, now_ns = _pair()
        if low > self._high or high < self._low:
            self.steps += 1
            self._begin(low, high, now_ns)
        self._low, self._high = max(low, self._low), min(high, self._high)
        if now_ns - self._kernel_ns >= _KERNEL_EVERY_NS:
            self._ask_kernel(now_ns)
        return now_ns

    def _begin(self, low: int, high: int, now_ns: int) -> None:
        self._low, self._high = low, high
        self._ask_kernel(now_ns)

    def _ask_kernel(self, now_ns: int) -> None:
        lib.rt_clock_state(self._state)  # which cannot fail without a request to change anything
        self._kernel_ns = now_ns

    @property
    def utc_ns(self) -> int:
        """UTC (CLOCK_REALTIME) - CLOCK_MONOTONIC, ns."""
        return (self._low + self._high) // 2

    @property
    def utc_error_ns(self) -> int:
        """By how much `utc_ns` may be wrong."""
        return (self._high - self._low + 1) // 2

    @property
    def tai_ns(self) -> int:
        """CLOCK_TAI - CLOCK_MONOTONIC, ns. If `tai_is_known` is false, this is `utc_ns`."""
        return self.utc_ns + int(self._state.tai_offset_s) * NS_PER_S

    @property
    def tai_is_known(self) -> bool:
        """Whether a program has told the kernel the difference between TAI and UTC."""
        return bool(self._state.tai_offset_s)

    def ahead_ns(self, scale: Scale, clock: Clock) -> int:
        """UTC or TAI minus a channel's clock, ns."""
        tai_ns = int(self._state.tai_offset_s) * NS_PER_S
        utc_ns = self.utc_ns if clock == "monotonic" else -tai_ns
        return utc_ns + (tai_ns if scale == "tai" else 0)

    def ahead_error_ns(self, clock: Clock) -> int:
        """The error of a time of a channel's clock in UTC or TAI: of the host's time, and of the
        conversion."""
        return self.error_ns + (self.utc_error_ns if clock == "monotonic" else 0)

    @property
    def synchronised(self) -> bool:
        """Whether a program such as chrony or ptp4l keeps the host's time."""
        return bool(self._state.synchronised)

    @property
    def error_ns(self) -> int:
        """The error of UTC and TAI, as that program says."""
        return int(self._state.max_error_ns)


def _pair() -> tuple[int, int, int]:
    before_ns = time.monotonic_ns()
    utc_ns = time.time_ns()
    after_ns = time.monotonic_ns()
    return utc_ns - after_ns, utc_ns - before_ns, after_ns
