"""Snapshots as plain text: tables for people, without terminal control."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rtstat.numbers import Times
from rtstat.selection import Selection
from rtstat.snapshot import Snapshot
from rtstat.views import ChannelView, WorkerView
from shmring_cli.output import duration, quantity, text_table

NOTHING = "-"

Columns = tuple[tuple[str, Callable[[Any], str]], ...]


def overview(shot: Snapshot, selection: Selection) -> str:
    """Return the tables of workers, channels, and their engines' parts."""
    channels = selection.channels(shot)
    tables = [
        _table(_WORKER, selection.workers(shot)),
        _table(_CHANNEL, channels),
        _table(_RTP, (c for c in channels if c.rtp)),
        _table(_UDT, (c for c in channels if c.udt)),
        _table(_NETFLUX, (c for c in channels if c.netflux)),
        _table(_UNREADABLE, shot.unreadable),
    ]
    shown = [table for table in tables if table]
    return "\n\n".join([_headline(shot, channels), *(shown or ["nothing to show"])])


def _headline(shot: Snapshot, channels: list[ChannelView]) -> str:
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(shot.real_ns / 1e9))
    where = "every namespace" if shot.namespace is None else f"namespace {shot.namespace}"
    unwell = sum(not c.healthy for c in channels) + sum(not w.healthy for w in shot.workers)
    how = f"{unwell} unhealthy (!)" if unwell else "all healthy"
    if shot.errors:
        how += f", {len(shot.errors)} distinct errors (rtstat errors)"
    return (
        f"{clock}  {where}: {len(shot.pools)} pools, {len(shot.workers)} workers, "
        f"{len(channels)} channels, {how}"
    )


def _table(columns: Columns, views: Iterable[Any]) -> str:
    rows = [[cell(view) for _, cell in columns] for view in views]
    if not rows:
        return ""
    return text_table([head for head, _ in columns], rows)


# --- cells ----------------------------------------------------------------------------------------


def amount(value: float | None, unit: str) -> str:
    """Return a quantity, or a dash."""
    return NOTHING if value is None else quantity(value, unit)


def percent(share: float | None) -> str:
    """Return a share of 0 to 1 in percent."""
    return NOTHING if share is None else quantity(100 * share, "percent")


def span(ns: float | None) -> str:
    """Return a duration, or a dash."""
    return NOTHING if ns is None else duration(ns)


def _of(times: Times | None, part: str) -> str:
    return NOTHING if times is None or not times.count else duration(getattr(times, part))


def _number(value: float | None) -> str:
    return NOTHING if value is None else str(int(value))


def _mark(view: Any, text: str) -> str:
    return text if view.healthy else f"{text} (!)"


def _name(channel: ChannelView) -> str:
    return f"{channel.namespace}/{channel.name}"


def _scheduling(worker: WorkerView) -> str:
    return f"{worker.policy} {worker.priority}" if worker.priority else worker.policy


# --- tables ---------------------------------------------------------------------------------------

_WORKER: Columns = (
    ("WORKER", lambda w: f"{w.namespace}/{w.pool}:{w.slot}"),
    ("PID", lambda w: str(w.pid)),
    ("HEARTBEAT", lambda w: _mark(w, span(w.heartbeat_age_ns))),
    ("CORE", lambda w: "any" if w.cpu is None else str(w.cpu)),
    ("SCHEDULING", _scheduling),
    ("CHANNELS", lambda w: str(w["channels"])),
    ("CPU", lambda w: percent(w.cpu_share)),
    ("SPIN", lambda w: percent(w.spin_share)),
    ("WAKE p99", lambda w: _of(w.wake_latency_interval or w.wake_latency, "p99_ns")),
    ("MAX LOOP", lambda w: span(w["longest_loop_ns"])),
    ("MISSED", lambda w: str(w["missed_wakes"])),
    ("RESTS", lambda w: str(w["forced_rests"])),
    ("RESTARTS", lambda w: str(w["restarts"])),
)

