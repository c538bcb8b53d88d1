"""What a Netflux link has counted and measured: the part `netflux` of `NetfluxChannel.stats`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from shmring._ring import ffi, lib
from shmring.stats import ChannelStats, Histogram, text_of


def _fact(unit: str, meaning: str) -> Any:
    return field(metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class NetfluxLink:
    """How both directions of a link are, and what was counted.

    Counters run since the channel was opened, or since `Channel.reset_stats`; they
    bear the names of the tables in ``csrc/proto/netflux/nfx_stats.h``. Each number is read whole,
    but not all at one instant. Times are ns of CLOCK_MONOTONIC; None: never.
    """

    # --- now --------------------------------------------------------------------------------------
    alive: bool = _fact("flag", "a datagram was accepted within the watchdog's interval")
    heard: bool = _fact("flag", "the partner acknowledges what we send")
    fresh: bool = _fact("flag", "the values to send are not too old")
    own_number: int = _fact("number", "number of the last datagram built")
    partner_number: int = _fact("number", "number accepted last, and our feedback")
    received_number: int = _fact("number", "number received last, accepted or not")
    feedback_number: int = _fact("number", "feedback in the datagram accepted last")
    partner_known: bool = _fact("flag", "a datagram was ever accepted")
    last_sent_mono_ns: int | None = _fact("ns", "start of the last send")
    last_accepted_mono_ns: int | None = _fact("ns", "arrival of the datagram accepted last")
    last_rtt_ns: int | None = _fact("ns", "the last round trip")

    # --- counters: sending ------------------------------------------------------------------------
    sent: int = _fact("packets", "handed to the kernel")
    send_failed: int = _fact("packets", "refused by the kernel; no number is used up")
    skipped: int = _fact("instants", "of the send grid that passed without a send")
    sent_stale: int = _fact("packets", "of sent: while the values to send were stale")
    sent_failsafe: int = _fact("packets", "of sent: with the fail-safe payload")

    # --- counters: receiving ----------------------------------------------------------------------
    accepted: int = _fact("packets", "news from the partner")
    rejected_short: int = _fact("packets", "shorter than header and agreed payload")
    rejected_repeated: int = _fact("packets", "with the number accepted last")
    rejected_old: int = _fact(
        "packets", "128 numbers or more ahead: overtaken, or of a partner started anew"
    )
    rejected_foreign: int = _fact("packets", "from another address than the partner's")
    oversize: int = _fact("packets", "of accepted: longer than agreed, the rest was ignored")
    firsts: int = _fact("packets", "of accepted: the first, or the first behind a time-out")
    partner_lost: int = _fact("packets", "of the partner's, missing between two accepted ones")

    # --- counters: acknowledgement ----------------------------------------------------------------
    acknowledged: int = _fact("packets", "of ours whose own number came back")
    passed_over: int = _fact("packets", "of ours covered by the feedback of a later one only")
    ack_lost: int = _fact("packets", "of ours never covered by a feedback")

    # --- counters: what befell it -----------------------------------------------------------------
    timeouts: int = _fact("times", "the watchdog ran out")
    unheard: int = _fact("times", "the partner ceased to acknowledge us")
    stale: int = _fact("times", "the values to send became too old, or their owner died")

    @property
    def rejected(self) -> int:
        """Datagrams that were not taken, for whatever reason."""
        return (
            self.rejected_short + self.rejected_repeated + self.rejected_old + self.rejected_foreign
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` takes."""
        facts = {item.name: getattr(self, item.name) for item in fields(self)}
        for name, value in facts.items():
            if isinstance(value, Histogram):
                facts[name] = value.to_dict()
        return facts | {"rejected": self.rejected}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetfluxStats(NetfluxLink):
    """What `NetfluxChannel.netflux_stats` returns: `NetfluxLink`, and histograms of times."""

    own_interval: Histogram
    """Between the starts of two sends of ours."""
    partner_interval: Histogram
    """Between two sends of the partner, by arrival stamps, per number: the mean is the partner's
    cycle however much is lost on the way."""
    gap: Histogram
    """Between two accepted datagrams."""
    rtt: Histogram
    """Start of a send to the arrival of the feedback with its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetfluxChannelStats(ChannelStats):
    """What `NetfluxChannel.stats` returns: `ChannelStats`, and `netflux`."""

    netflux: NetfluxStats


def _names(table: Any, count: int) -> list[str]:
    return [text_of(table[i]) for i in range(count)]


COUNTERS = _names(lib.ring_netflux_counter_names, lib.NFX_COUNTER_TOTAL)
GAUGES = _names(lib.ring_netflux_gauge_names, lib.NFX_GAUGE_TOTAL)
HISTOGRAMS = _names(lib.ring_netflux_hist_names, lib.NFX_HIST_TOTAL)
_FLAGS = ("alive", "heard", "fresh", "partner_known")
_TIMES = tuple(name for name in GAUGES if name.endswith("_ns"))


def read_link(segment: Any) -> NetfluxLink:
    """Read from a mapped segment (``shm_segment_t *``) of a Netflux channel, without histograms."""
    values, _ = _read(segment)
    return NetfluxLink(**values)


def read_netflux(segment: Any) -> NetfluxStats:
    """Read from a mapped segment (``shm_segment_t *``) of a Netflux channel."""
    values, stats = _read(segment)
    for i, name in enumerate(HISTOGRAMS):
        values[name] = Histogram(stats.hists + i)
    return NetfluxStats(**values)


def _read(segment: Any) -> tuple[dict[str, Any], Any]:
    counters = ffi.new("uint64_t[]", len(COUNTERS))
    gauges = ffi.new("uint64_t[]", len(GAUGES))
    stats = lib.netflux_read_stats(segment.engine, counters, gauges)
    values: dict[str, Any] = dict(zip(COUNTERS, counters, strict=True))
    values.update(zip(GAUGES, gauges, strict=True))
    for name in _FLAGS:
        values[name] = values[name] != 0
    for name in _TIMES:
        values[name] = values[name] or None
    return values, stats
