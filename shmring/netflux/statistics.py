"""Counters and measurements of a Netflux link: `NetfluxChannel.stats().netflux`."""

from dataclasses import dataclass, fields
from typing import Any

from shmring._facts import values
from shmring._numbers import NetfluxHistograms, NetfluxNumbers
from shmring._ring import ffi, lib
from shmring.histogram import Histogram
from shmring.stats import ChannelStats, read_histograms


@dataclass(frozen=True, slots=True, kw_only=True)
class NetfluxLink(NetfluxNumbers):
    """The state of both directions of a link, and its counters.

    Counters run since the channel was opened, or since `Channel.reset_stats`. Each number is read
    whole, but not all at one instant. Times are ns of CLOCK_MONOTONIC. None means "never".
    """

    @property
    def rejected(self) -> int:
        """Datagrams that were not accepted, for any reason."""
        return (
            self.rejected_short + self.rejected_repeated + self.rejected_old + self.rejected_foreign
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        facts = {item.name: getattr(self, item.name) for item in fields(self)}
        for name, value in facts.items():
            if isinstance(value, Histogram):
                facts[name] = value.to_dict()
        return facts | {"rejected": self.rejected}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetfluxStats(NetfluxLink, NetfluxHistograms):
    """What `NetfluxChannel.netflux_stats` returns: `NetfluxLink`, and histograms of times.

    `partner_interval` counts per number, so its mean is the partner's cycle however much is lost on
    the way.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class NetfluxChannelStats(ChannelStats):
    """What `NetfluxChannel.stats` returns: `ChannelStats`, and `netflux`."""

    netflux: NetfluxStats


def read_link(segment: Any) -> NetfluxLink:
    """Read from a mapped segment (``shm_segment_t *``) of a Netflux channel, without histograms."""
    now, _ = _read(segment)
    return NetfluxLink(**now)


def read_netflux(segment: Any) -> NetfluxStats:
    """Read from a mapped segment (``shm_segment_t *``) of a Netflux channel."""
    now, stats = _read(segment)
    return NetfluxStats(**(now | read_histograms(NetfluxHistograms, stats.hists)))


def _read(segment: Any) -> tuple[dict[str, Any], Any]:
    counters = ffi.new("uint64_t[]", lib.NFX_COUNTER_TOTAL)
    gauges = ffi.new("uint64_t[]", lib.NFX_GAUGE_TOTAL)
    stats = lib.netflux_read_stats(segment.engine, counters, gauges)
    return values(NetfluxNumbers, (*counters, *gauges)), stats