_CHANNEL: Columns = (
    ("CHANNEL", _name),
    ("ENGINE", lambda c: c.engine),
    ("STATE", lambda c: _mark(c, c.state if c.healthy else c.health)),
    ("TX", lambda c: amount(c.tx_pps, "pps")),
    ("RX", lambda c: amount(c.rx_pps, "pps")),
    ("TX bit/s", lambda c: amount(c.tx_bps, "bps")),
    ("RX bit/s", lambda c: amount(c.rx_bps, "bps")),
    ("p50 now", lambda c: _of(c.lateness_interval, "p50_ns")),
    ("p99 now", lambda c: _of(c.lateness_interval, "p99_ns")),
    ("max now", lambda c: _of(c.lateness_interval, "max_ns")),
    ("p99 ever", lambda c: _of(c.lateness, "p99_ns")),
    ("max ever", lambda c: _of(c.lateness, "max_ns")),
    ("SENT", lambda c: str(c["tx_sent"])),
    ("LATE", lambda c: str(c.late)),
    ("TX FILL", lambda c: percent(c.tx_fill)),
    ("RX FILL", lambda c: percent(c.rx_fill)),
    ("DROPS", lambda c: str(c["rx_kernel_drops"])),
    ("OVERWRITTEN", lambda c: str(c["rx_overwritten"])),
    ("READERS", lambda c: str(c["readers"])),
    ("LAG", lambda c: str(c["rx_unread"])),
    ("EPOCH", lambda c: str(c.epoch)),
    ("HEARTBEAT", lambda c: span(c.heartbeat_age_ns)),
)

_RTP: Columns = (
    ("RTP", _name),
    ("SOURCE", lambda c: NOTHING if c.rtp.remote_ssrc is None else f"{c.rtp.remote_ssrc:08x}"),
    ("SENT", lambda c: str(c.rtp["sent"])),
    ("UNDERRUNS", lambda c: str(c.rtp["underruns"])),
    ("DELIVERED", lambda c: str(c.rtp["delivered"])),
    ("LOST", lambda c: str(c.rtp["lost"])),
    ("LATE", lambda c: str(c.rtp["late"])),
    ("LOSS", lambda c: percent(c.rtp.loss)),
    ("JITTER", lambda c: span(c.rtp["jitter_ns"])),
    ("DEPTH", lambda c: str(c.rtp["depth"])),
    ("DELAY", lambda c: span(c.rtp["delay_ns"])),
    ("TARGET", lambda c: span(c.rtp["target_ns"])),
    ("RTT", lambda c: span(c.rtp.rtt_ns)),
)

_UDT: Columns = (
    ("UDT", _name),
    ("STATE", lambda c: c.udt.state),
    ("RTT", lambda c: span(c.udt.rtt_ns)),
    ("WINDOW", lambda c: str(c.udt.window_packets)),
    ("FLIGHT", lambda c: str(c.udt["flight_packets"])),
    ("PACE", lambda c: amount(c.udt.pace_pps, "pps")),
    ("SENT", lambda c: amount(c.udt.rate("sent"), "pps")),
    ("RECEIVED", lambda c: amount(c.udt.rate("received"), "pps")),
    ("LOSS", lambda c: percent(c.udt.loss)),
    ("REPEATED", lambda c: str(c.udt["repeated"])),
    ("UNSENT", lambda c: amount(c.udt["unsent_bytes"], "bytes")),
    ("UNREAD", lambda c: amount(c.udt["unread_bytes"], "bytes")),
)

_NETFLUX: Columns = (
    ("NETFLUX", _name),
    ("LINK", lambda c: "alive" if c.netflux.alive else "silent (!)"),
    ("HEARD", lambda c: "yes" if c.netflux.heard else "no"),
    ("CYCLE", lambda c: span(c.netflux["cycle_ns"])),
    ("WATCHDOG", lambda c: span(c.netflux.watch_ns)),
    ("SENT", lambda c: str(c.netflux["sent"])),
    ("ACCEPTED", lambda c: str(c.netflux["accepted"])),
    ("PARTNER LOST", lambda c: str(c.netflux["partner_lost"])),
    ("TIMEOUTS", lambda c: str(c.netflux["timeouts"])),
    ("RTT", lambda c: span(c.netflux.last_rtt_ns)),
    ("RTT p99", lambda c: _of(c.netflux.times("rtt"), "p99_ns")),
    ("GAP max", lambda c: _of(c.netflux.times("gap"), "max_ns")),
)

_UNREADABLE: Columns = (
    ("UNREADABLE", lambda u: f"{u.namespace}/{u.name}"),
    ("KIND", lambda u: u.kind),
    ("HEALTH", lambda u: u.health),
    ("REASON", lambda u: u.reason),
)
