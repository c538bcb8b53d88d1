"""Snapshots as plain text: tables for people, without terminal control."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterable
from typing import Any

from rtstat.numbers import Times
from rtstat.selection import Selection
from rtstat.snapshot import Snapshot
from rtstat.trouble_text import WIDTH, headline, paragraphs
from rtstat.views import ChannelView, WorkerView
from shmring_cli.output import address_text, duration, quantity, text_table

NOTHING = "-"
_GAP = 2

Columns = tuple[tuple[str, Callable[[Any], str]], ...]


def overview(shot: Snapshot, selection: Selection, width: int = WIDTH) -> str:
    """Return the troubles, and the tables of workers, channels, and their engines' parts.

    No line is longer than `width`, at least 40: a table has as many of its columns as fit.
    """
    channels = selection.worst_first(shot)
    tables = [
        _table(_WORKER, selection.workers(shot), width),
        _table(_CHANNEL, channels, width),
        _table(_RTP, (c for c in channels if c.rtp), width),
        _table(_UDT, (c for c in channels if c.udt), width),
        _table(_NETFLUX, (c for c in channels if c.netflux), width),
        _table(_UNREADABLE, shot.unreadable, width),
    ]
    shown = [table for table in tables if table]
    troubles = selection.troubles(shot)
    head = f"{headline(troubles, empty=shot.is_empty)}\n{_what(shot, channels, width)}"
    found = [paragraphs(troubles, width)] if troubles else []
    return "\n\n".join([head, *found, *(shown or ["nothing to show"])])


def _what(shot: Snapshot, channels: list[ChannelView], width: int) -> str:
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(shot.real_ns / 1e9))
    where = "every namespace" if shot.namespace is None else f"namespace {shot.namespace}"
    text = (
        f"{clock}  {where}: {len(shot.pools)} pools, {len(shot.workers)} workers, "
        f"{len(channels)} channels"
    )
    errors = f"\n{len(shot.errors)} distinct errors (rtstat errors)" if shot.errors else ""
    return textwrap.fill(text, width, subsequent_indent="  ") + errors


def _table(columns: Columns, views: Iterable[Any], width: int) -> str:
    """Return the first columns of a table, as many as fit."""
    rows = [[cell(view) for _, cell in columns] for view in views]
    if not rows:
        return ""
    heads = [head for head, _ in columns]
    fits, used = 1, max(len(row[0]) for row in (heads, *rows))
    for i in range(1, len(heads)):
        used += _GAP + max(len(row[i]) for row in (heads, *rows))
        if used > width:
            break
        fits = i + 1
    lines = text_table(heads[:fits], [row[:fits] for row in rows]).splitlines()
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in lines)


# --- cells ----------------------------------------------------------------------------------------


def amount(value: float | None, unit: str) -> str:
    """Return a quantity, or a dash."""
    return NOTHING if value is None else quantity(value, unit)


def per_second(value: float | None) -> str:
    """Return how often something happens, or a dash."""
    return amount(value, "/s")


def percent(share: float | None) -> str:
    """Return a share of 0 to 1 in percent."""
    return NOTHING if share is None else quantity(100 * share, "percent")


def span(ns: float | None) -> str:
    """Return a duration, or a dash."""
    return NOTHING if ns is None else duration(ns)


def _of(times: Times | None, part: str) -> str:
    return NOTHING if times is None or not times.count else duration(getattr(times, part))


def _mark(well: bool, text: str) -> str:
    return text if well else f"{text} (!)"


def _name(channel: ChannelView) -> str:
    return f"{channel.namespace}/{channel.name}"


def _scheduling(worker: WorkerView) -> str:
    return f"{worker.policy} {worker.priority}" if worker.priority else worker.policy


# --- tables: the most important columns first. A wider line shows more. Counters are rates, and
# those since a channel was opened come last, with "ever" in their head.

_WORKER: Columns = (
    ("WORKER", lambda w: f"{w.namespace}/{w.pool}:{w.slot}"),
    ("PID", lambda w: str(w.pid)),
    ("HEARTBEAT", lambda w: _mark(w.alive, span(w.heartbeat_age_ns))),
    ("CORE", lambda w: "any" if w.cpu is None else str(w.cpu)),
    ("CPU", lambda w: percent(w.cpu_share)),
    ("WAKE p99", lambda w: _of(w.wake_latency_interval or w.wake_latency, "p99_ns")),
    ("SCHEDULING", _scheduling),
    ("CHANNELS", lambda w: str(w["channels"])),
    ("SPIN", lambda w: percent(w.spin_share)),
    ("MAX LOOP", lambda w: span(w["longest_loop_ns"])),
    ("MISSED", lambda w: per_second(w.rate("missed_wakes"))),
    ("RESTS", lambda w: per_second(w.rate("forced_rests"))),
    ("MISSED ever", lambda w: str(w["missed_wakes"])),
    ("RESTS ever", lambda w: str(w["forced_rests"])),
    ("RESTARTS", lambda w: str(w["restarts"])),
)

_CHANNEL: Columns = (
    ("CHANNEL", _name),
    ("STATE", lambda c: _mark(c.served, c.state if c.served else c.health)),
    ("LATE", lambda c: percent(c.late_share)),
    ("p99 now", lambda c: _of(c.lateness_interval, "p99_ns")),
    ("LOST", lambda c: per_second(c.lost_pps)),
    ("LAG", lambda c: str(c.lag)),
    ("TX", lambda c: per_second(c.tx_pps)),
    ("RX", lambda c: per_second(c.rx_pps)),
    ("ENGINE", lambda c: c.engine),
    ("TX bit/s", lambda c: amount(c.tx_bps, "bps")),
    ("RX bit/s", lambda c: amount(c.rx_bps, "bps")),
    ("LOCAL", lambda c: address_text(c.local, NOTHING)),
    ("REMOTE", lambda c: address_text(c.remote, NOTHING)),
    ("p50 now", lambda c: _of(c.lateness_interval, "p50_ns")),
    ("max now", lambda c: _of(c.lateness_interval, "max_ns")),
    ("TX FILL", lambda c: percent(c.tx_fill)),
    ("RX FILL", lambda c: percent(c.rx_fill)),
    ("READERS", lambda c: str(c["readers"])),
    ("EPOCH", lambda c: str(c.epoch)),
    ("HEARTBEAT", lambda c: span(c.heartbeat_age_ns)),
    ("p99 ever", lambda c: _of(c.lateness, "p99_ns")),
    ("max ever", lambda c: _of(c.lateness, "max_ns")),
    ("SENT ever", lambda c: str(c["tx_sent"])),
    ("RECEIVED ever", lambda c: str(c["rx_received"])),
    ("LATE ever", lambda c: str(c.late)),
    ("LOST ever", lambda c: str(c.lost)),
)


def _name_of_part(channel: ChannelView) -> str:
    return _name(channel) + (" (stale)" if channel.figures_stale else "")


def _rates(part: str, *names: str) -> Columns:
    """Return how fast counters of an engine's part grow."""
    return tuple(
        (_head(name), lambda c, name=name: per_second(getattr(c, part).rate(name)))
        for name in names
    )


