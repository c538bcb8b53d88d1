"""Round trips of irtt and D-ITG, for `shmring bench measure`."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from shmring_bench import veth
from shmring_bench.measure import Figures, Plan
from shmring_bench.probes import (
    PAYLOAD_BYTES,
    PORT,
    RATE_PPS,
    SECONDS,
    START_S,
    server,
    sorted_figures,
)

_ITG_PORT = 8999


def irtt(plan: Plan) -> Figures:
    with (
        veth.linked(plan) as link,
        server(link, _irtt_server(link), "ListenerStart"),
    ):
        text = link.run(
            *("irtt", "client", "-Q", "-o", "-", "-i", f"{1e6 / RATE_PPS:.0f}us"),
            *("-d", f"{plan.run_s(SECONDS):.1f}s", "-l", str(PAYLOAD_BYTES)),
            f"{link.far.address}:{PORT}",
            cpu=None,
            timeout_s=START_S + plan.run_s(SECONDS),
        )
    facts = json.loads(text)
    trips_ns = sorted(
        trip["delay"]["rtt"] for trip in facts["round_trips"] if trip["lost"] == "false"
    )
    stats = facts["stats"]
    return sorted_figures(trips_ns) | {
        ("missing", "packets"): stats["packets_sent"] - stats["packets_received"]
    }


def _irtt_server(link: veth.Link) -> list[str]:
    return ["irtt", "server", "-i", "0", "-b", f"{link.far.address}:{PORT}"]


def itg(plan: Plan) -> Figures:
    with (
        tempfile.TemporaryDirectory(prefix="shmring-bench-") as folder,
        veth.linked(plan) as link,
        server(link, ["ITGRecv", "-l", f"{folder}/receiver"], "Press"),
    ):
        log = Path(folder) / "sender"
        link.run(
            *("ITGSend", "-a", link.far.address, "-rp", str(_ITG_PORT), "-m", "rttm"),
            *("-C", str(RATE_PPS), "-t", f"{1000 * plan.run_s(SECONDS):.0f}"),
            *("-c", str(PAYLOAD_BYTES), "-l", str(log)),
            cpu=None,
            timeout_s=START_S + plan.run_s(SECONDS),
        )
        # each line: flow, sequence, source, port, destination, port, sent, received, size
        text = link.run("ITGDec", str(log), "-l", f"{folder}/text", cpu=None, timeout_s=START_S)
        lines = (Path(folder) / "text").read_text().splitlines()
    trips_ns = sorted(found for line in lines if (found := _itg_trip_ns(line)) is not None)
    dropped = re.search(r"Packets dropped\s*=\s*(\d+)", text)
    return sorted_figures(trips_ns) | {
        ("missing", "packets"): float(dropped[1]) if dropped else 0.0
    }


def _itg_trip_ns(line: str) -> int | None:
    """The delay of one packet, from ``txTime>H:M:S.us`` and ``rxTime>H:M:S.us``."""
    times = [
        (int(hours) * 60 + int(minutes)) * 60_000_000 + round(float(seconds) * 1_000_000)
        for hours, minutes, seconds in re.findall(r"[tr]xTime>(\d+):(\d+):([\d.]+)", line)
    ]
    return (times[1] - times[0]) * 1000 if len(times) == 2 else None
