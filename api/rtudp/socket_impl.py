"""Real sockets with the common interface. `rtudp.rtudp` does the work."""

from .base import RtUdpBase
from .rtudp import _RtUdpSocket, as_class


class RtUdpSocket(_RtUdpSocket, RtUdpBase):
    """A timed UDP/IPv4 endpoint served by a `shmring` worker process.

    Takes the four addresses and the keywords bind, connect, capacity, name, direction, cpu, timeout
    and priority; ``rtudp.rtudp._RtUdpSocket`` documents them. Raises ImportError if `shmring` is
    missing. ``direction`` may be assigned until ``start``, which reads it.
    """

    @property
    def _socket(self) -> _RtUdpSocket:
        """This endpoint in the class that the original wraps."""
        return as_class(_RtUdpSocket, self)


RtUdp = RtUdpSocket
