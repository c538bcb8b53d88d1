"""All values that can be shown: name, label, unit, kind and meaning, declared once.

Names, labels, units and meanings are in table.txt. JSON, CSV, plain text, the screen, the metrics
page and docs/reference/rtstat.md are made from these tables or checked against them. `FIELDS` has a
table per scope: ``snapshot``, ``pool``, ``worker``, ``channel``, ``reader``, ``unreadable``,
``event``, and one per engine (``rtp``, ``netflux``, ``udt``, ``udt-port``, ``mux``) for the
engine's part of a channel.

    for field in FIELDS["channel"]:
        print(field.label, field.get(channel), field.unit)

    FIELD["channel", "tx_pps"].get(channel)     # None at a watch's first snapshot

Names are stable: one that is given away is never used for something else. Values are in base units
(ns, bytes, bps, pps, share: 0 to 1); None says that there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rtstat.fields import (
    KINDS,
    Field,
    Gets,
    Value,
    Word,
    attribute,
    flag,
    or_none,
    rows,
    times,
    words,
    words_of,
)
from rtstat.numbers import (
    CHANNEL_HISTOGRAMS,
    CHANNEL_WORDS,
    ENGINE_WORDS,
    NETFLUX_HISTOGRAMS,
    WORKER_WORDS,
    Numbers,
    name_of,
)
from rtstat.views import STAMPS, ChannelView
from shmring.observe import monitor, reading
from shmring.observe.engines import PARTS
from shmring_cli.output import address_text

__all__ = ["FIELD", "FIELDS", "KINDS", "Field", "Value", "values"]


def _fact(name: str) -> Callable[[ChannelView], Value]:
    def get(view: ChannelView) -> Value:
        value: Value = getattr(view.facts, name)
        return value

    return get


# --- snapshot, pools, workers ---------------------------------------------------------------------

_SNAPSHOT_GETS = {"time_ns": attribute("real_ns"), "interval_s": attribute("seconds")}
_POOL_GETS: Gets = {
    "workers": lambda pool: len(pool.workers),
    "channels": lambda pool: len(pool.channels),
}
WORKER = (
    *rows("worker", "fixed", {"cpu_wanted": or_none("cpu_wanted", -1)}),
    *rows("worker", "instantaneous", {"channels": Word("channels")}),
    *rows("worker", "interval"),
    *rows("worker", "accumulated", {name: Word(name) for name in WORKER_WORDS}),
    *times("wake_latency", "time from the requested wake-up to running"),
)

# --- channels -------------------------------------------------------------------------------------

_PLAIN_FACTS = (
    *("reading", "overflow", "clock", "tolerance_ns", "interface", "qdisc", "txtime_reason"),
    *("tx_capacity", "rx_capacity", "segment_bytes"),
)
_GAUGES = (
    "scheduled",
    "tx_waiting",
    "tx_used_bytes",
    "rx_unread",
    "rx_unread_bytes",
    "readers",
    "producers",
    "wake_margin_ns",
    "wire_offset_ns",
)
_TOTALS = ("tx_next_sequence", "reports", "readers_taken", "readers_lost", "shared_lost")
_COUNTERS = reading.CHANNEL_WORDS[
    CHANNEL_WORDS["tx_sent"] : CHANNEL_WORDS[f"{CHANNEL_HISTOGRAMS[0]}_count"]
]

_CHANNEL_GETS: Gets = {
    **{name: _fact(name) for name in _PLAIN_FACTS},
    "late_policy": _fact("late"),
    "local": lambda view: address_text(view.facts.local) or None,
    "remote": lambda view: address_text(view.facts.remote) or None,
    "txtime": flag("txtime"),
    "gso": flag("gso"),
    "gro": flag("gro"),
    "rx_stamp": lambda view: name_of(STAMPS, view["rx_stamp"]),
    "tx_stamp": lambda view: name_of(STAMPS, view["tx_stamp"]),
    "rcvbuf_bytes": Word("rcvbuf_bytes"),
    "sndbuf_bytes": Word("sndbuf_bytes"),
    "tx_ring_bytes": _fact("tx_bytes"),
    "rx_ring_bytes": _fact("rx_bytes"),
    "error": Word("error"),
    "failure": _fact("failure"),
    "worker_slot": or_none("worker_slot", -1),
}

CHANNEL = (
    *rows("channel", "fixed", _CHANNEL_GETS),
    *rows("channel", "instantaneous", _CHANNEL_GETS),
    *words(words_of(reading.CHANNEL_WORDS, _GAUGES), "instantaneous"),
    *rows("channel", "interval"),
    *rows("channel", "accumulated"),
    *words(_COUNTERS, "accumulated"),
    *words(words_of(reading.CHANNEL_WORDS, _TOTALS), "accumulated"),
    *(field for name, _, _, text, _ in reading.CHANNEL_HISTOGRAMS for field in times(name, text)),
)

# --- engines --------------------------------------------------------------------------------------


def _engine(engine: str, left_out: Iterable[str] = ()) -> Iterator[Field]:
    """Return the fields of the words that need no conversion."""
    return words(word for word in monitor.ENGINE_WORDS[engine] if word[0] not in left_out)


RTP = (
    *rows("rtp", "interval"),
    *rows("rtp", "instantaneous", {"sr_ntp": lambda view: (view["sr_ntp"] & (2**64 - 1)) or None}),
    *_engine("rtp", {"remote_ssrc", "reported_fraction_lost", "sr_ntp"}),
)

UDT = (
    *rows("udt", "instantaneous", {"rtt_var_ns": lambda view: view["rtt_var_us"] * 1000}),
    *rows("udt", "interval"),
    *_engine("udt", {"state", "rtt_us", "rtt_var_us", "period_ps"}),
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

# --- all of them ----------------------------------------------------------------------------------

FIELDS: dict[str, tuple[Field, ...]] = {
    "snapshot": tuple(rows("snapshot", "instantaneous", _SNAPSHOT_GETS)),
    "pool": (*rows("pool", "fixed"), *rows("pool", "instantaneous", _POOL_GETS)),
    "worker": WORKER,
    "channel": CHANNEL,
    "reader": tuple(
        field
        for kind in ("fixed", "instantaneous", "accumulated", "interval")
        for field in rows("reader", kind)
    ),
    **ENGINE_FIELDS,
    "trouble": tuple(rows("trouble", "instantaneous")),
    "error": (
        *rows("error", "fixed"),
        *rows("error", "instantaneous"),
        *rows("error", "accumulated", {"times": attribute("count")}),
    ),
    "unreadable": tuple(rows("unreadable", "instantaneous")),
    "event": tuple(rows("event", "interval")),
}
FIELD: dict[tuple[str, str], Field] = {
    (scope, field.name): field for scope, fields in FIELDS.items() for field in fields
}


_Plan = list[tuple[str, int | None, bool, Callable[[Any], Value]]]
_plans: dict[str, _Plan] = {}


def values(scope: str, view: Any) -> dict[str, Value]:
    """Return all fields of a view by name."""
    plan = _plans.get(scope)
    if plan is None:
        plan = _plans[scope] = _plan(scope, view)
    if not isinstance(view, Numbers):
        return {name: get(view) for name, _, _, get in plan}
    row = view.now.tolist()
    first = view.before is None
    return {
        name: get(view) if place is None else None if first and interval else row[place]
        for name, place, interval, get in plan
    }


def _plan(scope: str, view: Any) -> _Plan:
    """Read plain numbers of the row without a call for each of them."""
    plan: _Plan = []
    for field in FIELDS[scope]:
        if isinstance(field.get, Word):
            place = view.places[field.get.name]
            plan.append((field.name, place, field.get.interval, field.get))
        else:
            plan.append((field.name, None, False, field.get))
    return plan
