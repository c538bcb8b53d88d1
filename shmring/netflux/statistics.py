"""Counters and measurements of a Netflux link: `Channel.stats().engine`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from shmring._facts import values_at
from shmring._numbers import NetfluxHistograms, NetfluxNumbers
from shmring._ring import lib
from shmring.histogram import Histogram
from shmring.observe.reading import engine_places
from shmring.stats import read_histograms


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(NetfluxNumbers):
    """The state of both directions of a link, and its counters.

    Counters run since the channel was opened, or since `shmring.Channel.reset_stats`. Each number
    is read whole, but not all at one instant. Times are ns of CLOCK_MONOTONIC. None means "never".
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
class Stats(Link, NetfluxHistograms):
    """What `Channel.netflux_stats` returns: `Link`, and histograms of times.

    `partner_interval` counts per number, so its mean is the partner's cycle however much is lost on
    the way.
    """


def netflux_link(words: Sequence[int]) -> Link:
    """Return the state of a link from the words of its engine."""
    return Link(**values_at(NetfluxNumbers, words, engine_places("netflux")))


def netflux_stats(segment: Any, words: Sequence[int]) -> Stats:
    """The same with the histograms of a mapped segment (``shm_segment_t *``)."""
    return Stats(
        **values_at(NetfluxNumbers, words, engine_places("netflux")),
        **read_histograms(NetfluxHistograms, segment, lib.SHM_HIST_TOTAL),
    )
