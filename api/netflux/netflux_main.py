"""`NetfluxMain`, `NetfluxData` and the demo, under the module name of the original.

This file is installed twice: in the package, and as a top-level module.
"""

from netflux._data import NetfluxData
from netflux._main import NetfluxMain, main
from netflux._receiver import NetfluxReceiver
from netflux._sender import NetfluxSender
from netflux._tracker import NetfluxStatisticsTracker

__all__ = [
    "NetfluxData",
    "NetfluxMain",
    "NetfluxReceiver",
    "NetfluxSender",
    "NetfluxStatisticsTracker",
    "main",
]

if __name__ == "__main__":
    main()
