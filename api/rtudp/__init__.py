"""Timed UDP with one interface: real sockets, or an emulation inside the process.

``RtUdpSocket`` uses the `shmring` workers. ``RtUdpEmulated`` is pure Python and needs nothing
compiled, so this package imports on every platform. Only creating an ``RtUdpSocket`` needs
`shmring`. All times are integer nanoseconds of CLOCK_MONOTONIC, comparable with
``time.monotonic_ns()``.
"""

try:
    from shmring.drop_ins import check as _check
except ImportError:  # nothing compiled is here
    pass
else:
    _check(__name__, __file__)

from .base import RtUdpBase, RtUdpType
from .emulated import RtUdpEmulated
from .factory import create_rtudp, create_rtudp_pair
from .socket_impl import RtUdp, RtUdpSocket

__version__ = "0.1.0"

__all__ = [
    "RtUdp",
    "RtUdpBase",
    "RtUdpEmulated",
    "RtUdpSocket",
    "RtUdpType",
    "__version__",
    "create_rtudp",
    "create_rtudp_pair",
]
