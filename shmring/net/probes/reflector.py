"""A STAMP Session-Reflector (RFC 8762): it answers test packets with the times of their visit."""

import contextlib
import dataclasses
import errno
import ipaddress
import itertools
import math
import os
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from shmring import room
from shmring._address import Address
from shmring._facts import values
from shmring._host_time import NS_PER_S, HostTime
from shmring._numbers import ReflectorFates
from shmring._opening import Opening, Udp
from shmring._proto import ffi, lib
from shmring.channel import Channel
from shmring.errors import BadConfig, NoPermission, SendTimeout, ShmringOSError
from shmring.histogram import Histogram
from shmring.net.lanes.lane import Columns
from shmring.net.probes.arrivals import Arrivals
from shmring.parts import Queue, Socket
from shmring.pool import open as open_channel
from shmring.types import Profile

PORT: int = lib.STAMP_PORT
MAX_PPS = 100_000.0
SESSIONS = 16384
IDLE_S = 900.0
_MOST_SESSIONS = 1 << 20
HOLD_NS = 300_000
_MOST_HOLD_NS = 500_000_000
_LEAD_NS = 50_000
_CAPACITY = 16384
_LEAST_CAPACITY = 64
_PACKET_BYTES = 256
_TURN_S = 0.2

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reflected(ReflectorFates):
    """What became of the packets that a reflector received: each field counts one kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectorReport:
    """What a reflector did so far."""

    local: Address
    """The address on which it answers."""
    seconds: float
    """Since it began."""
    fates: Reflected
    """What became of the received packets."""
    not_queued: int
    """Replies that found the send ring full, and were left out."""
    failed: int
    """Replies that the kernel refused to send."""
    late: int
    """Replies that were sent more than 50 us after the T3 that they carry."""
    lateness: Histogram
    """Time from T3 to the start of the send call."""
    sessions: int
    """Sessions that are open now (stateful=True)."""
    session_total: int
    """Sessions that began (stateful=True)."""
    steps: int
    """How often the host's time was set meanwhile."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        facts: dict[str, Any] = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        facts["fates"] = dataclasses.asdict(self.fates)
        facts["lateness"] = self.lateness.to_dict()
        return facts


