"""Timed UDP sockets under the names of `rtudp`'s predecessor.

``UdpCom`` is the socket endpoint of `rtudp` itself, without the wrapper. The documentation of
`rtudp` applies. All arguments may be given by position or by name, the constructor's options only
by name.
"""

try:
    from shmring.drop_ins import check as _check
except ImportError:  # nothing compiled is here
    pass
else:
    _check(__name__, __file__)

from .udpcom import UdpCom
from .udpcom_lh import UdpComLh

__version__ = "0.0.1"

__all__ = ["UdpCom", "UdpComLh", "__version__"]
