"""Object interface to the functions of `udt4`: sockets and epolls."""

from __future__ import annotations

import io
import socket as socklib
import warnings
from collections.abc import Iterable
from typing import IO, Any, Self

import udt4
import udt4._constants as c
from shmring.udt.files import Progress
from udt4 import _functions as f
from udt4._arguments import AnyFile
from udt4._errors import UDTException

__author__ = "the authors of shmring; the interface is that of PyUDT"
__date__ = "2026"
__license__ = "MIT"
__version__ = f.VERSION


class UdtSocket:
    """A UDT socket. Objects are equal if they wrap the same socket, as those of `dup` do."""

    def __init__(
        self,
        family: int = socklib.AF_INET,
        type: int = socklib.SOCK_STREAM,
        protocol: int = 0,
        _sock: udt4.UDTSOCKET | None = None,
    ) -> None:
        """_sock: a `udt4.UDTSOCKET` to wrap. Default: a new one."""
        if _sock is None:
            _sock = f.socket(family, type, protocol)
        elif not isinstance(_sock, udt4.UDTSOCKET):
            raise TypeError(f"_sock must be a udt4.UDTSOCKET, not {_sock!r}")
        self.__sock = _sock

    # --- what it is -------------------------------------------------------------------------------

    @property
    def family(self) -> int:
        return self.__sock.family

    @property
    def proto(self) -> int:
        return self.__sock.protocol

    @property
    def type(self) -> int:
        return self.__sock.type

    @property
    def UDTSOCKET(self) -> udt4.UDTSOCKET:
        """The object that the functions of `udt4` accept."""
        return self.__sock

    def fileno(self, udt_fileno: bool = True) -> int:
        """The socket's id, which is also a descriptor for select and asyncio. It is readable while
        there may be something to receive or accept. `udt_fileno` has no effect."""
        return self.__sock.UDTSOCKET

    def __eq__(self, other: object) -> bool:
        return self.__sock is other.__sock if isinstance(other, UdtSocket) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.__sock)

    def __repr__(self) -> str:
        return f"<udt4.pyudt.UdtSocket {self.fileno()} state {self.getsockstate()}>"

    # --- life -------------------------------------------------------------------------------------

    def bind(self, arg: tuple[str, int] | socklib.socket) -> None:
        """Bind to (host, port), or to a UDP `socket.socket`. The port may be text."""
        if isinstance(arg, socklib.socket):
            f.bind_to_udp(self.__sock, arg.fileno())
        else:
            f.bind(self.__sock, *_pair(arg))

    def listen(self, backlog: int) -> None:
        f.listen(self.__sock, backlog)

    def accept(self) -> tuple[UdtSocket, tuple[str, int]]:
        """The oldest connection that was not accepted, and the peer's (host, port)."""
        sock, address = f.accept(self.__sock)
        return UdtSocket(_sock=sock), (str(address[0]), int(address[1]))

    def connect(self, address: tuple[str, int]) -> None:
        """Connect to (host, port). The port may be text."""
        f.connect(self.__sock, *_pair(address))

    def connect_ex(self, address: tuple[str, int]) -> int:
        """As `connect`, but return 0 or the error's number."""
        try:
            self.connect(address)
        except UDTException as caught:
            return caught.code
        return 0

    def close(self) -> None:
        f.close(self.__sock)

    def dup(self) -> UdtSocket:
        """Another object for the same socket."""
        return UdtSocket(_sock=self.__sock)

    def shutdown(self, flags: int) -> None:
        """Only warn: UDT closes both directions at once."""
        warnings.warn("UDT has no shutdown: use close", stacklevel=2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- names and options ------------------------------------------------------------------------

    def getpeername(self) -> tuple[str, int]:
        return f.getpeername(self.__sock)

    def getsockname(self) -> tuple[str, int]:
        return f.getsockname(self.__sock)

    def getsockstate(self) -> int:
        return f.getsockstate(self.__sock)

    def getsockopt(self, option: int) -> Any:
        return f.getsockopt(self.__sock, option)

    def setsockopt(self, option: int, value: Any) -> None:
        f.setsockopt(self.__sock, option, value)

    def setblocking(self, flag: bool, flag_recv: bool | None = None) -> None:
        """flag: whether sending waits. flag_recv: whether receiving, accepting and connecting wait.
        None: as `flag`."""
        self.setsockopt(c.UDT_SNDSYN, bool(flag))
        self.setsockopt(c.UDT_RCVSYN, bool(flag if flag_recv is None else flag_recv))

    def settimeout(self, timeo: int, timeo_recv: int | None = None) -> None:
        """Set how long sending and receiving wait, ms. -1: forever. `timeo_recv` None: as
        `timeo`."""
        self.setsockopt(c.UDT_SNDTIMEO, timeo)
        self.setsockopt(c.UDT_RCVTIMEO, timeo if timeo_recv is None else timeo_recv)

    def gettimeout(self) -> tuple[int, int]:
        """How long sending and receiving wait, ms."""
        return self.getsockopt(c.UDT_SNDTIMEO), self.getsockopt(c.UDT_RCVTIMEO)

    # --- data -------------------------------------------------------------------------------------

    def send(self, data: Any, padding: int | None = None) -> int:
        """See `udt4.send`. padding: the whole length."""
        return f.send(self.__sock, data, _length(padding))

    def write(self, data: Any) -> int:
        """As `send`."""
        return f.send(self.__sock, data)

    def sendall(self, data: Any, flags: int = 0) -> int:
        """Queue all given bytes of a stream, and return the number. flags: ignored."""
        return self.__sock.sendall(f.outgoing(self.__sock, data, -1))

    def recv(self, size: int) -> bytes:
        """See `udt4.recv`."""
        return f.recv(self.__sock, size)

    def read(self, size: int) -> bytes:
        """As `recv`."""
        return f.recv(self.__sock, size)

    def recv_into(self, buffer: Any, nbytes: int = 0) -> int:
        """As `recv`, into a writable buffer, at most `nbytes`. 0: its size. Returns the number."""
        if nbytes < 0:
            raise ValueError(f"nbytes is {nbytes}, it must be 0 or more")
        view = memoryview(buffer).cast("B")
        return self.__sock.recv_into(view[:nbytes] if nbytes else view)

    def sendmsg(
        self, data: Any, padding: int | None = None, ttl: int = -1, inorder: object = False
    ) -> int:
        """See `udt4.sendmsg`. padding: the whole length."""
        return f.sendmsg(self.__sock, data, _length(padding), ttl, inorder)

    def sendto(self, data: Any, padding: int | None = None) -> int:
        """As `sendmsg`."""
        return self.sendmsg(data, padding)

    def recvmsg(self, size: int) -> bytes:
        """See `udt4.recvmsg`."""
        return f.recvmsg(self.__sock, size)

    def recvfrom(self, size: int) -> bytes:
        """As `recvmsg`, but return only the message."""
        return f.recvmsg(self.__sock, size)

    def sendfile(
        self,
        fd: AnyFile,
        offset: int = 0,
        size: int | None = None,
        block: int = f.SEND_BLOCK,
        progress: Progress | None = None,
    ) -> int:
        """See `udt4.sendfile`."""
        return f.sendfile(self.__sock, fd, offset, size, block, progress)

    def recvfile(
        self,
        fd: AnyFile,
        offset: int = 0,
        size: int | None = None,
        block: int = f.RECEIVE_BLOCK,
        progress: Progress | None = None,
    ) -> int:
        """See `udt4.recvfile`."""
        return f.recvfile(self.__sock, fd, offset, size, block, progress)

    def perfmon(self, clear: object = True) -> udt4.TRACEINFO:
        """See `udt4.perfmon`."""
        return f.perfmon(self.__sock, clear)

    def makefile(self, mode: str = "r", bufsize: int = -1, **text: Any) -> IO[Any]:
        """Return a file object, as `socket.socket.makefile`: "r", "w", "rw", with "b" for binary.

        bufsize: -1: the default, 0: no buffer (binary only). text: encoding, errors, newline.
        Closing the file does not close the socket.
        """
        if not set(mode) <= {"r", "w", "b"} or not set(mode) & {"r", "w"}:
            raise ValueError(f'mode is {mode!r}: use "r", "w" or "rw", with "b" for bytes')
        raw = _Raw(self, "r" in mode, "w" in mode)
        if bufsize == 0:
            if "b" not in mode:
                raise ValueError("text cannot be unbuffered: use a binary mode")
            return raw  # type: ignore[return-value]
        size = io.DEFAULT_BUFFER_SIZE if bufsize < 0 else bufsize
        buffered: Any
        if "r" in mode and "w" in mode:
            buffered = io.BufferedRWPair(raw, raw, size)
        else:
            buffered = (io.BufferedReader if "r" in mode else io.BufferedWriter)(raw, size)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, **text)


