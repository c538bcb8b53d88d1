"""Sends the packets of a capture at their times."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Unpack

from shmring._address import Address
from shmring._opening import showing
from shmring._proto import ffi, lib
from shmring._signature import takes
from shmring.net.capture import pacing
from shmring.net.capture.flows import CaptureSummary, summary
from shmring.net.capture.reader import Reader
from shmring.net.capture.routes import Routes
from shmring.net.lanes.lanes import Lanes, SendingOptions
from shmring.net.lanes.report import SendingReport


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport(SendingReport):
    """What became of a replay."""

    rounds: int
    """Rounds of the loop that were played, also in part."""
    capture: CaptureSummary
    """What is in the file. Its counts include all rounds."""


class Player:
    """A replay that another thread or a signal handler can stop. `shmring.net.replay` makes one and
    runs it."""

    @showing(SendingOptions, Lanes)
    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        to: str | Address | None = None,
        map: Mapping[str, str] | None = None,
        flow: str | Iterable[str] = (),
        scale: float = 1.0,
        pps: float | None = None,
        bps: float | None = None,
        loop: int | None = 1,
        **sending: Unpack[SendingOptions],
    ) -> None:
        """Check the arguments, which are those of `shmring.net.replay`. Nothing is opened yet."""
        if loop is not None and not (isinstance(loop, int) and loop >= 1):
            raise ValueError(f"loop is {loop}: it must be an int from 1, or None for no end")
        self._path, self._loop = path, loop
        self._routes = Routes(to, map, flow, sending.get("interface"))
        self._plan = pacing.plan(scale, pps, bps)
        self._lanes = Lanes(
            "replay",
            place=self._place,
            deadlines=self._plan.pace != lib.CAPTURE_AT_ONCE,
            **sending,
        )
        self._routed = 0
        self._round = 1
        self._share: float | None = None

    def stop(self) -> None:
        """Cancel what waits, and let `run` return its report. Any thread or signal handler may
        call it."""
        self._lanes.stopped = True

    def run(self) -> ReplayReport:
        """Send everything. Call it once. Raises the exceptions of `shmring.net.replay`."""
        with Reader(self._path) as reader, self._lanes as lanes:
            if self._loop != 1 and not reader.can_rewind:
                raise ValueError(
                    f"{reader.name} is a pipe and cannot be read again for loop={self._loop}: save "
                    "it to a file first"
                )
            began_ns = self._play(reader)
            return ReplayReport(
                **lanes.facts(began_ns),
                rounds=self._round,
                capture=summary(reader, self._routes, self._round),
            )

    def _play(self, reader: Reader) -> int:
        """Queue all rounds and wait until everything is sent. Return when the first packet was due,
        CLOCK_MONOTONIC."""
        lanes = self._lanes
        while not lanes.stopped:
            for count in reader.batches():
                self._route(reader)
                self._queue(reader, count)
                if lanes.stopped:
                    break
            if lanes.stopped or self._round == self._loop:
                break
            if lanes.queued == 0:  # a file without a packet to send would be read without end
                break
            _checked(lib.capture_plan_next_round(self._plan), reader)
            reader.rewind()
            self._round += 1
        lanes.finish()
        return lanes.began_mono_ns()

    def _place(self) -> tuple[int, float | None]:
        return self._round, self._share

    def _route(self, reader: Reader) -> None:
        """Give new flows their lanes and destinations."""
        for number in range(self._routed, reader.flow_count):
            to = self._routes.destination(reader.ends(number))
            if to is None:
                continue
            lane, address = self._lanes.lane_for(to)
            self._plan.start_ns = self._lanes.start_ns
            lib.capture_route(reader.state, number, lane, address)
        self._routed = reader.flow_count

    def _queue(self, reader: Reader, count: int) -> None:
        raw = self._lanes.raw
        rc = lib.capture_plan_batch(self._plan, reader.state, reader.records, count, raw)
        self._share = reader.share
        self._lanes.queue(reader.payloads)
        _checked(rc, reader)


def _checked(rc: int, reader: Reader) -> None:
    if rc < 0:
        text = ffi.string(lib.rt_err_text()).decode("utf-8", "replace")
        raise ValueError(f"{reader.name}: {text}")


@takes(Player)
def replay(*given: Any, **options: Any) -> ReplayReport:
    """Send the UDP packets of a capture (pcap or pcapng) at their times, and return a report.

    path: a file, ``"-"`` for standard input, or a binary file object. It is read in pieces, so its
        size does not matter.
    to: where everything goes that `map` does not name: ``"10.0.0.7"`` or ``"10.0.0.7:5004"``. None:
        to the captured destinations. Without a port, packets keep theirs.
    map: destinations to replace: ``{"239.0.0.1:5004": "10.0.0.7:6004", "10.1.0.0/16": "::1"}``. The
        first that fits counts. ``"*:5004": "*:6004"`` keeps the host.
    flow: send only these flows: ``"239.0.0.1:5004"`` (destination), ``"10.0.0.1>*:5004"`` (source
        and destination), with networks (``"10.0.0.0/8"``) and ``*``. One, or several of which one
        must fit. Empty: all.
    scale: gaps are multiplied by it: 0.5 is twice as fast. 0: no deadlines, as fast as possible.
    pps: send at this rate instead, packets a second, evenly.
    bps: the same, bits a second, with IP and UDP headers.
    loop: how often to play the file, None: without end. The first packet follows the last one after
        the mean gap of the file. A pipe can be played once.
    start: when the first packet is due: a datetime, or an int, ns of CLOCK_TAI. None: 0.2 s from
        the call.
    local: the (host, port) to send from. It applies to destinations of its IP version.
    interface: through which multicast and link-local packets leave. None: the system's choice.
    ttl: hop limit of the packets. None: the system's.
    broadcast: allow sending to broadcast addresses.
    gso: send packets that are due together in one message. Captures on loopback and on a veth pair
        show such a message as one packet.
    late: what happens to packets past their time: "send" or "drop".
    profile: how the worker waits, "balanced", "latency" or "power". None: as the pool.
    capacity: how many packets may be queued ahead of their time. None: 16384, or as many as a
        fifth of the free shared memory holds.
    pool: which pool sends. None: the default pool.
    progress: is called with a `Progress` about five times a second while packets wait.

    Fragments, and packets that were captured in part, are counted and not sent: see
    ``report.capture.fates``. Raises `ValueError` (an argument, no capture, a damaged file),
    `BadAddress`, `OSError` (the file), and what `Pool.open` and `Channel.send_many` raise. After an
    exception, packets that wait are cancelled.
    """
    return Player(*given, **options).run()
