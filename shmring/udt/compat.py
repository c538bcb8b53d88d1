"""Calls on a `UdtSocket` for programs that manage many of them, such as the drop-in `udt4`."""

import threading
from types import EllipsisType

from shmring._ring import lib
from shmring.udt.errors import Code, udt_error
from shmring.udt.socket import UdtSocket
from shmring.udt.statistics import Facts


def facts(sock: UdtSocket) -> Facts:
    """Return its state in the worker. Raises `UdtError` if it is closed."""
    return sock._facts()


def records_waiting(sock: UdtSocket) -> tuple[int, int]:
    """Return the pieces in shared memory: those that the worker has not taken, and those not
    received."""
    segment = sock._connection.mapped()
    return int(lib.tx_ring_waiting(segment)), sock._connection.endpoint.rx_waiting


def getpeername(sock: UdtSocket) -> tuple[str, int]:
    """Return the peer's address: (host, port). Raises `UdtNotConnected`."""
    if not sock.connected:
        raise udt_error(Code.ENOCONN)
    return sock._facts().peer or sock.remote


def try_connected(sock: UdtSocket) -> bool:
    """Return whether it is connected. Raises the errors of `UdtSocket.wait_connected`."""
    return sock._try_connected()


def can_send(sock: UdtSocket) -> bool:
    """Return whether a call of `UdtSocket.send` would find room, or raise an error."""
    return sock._sender.has_room()


def can_recv(sock: UdtSocket) -> bool:
    """Return whether a call of `UdtSocket.recv` would return something, or raise an error."""
    return sock._receiver.has_data()


def close_later(sock: UdtSocket, *, linger: float | EllipsisType | None = ...) -> None:
    """Close the connection and return at once. Another thread waits until sent data is
    acknowledged.

    linger: how long it waits, seconds. Default: the option `linger` of the connection. 0: data that
        is not acknowledged may be lost. None: no limit.
    """
    if not sock.closed:
        wait_s = sock._linger_s(linger)
        threading.Thread(
            target=sock._connection.close,
            args=(wait_s,),
            name="a UDT socket lingers",
            daemon=True,
        ).start()


__all__ = [
    "can_recv",
    "can_send",
    "close_later",
    "facts",
    "getpeername",
    "records_waiting",
    "try_connected",
]
