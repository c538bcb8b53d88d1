"""The functions of the module."""

from __future__ import annotations

import socket as _socket
import threading
from typing import Any, overload

import udt4._constants as c
from shmring.udt.files import AnyFile, Progress
from udt4._arguments import integer
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
    """The version whose interface this is."""
    return VERSION


def startup() -> None:
    """Nothing needs it; counted, see `cleanup`."""
    global _startups
    with _startups_lock:
        _startups += 1


def cleanup() -> None:
    """Close all sockets, without lingering, when it was called as often as `startup`."""
    global _startups
    with _startups_lock:
        _startups = max(0, _startups - 1)
        last = _startups == 0
    if last:
        close_all()


def socket(domain: int, type: int, protocol: int) -> UDTSOCKET:
    """Make a socket. domain: AF_INET, else `ValueError`. type: SOCK_STREAM or SOCK_DGRAM
    (messages). protocol: ignored."""
    type, protocol = integer("type", type), integer("protocol", protocol)
    if integer("domain", domain) != _socket.AF_INET:
        raise ValueError(f"domain is {domain}: only AF_INET is there")
    return new_socket(type, protocol)


@overload
def bind(sock: UDTSOCKET, host: str, port: int, /) -> int: ...
@overload
def bind(sock: UDTSOCKET, descriptor: int, /) -> int: ...
def bind(sock: UDTSOCKET, *address: Any) -> int:
    """Bind to a dotted quad and a port, 0 for any; or to a UDP descriptor, see `bind_to_udp`.
    Returns 0. `ValueError` for an address that is none."""
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
    """Bind to a UDP socket that is bound already. The worker gets a copy of the descriptor."""
    check_socket(sock).bind_to_udp(fd)


def listen(sock: UDTSOCKET, backlog: int) -> int:
    """Take connections, up to `backlog` before `accept` is called. Returns 0. `ValueError` for a
    backlog below 1."""
    check_socket(sock)
    backlog = integer("backlog", backlog)
    if backlog <= 0:
        raise ValueError(f"backlog is {backlog}, it must be 1 or more")
    sock.listen(backlog)
    return 0


def accept(sock: UDTSOCKET) -> tuple[UDTSOCKET, tuple[str, int]]:
    """Return the oldest connection that was not accepted, and the peer's (host, port)."""
    return check_socket(sock).accept()


def connect(sock: UDTSOCKET, host: str, port: int) -> int:
    """Connect to a dotted quad and a port; without UDT_RCVSYN, begin to. Returns 0. `RuntimeError`
    for an address that is none."""
    check_socket(sock).connect(host, port)
    return 0


def close(sock: UDTSOCKET) -> int:
    """Close: with UDT_SNDSYN, after UDT_LINGER. Returns 0, or -1 for a socket that is closed or was
    never used. Never raises."""
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
    """Set an option. Returns 0. `TypeError`, `ValueError` for what it does not take."""
    check_socket(sock).setsockopt(option, value)
    return 0


def getsockopt(sock: UDTSOCKET, option: int) -> Any:
    """The value of an option: int, bool, or (onoff, seconds) of UDT_LINGER."""
    return check_socket(sock).getsockopt(option)


def getsockstate(sock: UDTSOCKET) -> int:
    """``UDTSTATUS_...``. Never raises."""
    return check_socket(sock).state()


def send(sock: UDTSOCKET, data: Any, length: int = -1) -> int:
    """Queue bytes of a stream, and return how many: fewer where the buffer is nearly full.

    data: bytes-like, or a string (UTF-8). length: of them; above, zeros are put behind; 0 and
    below: all. `ValueError` for a length above the send buffer.
    """
    check_socket(sock)
    return sock.send(outgoing(sock, data, length))


def sendmsg(
    sock: UDTSOCKET, data: Any, length: int = -1, ttl: int = -1, inorder: object = False
) -> int:
    """Queue one message and return its length.

    data, length: as of `send`. ttl: ms, -1 for ever. inorder: not before those sent earlier.
    """
    check_socket(sock)
    return sock.sendmsg(outgoing(sock, data, length), integer("ttl", ttl), bool(inorder))


def recv(sock: UDTSOCKET, size: int) -> bytes:
    """Take bytes of a stream: at least one, at most `size`. The end of the stream is
    `UDTException` with ECONNLOST."""
    check_socket(sock)
    return sock.recv(_size(size))


def recvmsg(sock: UDTSOCKET, size: int) -> bytes:
    """Take a message; what is longer than `size` is cut."""
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
    """Send `size` bytes of a file from `offset` on, at most up to its end; return how many.

    file: path, descriptor or an open binary file. size: None: to the end. progress: called with
    the bytes sent so far and `size`.
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
    """Write `size` bytes of the stream to a file from `offset` on, at most up to the stream's end;
    return how many. Arguments as of `sendfile`."""
    return check_socket(sock).recvfile(file, offset, size, block, progress)


def perfmon(sock: UDTSOCKET, clear: object = True) -> TRACEINFO:
    """Counters and measurements of a connection. clear: start those of the interval anew."""
    return check_socket(sock).perfmon(bool(clear))


def outgoing(sock: UDTSOCKET, data: Any, length: int) -> Any:
    """What `send` is to send, by its arguments."""
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
