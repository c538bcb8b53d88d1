"""Generated packets: flows with rates, sizes and patterns, each packet with its deadline.

    report = shmring.net.generate("10.0.0.7", traffic.Flow(pps=1000, size=200), seconds=10)
    print(report.sent, report.late_share, report.lateness.percentile(99))

    voice = traffic.Flow(pps=50, size=172, to=":5004")
    web = traffic.Flow(pps=traffic.ramp(1e3, 1e5, seconds=10), size="imix", pattern="poisson")
    shmring.net.generate("10.0.0.7", [voice, web], seconds=10)

Each packet is a request of STAMP (RFC 8762), so `shmring reflect` and other reflectors answer it.
`shmring generate` does the same on the command line.
"""

from shmring.net.traffic.flow import Flow, Sizes
from shmring.net.traffic.generator import (
    FlowReport,
    GenerateReport,
    Generator,
    PlannedFlow,
    generate,
)
from shmring.net.traffic.rates import Phase, Rate, on_off, ramp, steps

__all__ = [
    "Flow",
    "FlowReport",
    "GenerateReport",
    "Generator",
    "Phase",
    "PlannedFlow",
    "Rate",
    "Sizes",
    "generate",
    "on_off",
    "ramp",
    "steps",
]
