"""The dashboard for Grafana, as JSON: ``python -m rtstat.dashboard > dashboard.json``."""

from __future__ import annotations

import json
import re
from typing import Any

_Json = dict[str, Any]

# A line per panel: its kind, title, unit and description. Its queries follow, with their legends.
# An empty line begins a new line of panels, "==" a new section. The braces of a query name a metric
# of `rtstat.metric_table`:
#   {M}               the metric, for the labels chosen at the top of the page
#   rate{M}           its growth per second
#   increase{M}       its growth
#   p99{M by LABELS}  the percentile of a histogram, for each value of the labels
#   {trouble of S}    the troubles of a severity
_PANELS = """
== Is it well?
alarm | Broken | short | Troubles because of which something does not work at all.
  count({trouble of broken}) or vector(0)
alarm | Troubled | short | Troubles with losses or late packets.
  count({trouble of troubled}) or vector(0)
alarm | Late packets | pps | Of any late verdict, dropped ones included.
  sum(rate{channel_late_packets_total})
alarm | Lost packets | pps | Refused or dropped by the kernel, or overwritten before they were read.
  sum(rate{channel_lost_packets_total})
number | Lateness p99 | s
  p99{channel_lateness_seconds}
number | Packets sent | pps
  sum(rate{channel_tx_sent_packets_total})

list | What is wrong | short | Figures: shmring help troubles. What to do: rtstat --plain.
  {trouble}

== Lateness: start of the send call after the deadline
times | Lateness of all chosen channels | s
  p50{channel_lateness_seconds} -> p50
  p99{channel_lateness_seconds} -> p99
  p99.9{channel_lateness_seconds} -> p99.9
heatmap | How many packets were how late | short
  sum by (le) (increase{channel_lateness_seconds_bucket}) -> {{le}}

bars | Late packets by verdict | pps | Why packets were late.
  sum(rate{channel_tx_enqueued_late_packets_total}) -> queued too late by the program
  sum(rate{channel_tx_woke_late_packets_total}) -> worker woke late
  sum(rate{channel_tx_send_slow_packets_total}) -> send call took long
  sum(rate{channel_tx_queued_behind_packets_total}) -> behind another packet
  sum(rate{channel_tx_dropped_late_packets_total}) -> dropped, too late
times | Lateness p99, the ten worst channels | s
  topk(10, p99{channel_lateness_seconds by namespace, channel}) -> {{namespace}}/{{channel}}

== Traffic
lines | Packets per second | pps
  sum by (channel) (rate{channel_tx_sent_packets_total}) -> {{channel}} sent
  sum by (channel) (rate{channel_rx_received_packets_total}) -> {{channel}} received
lines | Payload | bps
  8 * sum by (channel) (rate{channel_tx_bytes_total}) -> {{channel}} sent
  8 * sum by (channel) (rate{channel_rx_bytes_total}) -> {{channel}} received
lines | Lost packets | pps
  sum by (channel) (rate{channel_rx_kernel_drops_packets_total}) -> {{channel}} kernel drops
  sum by (channel) (rate{channel_rx_overwritten_packets_total}) -> {{channel}} overwritten
  sum by (channel) (rate{channel_tx_failed_packets_total}) -> {{channel}} refused

share | Ring fill | percentunit
  {channel_tx_fill_ratio} -> {{channel}} to send
  {channel_rx_fill_ratio} -> {{channel}} to read
lines | Packets that wait | short
  {channel_tx_waiting_packets} -> {{channel}} to be sent
  {channel_rx_unread_packets} -> {{channel}} to be read
times | Arrival to ring, p99 | s | From the arrival timestamp to publication in the ring.
  p99{channel_rx_delivery_seconds by channel} -> {{channel}}

== Workers
lines | Core in use | percentunit
  rate{worker_cpu_seconds_total} -> {{pool}}:{{worker}} all
  rate{worker_spun_seconds_total} -> {{pool}}:{{worker}} waiting awake
times | Wake-up latency p99 | s
  p99{worker_wake_latency_seconds by pool, worker} -> {{pool}}:{{worker}}
bars | Trouble | short
  increase{worker_restarts_total} -> {{pool}}:{{worker}} restarted
  increase{worker_forced_rests_total} -> {{pool}}:{{worker}} rested for the real-time throttle
  increase{worker_missed_wakes_total} -> {{pool}}:{{worker}} woke more than 1 ms late

== RTP
lines | Missing frames | short
  rate{rtp_lost_frames_total} -> {{channel}} lost
  rate{rtp_late_frames_total} -> {{channel}} late
  rate{rtp_erasures_total} -> {{channel}} erasures
lines | Jitter and delay | s
  {rtp_jitter_seconds} -> {{channel}} jitter
  {rtp_delay_seconds} -> {{channel}} delay of the buffer
  {rtp_target_seconds} -> {{channel}} its target
lines | As the other end reports | percentunit
  {rtp_reported_loss_ratio} -> {{channel}} share lost

== UDT and Netflux
lines | UDT: round trip | s
  {udt_rtt_seconds} -> {{channel}}
lines | UDT: losses and repetitions | pps
  rate{udt_send_losses_packets_total} -> {{channel}} lost
  rate{udt_repeated_packets_total} -> {{channel}} repeated
lines | Netflux: links | short
  {netflux_alive} -> {{channel}} alive
  increase{netflux_timeouts_total} -> {{channel}} time-outs
lines | Netflux: round trip p99 | s
  p99{netflux_rtt_seconds by channel} -> {{channel}}
"""
_COLUMNS = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_CHOSEN = 'namespace=~"$namespace",pool=~"$pool"'
_CHOSEN_TROUBLES = 'namespace=~"$namespace",pool=~"($pool)?",channel=~"($channel)?"'
"""Those of workers and pools have no channel, and those of files no pool."""


