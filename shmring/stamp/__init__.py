"""STAMP (RFC 8762): reflecting test packets, and comparing clocks with them.

shmring.reflect(seconds=60)                     # on one host; or `shmring reflect`

with shmring.clock_to("10.0.0.7") as clock:     # on another one
    now = clock.update()
    print(now.offset_ns, "+-", now.bound_ns)
"""

from shmring.stamp.clock import Answers, Bounded, ClockEstimate, RemoteClock, clock_to
from shmring.stamp.reflector import Reflected, Reflector, ReflectorReport, reflect

__all__ = [
    "Answers",
    "Bounded",
    "ClockEstimate",
    "Reflected",
    "Reflector",
    "ReflectorReport",
    "RemoteClock",
    "clock_to",
    "reflect",
]