class _Raw(io.RawIOBase):
    """The stream as a file. The file ends with the connection."""

    def __init__(self, sock: UdtSocket, reads: bool, writes: bool) -> None:
        self._sock, self._reads, self._writes = sock, reads, writes

    def readable(self) -> bool:
        return self._reads

    def writable(self) -> bool:
        return self._writes

    def readinto(self, buffer: Any) -> int | None:
        try:
            return self._sock.recv_into(buffer)
        except UDTException as caught:
            if caught.code == c.ECONNLOST:
                return 0
            if caught.code == c.EASYNCRCV:
                return None
            raise

    def write(self, data: Any) -> int | None:
        try:
            return self._sock.send(data)
        except UDTException as caught:
            if caught.code == c.EASYNCSND:
                return None
            raise

    def fileno(self) -> int:
        return self._sock.fileno()


Ready = tuple[
    frozenset[UdtSocket], frozenset[UdtSocket], frozenset[socklib.socket], frozenset[socklib.socket]
]


class Epoll:
    """Waits for `UdtSocket` and `socket.socket` objects. See `udt4.UDTepoll`."""

    def __init__(self, _epoll: Epoll | udt4.UDTepoll | None = None) -> None:
        """_epoll: another epoll whose watched sockets are shared. Default: nothing is watched."""
        self.__epoll = udt4.UDTepoll()
        self.__udt: dict[udt4.UDTSOCKET, UdtSocket] = {}
        self.__system: dict[int, socklib.socket] = {}
        if isinstance(_epoll, Epoll):
            self.__epoll, self.__udt, self.__system = _epoll.__epoll, _epoll.__udt, _epoll.__system
        elif isinstance(_epoll, udt4.UDTepoll):
            self.__epoll = _epoll
        elif _epoll is not None:
            raise TypeError(f"_epoll must be an Epoll or a udt4.UDTepoll, not {_epoll!r}")

    @property
    def epoll(self) -> udt4.UDTepoll:
        """The wrapped object."""
        return self.__epoll

    def add_usock(self, udt_socket: UdtSocket, events: int = 0) -> int:
        """Watch a UDT socket. events: 0 for all. Returns 0."""
        if not isinstance(udt_socket, UdtSocket):
            raise TypeError(f"udt_socket must be a UdtSocket, not {udt_socket!r}")
        done = self.__epoll.add_usock(udt_socket.UDTSOCKET, events)
        self.__udt[udt_socket.UDTSOCKET] = udt_socket
        return done

    def remove_usock(self, udt_socket: UdtSocket, events: int = 0) -> int:
        """Stop watching a UDT socket. Does nothing if it is not watched. Returns 0."""
        if not isinstance(udt_socket, UdtSocket):
            raise TypeError(f"udt_socket must be a UdtSocket, not {udt_socket!r}")
        self.__udt.pop(udt_socket.UDTSOCKET, None)
        return self.__epoll.remove_usock(udt_socket.UDTSOCKET)

    def add_ssock(self, sys_socket: socklib.socket, events: int = 0) -> None:
        """Watch a system socket, or any other object with a ``fileno()``. events: 0 for all."""
        if not hasattr(sys_socket, "fileno"):
            raise TypeError(f"sys_socket must be a socket.socket, not {sys_socket!r}")
        number = sys_socket.fileno()
        self.__epoll.add_ssock(number, events)
        self.__system[number] = sys_socket

    def remove_ssock(self, sys_socket: socklib.socket, events: int = 0) -> None:
        """Stop watching it. `AssertionError` if it is not watched."""
        numbers = [number for number, known in self.__system.items() if known is sys_socket]
        if not numbers:
            raise AssertionError(f"{sys_socket!r} is not watched")
        for number in numbers:
            self.__epoll.remove_ssock(number)
            del self.__system[number]

    def wait(
        self,
        do_uread: object,
        do_uwrite: object,
        wait: int,
        do_sread: object = False,
        do_swrite: object = False,
    ) -> Ready:
        """See `udt4.UDTepoll.wait`. Returns the objects that were added."""
        self.garbage_collect()
        ur, uw, sr, sw = self.__epoll.wait(do_uread, do_uwrite, wait, do_sread, do_swrite)
        return self.__of(ur), self.__of(uw), self.__files(sr), self.__files(sw)

    def garbage_collect(self) -> None:
        """Forget sockets that were closed."""
        for sock in [sock for sock in self.__udt if sock.closed]:
            self.__epoll.remove_usock(sock)
            del self.__udt[sock]
        for number, known in list(self.__system.items()):
            if known.fileno() != number:
                self.__epoll.remove_ssock(number)
                del self.__system[number]

    def __of(self, sockets: Iterable[udt4.UDTSOCKET]) -> frozenset[UdtSocket]:
        return frozenset(self.__udt.get(sock) or UdtSocket(_sock=sock) for sock in sockets)

    def __files(self, numbers: Iterable[int]) -> frozenset[socklib.socket]:
        return frozenset(self.__system[number] for number in numbers if number in self.__system)


def _pair(address: Any) -> tuple[str, int]:
    """Return the host as text and the port as a number, converting both if needed."""
    try:
        host, port = address[0], address[1]
    except (TypeError, IndexError, KeyError):
        raise TypeError(f"an address must be (host, port), not {address!r}") from None
    return str(host), int(port)


def _length(padding: int | None) -> int:
    return -1 if padding is None else padding
