"""What fills the lower part of the overview: the marked channel in short, or the latest events."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rtstat.attached import roles
from rtstat.columns import engine_state, written
from rtstat.screen import charts
from rtstat.screen.history import Happened, Moment
from rtstat.troubles import Trouble
from rtstat.views import ChannelView
from rtstat.worst import sign
from shmring_cli.output import address_text, duration, quantity

LOG_FROM_NS = 1_000
"""Where the logarithmic scale of lateness begins."""


def channel(
    view: ChannelView, troubles: Sequence[Trouble], moments: Sequence[Moment], width: int
) -> list[str]:
    """Return a channel in lines of at most `width` columns, the most important first."""
    engine = f"{view.engine} {engine_state(view)}".strip()
    lines = [
        f"-- {view.namespace}/{view.name}  {engine}, {view.direction}  {addresses(view)} --",
        *(f"{sign(trouble)} {trouble.name}: {trouble.fix}" for trouble in troubles),
        processes(view),
        _rates(view),
        *_lateness(moments, width),
    ]
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]


def addresses(view: ChannelView) -> str:
    """Return both ends of a channel."""
    ends = (address_text(address, "nobody") for address in (view.local, view.remote))
    return " → ".join(ends)


def processes(view: ChannelView) -> str:
    """Return who opened a channel, who sends and who reads, with the names of the processes."""
    return ", ".join(f"{role} {who}" for role, who in roles(view))


def _rates(view: ChannelView) -> str:
    sent, received = (
        "-" if bps is None else f"{quantity(pps or 0, 'pps')} {quantity(bps, 'bps')}"
        for pps, bps in ((view.tx_pps, view.tx_bps), (view.rx_pps, view.rx_bps))
    )
    late, lost = written(view.late_share, "share"), written(view.lost_pps, "/s")
    return (
        f"tx {sent}   rx {received}   late {late}, {view.late} in all   "
        f"lost {lost}/s, {view.lost} in all   "
        f"waiting {view.tx_waiting}"
    )


def _lateness(moments: Sequence[Moment], width: int) -> list[str]:
    if not any(moment.p99_ns for moment in moments):
        return []
    most = max(moment.p99_ns for moment in moments)
    return [
        f"lateness p99, logarithmic from {duration(LOG_FROM_NS)}: now "
        f"{duration(moments[-1].p99_ns)}, highest {duration(most)}",
        *charts.over_time(
            [moment.p99_ns for moment in moments],
            [moment.seconds for moment in moments],
            width,
            lowest=LOG_FROM_NS,
        ),
    ]


def events(happened: Sequence[Happened], width: int) -> list[str]:
    """Return the latest events, newest first."""
    lines = [_event(one) for one in happened] or ["nothing happened since rtstat was started"]
    return [line[:width] for line in ("-- latest events --", *lines)]


_KINDS = {
    "new": "is new",
    "gone": "is gone",
    "reborn": "is another one under the same name",
    "epoch": "has another worker, or is one that was started again",
    "reset": "counts from 0 again",
}


def _event(one: Happened) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(one.real_ns / 1e9))
    event = one.event
    return f"{clock}  {event.what} {event.namespace}/{event.name} {_KINDS[event.kind]}"
