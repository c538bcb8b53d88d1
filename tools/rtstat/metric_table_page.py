"""The metrics as Markdown tables.

They are the section "The metrics" of docs/howto/metrics.md. `make schema` writes them there.
"""

from __future__ import annotations

from itertools import groupby

from rtstat.metric_table import FAMILIES

_TITLES = {
    "": "The page itself",
    "pool": "Pools: labels `namespace`, `pool`",
    "worker": "Workers: labels `namespace`, `pool`, `worker` (its number in the pool)",
    "channel": "Channels: labels `namespace`, `pool`, `channel`, `engine`",
    "rtp": "RTP channels: labels of channels",
    "cyclic": "Cyclic channels: labels of channels",
    "netflux": "Netflux links: labels of channels",
    "udt": "UDT connections: labels of channels",
    "udt-port": "Ports of UDT connections: labels of channels",
    "proxy": "UDP proxies: labels of channels",
    "mux": "Many sockets on one channel: labels of channels",
}


def page() -> str:
    """Return all tables."""
    parts = []
    for scope, families in groupby(FAMILIES, lambda family: family.scope):
        rows = [f"| `{one.name}` | {one.kind} | {one.help} |" for one in families]
        lines = [f"### {_TITLES[scope]}", "", "| name | type | meaning |", "|---|---|---|", *rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
