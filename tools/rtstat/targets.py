"""Finds the channel for a name or namespace/name, whether the channel is served or not."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

from rtstat.selection import SEE, namespace_of
from rtworkers import paths
from rtworkers.similar import meant_channel


def find_channel(name: str, arguments: argparse.Namespace) -> tuple[str, str]:
    """Return namespace and name. Raises FileNotFoundError if there is none, ValueError
    for several."""
    namespace = namespace_of(arguments)
    found = [n.namespace for n in paths.shm_names(namespace) if n.channel == name]
    if not found:
        where = "on this host" if namespace is None else f"in namespace {namespace!r}"
        raise FileNotFoundError(
            f"there is no channel {name!r} {where}, alive or dead: {SEE}"
            + meant_channel(name, namespace)
        )
    if len(found) > 1:
        several = ", ".join(f"{one}/{name}" for one in found)
        raise ValueError(f"several channels have this name: {several}")
    return found[0], name


@dataclass(frozen=True, slots=True)
class Clocks:
    """One instant in both clocks, to convert CLOCK_MONOTONIC to time of day."""

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
        from shmring_cli.output import duration

        return f"{duration(max(0, self.mono_ns - mono_ns))} ago" if mono_ns > 0 else "never"
