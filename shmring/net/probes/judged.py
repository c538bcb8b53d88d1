"""A clock whose truth is known, for benches and tests."""

from array import array
from typing import Any

from shmring._proto import ffi, lib
from shmring.net.probes.arrivals import PACKETS
from shmring.net.probes.clock import RemoteClock


class JudgedClock(RemoteClock):
    """Compares with a reflector on this machine, and keeps how far from the truth it was."""

    def __init__(self, host: str, **how: Any) -> None:
        super().__init__(host, **how)
        self._after: Any = ffi.new("stamp_offset_t[]", PACKETS)
        self.errors_ns = array("q")
        """Offset - truth, after each exchange."""
        self.bounds_ns = array("q")
        """The bound after each exchange."""

    def _use(self) -> None:
        lib.stamp_clock_receive_batch(self._state, self._arrivals.raw, self._after)
        truth_ns = self._host.utc_ns
        for known in self._after[0 : self._arrivals.raw.count]:
            middle_ns = (known.low_ns + known.high_ns) // 2
            self.errors_ns.append(middle_ns - truth_ns)
            self.bounds_ns.append(known.high_ns - middle_ns + self._host.utc_error_ns)
