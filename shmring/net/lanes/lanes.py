"""Sends packets with deadlines on a channel per IP version."""

import contextlib
import dataclasses
import ipaddress
import itertools
import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Self, TypedDict

from shmring import _address, room
from shmring._address import Address
from shmring._opening import Opening, Udp
from shmring._proto import ffi, lib
from shmring.channel import Channel
from shmring.histogram import Histogram
from shmring.net.lanes.lane import Columns, Lane
from shmring.net.lanes.report import Progress
from shmring.net.lanes.start import clock_of, start_ns
from shmring.parts import Multicast, Queue, Socket
from shmring.pool import default_pool
from shmring.stats import ChannelStats
from shmring.types import Late, Profile, StampSource

CAPACITY = 16384
"""Packets that are queued ahead of their time, as far as they fit."""
_LEAST_CAPACITY = 64
_PACKET_BYTES = 1472
_REPORTS = 1 << 16
_REPORTS_PER_PACKET = 4
_NAPS_FROM = 4096
"""Capacity that lasts for a nap of 1 ms at any rate that can be reached."""
_ANY = {4: "0.0.0.0", 6: "::"}

_TELL_NS = 200_000_000

_numbers = itertools.count()


class SendingOptions(TypedDict, total=False):
    """Options of `Lanes` that users give, and `shmring.net.replay` explains."""

    start: datetime | int | None
    local: Address | None
    interface: str | None
    ttl: int | None
    broadcast: bool
    gso: bool
    late: Late
    profile: Profile | None
    capacity: int | None
    pool: Opening | None
    progress: Callable[[Progress], object] | None


