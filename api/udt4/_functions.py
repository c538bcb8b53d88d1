"""The functions of the module `udt4`."""

from __future__ import annotations

import socket as _socket
import threading
from typing import Any, overload

import udt4._constants as c
from shmring.udt.files import Progress
from udt4._address import Address
from udt4._arguments import AnyFile, integer
from udt4._epoll import check_socket
from udt4._errors import UDTException
from udt4._socket import UDTSOCKET, close_all, new_socket
from udt4._trace import TRACEINFO

VERSION = (0, 6)
SEND_BLOCK = 7_320_000
RECEIVE_BLOCK = 366_000

_startups = 0
_startups_lock = threading.Lock()


def pyudt4_version() -> tuple[int, int]:
    """The version of the original interface."""
    return VERSION


def startup() -> None:
    """It is not needed. Its calls are counted, see `cleanup`."""
    global _startups
    with _startups_lock:
        _startups += 1


def cleanup() -> None:
    """Close all sockets without lingering, when it has been called as often as `startup`."""
    global _startups
    with _startups_lock:
        _startups = max(0, _startups - 1)
        last = _startups == 0
    if last:
        close_all()


def socket(domain: int, type: int, protocol: int) -> UDTSOCKET:
    """Make a socket. domain: AF_INET, otherwise `ValueError`. type: SOCK_STREAM or SOCK_DGRAM
    (messages). protocol: ignored."""
    type, protocol = integer("type", type), integer("protocol", protocol)
    if integer("domain", domain) != _socket.AF_INET:
        raise ValueError(f"domain is {domain}: only AF_INET is supported")
    return new_socket(type, protocol)


@overload
def bind(sock: UDTSOCKET, host: str, port: int, /) -> int: ...
@overload
def bind(sock: UDTSOCKET, descriptor: int, /) -> int: ...
def bind(sock: UDTSOCKET, *address: Any) -> int:
    """Bind to a dotted quad and a port, 0 for any, or to a UDP descriptor, see `bind_to_udp`.
    Returns 0. `ValueError` for an invalid address."""
    check_socket(sock)
    match address:
        case (host, port):
            sock.bind(host, port)
        case (descriptor,):
            sock.bind_to_udp(descriptor)
        case _:
            raise TypeError(f"bind takes host and port, or a descriptor, not {address!r}")
    return 0


def bind_to_udp(sock: UDTSOCKET, fd: int) -> None:
    """Bind to a UDP socket that is already bound. The worker gets a copy of the descriptor."""
    check_socket(sock).bind_to_udp(fd)


def listen(sock: UDTSOCKET, backlog: int) -> int:
    """Listen, and hold up to `backlog` connections until `accept` is called. Returns 0.
    `ValueError` for a backlog below 1."""
    check_socket(sock)
    backlog = integer("backlog", backlog)
    if backlog <= 0:
        raise ValueError(f"backlog is {backlog}, it must be 1 or more")
    sock.listen(backlog)
    return 0


def accept(sock: UDTSOCKET) -> tuple[UDTSOCKET, Address]:
    """Return the oldest connection that was not accepted, and the peer's (host, port)."""
    return check_socket(sock).accept()


def connect(sock: UDTSOCKET, host: str, port: int) -> int:
    """Connect to a dotted quad and a port. Without UDT_RCVSYN, only start to connect. Returns 0.
    `RuntimeError` for an invalid address."""
    check_socket(sock).connect(host, port)
    return 0


def close(sock: UDTSOCKET) -> int:
    """Close a socket, with UDT_SNDSYN after UDT_LINGER. Returns 0, or -1 for a socket that is
    closed or was never used. Never raises."""
    check_socket(sock)
    used = sock.state() != c.UDTSTATUS_INIT
    try:
        sock.close()
    except UDTException:
        return -1
    return 0 if used else -1


def getpeername(sock: UDTSOCKET) -> tuple[str, int]:
    """The peer's (host, port)."""
    return check_socket(sock).getpeername()


def getsockname(sock: UDTSOCKET) -> tuple[str, int]:
    """Our (host, port)."""
    return check_socket(sock).getsockname()


