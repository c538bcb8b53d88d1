"""Endpoints configured with addresses in 125.0.0.0/8, mapped to the loopback network."""

from typing import Any

from .rtudp import as_class
from .socket_impl import RtUdp

_CONFIGURED_PREFIX = "125"
_LOOPBACK_PREFIX = "127"


def port_mapper(ip: str, port: int, source_prefix: str, target_prefix: str) -> tuple[str, int]:
    """Return an address with another prefix, and the port. AssertionError without that prefix."""
    if not ip.startswith(source_prefix):
        raise AssertionError(f"address is {ip!r}, must start with {source_prefix}")
    return ip.replace(source_prefix, target_prefix, 1), port


def on_loopback(ip: str, port: int) -> tuple[str, int]:
    """Return 127.x.y.z of an address 125.x.y.z, and the port. AssertionError for another one."""
    return port_mapper(ip, port, _CONFIGURED_PREFIX, _LOOPBACK_PREFIX)


class RtUdpLh(RtUdp):
    """``RtUdp`` for addresses in 125.0.0.0/8, which are mapped to 127.0.0.0/8."""

    def __init__(
        self, local_ip: str, local_port: int, remote_ip: str, remote_port: int, **kwargs: Any
    ) -> None:
        """Accept the arguments of ``RtUdp``. Raises AssertionError unless both addresses start with
        125."""
        local, remote = on_loopback(local_ip, local_port), on_loopback(remote_ip, remote_port)
        super().__init__(*local, *remote, **kwargs)

    @property
    def _com(self) -> RtUdp:
        """This endpoint in the class to which the original delegates."""
        return as_class(RtUdp, self)