class Lanes:
    """The channels of one replay or generator. Each is opened when it is first needed."""

    def __init__(
        self,
        kind: str,
        *,
        place: Callable[[], tuple[int, float | None]],
        start: datetime | int | None = None,
        local: Address | None = None,
        interface: str | None = None,
        ttl: int | None = None,
        broadcast: bool = False,
        gso: bool = True,
        late: Late = "send",
        profile: Profile | None = None,
        capacity: int | None = None,
        pool: Opening | None = None,
        progress: Callable[[Progress], object] | None = None,
        wanted: int = CAPACITY,
        packet_bytes: int = _PACKET_BYTES,
        max_payload: int | None = None,
        tx_stamp: StampSource = "hardware",
        deadlines: bool = True,
    ) -> None:
        """kind: what the channels are named after. capacity: None: `wanted`, or as many as fit (see
        `room.fitting`). place: returns the round, and how much is done,
        for the progress. packet_bytes: as of `Queue`. max_payload: as of `Udp`.
        tx_stamp: as of `Socket`. deadlines:
        whether packets have them. Otherwise none is late. The rest: as for `shmring.net.replay`.
        Nothing is opened yet.
        """
        self._kind, self._start, self._local, self._pool = kind, start, local, pool
        self._capacity, self._wanted = capacity, wanted
        self._profile: Profile | None = profile
        self._packet_bytes = packet_bytes
        self._engine = Udp(
            direction="tx",
            clock=clock_of(start),
            late=late,
            max_payload=max_payload,
            reports="all" if deadlines else "off",  # without deadlines nothing can be late
            socket=Socket(
                tx_stamp=tx_stamp if deadlines else "off",
                broadcast=broadcast,
                gso=gso,
                ttl=ttl,
                multicast=Multicast(interface=interface, ttl=ttl),
            ),
        )
        if start is not None and not deadlines:
            raise ValueError(
                f"start is {start}: with scale=0 packets leave at once, so give one of them"
            )
        self._deadlines, self._progress, self._place = deadlines, progress, place
        self._stack = contextlib.ExitStack()
        self._lanes: dict[int, Lane] = {}
        self.raw: Any = ffi.new("due_lane_t[]", lib.DUE_LANES)
        """What C fills with the packets that `queue` takes: a ``due_lane_t`` per lane."""
        self._columns = [Columns(self.raw[i]) for i in range(lib.DUE_LANES)]
        self._tell_ns = self._told = 0
        self.start_ns = 0
        """When the first packet is due, in the clock of the channels. 0: none is open yet."""
        self.queued = 0
        self.queue_room = room.Room(0, 0, 0, 0)
        """What `SendingReport.queue` is. 0: no channel is open yet."""
        self.stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def lane_for(self, to: Address) -> tuple[int, Any]:
        """Return what `lane_of` returns, after opening the channel if it is the first. Raises
        `BadAddress`, and what `Pool.open` raises."""
        number, address = lane_of(to)
        if number not in self._lanes:
            family = 4 if number == lib.DUE_LANE_IPV4 else 6
            self._lanes[number] = self._opened(family, to)
        return number, address

    def _opened(self, family: int, to: Address) -> Lane:
        pool = default_pool() if self._pool is None else self._pool
        local = self._local
        if local is None or _address.family(_address.pack(local, "local")) != family:
            local = (_ANY[family], 0)
        name = f"{self._kind}.{os.getpid()}.{next(_numbers)}.ipv{family}"
        channel = self._connected(pool, name, local, to)
        if self.start_ns == 0:
            now_ns = channel.now_ns()
            self.start_ns = start_ns(self._start, now_ns) if self._deadlines else now_ns
        return Lane(channel, naps=self.queue_room.count >= _NAPS_FROM)

    def _connected(self, pool: Opening, name: str, local: Address, to: Address) -> Channel:
        """Open a channel that knows the way to the first destination, because most have only one:
        then the kernel needs 3.1 us instead of 3.4 to send a packet over a veth pair. Without a
        way, such as to a broadcast address that is not allowed, each packet gets its verdict."""
        if not ipaddress.ip_address(to[0].partition("%")[0]).is_multicast:
            with contextlib.suppress(OSError):
                return self._open(pool, name, local, to)
        return self._open(pool, name, local, None)

    def _open(self, pool: Opening, name: str, local: Address, to: Address | None) -> Channel:
        socket = dataclasses.replace(self._engine.socket, connect=to is not None)
        engine = dataclasses.replace(self._engine, socket=socket)
        before = self.queue_room
        fits = self._room(engine, to) if not before.count else before
        channel = pool.open(
            name, self._sized(engine, fits.count), local=local, remote=to, profile=self._profile
        )
        taken = before.shm_bytes + channel.stats().segment_bytes
        self.queue_room = dataclasses.replace(fits, shm_bytes=taken)
        return self._stack.enter_context(channel)

    def _sized(self, engine: Udp, capacity: int) -> Udp:
        """Return the engine with room for so many packets. The reports of a nap must fit."""
        reports = 1 << (_REPORTS_PER_PACKET * capacity - 1).bit_length()
        return dataclasses.replace(
            engine,
            tx=Queue(capacity, self._packet_bytes),
            report_capacity=min(_REPORTS, reports),
        )

    def _room(self, engine: Udp, to: Address | None) -> room.Room:
        """Return how many packets the channels of this engine have room for."""

        def bytes_of(capacity: int) -> int:
            return room.channel_bytes(self._sized(engine, capacity), remote=to)

        if self._capacity is not None:
            return room.Room(self._capacity, self._capacity, 0, room.free_bytes())
        return room.fitting(self._wanted, bytes_of, least=_LEAST_CAPACITY)

    def queue(self, payloads: memoryview) -> list[int]:
        """Queue the packets in `raw`, until all are queued or `stopped` is true. Return how many
        of each lane are queued.

        payloads: the bytes to which their offsets refer.
        """
        queued = [0] * len(self._columns)
        for number, lane in self._lanes.items():
            columns = self._columns[number - 1]
            done = 0
            while done < columns.count and not self.stopped:
                before = done
                done = lane.send(payloads, columns, done)
                self.queued += done - before
                self._look(done < columns.count)
            queued[number - 1] = done
        return queued

    def finish(self) -> None:
        """Wait until everything is sent, or cancel it."""
        for lane in self._lanes.values():
            while not self.stopped and not lane.flush():
                self._look(True)
        for lane in self._lanes.values():
            if self.stopped:
                lane.channel.purge()
                lane.flush()
            lane.read_reports()

    def began_mono_ns(self) -> int:
        """Return when the first packet was due, CLOCK_MONOTONIC. Without channels: now."""
        now_ns = time.monotonic_ns()
        for lane in self._lanes.values():
            return now_ns - (lane.channel.now_ns() - self.start_ns)
        return now_ns

    def facts(self, began_ns: int) -> dict[str, Any]:
        """Return the fields of a `SendingReport`. began_ns: from `began_mono_ns`."""
        stats = self._stats()
        return {
            "packets": self.queued,
            "sent": sum(each.tx_sent for each in stats),
            "late": self._late(stats),
            "slow_calls": sum(each.tx_call_slow for each in stats) if self._deadlines else 0,
            "failed": sum(each.tx_failed for each in stats),
            "not_sent": sum(each.tx_dropped_late + each.tx_cancelled for each in stats),
            "seconds": max(0, time.monotonic_ns() - began_ns) / 1e9,
            "lateness": _lateness(stats),
            "gap_error": sum((lane.gap_errors for lane in self._lanes.values()), _no_histogram()),
            "stopped": self.stopped,
            "queue": self.queue_room,
        }

    def _look(self, waited: bool) -> None:
        """Read the reports, and tell the progress after each wait."""
        for lane in self._lanes.values():
            lane.read_reports()
        now_ns = time.monotonic_ns()
        if self._progress is None or not (waited or now_ns >= self._tell_ns):
            return
        stats = self._stats()
        sent = max(0, self.queued - sum(each.tx_waiting for each in stats))
        since_ns = now_ns - (self._tell_ns - _TELL_NS)
        rate_pps = (sent - self._told) * 1e9 / since_ns if self._tell_ns else 0.0
        self._tell_ns, self._told = now_ns + _TELL_NS, sent
        late, p99_ns = self._late(stats), _lateness(stats).percentile(99)
        self._progress(Progress(sent, self.queued, *self._place(), rate_pps, late, p99_ns))

    def _stats(self) -> list[ChannelStats]:
        return [lane.stats() for lane in self._lanes.values()]

    def _late(self, stats: Iterable[ChannelStats]) -> int:
        return sum(each.tx_started_late for each in stats) if self._deadlines else 0


def lane_of(to: Address) -> tuple[int, Any]:
    """Return the number of the lane to a destination, and the destination as a
    ``due_address_t *``. Raises `BadAddress`."""
    packed = _address.pack(to, "to", least_port=1)
    address = ffi.new("due_address_t *")
    ffi.memmove(address, packed, len(packed))
    return (lib.DUE_LANE_IPV4 if _address.family(packed) == 4 else lib.DUE_LANE_IPV6), address


def _no_histogram() -> Histogram:
    from shmring._ring import ffi as ring_ffi

    return Histogram(ring_ffi.new("rt_hist_t *"))


def _lateness(stats: Iterable[ChannelStats]) -> Histogram:
    return sum((each.lateness for each in stats), _no_histogram())