_FORMATS = {"heatmap": "heatmap", "list": "table"}


# --- queries --------------------------------------------------------------------------------------


def _expanded(query: str) -> str:
    """Return the query in Prometheus's language."""
    query = re.sub(r"p([\d.]+){(\w+)(?: by ([\w, ]+))?}", _percentile, query)
    query = re.sub(r"{trouble of (\w+)}", _severe, query)
    query = re.sub(r"(rate|increase){(\w+)}", r"\1({\2}[$__rate_interval])", query)
    return re.sub(r"{([a-z]\w+)}", _selected, query)


def _percentile(found: re.Match[str]) -> str:
    percent, histogram, labels = found.groups()
    by = f"{labels}, le" if labels else "le"
    rate = f"sum by ({by}) (rate{{{histogram}_bucket}})"
    return f"histogram_quantile({float(percent) / 100:g}, {rate})"


def _severe(found: re.Match[str]) -> str:
    return f'shmring_trouble{{{_CHOSEN_TROUBLES},severity=~"{found[1]}"}}'


def _selected(found: re.Match[str]) -> str:
    metric = found[1]
    chosen = f'{_CHOSEN},channel=~"$channel"'
    if metric.startswith("worker_"):
        chosen = _CHOSEN
    elif metric == "trouble":
        chosen = _CHOSEN_TROUBLES
    return f"shmring_{metric}{{{chosen}}}"


def _target(number: int, line: str, kind: str) -> _Json:
    query, _, legend = line.strip().partition(" -> ")
    return {
        "refId": chr(ord("A") + number),
        "datasource": _SOURCE,
        "expr": _expanded(query),
        "legendFormat": legend,
        "format": _FORMATS.get(kind, "time_series"),
        "instant": kind == "list",
    }


# --- panels ---------------------------------------------------------------------------------------

_SERIES = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}
_NUMBER = {
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "colorMode": "background",
    "graphMode": "area",
    "textMode": "auto",
}
_HEATMAP = {
    "calculate": False,
    "yAxis": {"unit": "s"},
    "color": {"mode": "scheme", "scheme": "Blues", "scale": "exponential", "exponent": 0.5},
    "cellGap": 1,
    "tooltip": {"mode": "single", "yHistogram": False},
}
_LINE = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
_LOGARITHMIC = {"fillOpacity": 0, "scaleDistribution": {"type": "log", "log": 10}}
_STACKED = {"stacking": {"mode": "normal", "group": "A"}}
_BARS = {"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80} | _STACKED


def _colors(*steps: tuple[str, float | None]) -> _Json:
    colors = [{"color": color, "value": value} for color, value in steps]
    return {"thresholds": {"mode": "absolute", "steps": colors}}


_KINDS: dict[str, tuple[str, int, _Json, _Json]] = {
    "alarm": ("stat", 4, {"min": 0, **_colors(("green", None), ("red", 1e-9))}, _NUMBER),
    "number": ("stat", 4, _colors(("blue", None)), _NUMBER),
    "lines": ("timeseries", 8, {"min": 0, "custom": _LINE}, _SERIES),
    "share": ("timeseries", 8, {"min": 0, "max": 1, "custom": _LINE}, _SERIES),
    "times": ("timeseries", 8, {"custom": _LINE | _LOGARITHMIC}, _SERIES),
    "bars": ("timeseries", 8, {"custom": _BARS}, _SERIES),
    "heatmap": ("heatmap", 8, {}, _HEATMAP),
    "list": ("table", 8, {}, {"showHeader": True, "sortBy": [{"displayName": "severity"}]}),
}
"""For each kind of panel: Grafana's type, the height, defaults of its fields, and options."""


def _panel(lines: list[str], place: _Json) -> _Json:
    name, title, unit, description = (*map(str.strip, lines[0].split("|")), "")[:4]
    kind, _, defaults, options = _KINDS[name]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [_target(i, line, kind) for i, line in enumerate(lines[1:])],
        "fieldConfig": {"defaults": {"unit": unit} | defaults, "overrides": []},
        "options": options,
    }


def _section(title: str, y: int) -> _Json:
    place = {"h": 1, "w": _COLUMNS, "x": 0, "y": y}
    return {"type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panels() -> list[_Json]:
    made: list[_Json] = []
    y = 0
    for block in _PANELS.strip().split("\n\n"):
        if block.startswith("=="):
            title, _, block = block.removeprefix("== ").partition("\n")
            made.append(_section(title, y))
            y += 1
        panels = [panel.split("\n") for panel in re.split(r"\n(?! )", block)]
        width, height = _COLUMNS // len(panels), _KINDS[block.split()[0]][1]
        for i, lines in enumerate(panels):
            made.append(_panel(lines, {"h": height, "w": width, "x": i * width, "y": y}))
        y += height
    return [{"id": number, **panel} for number, panel in enumerate(made, 1)]


# --- what can be chosen ---------------------------------------------------------------------------


def _variable(name: str, metric: str) -> _Json:
    query = f"label_values({metric}, {name})"
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def dashboard() -> _Json:
    """Return the whole dashboard, to be written as JSON."""
    served = "shmring_channel_served"
    source = {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    }
    return {
        "uid": "shmring",
        "title": "shmring",
        "description": "Channels and workers of shmring, from rtstat --serve-metrics.",
        "tags": ["shmring", "udp"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                source,
                _variable("namespace", served),
                _variable("pool", f'{served}{{namespace=~"$namespace"}}'),
                _variable("channel", f"{served}{{{_CHOSEN}}}"),
            ]
        },
        "panels": _panels(),
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
