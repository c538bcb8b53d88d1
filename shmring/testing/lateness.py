"""Lateness of a channel, judged against what this host can do."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

from rtworkers.examine import Latency, examine

if TYPE_CHECKING:
    from shmring.channel import Channel
    from shmring.rtp.channel import Channel as RtpChannel
    from shmring.stats import ChannelStats

FLOOR_S = 0.5
"""How long the floor is measured."""
WHY_S = 30.0
"""How long the explanation may take."""


def check_lateness(
    channel: Channel | RtpChannel, p99_ns: int, relative_to: Literal["host"] | None
) -> None:
    """`assert_lateness` of shmring.pytest_plugin."""
    __tracebackhide__ = True
    if relative_to not in ("host", None):
        raise ValueError(f'relative_to is {relative_to!r}: use "host" or None')
    stats = channel.stats()
    if not stats.lateness.count:
        raise AssertionError(f'channel "{stats.name}" has sent no packet with a deadline')
    measured_ns = stats.lateness.percentile(99)
    if measured_ns <= p99_ns:
        return
    floor = _floor_for(stats, measured_ns - p99_ns) if relative_to == "host" else None
    if floor is None or measured_ns > p99_ns + floor.p99_ns:
        raise AssertionError(_text(stats, measured_ns, p99_ns, floor))


def _floor_for(stats: ChannelStats, wanted_ns: int) -> Latency:
    """Return the floor of the worker's core. One that is below `wanted_ns` is measured again,
    because the machine may have become busier, and the higher one is returned."""
    floor = host_floor(stats.cpu, stats.policy)
    if floor.p99_ns >= wanted_ns:
        return floor
    host_floor.cache_clear()
    return max(floor, host_floor(stats.cpu, stats.policy), key=lambda found: found.p99_ns)


@functools.cache
def host_floor(cpu: int | None, policy: str) -> Latency:
    """How late a sleeping process wakes up, measured for `FLOOR_S` by the worker's program.

    cpu: the core. None: not pinned. policy: "fifo" or "other". Raises RuntimeError if it cannot be
    measured.
    """
    (found,) = examine([cpu], seconds=FLOOR_S, policy=policy)
    if found.wakeups is None:
        raise RuntimeError(f"the wake-up floor of this host cannot be measured: {found.error}")
    return found.wakeups


def _text(stats: ChannelStats, measured_ns: int, p99_ns: int, floor: Latency | None) -> str:
    core = "not pinned" if stats.cpu is None else f"on core {stats.cpu}"
    allowed_ns = p99_ns + (floor.p99_ns if floor else 0)
    text = (
        f'p99 lateness of channel "{stats.name}" is {measured_ns} ns ({stats.lateness.count} '
        f"packets), allowed are {allowed_ns} ns"
    )
    if floor:
        text += (
            f": p99_ns={p99_ns} and this host's floor of {floor.p99_ns} ns (p99 of {floor.n} "
            f"wake-ups, class {stats.policy}, {core})"
        )
    return f"{text}\n\n{_why(stats)}"


def _why(stats: ChannelStats) -> str:
    """Return what ``rtstat why`` says now. When the test has failed, the channel is gone."""
    command = [sys.executable, "-m", "rtstat", "why", f"{stats.namespace}/{stats.name}"]
    try:
        done = subprocess.run(
            [*command, "--interval", "200ms"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WHY_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as caught:
        return f"rtstat why {stats.namespace}/{stats.name}: {caught}"
    return (done.stdout or done.stderr).rstrip()
