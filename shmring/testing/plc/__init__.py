"""Simulated Netflux partners that behave like real ones, with the peculiarities of each.

|                 | `Codesys5`     | `Codesys4`        | `Siemens`        | `PythonPartner`       |
|-----------------|----------------|-------------------|------------------|-----------------------|
| first number    | 1              | 1                 | 0                | 1                     |
| counts up with  | every attempt  | every attempt     | confirmed sends  | every attempt         |
| accepts         | anything       | larger numbers    | 1 to 127 ahead   | 1 to 127 ahead        |
| accepts first   | anything       | all but 0         | anything         | all but 0             |
| echoes          | received last  | received last     | accepted last,   | received last, up to  |
|                 |                |                   | one scan ago     | an interval ago       |
| watches         | any datagram,  | feedback, 1 s     | feedback, 10 ms, | accepted ones; looks  |
|                 | 1 s            |                   | from the start   | after 100 ms silence  |
| bytes           | little-endian  | little-endian     | big-endian       | little-endian         |

They are sans-IO; `SimulatedPlc` runs one on a socket, `shmring.testing.Exchange` in virtual time.
"""

from __future__ import annotations

from .codesys4 import Codesys4, Codesys4Statistics
from .codesys5 import Codesys5, State
from .controller import Controller
from .image import Layout, Record
from .partner import Partner
from .python_partner import PythonPartner, PythonStatistics
from .siemens import Siemens
from .simulated import SimulatedPlc

__all__ = [
    "PARTNERS",
    "Codesys4",
    "Codesys4Statistics",
    "Codesys5",
    "Controller",
    "Layout",
    "Partner",
    "PythonPartner",
    "PythonStatistics",
    "Record",
    "Siemens",
    "SimulatedPlc",
    "State",
]

PARTNERS: dict[str, type[Partner]] = {
    kind.kind: kind for kind in (Codesys5, Codesys4, Siemens, PythonPartner)
}
