"""The engines' part of `rtstat.table`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rtstat import _look
from rtstat.fields import Field, rows, times, words
from rtstat.numbers import NETFLUX_HISTOGRAMS


def _engine(engine: str, left_out: Iterable[str] = ()) -> Iterator[Field]:
    """Return the fields of the words that need no conversion."""
    return words(word for word in _look.ENGINE_WORDS[engine] if word[0] not in left_out)


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

UDT_PORT = tuple(_engine("udt-port"))

_TEXTS = {word[0]: word[3] for word in _look.ENGINE_WORDS["netflux"]}
_NETFLUX_HISTOGRAM_WORDS = tuple(
    name for name in _TEXTS if name.startswith(tuple(f"{h}_" for h in NETFLUX_HISTOGRAMS))
)
NETFLUX = (
    *_engine("netflux", _NETFLUX_HISTOGRAM_WORDS),
    *(field for name in NETFLUX_HISTOGRAMS for field in times(name, _TEXTS[f"{name}_count"])),
)

MUX = tuple(_engine("mux"))
