"""The worker's Netflux session in virtual time: an `End` like the simulated partners."""

from __future__ import annotations

from typing import Any, NamedTuple

from shmring._facts import names
from shmring._numbers import NetfluxHistograms, NetfluxNumbers
from shmring._proto import ffi, lib
from shmring.testing import Datagram
from shmring.testing.link import Address, sans_io_check

_ON_STALE = {
    "continue": lib.NFX_STALE_CONTINUE,
    "failsafe": lib.NFX_STALE_FAILSAFE,
    "stop": lib.NFX_STALE_STOP,
}
_VERDICTS = {
    lib.NFX_ACCEPTED: "accepted",
    lib.NFX_FIRST: "first",
    lib.NFX_REPEATED: "repeated",
    lib.NFX_OLD: "old",
    lib.NFX_SHORT: "short",
}
_EVENTS = ("alive", "timeout", "heard", "unheard", "fresh", "stale")


_NAMES = names(NetfluxNumbers)
_COUNTERS = _NAMES[: lib.NFX_COUNTER_TOTAL]
_GAUGES = _NAMES[lib.NFX_COUNTER_TOTAL :]
_HISTOGRAMS = names(NetfluxHistograms)


class Event(NamedTuple):
    """A change of the link: alive, timeout, heard, unheard, fresh or stale."""

    what: str
    at_ns: int


class Durations(NamedTuple):
    """One histogram, in ns."""

    samples: int
    mean_ns: float
    min_ns: int
    max_ns: int
    median_ns: int


class Session:
    """An nfx_session_t, for which the test plays the socket and the application.

    It sends to `remote` and accepts datagrams only from there (None: from any address). While
    `refreshing` is true it keeps `to_send` fresh. `at_send` is called before each send, with the
    session. `send_fails`: the kernel refuses each send. `taken` counts datagrams whose payload was
    accepted.
    """

    def __init__(
        self,
        *,
        receive: int = 20,
        send: int = 20,
        cycle_ns: int = 1_000_000,
        watch_ns: int = 30_000_000,
        hear_ns: int = 0,
        stale_ns: int = 0,
        on_stale: str = "continue",
        keep_window: bool = False,
        remote: Address | None = None,
        now_ns: int = 0,
    ) -> None:
        """Fields of nfx_config_t. Raises BadConfig."""
        config = ffi.new(
            "nfx_config_t *",
            {
                "rx_payload_bytes": receive,
                "cycle_ns": cycle_ns,
                "watch_ns": watch_ns,
                "hear_ns": hear_ns,
                "stale_ns": stale_ns,
                "on_stale": _ON_STALE[on_stale],
                "keep_window": keep_window,
            },
        )
        self._stats = ffi.new("nfx_stats_t *")
        self._session = ffi.new("nfx_session_t *")
        self._frame = ffi.new("nfx_frame_t *")
        self._out = ffi.new("nfx_out_t *")
        self._event = ffi.new("nfx_event_t *")
        sans_io_check(lib.nfx_session_init(self._session, config, self._stats))
        lib.nfx_session_start_sending(self._session, now_ns, now_ns)
        self.remote = remote
        self.to_send = bytes(send)
        self.failsafe = bytes(send)
        self.refreshing = True
        self.send_fails = False
        self.at_send: Any = None
        self.received = bytes(receive)
        self.taken = 0
        self.events: list[Event] = []

    @property
    def deadline_ns(self) -> int:
        return int(lib.nfx_session_deadline_ns(self._session))

    def arrive(self, data: bytes, source: Address, now_ns: int) -> str:
        """Returns the verdict: accepted, first, repeated, old, short or foreign."""
        if self.remote is not None and source != self.remote:
            lib.nfx_session_foreign(self._session, 1)
            return "foreign"
        frame = self._frame
        verdict = lib.nfx_session_receive(self._session, data, len(data), now_ns, now_ns, frame)
        if verdict >= 0:
            self.taken += 1
            self.received = bytes(ffi.buffer(frame.payload, frame.payload_bytes))
        self._collect_events()
        return _VERDICTS[verdict]

    def run(self, now_ns: int) -> list[Datagram]:
        if self.refreshing:
            lib.nfx_session_refreshed(self._session, now_ns, now_ns)
        sends = lib.nfx_session_emit(self._session, self._out, now_ns)
        self._collect_events()
        if not sends:
            return []
        if self.at_send is not None:
            self.at_send(self)
        if self.send_fails:
            lib.nfx_session_not_sent(self._session)
            return []
        values = self.failsafe if self._out.source == lib.NFX_FAILSAFE else self.to_send
        lib.nfx_session_sent(self._session, now_ns)
        return [Datagram(bytes(self._out.header) + values, self.remote)]

    def stop_sending(self) -> None:
        lib.nfx_session_stop_sending(self._session)

    def count(self, name: str) -> int:
        """Return a counter of nfx_stats.h."""
        return int(self._stats.counters[_COUNTERS.index(name)])

    def gauge(self, name: str) -> int:
        return int(self._stats.gauges[_GAUGES.index(name)])

    def durations(self, name: str) -> Durations:
        """Return a histogram of nfx_stats.h."""
        hist = self._stats.hists[_HISTOGRAMS.index(name)]
        count = hist.count
        median = lib.rt_hist_quantile_ns(ffi.addressof(hist), 0.5)
        return Durations(
            count, hist.sum_ns / count if count else 0.0, hist.min_ns, hist.max_ns, median
        )

    def _collect_events(self) -> None:
        while lib.nfx_session_next_event(self._session, self._event):
            self.events.append(Event(_EVENTS[self._event.kind], self._event.at_ns))
