"""The part of `rtstat.table` that is the engines'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rtstat import _look
from rtstat.fields import (
    Field,
    Kind,
    Word,
    flag,
    or_none,
    readable,
    rows,
    times,
    words_of,
)
from rtstat.numbers import NETFLUX_HISTOGRAMS


def _text_of(engine: str, word: str) -> str:
    ((_, _, text),) = words_of(_look.ENGINE_WORDS[engine], (word,))
    return str(text)


def _engine(
    engine: str, counting: tuple[str, str] | None, left_out: Iterable[str]
) -> Iterator[Field]:
    """Fields of the words that need no interpretation. counting: the first and the last that count
    up; what is no counter is a gauge."""
    words = _look.ENGINE_WORDS[engine]
    names = [name for name, _, _ in words]
    first, last = (names.index(name) for name in counting) if counting else (1, 0)
    for i, (name, unit, text) in enumerate(words):
        if name not in left_out:
            kind: Kind = "accumulated" if first <= i <= last else "instantaneous"
            yield Field(name, readable(name), unit or _unit_of(name), kind, text, Word(name))


def _unit_of(name: str) -> str:
    endings = {"_ns": "ns", "_us": "us", "_ps": "ps", "_bytes": "bytes", "_packets": "packets"}
    endings["_pps"] = "pps"
    return next((unit for ending, unit in endings.items() if name.endswith(ending)), "")


_RTP_NOTHING = {
    "next_due_ns": ("ns", 0, "slot of the next packet we send, in the channel's clock"),
    "rtcp_due_ns": ("ns", 0, "next report of ours, CLOCK_MONOTONIC"),
    "report_mono_ns": ("ns", 0, "when the last report about us came, CLOCK_MONOTONIC"),
    "sr_mono_ns": ("ns", 0, "when it came, CLOCK_MONOTONIC"),
    "bye_mono_ns": ("ns", 0, "when the source said goodbye, CLOCK_MONOTONIC"),
}

RTP = (
    *rows(
        "interval",
        """
        loss | loss | share | of the frames due, that came too late or never
        """,
    ),
    *rows(
        "instantaneous",
        """
        remote_ssrc   | source     | id    | SSRC of the source received; none proved yet
        rtt_ns        | RTT        | ns    | round trip, from the last report about us
        reported_loss | loss there | share | of our packets, as the last report about us says
        sr_ntp        | sr ntp     | ntp   | stamp of the source's last sender report, 64 bits
        """,
        {
            "sr_ntp": lambda view: (view["sr_ntp"] & (2**64 - 1)) or None,
        },
    ),
    *_engine(
        "rtp",
        ("sent", "rtcp_failed"),
        {"remote_ssrc", "rtt_ns", "reported_fraction_lost", "sr_ntp", *_RTP_NOTHING},
    ),
    *(
        Field(name, readable(name), unit, "instantaneous", text, or_none(name, nothing))
        for name, (unit, nothing, text) in _RTP_NOTHING.items()
    ),
)

_UDT_NAMED = {"state", "rtt_us", "rtt_var_us", "period_ps"}

UDT = (
    *rows(
        "instantaneous",
        """
        state          | state         |         | of the connection, such as connected or broken
        rtt_ns         | RTT           | ns      | round trip, smoothed
        rtt_var_ns     | RTT deviation | ns      | deviation of the round trip, smoothed
        window_packets | window        | packets | that may be unacknowledged now
        pace_pps       | pace          | pps     | that congestion control lets out; none: no limit
        """,
        {
            "rtt_var_ns": lambda view: view["rtt_var_us"] * 1000,
        },
    ),
    *rows(
        "interval",
        """
        loss | loss | share | of the packets sent, that became lost
        """,
    ),
    *_engine("udt", ("sent", "refused_ack2"), _UDT_NAMED),
)

UDT_PORT = tuple(_engine("udt-port", ("cookies", "lost"), ()))

_NETFLUX_FLAGS = ("sending", "failsafe", "alive", "heard", "fresh", "partner_known")
_NETFLUX_TIMES = {
    "watch_ns": "silence after which the watchdog runs out; none: there is no watchdog",
    "hear_ns": "after which the partner counts as not hearing us; none: from cycle and watchdog",
    "stale_ns": "age from which on the values to send are stale; none: they never are",
    "last_sent_mono_ns": "start of the last send, CLOCK_MONOTONIC",
    "last_accepted_mono_ns": "arrival of the datagram accepted last, CLOCK_MONOTONIC",
    "last_rtt_ns": "the last round trip",
}
_NETFLUX_HISTOGRAM_WORDS = tuple(
    name
    for name, _, _ in _look.ENGINE_WORDS["netflux"]
    if name.startswith(tuple(f"{histogram}_" for histogram in NETFLUX_HISTOGRAMS))
)
NETFLUX = (
    *(
        Field(name, readable(name), "flag", "instantaneous", text.removeprefix("1: "), flag(name))
        for name, _, text in words_of(_look.ENGINE_WORDS["netflux"], _NETFLUX_FLAGS)
    ),
    *_engine(
        "netflux",
        ("published", "stale"),
        {*_NETFLUX_FLAGS, *_NETFLUX_TIMES, *_NETFLUX_HISTOGRAM_WORDS},
    ),
    *(
        Field(name, readable(name), "ns", "instantaneous", text, or_none(name, 0))
        for name, text in _NETFLUX_TIMES.items()
    ),
    *(
        field
        for name in NETFLUX_HISTOGRAMS
        for field in times(name, _text_of("netflux", f"{name}_count"))
    ),
)

MUX = tuple(_engine("mux", None, ()))
