"""Receives somebody else's stream of probes: counts, one-way delay, jitter and loss."""

import contextlib
import itertools
import os
import time
from collections.abc import Callable

from shmring import room
from shmring._address import Address
from shmring._opening import Opening, Udp
from shmring.channel import Channel
from shmring.net.probes.measured import MeasureReport
from shmring.net.probes.measuring import MeasureProgress, Watch, positive, report_of
from shmring.net.probes.outcome import Probes
from shmring.parts import Socket
from shmring.pool import open as open_channel
from shmring.types import Profile

_NS_PER_S = 1_000_000_000
_FLOWS = 16
_WINDOW = 1 << 14
_CAPACITY = 1 << 15
_LEAST_CAPACITY = 64
_TURN_S = 0.004
_NOBODY: Address = ("0.0.0.0", 0)

_numbers = itertools.count()


def _end(channel: Channel, seconds: float | None) -> int:
    """Return the time in so many seconds. None: never."""
    return 1 << 62 if seconds is None else channel.now_ns() + round(seconds * _NS_PER_S)


class Listening:
    """Receives the stream of one sender, that of `shmring.net.generate` for example, which another
    thread or a signal handler can stop."""

    def __init__(
        self,
        local: Address,
        *,
        seconds: float | None = 10.0,
        wait: float | None = None,
        timeout: float = 1.0,
        interface: str | None = None,
        profile: Profile | None = None,
        pool: Opening | str | None = None,
        progress: Callable[[MeasureProgress], object] | None = None,
    ) -> None:
        """Check the arguments. Nothing is opened yet.

        local: the (host, port) to receive on.
        seconds: how long from the first packet. None: until `stop`.
        wait: how long to wait for the first packet. None: until it comes, or `stop`.
        timeout: a packet is lost if it did not come this many seconds after the one behind it left.
        interface, profile, pool, progress: as for `shmring.net.measure`.

        The first sender that is heard is the only one. Up to 16 of its flows have statistics
        (SSID 1 to 16). One-way delays assume that both hosts have one clock, and contain the
        lateness of the sender: T1 is its deadline.
        """
        if seconds is not None:
            positive(seconds, "seconds", "or None for no end")
        if wait is not None:
            positive(wait, "wait", "or None for no end")
        positive(timeout, "timeout", "seconds")
        self._seconds, self._wait, self._timeout_ns = seconds, wait, round(timeout * _NS_PER_S)
        self._pool = pool
        self._local = local
        self._profile: Profile | None = profile
        # Packets that were put together may have one timestamp.
        self._socket = Socket(gro=False, rx_stamp="kernel", device=interface)
        self._watch = Watch(progress)
        self._stopped = False

    def stop(self) -> None:
        """Let `run` return its report. Any thread or signal handler may call it."""
        self._stopped = True

    def _engine(self, capacity: int) -> Udp:
        return Udp(direction="rx", rx=capacity, socket=self._socket)

    def run(self) -> MeasureReport:
        """Receive. Call it once. Raises what `Pool.open` raises."""
        with contextlib.ExitStack() as stack:
            self._queue = room.fitting(
                _CAPACITY,
                lambda n: room.channel_bytes(self._engine(n), local=self._local),
                least=_LEAST_CAPACITY,
            )
            name = f"measure.{os.getpid()}.{next(_numbers)}.listen"
            channel: Channel = stack.enter_context(
                open_channel(
                    name,
                    self._engine(self._queue.count),
                    local=self._local,
                    pool=self._pool,
                    profile=self._profile,
                )
            )
            probes = Probes(
                channel,
                flows=_FLOWS,
                window=_WINDOW,
                late_ns=0,
                timeout_ns=self._timeout_ns,
            )
            watch = self._watch
            watch.begin(probes, "same", None)
            until_ns = _end(channel, self._wait)
            while not self._stopped and channel.now_ns() < until_ns:
                if probes.read(listening=True) and not watch.start_ns:
                    watch.start_ns = channel.now_ns()
                    until_ns = _end(channel, self._seconds)
                probes.settle()
                watch.look(channel.now_ns(), self._share(channel.now_ns()))
                time.sleep(_TURN_S)
            probes.read(listening=True)
            probes.finish()
            watch.look(channel.now_ns(), 1.0, last=True)
            return report_of(
                channel,
                probes,
                watch,
                host=probes.sender or _NOBODY,
                listening=True,
                stopped=self._stopped,
                queue=self._queue,
            )

    def _share(self, now_ns: int) -> float:
        if self._seconds is None or not self._watch.start_ns:
            return 0.0
        return min(1.0, (now_ns - self._watch.start_ns) / (self._seconds * _NS_PER_S))
