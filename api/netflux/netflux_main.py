"""`NetfluxMain`, `NetfluxData` and the demo, under the module name of the original.

This file is installed twice: in the package, and as a top-level module.
"""

import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Dict  # noqa: UP035  # as the original

from netflux._data import NetfluxData
from netflux._main import NetfluxMain, main
from netflux._receiver import NetfluxReceiver
from netflux._sender import NetfluxSender
from netflux._tracker import NetfluxStatisticsTracker

# What the original, which has no such list, brings with ``import *``.
__all__ = [
    "Any",
    "Dict",
    "NetfluxData",
    "NetfluxMain",
    "NetfluxReceiver",
    "NetfluxSender",
    "NetfluxStatisticsTracker",
    "dataclass",
    "field",
    "main",
    "struct",
    "threading",
    "time",
]

if __name__ == "__main__":
    main()
