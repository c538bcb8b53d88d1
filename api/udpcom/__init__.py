"""Timed UDP sockets under the names of `rtudp`'s predecessor.

``UdpCom`` is the socket endpoint of `rtudp` itself, without the wrapper; everything said there
holds here. All arguments may be given by position or by name, the constructor's options by name
only.
"""

from .udpcom import UdpCom
from .udpcom_lh import UdpComLh

__version__ = "0.0.1"

__all__ = ["UdpCom", "UdpComLh", "__version__"]