class Reflector:
    """Answers STAMP test packets (RFC 8762, unauthenticated) from its opening until it is closed.

    Use it in a ``with`` block. `serve` answers in this thread until `stop`. Replies carry the
    kernel's timestamp of the arrival (T2) and the deadline of the reply (T3), in the format of the
    request: NTP in UTC, or PTP in TAI. A worker sends each reply at T3 or a little later, never
    before.
    """

    def __init__(
        self,
        local: Address | None = None,
        *,
        stateful: bool = False,
        allow: Iterable[str] = (),
        max_pps: float | None = MAX_PPS,
        sessions: int = SESSIONS,
        idle_s: float = IDLE_S,
        hold_ns: int = HOLD_NS,
        profile: Profile | None = None,
        gso: bool = True,
        pool: Opening | str | None = None,
    ) -> None:
        """Check the arguments, which are those of `shmring.net.reflect`, and open the channel."""
        self._state: Any = ffi.new("stamp_reflector_t *")
        self._networks(allow)
        self._limits(max_pps, sessions, idle_s, hold_ns)
        self._state.stateful = stateful
        self._state.seed = random.getrandbits(64)
        self._lane: Any = ffi.new("due_lane_t *")
        self._columns = Columns(self._lane, answers=True)
        self._times: Any = ffi.new("stamp_times_t *")
        self._host = HostTime()
        self._not_queued = 0
        self._stopped = False
        self._serving = threading.Lock()
        self.queue = room.fitting(
            _CAPACITY,
            lambda n: room.channel_bytes(_engine(n, gso)),
            least=_LEAST_CAPACITY,
        )
        """How many requests and replies may wait, and the shared memory of both."""
        self._channel = _open(local, _engine(self.queue.count, gso), pool=pool, profile=profile)
        self._arrivals = Arrivals(self._channel)
        self._began_ns = time.monotonic_ns()

    def _networks(self, allow: Iterable[str]) -> None:
        wanted = [allow] if isinstance(allow, str) else list(allow)
        if len(wanted) > lib.STAMP_MAX_NETWORKS:
            raise BadConfig(
                f"allow has {len(wanted)} networks: at most {lib.STAMP_MAX_NETWORKS} are possible"
            )
        for number, text in enumerate(wanted):
            try:
                network = ipaddress.ip_network(text)
            except ValueError as caught:
                raise BadConfig(
                    f'allow: {caught}: use "10.0.0.0/8", "fd00::/8" or "10.0.0.7"'
                ) from None
            raw = self._state.networks[number]
            raw.family, raw.bits = network.version, network.prefixlen
            ffi.memmove(raw.ip, network.network_address.packed, network.max_prefixlen // 8)
        self._state.network_count = len(wanted)

    def _limits(self, max_pps: float | None, sessions: int, idle_s: float, hold_ns: int) -> None:
        if max_pps is not None and not 0 < max_pps <= 1e9:
            raise BadConfig(f"max_pps is {max_pps}: it must be above 0, or None for no limit")
        if not 1 <= sessions <= _MOST_SESSIONS:
            raise BadConfig(f"sessions is {sessions}: it must be 1 to {_MOST_SESSIONS}")
        if not 0 < idle_s <= 86400:
            raise BadConfig(f"idle_s is {idle_s}: it must be above 0, up to 86400 (a day)")
        if not 0 <= hold_ns <= _MOST_HOLD_NS:
            raise BadConfig(f"hold_ns is {hold_ns}: it must be 0 to {_MOST_HOLD_NS}")
        slots = 1 << (sessions - 1).bit_length()
        self._sessions: Any = ffi.new("stamp_session_t[]", slots)
        self._state.sessions, self._state.session_slots = self._sessions, slots
        self._state.max_pps = max_pps or 0.0
        self._state.idle_ns = round(idle_s * NS_PER_S)
        self._state.hold_ns, self._state.lead_ns = hold_ns, _LEAD_NS

    @property
    def local(self) -> Address:
        """The address on which it answers."""
        found = self._channel.local
        assert found is not None
        return found

    def serve(self, seconds: float | None = None) -> ReflectorReport:
        """Answer for so many seconds, or until `stop` or `close`, and return the report. May be
        called again after the end of the time. Raises `BadConfig`, `ChannelClosed`,
        `WorkerFailed`."""
        if seconds is not None and not seconds >= 0:
            raise BadConfig(f"seconds is {seconds}: it must be 0 or more, or None for no end")
        until = math.inf if seconds is None else time.monotonic() + seconds
        with self._serving:
            while not self._stopped and (left := until - time.monotonic()) > 0:
                if self._arrivals.receive(timeout=min(left, _TURN_S)):
                    self._answer()
            return self.report()

    def stop(self) -> None:
        """Let `serve` return. Any thread or signal handler may call it."""
        self._stopped = True

    def _answer(self) -> None:
        times, host = self._times, self._host
        times.now_ns = host.refresh()
        times.utc_ns, times.tai_ns = host.utc_ns, host.tai_ns
        times.error_ns = host.error_ns
        times.utc_synchronised = host.synchronised
        times.tai_synchronised = host.synchronised and host.tai_is_known
        if not lib.stamp_reflector_answer(self._state, self._arrivals.raw, times, self._lane):
            return
        try:
            self._channel.send_many(self._arrivals.payload, timeout=0.0, **self._columns.part(0))
        except SendTimeout as full:
            self._not_queued += self._columns.count - full.sent

    def report(self) -> ReflectorReport:
        """Return what was done so far. Any thread may call it."""
        stats = self._channel.stats()
        now_ns = time.monotonic_ns()
        return ReflectorReport(
            local=self.local,
            seconds=(now_ns - self._began_ns) / NS_PER_S,
            fates=Reflected(**values(ReflectorFates, self._state.fates)),
            not_queued=self._not_queued,
            failed=stats.tx_failed,
            late=stats.tx_started_late,
            lateness=stats.lateness,
            sessions=lib.stamp_reflector_sessions(self._state, now_ns),
            session_total=int(self._state.session_total),
            steps=self._host.steps,
        )

    def close(self) -> None:
        """Stop, wait until `serve` has returned in its thread, and close the channel. Replies that
        still wait are sent before."""
        self.stop()
        with self._serving:
            self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _engine(capacity: int, gso: bool) -> Udp:
    """Return the engine with room for so many requests and replies."""
    socket = Socket(
        gso=gso,
        gro=False,  # packets that were put together may have one timestamp
        rx_stamp="kernel",  # whose clock is the one of T3
        txtime="off",  # a card's own clock might launch before it
    )
    return Udp(
        tx=Queue(capacity, _PACKET_BYTES),
        max_payload=65507,
        reports="off",
        report_capacity=0,
        socket=socket,
    )


def _open(local: Address | None, engine: Udp, **where: Any) -> Channel:
    host, port = ("", PORT) if local is None else local
    if host:
        return _open_at((host, port), engine, **where)
    with contextlib.suppress(ShmringOSError):  # a host without IPv6
        return _open_at(("::", port), engine, **where)
    return _open_at(("0.0.0.0", port), engine, **where)


def _open_at(local: Address, engine: Udp, **where: Any) -> Channel:
    name = f"reflect.{os.getpid()}.{next(_numbers)}"
    try:
        return open_channel(name, engine, local=local, **where)
    except (NoPermission, ShmringOSError) as caught:
        if local[1] == 0 or local[1] >= 1024 or caught.errno not in (errno.EACCES, errno.EPERM):
            raise
        raise NoPermission(
            errno.EACCES,
            f"port {local[1]} needs CAP_NET_BIND_SERVICE: choose a port above 1023 (`shmring "
            "reflect :8620`, and port=8620 at the other end), run as root, or allow it to all with "
            f"`sysctl net.ipv4.ip_unprivileged_port_start={local[1]}`",
        ) from None


def reflect(
    local: Address | None = None,
    *,
    seconds: float | None = None,
    stateful: bool = False,
    allow: Iterable[str] = (),
    max_pps: float | None = MAX_PPS,
    sessions: int = SESSIONS,
    idle_s: float = IDLE_S,
    hold_ns: int = HOLD_NS,
    profile: Profile | None = None,
    gso: bool = True,
    pool: Opening | str | None = None,
) -> ReflectorReport:
    """Answer STAMP test packets (RFC 8762, unauthenticated) in this thread, and return a report.

    local: (host, port) to answer on. An empty host stands for all addresses of both IP versions.
        None: port 862 of all addresses, which needs a privilege. A reply comes from the address
        that was asked. Name one address if broadcasts are not to be answered.
    seconds: how long. None: until an exception such as KeyboardInterrupt. `probes.Reflector` can be
        stopped by another thread.
    stateful: number the replies of each session (source address, source port, SSID), so that the
        sender can tell in which direction packets were lost. Otherwise a reply has the sequence of
        its request.
    allow: networks or addresses that are answered. None given: all.
    max_pps: replies a second at most, over all sources, with bursts of a tenth of this. None: no
        limit.
    sessions: how many sessions are remembered at a time, rounded up to a power of two. Requests of
        further ones are not answered.
    idle_s: a session that is silent for so many seconds is forgotten.
    hold_ns: time from the arrival of a request to its reply, if that can be kept. It lets replies
        leave exactly at their T3, with the gaps of the requests.
    profile: as in `Pool.open`.
    gso: as in `Socket`.
    pool: where the channel is opened, or the name of a named pool. None: `default_pool`.

    A reply is as long as its request. Not answered, but counted: requests with fewer than 41 bytes,
    corrupt ones, replies of other reflectors, and packets from ports below 1024 other than 862.
    Raises `NoPermission` (the port), `BadConfig`, `BadAddress`, and what `Pool.open` raises.
    """
    with Reflector(
        local,
        stateful=stateful,
        allow=allow,
        max_pps=max_pps,
        sessions=sessions,
        idle_s=idle_s,
        hold_ns=hold_ns,
        profile=profile,
        gso=gso,
        pool=pool,
    ) as reflector:
        return reflector.serve(seconds)
