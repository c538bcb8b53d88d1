"""Endpoints configured with addresses in 125.0.0.0/8, mapped to the loopback network."""

from typing import Any, Protocol

from .base import PacketStats, ReceivedPacket
from .socket_impl import RtUdp

_CONFIGURED_PREFIX = "125"
_LOOPBACK_PREFIX = "127"


def port_mapper(ip: str, port: int, source_prefix: str, target_prefix: str) -> tuple[str, int]:
    """Return an address with another prefix, and the port. AssertionError without that prefix."""
    if not ip.startswith(source_prefix):
        raise AssertionError(f"address is {ip!r}, must start with {source_prefix}")
    return ip.replace(source_prefix, target_prefix, 1), port


def _on_loopback(ip: str, port: int) -> tuple[str, int]:
    return port_mapper(ip, port, _CONFIGURED_PREFIX, _LOOPBACK_PREFIX)


class _Endpoint(Protocol):
    """What the mapping delegates to."""

    def send_data(self, data: Any, timestamp: int | None = None) -> None: ...
    def receive_data(self, timeout_ns: int | None = None) -> ReceivedPacket: ...
    def receive_batch(
        self, n_packets: int, timeout_ns: int | None = None
    ) -> list[ReceivedPacket]: ...
    def init_socket(self) -> None: ...
    def close_socket(self) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def purge(self) -> None: ...
    def is_running(self) -> bool: ...
    def get_send_length(self) -> int: ...
    def get_receive_length(self) -> int: ...
    def get_packet_stats(self) -> PacketStats: ...


class LoopbackMapping:
    """Delegates to an endpoint whose addresses start with 127 in place of 125; ports stay."""

    def __init__(
        self,
        endpoint_type: Any,
        addresses: tuple[str, int, str, int],
        options: dict[str, Any],
    ) -> None:
        """Construct the inner endpoint; AssertionError unless both addresses start with 125."""
        local_ip, local_port, remote_ip, remote_port = addresses
        remote = _on_loopback(remote_ip, remote_port)
        self._com: _Endpoint = endpoint_type(
            *_on_loopback(local_ip, local_port), *remote, **options
        )

    def send_data(self, data: Any, timestamp: int | None = None) -> None:
        """As ``RtUdpBase.send_data``."""
        self._com.send_data(data, timestamp)

    def receive_data(self, timeout_ns: int | None = None) -> ReceivedPacket:
        """As ``RtUdpBase.receive_data``."""
        return self._com.receive_data(timeout_ns)

    def receive_batch(self, n_packets: int, timeout_ns: int | None = None) -> list[ReceivedPacket]:
        """As ``RtUdpBase.receive_batch``."""
        return self._com.receive_batch(n_packets, timeout_ns)

    def init_socket(self) -> None:
        """As ``RtUdpBase.init_socket``."""
        self._com.init_socket()

    def close_socket(self) -> None:
        """As ``RtUdpBase.close_socket``."""
        self._com.close_socket()

    def start(self) -> None:
        """As ``RtUdpBase.start``."""
        self._com.start()

    def stop(self) -> None:
        """As ``RtUdpBase.stop``."""
        self._com.stop()

    def purge(self) -> None:
        """As ``RtUdpBase.purge``."""
        self._com.purge()

    def is_running(self) -> bool:
        """As ``RtUdpBase.is_running``."""
        return self._com.is_running()

    def get_send_length(self) -> int:
        """As ``RtUdpBase.get_send_length``."""
        return self._com.get_send_length()

    def get_receive_length(self) -> int:
        """As ``RtUdpBase.get_receive_length``."""
        return self._com.get_receive_length()

    def get_packet_stats(self) -> PacketStats:
        """As ``RtUdpBase.get_packet_stats``."""
        return self._com.get_packet_stats()

    def __hash__(self) -> int:
        return hash(self._com)

    def __repr__(self) -> str:
        return repr(self._com)


class RtUdpLh(LoopbackMapping):
    """``RtUdp`` for addresses in 125.0.0.0/8, which are mapped to 127.0.0.0/8."""

    def __init__(
        self, local_ip: str, local_port: int, remote_ip: str, remote_port: int, **kwargs: Any
    ) -> None:
        """Take what ``RtUdp`` takes. Raises AssertionError unless both addresses start with 125."""
        super().__init__(RtUdp, (local_ip, local_port, remote_ip, remote_port), kwargs)