def _sums(part: str, *names: str) -> Columns:
    """Return counters of an engine's part, since the channel was opened."""
    return tuple(
        (f"{_head(name)} ever", lambda c, name=name: str(getattr(c, part)[name])) for name in names
    )


def _head(name: str) -> str:
    return name.upper().replace("_", " ")


_RTP_COUNTERS = ("sent", "delivered", "lost", "late", "underruns")
_UDT_COUNTERS = ("sent", "received", "repeated")
_NETFLUX_COUNTERS = ("sent", "accepted", "partner_lost", "timeouts")

_RTP: Columns = (
    ("RTP", _name_of_part),
    ("SOURCE", lambda c: NOTHING if c.rtp.remote_ssrc is None else f"{c.rtp.remote_ssrc:08x}"),
    ("LOSS", lambda c: percent(c.rtp.loss)),
    ("JITTER", lambda c: span(c.rtp["jitter_ns"])),
    *_rates("rtp", *_RTP_COUNTERS),
    ("DEPTH", lambda c: str(c.rtp["depth"])),
    ("DELAY", lambda c: span(c.rtp["delay_ns"])),
    ("TARGET", lambda c: span(c.rtp["target_ns"])),
    ("RTT", lambda c: span(c.rtp.rtt_ns)),
    *_sums("rtp", *_RTP_COUNTERS),
)

_UDT: Columns = (
    ("UDT", _name_of_part),
    ("STATE", lambda c: c.udt.state),
    ("RTT", lambda c: span(c.udt.rtt_ns)),
    ("WINDOW", lambda c: str(c.udt.window_packets)),
    ("FLIGHT", lambda c: str(c.udt["flight_packets"])),
    ("PACE", lambda c: per_second(c.udt.pace_pps)),
    ("LOSS", lambda c: percent(c.udt.loss)),
    *_rates("udt", *_UDT_COUNTERS),
    ("UNSENT", lambda c: amount(c.udt["unsent_bytes"], "bytes")),
    ("UNREAD", lambda c: amount(c.udt["unread_bytes"], "bytes")),
    *_sums("udt", *_UDT_COUNTERS),
)

_NETFLUX: Columns = (
    ("NETFLUX", _name_of_part),
    ("LINK", lambda c: "alive" if c.netflux.alive else "silent (!)"),
    ("HEARD", lambda c: "yes" if c.netflux.heard else "no"),
    ("CYCLE", lambda c: span(c.netflux["cycle_ns"])),
    ("WATCHDOG", lambda c: span(c.netflux.watch_ns)),
    *_rates("netflux", *_NETFLUX_COUNTERS),
    ("RTT", lambda c: span(c.netflux.last_rtt_ns)),
    ("RTT p99 now", lambda c: _of(c.netflux.times("rtt", interval=True), "p99_ns")),
    ("GAP max now", lambda c: _of(c.netflux.times("gap", interval=True), "max_ns")),
    ("RTT p99 ever", lambda c: _of(c.netflux.times("rtt"), "p99_ns")),
    ("GAP max ever", lambda c: _of(c.netflux.times("gap"), "max_ns")),
    *_sums("netflux", *_NETFLUX_COUNTERS),
)

_UNREADABLE: Columns = (
    ("UNREADABLE", lambda u: f"{u.namespace}/{u.name}"),
    ("KIND", lambda u: u.kind),
    ("HEALTH", lambda u: u.health),
    ("REASON", lambda u: u.reason),
)
