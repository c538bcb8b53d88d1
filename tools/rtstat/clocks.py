"""Converts CLOCK_MONOTONIC to time of day."""

from __future__ import annotations

import time

from rtstat.frozen import Frozen
from shmring_cli.output import duration


class Clocks(Frozen):
    """One instant in both clocks."""

    mono_ns: int
    real_ns: int

    @classmethod
    def now(cls) -> Clocks:
        return cls(time.monotonic_ns(), time.time_ns())

    def real(self, mono_ns: int) -> int:
        """Return CLOCK_REALTIME, ns, of an instant. It is wrong if the clock was set since then."""
        return self.real_ns - self.mono_ns + mono_ns

    def wall(self, mono_ns: int) -> str:
        """Return the time of day, with the date if it is another day."""
        real_ns = self.real(mono_ns)
        if not 0 < real_ns < 2**62:
            return "?"
        at, today = (time.localtime(ns // 10**9) for ns in (real_ns, self.real_ns))
        day = "" if at[:3] == today[:3] else time.strftime("%Y-%m-%d ", at)
        return f"{day}{time.strftime('%H:%M:%S', at)}.{real_ns % 10**9 // 1000:06d}"

    def ago(self, mono_ns: int) -> str:
        """Return a text such as ``4.2 s ago``."""
        return f"{duration(max(0, self.mono_ns - mono_ns))} ago" if mono_ns > 0 else "never"
