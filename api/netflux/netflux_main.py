"""`NetfluxMain`, `NetfluxData` and the demo, under the name the original has them in.

One file, installed twice: in the package, and as a module of its own.
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
