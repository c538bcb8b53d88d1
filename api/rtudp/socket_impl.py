"""Real sockets behind the common interface; the work is done in `rtudp.rtudp`."""

from typing import Any

from .base import PacketStats, ReceivedPacket, RtUdpBase
from .rtudp import _RtUdpSocket


class RtUdpSocket(RtUdpBase):
    """A timed UDP/IPv4 endpoint served by a `shmring` worker process.

    Takes the four addresses and the keywords bind, connect, capacity, name, direction, cpu, timeout
    and priority; ``rtudp.rtudp._RtUdpSocket`` documents them. Raises ImportError where `shmring` is
    missing. ``direction`` may be assigned until ``start``, which reads it.
    """

    def __init__(
        self, local_ip: str, local_port: int, remote_ip: str, remote_port: int, **kwargs: Any
    ) -> None:
        """Describe an endpoint, opening nothing; ImportError, TypeError, ValueError."""
        self._socket = _RtUdpSocket(local_ip, local_port, remote_ip, remote_port, **kwargs)
        self.local_ip = self._socket.local_ip
        self.local_port = self._socket.local_port
        self.remote_ip = self._socket.remote_ip
        self.remote_port = self._socket.remote_port
        self.capacity = self._socket.capacity

    @property
    def direction(self) -> int:
        """0 send, 1 receive, 2 both."""
        return self._socket.direction

    @direction.setter
    def direction(self, value: int) -> None:
        self._socket.direction = value

    @property
    def timeout_ns(self) -> int:
        """How long receive calls without ``timeout_ns`` wait."""
        return self._socket.timeout_ns

    @timeout_ns.setter
    def timeout_ns(self, value: int) -> None:
        self._socket.timeout_ns = value

    def send_data(self, data: Any, timestamp: int | None = None) -> None:
        """Queue one datagram; see ``RtUdpBase``. Accepted before ``init_socket`` and ``start``.

        Waits for room while the ring is full and the worker runs; raises BlockingIOError while it
        does not.
        """
        self._socket.send_data(data, timestamp)

    def receive_data(self, timeout_ns: int | None = None) -> ReceivedPacket:
        """Return one packet; see ``RtUdpBase``. A timeout below 0 polls."""
        return self._socket.receive_data(timeout_ns)

    def receive_batch(self, n_packets: int, timeout_ns: int | None = None) -> list[ReceivedPacket]:
        """Return n packets; see ``RtUdpBase``. The timeout applies to each packet.

        Raises ValueError when the receive ring dropped packets during the call, MemoryError for n
        below 0. The packets of a failed call stay for the next one.
        """
        return self._socket.receive_batch(n_packets, timeout_ns)

    def init_socket(self) -> None:
        """Open and bind the socket. Raises OSError when it is open already or cannot be opened."""
        self._socket.init_socket()

    def close_socket(self) -> None:
        """Close the socket; packets not sent are dropped, received ones stay readable."""
        self._socket.close_socket()

    def start(self) -> None:
        """Let the worker send and receive; see ``RtUdpBase``."""
        self._socket.start()

    def stop(self) -> None:
        """Hold the worker, without waiting for packets that are due later; they stay queued."""
        self._socket.stop()

    def get_packet_stats(self) -> PacketStats:
        """Return a copy of the counters; see ``PacketStats``."""
        return self._socket.get_packet_stats()

    def get_send_length(self) -> int:
        """Return the number of packets accepted and not yet sent."""
        return self._socket.get_send_length()

    def get_receive_length(self) -> int:
        """Return the number of packets received and not yet read."""
        return self._socket.get_receive_length()

    def is_running(self) -> bool:
        """Return True from ``start`` until ``stop``."""
        return self._socket.is_running()

    def purge(self) -> None:
        """Discard all packets waiting in either direction; run state and statistics stay."""
        self._socket.purge()

    def __hash__(self) -> int:
        return hash(self._socket)

    def __repr__(self) -> str:
        return repr(self._socket)


RtUdp = RtUdpSocket