def setsockopt(sock: UDTSOCKET, option: int, value: Any) -> int:
    """Set an option. Returns 0. `TypeError`, `ValueError` for values that it does not accept."""
    check_socket(sock).setsockopt(option, value)
    return 0


def getsockopt(sock: UDTSOCKET, option: int) -> Any:
    """The value of an option: int, bool, or (onoff, seconds) of UDT_LINGER."""
    return check_socket(sock).getsockopt(option)


def getsockstate(sock: UDTSOCKET) -> int:
    """``UDTSTATUS_...``. Never raises."""
    return check_socket(sock).state()


def send(sock: UDTSOCKET, data: Any, length: int = -1) -> int:
    """Queue bytes of a stream, and return the number: fewer if the buffer is nearly full.

    data: bytes-like, or a string (UTF-8). length: number of bytes. Longer data is cut, and shorter
    data padded with zeros. 0 or less: all. `ValueError` for a length above the send buffer.
    """
    check_socket(sock)
    return sock.send(outgoing(sock, data, length))


def sendmsg(
    sock: UDTSOCKET, data: Any, length: int = -1, ttl: int = -1, inorder: object = False
) -> int:
    """Queue one message and return its length.

    data, length: as in `send`. ttl: ms, -1 for no limit. inorder: deliver it after earlier
    messages.
    """
    check_socket(sock)
    return sock.sendmsg(outgoing(sock, data, length), integer("ttl", ttl), bool(inorder))


def recv(sock: UDTSOCKET, size: int) -> bytes:
    """Take bytes of a stream: at least one, at most `size`. At the end of the stream it raises
    `UDTException` with ECONNLOST."""
    check_socket(sock)
    return sock.recv(_size(size))


def recvmsg(sock: UDTSOCKET, size: int) -> bytes:
    """Take a message. A longer one is truncated to `size`."""
    check_socket(sock)
    return sock.recvmsg(_size(size))


def sendfile(
    sock: UDTSOCKET,
    file: AnyFile,
    offset: int = 0,
    size: int | None = None,
    block: int = SEND_BLOCK,
    progress: Progress | None = None,
) -> int:
    """Send `size` bytes of a file from `offset` on, at most up to its end, and return the number.

    file: path, descriptor or an open file. Of one that was opened for text, the bytes are sent, as
    in Python 2. size: None: to the end. progress: called with
    the number of bytes sent so far and `size`.
    """
    return check_socket(sock).sendfile(file, offset, size, block, progress)


def recvfile(
    sock: UDTSOCKET,
    file: AnyFile,
    offset: int = 0,
    size: int | None = None,
    block: int = RECEIVE_BLOCK,
    progress: Progress | None = None,
) -> int:
    """Write `size` bytes of the stream to a file from `offset` on, at most up to the stream's end,
    and return the number. Arguments are as in `sendfile`."""
    return check_socket(sock).recvfile(file, offset, size, block, progress)


def perfmon(sock: UDTSOCKET, clear: object = True) -> TRACEINFO:
    """Counters and measurements of a connection. clear: reset those of the interval."""
    return check_socket(sock).perfmon(bool(clear))


def outgoing(sock: UDTSOCKET, data: Any, length: int) -> Any:
    """The bytes that `send` sends, from its arguments."""
    if isinstance(data, str):
        data = data.encode()
    try:
        view = memoryview(data).cast("B")
    except TypeError:
        raise TypeError(f"data must be a string or bytes-like, not {type(data).__name__}") from None
    length = integer("length", length)
    if length <= 0 or length == len(view):
        return view
    if length < len(view):
        return view[:length]
    if length > sock.options.send_bytes:
        raise ValueError(
            f"length is {length}, more than the send buffer's {sock.options.send_bytes}: send less "
            "at once, or set a larger UDT_SNDBUF"
        )
    return bytes(view).ljust(length, b"\0")


def _size(size: object) -> int:
    number = integer("size", size)
    if number < 0:
        raise ValueError(f"size is {number}, it must be 0 or more")
    return number
