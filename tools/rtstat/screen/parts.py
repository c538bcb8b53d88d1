"""The engine's part of a channel's details. Labels and units are those of `rtstat.table`."""

from __future__ import annotations

from rtstat.fields import Field, Value
from rtstat.numbers import Numbers, Times
from rtstat.table import FIELD
from rtstat.views import ChannelView
from shmring.observe.engines import PARTS
from shmring_cli.output import quantity

HISTOGRAM_TITLES = {
    "lateness": "start of sending after the deadline",
    "wire_late": "on the wire after the deadline",
    "wire_early": "on the wire before the deadline",
    "immediate": "send call to start of sending, no deadline",
    "send_call": "time a send call took",
    "rx_delivery": "arrival to the ring",
    "own_interval": "own cycle",
    "partner_interval": "partner's cycle",
    "gap": "silence of the partner",
    "rtt": "round trip",
}

_NETFLUX_HISTOGRAMS = ("own_interval", "partner_interval", "gap", "rtt")
_HISTOGRAMS = tuple(name for name in HISTOGRAM_TITLES if name not in _NETFLUX_HISTOGRAMS)


def histograms_of(channel: ChannelView) -> list[str]:
    """Return the histograms that are not empty."""
    names = _HISTOGRAMS
    if channel.netflux is not None:
        names = (*_NETFLUX_HISTOGRAMS, *names)
    full = [name for name in names if _holder(channel, name)[f"{name}_count"]]
    return full or ["lateness"]


def times_of(channel: ChannelView, name: str, *, interval: bool) -> Times | None:
    """Return a summary of one of `histograms_of`, or None for an interval without a
    previous snapshot."""
    return _holder(channel, name).times(name, interval=interval)


def _holder(channel: ChannelView, name: str) -> Numbers:
    part = channel.part
    return part if part is not None and name in _NETFLUX_HISTOGRAMS else channel


def facts_of(channel: ChannelView) -> list[tuple[str, str]]:
    """Return labels and values of the engine's part, empty for plain UDP."""
    part = channel.part
    if part is None:
        return []
    facts = []
    for name in PARTS[channel.engine].shown:
        field = FIELD[channel.engine, name]
        grown = part.delta(name) if field.kind == "accumulated" and name in part else None
        facts.append(
            (field.label, written(field, field.get(part)) + (f"   +{grown}" if grown else ""))
        )
    return facts


def written(field: Field, value: Value) -> str:
    """Return a value for people, with the unit that fits."""
    if value is None:
        return "none"
    if field.unit == "flag":
        return "yes" if value else "[b]no[/b]"
    if not isinstance(value, (int, float)):
        return str(value)
    if field.unit == "share":
        return f"{100 * value:.3g} %"
    if field.unit in ("ns", "pps", "bps", "bytes"):
        return quantity(value, field.unit)
    return f"{value:,}".replace(",", " ")
