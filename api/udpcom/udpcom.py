"""The endpoint type."""

from rtudp.rtudp import _RtUdpSocket


class UdpCom(_RtUdpSocket):
    """A timed UDP/IPv4 endpoint; see ``rtudp.rtudp._RtUdpSocket`` for its options and methods."""

    _type_name = "UdpCom"
