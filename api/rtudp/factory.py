"""Construct endpoints by the name of their implementation."""

from typing import Any

from .base import DIRECTION_RECEIVE, DIRECTION_SEND, RtUdpBase
from .emulated import RtUdpEmulated
from .socket_impl import RtUdpSocket

_IMPLEMENTATIONS: dict[str, type[RtUdpBase]] = {
    "socket": RtUdpSocket,
    "emulated": RtUdpEmulated,
}


def create_rtudp(
    implementation: str,
    local_ip: str,
    local_port: int,
    remote_ip: str,
    remote_port: int,
    **kwargs: Any,
) -> RtUdpBase:
    """Construct one endpoint: ``"socket"`` for real UDP, ``"emulated"`` inside the process.

    Further keywords go to the constructor. Nothing is opened or started.
    Raises ValueError for an unknown implementation.
    """
    endpoint_type = _IMPLEMENTATIONS.get(implementation)
    if endpoint_type is None:
        raise ValueError(f"Unknown implementation: {implementation}")
    return endpoint_type(local_ip, local_port, remote_ip, remote_port, **kwargs)


def create_rtudp_pair(
    implementation: str, ip1: str, port1: int, ip2: str, port2: int, **kwargs: Any
) -> tuple[RtUdpBase, RtUdpBase]:
    """Construct two endpoints that face each other.

    The first sends and the second receives (directions 0 and 1) unless ``direction`` is given,
    which applies to both: 2 makes the pair a channel in both directions. All other keywords apply
    to both. Nothing is opened or started. Raises ValueError for an unknown implementation.
    """
    first = {"direction": DIRECTION_SEND, **kwargs}
    second = {"direction": DIRECTION_RECEIVE, **kwargs}
    return (
        create_rtudp(implementation, ip1, port1, ip2, port2, **first),
        create_rtudp(implementation, ip2, port2, ip1, port1, **second),
    )
