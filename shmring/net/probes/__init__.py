"""STAMP (RFC 8762): reflecting test packets, comparing clocks and measuring paths with them.

shmring.net.reflect(seconds=60)                     # on one host; or `shmring reflect`

with shmring.net.clock_to("10.0.0.7") as clock:     # on another one
    now = clock.update()
    print(now.offset_ns, "+-", now.bound_ns)

print(shmring.net.measure("10.0.0.7").verdict)
"""

from shmring.net.probes.clock import Answers, Bounded, ClockEstimate, RemoteClock, clock_to
from shmring.net.probes.listening import Listening
from shmring.net.probes.measured import Clocks, Delays, FlowResult, MeasureReport, Sample
from shmring.net.probes.measuring import LATE_NS, PORT, Measurement, MeasureProgress, measure
from shmring.net.probes.reflector import Reflected, Reflector, ReflectorReport, reflect

__all__ = [
    "LATE_NS",
    "PORT",
    "Answers",
    "Bounded",
    "ClockEstimate",
    "Clocks",
    "Delays",
    "FlowResult",
    "Listening",
    "MeasureProgress",
    "MeasureReport",
    "Measurement",
    "Reflected",
    "Reflector",
    "ReflectorReport",
    "RemoteClock",
    "Sample",
    "clock_to",
    "measure",
    "reflect",
]
