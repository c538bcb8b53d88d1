"""Errors of UDT connections, with the protocol's own numbers.

Each class derives from `UdtError` and from the matching built-in exception, so that code written
for sockets catches what it expects.
"""

import errno
from enum import IntEnum

from shmring.errors import ShmringOSError


class Code(IntEnum):
    """Numbers of UDT errors: major times 1000, plus minor."""

    SUCCESS = 0
    ECONNSETUP = 1000
    ENOSERVER = 1001
    ECONNREJ = 1002
    ESOCKFAIL = 1003
    ESECFAIL = 1004
    ECONNFAIL = 2000
    ECONNLOST = 2001
    ENOCONN = 2002
    ERESOURCE = 3000
    ETHREAD = 3001
    ENOBUF = 3002
    EFILE = 4000
    EINVRDOFF = 4001
    ERDPERM = 4002
    EINVWROFF = 4003
    EWRPERM = 4004
    EINVOP = 5000
    EBOUNDSOCK = 5001
    ECONNSOCK = 5002
    EINVPARAM = 5003
    EINVSOCK = 5004
    EUNBOUNDSOCK = 5005
    ENOLISTEN = 5006
    ERDVNOSERV = 5007
    ERDVUNBOUND = 5008
    ESTREAMILL = 5009
    EDGRAMILL = 5010
    EDUPLISTEN = 5011
    ELARGEMSG = 5012
    EINVPOLLID = 5013
    EASYNCFAIL = 6000
    EASYNCSND = 6001
    EASYNCRCV = 6002
    ETIMEOUT = 6003
    EPEERERR = 7000
    EUNKNOWN = -1


TEXTS: dict[int, str] = {
    Code.SUCCESS: "Success.",
    Code.ECONNSETUP: "Connection setup failure.",
    Code.ENOSERVER: "Connection setup failure: no answer in time: check the address, that a UDT "
    "program listens there, and that firewalls let UDP pass.",
    Code.ECONNREJ: "Connection setup failure: the peer refused the connection.",
    Code.ESOCKFAIL: "Connection setup failure: the UDP socket could not be opened or set up.",
    Code.ESECFAIL: "Connection setup failure: the answer does not belong to the request.",
    Code.ECONNFAIL: "Connection failure.",
    Code.ECONNLOST: "Connection failure: the connection was lost or closed by the peer.",
    Code.ENOCONN: "Connection failure: the socket is not connected.",
    Code.ERESOURCE: "System resource failure.",
    Code.ETHREAD: "System resource failure: a thread could not be started.",
    Code.ENOBUF: "System resource failure: no memory for buffers.",
    Code.EFILE: "File system failure.",
    Code.EINVRDOFF: "File system failure: the read offset cannot be reached.",
    Code.ERDPERM: "File system failure: reading the file failed.",
    Code.EINVWROFF: "File system failure: the write offset cannot be reached.",
    Code.EWRPERM: "File system failure: writing the file failed.",
    Code.EINVOP: "Operation not supported.",
    Code.EBOUNDSOCK: "Operation not supported: the socket is bound already.",
    Code.ECONNSOCK: "Operation not supported: the socket is connecting or connected already.",
    Code.EINVPARAM: "Operation not supported: a parameter is out of its range.",
    Code.EINVSOCK: "Operation not supported: the socket is unknown or closed.",
    Code.EUNBOUNDSOCK: "Operation not supported: the socket is not bound.",
    Code.ENOLISTEN: "Operation not supported: the socket is not listening.",
    Code.ERDVNOSERV: "Operation not supported: a rendezvous socket neither listens nor accepts.",
    Code.ERDVUNBOUND: "Operation not supported: a rendezvous needs a bound socket.",
    Code.ESTREAMILL: "Operation not supported: not for stream sockets.",
    Code.EDGRAMILL: "Operation not supported: not for message sockets.",
    Code.EDUPLISTEN: "Operation not supported: another socket listens on this port.",
    Code.ELARGEMSG: "Operation not supported: the message is longer than the send buffer.",
    Code.EINVPOLLID: "Operation not supported: the epoll is unknown or closed.",
    Code.EASYNCFAIL: "Non-blocking call failure.",
    Code.EASYNCSND: "Non-blocking call failure: no room to send.",
    Code.EASYNCRCV: "Non-blocking call failure: nothing to receive.",
    Code.ETIMEOUT: "Non-blocking call failure: the call timed out.",
    Code.EPEERERR: "The peer reported an error.",
    Code.EUNKNOWN: "Unknown error.",
}


def text_of(code: int) -> str:
    """The meaning of an error's number, as one sentence."""
    return TEXTS.get(code, f"{TEXTS[Code.EUNKNOWN][:-1]} {code}.")


class UdtError(ShmringOSError):
    """A call of a UDT socket failed. `code` is the protocol's number, `errno` the system's."""

    code: int = Code.EUNKNOWN


class UdtTimeout(UdtError, TimeoutError):
    """The peer did not answer, or nothing arrived, within the timeout."""


class UdtRefused(UdtError, ConnectionRefusedError):
    """The peer refused the connection."""


class UdtClosed(UdtError, ConnectionResetError):
    """The connection was closed by the peer, or broke."""


class UdtWouldBlock(UdtError, BlockingIOError):
    """Nothing to receive, or no room to send, in a call that does not wait."""


class UdtNotConnected(UdtError, ConnectionError):
    """The socket is not connected."""


class UdtPeerError(UdtError):
    """The peer could not store the sent data."""


_KINDS: dict[int, tuple[type[UdtError], int]] = {
    Code.ENOSERVER: (UdtTimeout, errno.ETIMEDOUT),
    Code.ECONNREJ: (UdtRefused, errno.ECONNREFUSED),
    Code.ECONNLOST: (UdtClosed, errno.ECONNRESET),
    Code.ENOCONN: (UdtNotConnected, errno.ENOTCONN),
    Code.ESOCKFAIL: (UdtError, errno.EADDRINUSE),
    Code.ENOBUF: (UdtError, errno.ENOBUFS),
    Code.EINVSOCK: (UdtError, errno.EBADF),
    Code.ELARGEMSG: (UdtError, errno.EMSGSIZE),
    Code.EDUPLISTEN: (UdtError, errno.EADDRINUSE),
    Code.EASYNCSND: (UdtWouldBlock, errno.EAGAIN),
    Code.EASYNCRCV: (UdtWouldBlock, errno.EAGAIN),
    Code.ETIMEOUT: (UdtTimeout, errno.ETIMEDOUT),
    Code.EPEERERR: (UdtPeerError, errno.EREMOTEIO),
}
_BY_CATEGORY = {1: errno.EIO, 2: errno.ECONNRESET, 3: errno.ENOMEM, 4: errno.EIO}


def udt_error(code: int, more: str = "") -> UdtError:
    """The exception for a number of the protocol. `more` describes this case."""
    kind, number = _KINDS.get(code, (UdtError, _BY_CATEGORY.get(code // 1000, errno.EINVAL)))
    text = text_of(code)
    raised = kind(number, f"{more}: {text}" if more else text)
    raised.code = int(code)
    return raised


__all__ = [
    "Code",
    "UdtClosed",
    "UdtError",
    "UdtNotConnected",
    "UdtPeerError",
    "UdtRefused",
    "UdtTimeout",
    "UdtWouldBlock",
    "text_of",
    "udt_error",
]
