"""Cyclic exchange of values with CODESYS and Siemens controllers.

    from netflux import NetfluxMain

    netflux = NetfluxMain(local_port=2000, remote_ip="192.168.0.10", remote_port=2000)
    netflux.start()
    netflux.set_send_data(value1=1.5, flags=1)
    print(netflux.data_recv.value1)

Names and behaviour are those of the original. The workers of `shmring` do the work. The modules
``netflux_main``, ``netflux_receiver``, ``netflux_sender`` and ``netflux_statistics`` hold the same
classes. `shmring.netflux.records` turns dataclasses into payloads. Without the compiled parts,
`NetfluxData` and `NetfluxStatisticsTracker` work. The error of ``start()`` names what is missing.
"""

try:
    from shmring.drop_ins import check as _check
except ImportError:  # nothing compiled is here
    pass
else:
    _check(__name__, __file__)

from ._data import NetfluxData
from ._main import NetfluxMain
from ._output import set_printing
from ._receiver import NetfluxReceiver, ReceiverStats
from ._sender import NetfluxSender, SenderStats
from ._tracker import NetfluxStatistics, NetfluxStatisticsTracker

__version__ = "1.0.0"
__author__ = "the shmring authors"

__all__ = [
    "NetfluxData",
    "NetfluxMain",
    "NetfluxReceiver",
    "NetfluxSender",
    "NetfluxStatistics",
    "NetfluxStatisticsTracker",
    "ReceiverStats",
    "SenderStats",
    "__author__",
    "__version__",
    "set_printing",
]
