"""Captures (pcap and pcapng files), and sending their UDP packets at their times.

    report = shmring.net.replay("line.pcapng", to="127.0.0.1")      # as fast as it was captured
    print(report.late_share, report.lateness.percentile(99))

    for flow in capture.flows("line.pcapng").flows:             # what is in it
        print(flow.source, flow.destination, flow.packets)

`shmring replay` does the same on the command line.
"""

from shmring.net.capture.flows import CaptureSummary, Flow, flows
from shmring.net.capture.player import Player, ReplayReport, replay
from shmring.net.capture.reader import Fates
from shmring.net.capture.routes import address
from shmring.net.lanes.report import Progress

__all__ = [
    "CaptureSummary",
    "Fates",
    "Flow",
    "Player",
    "Progress",
    "ReplayReport",
    "address",
    "flows",
    "replay",
]
