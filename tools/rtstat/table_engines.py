"""The engines' part of `rtstat.table`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rtstat.fields import Field, rows, times, words
from rtstat.numbers import ENGINE_WORDS, NETFLUX_HISTOGRAMS
from shmring.observe import monitor
from shmring.observe.engines import PARTS


def _engine(engine: str, left_out: Iterable[str] = ()) -> Iterator[Field]:
    """Return the fields of the words that need no conversion."""
    return words(word for word in monitor.ENGINE_WORDS[engine] if word[0] not in left_out)


RTP = (
    *rows(
        "interval",
        """
        loss | loss | share | share of the due frames that came too late or never
        """,
    ),
    *rows(
        "instantaneous",
        """
        remote_ssrc   | source     | id    | SSRC of the source received
        reported_loss | loss there | share | share of our packets lost, as reported to us
        sr_ntp        | sr ntp     | ntp   | NTP timestamp of the source's last report
        """,
        {
            "sr_ntp": lambda view: (view["sr_ntp"] & (2**64 - 1)) or None,
        },
    ),
    *_engine("rtp", {"remote_ssrc", "reported_fraction_lost", "sr_ntp"}),
)

_UDT_NAMED = {"state", "rtt_us", "rtt_var_us", "period_ps"}

UDT = (
    *rows(
        "instantaneous",
        """
        state          | state         |         | state, such as connected or broken
        rtt_ns         | RTT           | ns      | smoothed round-trip time
        rtt_var_ns     | RTT deviation | ns      | smoothed deviation of the round-trip time
        window_packets | window        | packets | packets that may be unacknowledged now
        pace_pps       | pace          | pps     | rate of congestion control; none: no limit
        """,
        {
            "rtt_var_ns": lambda view: view["rtt_var_us"] * 1000,
        },
    ),
    *rows(
        "interval",
        """
        loss | loss | share | share of the sent packets that were lost
        """,
    ),
    *_engine("udt", _UDT_NAMED),
)

_NETFLUX_PARTS = tuple(
    name
    for name in ENGINE_WORDS["netflux"]
    if name.startswith(tuple(f"{histogram}_" for histogram in NETFLUX_HISTOGRAMS))
)
NETFLUX = (
    *_engine("netflux", _NETFLUX_PARTS),
    *(
        field
        for name, _, _, text, _ in monitor.ENGINE_HISTOGRAMS["netflux"]
        for field in times(name, text)
    ),
)

_OWN = {"rtp": RTP, "udt": UDT, "netflux": NETFLUX}
ENGINE_FIELDS = {name: _OWN[name] if name in _OWN else tuple(_engine(name)) for name in PARTS}
