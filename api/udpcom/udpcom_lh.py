"""Endpoints configured with addresses in 125.0.0.0/8, mapped to the loopback network."""

from typing import Any

from rtudp.rtudp import as_class
from rtudp.rtudp_lh import on_loopback, port_mapper

from .udpcom import UdpCom

__all__ = ["UdpCom", "UdpComLh", "port_mapper"]


class UdpComLh(UdpCom):
    """``UdpCom`` for addresses in 125.0.0.0/8, which are mapped to 127.0.0.0/8."""

    def __init__(
        self, local_ip: str, local_port: int, remote_ip: str, remote_port: int, **kwargs: Any
    ) -> None:
        """Take what ``UdpCom`` takes; AssertionError unless both addresses start with 125."""
        local, remote = on_loopback(local_ip, local_port), on_loopback(remote_ip, remote_port)
        super().__init__(*local, *remote, **kwargs)

    @property
    def _com(self) -> UdpCom:
        """This endpoint in the class to which the original delegates."""
        return as_class(UdpCom, self)
