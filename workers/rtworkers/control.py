"""The control connection of a pool to a worker: `csrc/shm/ctl_msg.h` in Python. Clients have
`csrc/client/control.h`.

Each request and each answer is one SOCK_SEQPACKET message. Descriptors are passed with SCM_RIGHTS.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rtworkers import liveness, paths
from rtworkers.layout import (
    CTL_HELLO_POOL,
    CTL_MAGIC,
    CTL_MAX_BYTES,
    CTL_MAX_FDS,
    CTL_OPEN_TAKEOVER,
    SHM_NAME_BYTES,
    Op,
)
from rtworkers.opener import is_stopped

HEADER = struct.Struct("=IIIiII")
CHANNEL = struct.Struct(f"={SHM_NAME_BYTES}s7x")
LIST = struct.Struct("=II")
OPEN = struct.Struct("=IIQ")
OPENED = struct.Struct("=Q")
PONG = struct.Struct("=IIq")
HELLO = struct.Struct("=II")

REPLY_TIMEOUT_S = 5.0
# After so long without an answer, a client looks whether the other process is stopped.
STOPPED_LOOK_S = 1.0
# Requests under way at once in a row of them: their configurations together must fit the socket's
# buffer, and the worker must find the next one waiting when it is done with one.
ROW_WINDOW = 16
SPIN_NS = 150_000
# The share of the time to wait in which a request must be carried out: a call that raised must not
# take effect later.
ANSWER_SHARE = 0.95

_FD_SPACE = socket.CMSG_SPACE(CTL_MAX_FDS * 4)


# Requests of a pool are carried out even after it gave up waiting.
EVEN_LATE = frozenset((Op.OPEN, Op.CLOSE, Op.ADOPT, Op.QUIT))


class ControlError(OSError):
    """A worker refused a request. `errno` and the text are the worker's."""


class WorkerGone(ConnectionError):
    """The worker hung up before it answered."""


class WorkerSilent(TimeoutError):
    """The worker is alive but did not answer in time. The text names the worker and the fix."""


class WorkerDown(RuntimeError):
    """The worker of a slot does not run and will not run soon. The text says why."""


class WorkerStartError(RuntimeError):
    """A worker did not start. The text has what it wrote to stderr."""

    def __init__(self, text: str, error: int = 0) -> None:
        super().__init__(text)
        self.errno = error


@dataclass(slots=True)
class Reply:
    """A worker's answer. The receiver closes `fds`, or passes them on."""

    op: int
    request: int
    result: int
    body: bytes
    fds: list[int] = field(default_factory=list)

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


@dataclass(frozen=True, slots=True)
class Request:
    """One request to send. The caller keeps owning `fds`."""

    op: Op
    body: bytes = b""
    fds: Sequence[int] = ()


def channel_body(name: str) -> bytes:
    """ctl_channel_t"""
    return CHANNEL.pack(name.encode("ascii"))


def open_request(
    config: bytes,
    segment: int,
    bell: int,
    sock: int | None,
    *,
    takeover: bool,
    memory_limit: int,
) -> Request:
    """OPEN: the channel of `segment`. `sock` is a bound socket to take over, or None.

    memory_limit: bytes that the worker may take beside the segment. 0: no limit.
    """
    body = OPEN.pack(CTL_OPEN_TAKEOVER if takeover else 0, 0, memory_limit) + config
    return Request(Op.OPEN, body, (segment, bell) if sock is None else (segment, bell, sock))


def parse_channels(body: bytes) -> list[str]:
    """Return the names in a reply to LIST."""
    whole = len(body) // CHANNEL.size * CHANNEL.size
    fields = (raw for (raw,) in CHANNEL.iter_unpack(body[:whole]))
    return [raw.split(b"\0", 1)[0].decode("ascii", "replace") for raw in fields]


class Connection:
    """A connected control socket. Any thread may use it. One request is in progress at a time."""

    def __init__(self, sock: socket.socket, worker: str = "the worker", pid: int = 0) -> None:
        """`worker` and `pid` name the other side in errors. `pid` is 0 if it is unknown."""
        self._sock = sock
        self._worker = worker
        self._pid = pid
        self._lock = threading.Lock()
        self._last_request = 0

    @classmethod
    def connect(cls, path: Path) -> Connection:
        """Connect to the worker that listens on `path`. Raises `OSError` if there is none."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = reach(sock, path)
        except BaseException:
            sock.close()
            raise
        slot = path.stem.removeprefix("worker-")
        return cls(sock, f"worker {slot} of pool {path.parent.name!r}", pid)

    @property
    def socket(self) -> socket.socket:
        """The socket, for waiting and for checking who is on the other side."""
        return self._sock

    def close(self) -> None:
        self._sock.close()

    def request(self, request: Request, timeout: float = REPLY_TIMEOUT_S) -> Reply:
        """Send one request and return its answer.

        Raises `ControlError` if the worker refuses, `WorkerGone`, `WorkerSilent` (after `timeout`
        seconds), `OSError` with EMFILE (no room for the descriptors of the answer).
        """
        with self._lock:
            number = self._send(request, timeout)
            reply = self._receive_answer(number, timeout, request.op)
        if reply.result < 0:
            raise refusal(reply)
        return reply

    def list_channels(self) -> list[str]:
        """Return the names of the worker's channels. One answer has room for about 900 of them.

        Raises the exceptions of `request`.
        """
        names: list[str] = []
        while True:
            reply = self.request(Request(Op.LIST, LIST.pack(len(names), 0)))
            page = parse_channels(reply.body)
            names += page
            if not page or len(names) >= reply.result:
                return names

    def post(self, request: Request) -> None:
        """Send a request whose answer is ignored. A worker that accepts nothing misses it."""
        with self._lock, contextlib.suppress(OSError):
            self._send(request, 0.0)

    def request_row(
        self, requests: Iterable[Request], timeout: float = REPLY_TIMEOUT_S
    ) -> Iterator[Reply]:
        """Send many requests without waiting for each answer. Yield the answers in order.

        A refused request yields its reply, with ``result < 0``, and does not end the sequence. The
        same is true for a request that cannot be sent, for example because one of its descriptors
        is closed.
        """
        with self._lock:
            waiting: list[Callable[[], Reply]] = []
            for request in requests:
                if len(waiting) == ROW_WINDOW:
                    yield waiting.pop(0)()
                waiting.append(self._start(request, timeout))
            for answer in waiting:
                yield answer()

    def receive_ready(self, timeout: float) -> Reply:
        """Return the message that a worker sends when it serves. Raises the exceptions of
        `request`."""
        with self._lock:
            reply = self._receive(timeout, "say that it is ready")
        if reply.result < 0:
            raise refusal(reply)
        return reply

    def _silent(self, what: str, timeout: float) -> WorkerSilent:
        name, fix = self._worker, ""
        if self._pid:
            name += f" (process {self._pid})"
            fix = f": have it replaced (kill -9 {self._pid})"
        if is_stopped(self._pid):
            text = f"{name} {stopped_text(self._pid)}"
        else:
            text = f"{name} is alive, but did not {what} within {timeout:g} s{fix}"
        return WorkerSilent(errno.ETIMEDOUT, text)

    def _send(self, request: Request, timeout: float) -> int:
        self._last_request = self._last_request % 0xFFFFFFFF + 1
        until_ms = 0 if request.op in EVEN_LATE else _until_ms(timeout)
        numbers = (CTL_MAGIC, request.op, self._last_request, 0, len(request.body), until_ms)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", request.fds))]
        self._sock.settimeout(timeout)
        try:
            self._sock.sendmsg([HEADER.pack(*numbers), request.body], rights if request.fds else [])
        except TimeoutError:
            raise self._silent(f"take {request.op.name}", timeout) from None
        except (BrokenPipeError, ConnectionResetError):
            self._raise_refusal()
            raise WorkerGone("the worker has ended") from None
        return self._last_request

    def _start(self, request: Request, timeout: float) -> Callable[[], Reply]:
        """Send a request of a sequence. Return the object that waits for its answer."""
        try:
            number = self._send(request, timeout)
        except (ControlError, WorkerGone, WorkerSilent):
            raise
        except OSError as error:
            code = error.errno or errno.EIO
            unsent = Reply(request.op, 0, -code, f"not sent: {os.strerror(code)}".encode())
            return lambda: unsent
        return lambda: self._receive_answer(number, timeout, request.op)

    def _raise_refusal(self) -> None:
        """Raise `ControlError` if the worker sent the reason before it hung up."""
        reply = None
        self._sock.settimeout(0.0)
        for _ in range(2):  # the first call may only return the pending error
            with contextlib.suppress(OSError):
                data, ancillary, _ = self._receive_now()
                reply = _parse(data, received_fds(ancillary))
                break
        if reply is None:
            return
        if reply.request == 0 and reply.result < 0:
            raise refusal(reply)
        reply.close()  # to a request of a sequence

    def _receive_raw(
        self, timeout: float, *, even_late: bool
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int]:
        """Poll for a short time before sleeping: a worker's answer takes about 50 us, and waking up
        would take as long again.

        even_late: whether the worker may do what was asked after this end gave up. Then a worker
            that is stopped is not waited for.
        """
        give_up_ns = time.monotonic_ns() + SPIN_NS
        self._sock.settimeout(0.0)
        while True:
            try:
                return self._receive_now()
            except BlockingIOError:
                if time.monotonic_ns() > give_up_ns:
                    break
        if even_late and timeout > STOPPED_LOOK_S:
            self._sock.settimeout(STOPPED_LOOK_S)
            with contextlib.suppress(TimeoutError):
                return self._receive_now()
            if is_stopped(self._pid):
                raise TimeoutError
            timeout -= STOPPED_LOOK_S
        self._sock.settimeout(timeout)
        return self._receive_now()

    def _receive_now(self) -> tuple[bytes, list[tuple[int, int, bytes]], int]:
        """Receive one message, with the socket's timeout. Its descriptors are not inherited."""
        received = self._sock.recvmsg(CTL_MAX_BYTES, _FD_SPACE, socket.MSG_CMSG_CLOEXEC)
        if not received[0]:
            # The last message may still wait: the kernel looks for a message and then for the peer,
            # which may have sent one and hung up in between (unix_dgram_recvmsg).
            received = self._sock.recvmsg(CTL_MAX_BYTES, _FD_SPACE, socket.MSG_CMSG_CLOEXEC)
        return received[:3]

    def _receive_answer(self, number: int, timeout: float, op: Op) -> Reply:
        while True:
            reply = self._receive(timeout, f"answer {op.name}", even_late=op is Op.CLOSE)
            if reply.request == number:
                return reply
            if reply.request == 0 and reply.result < 0:
                raise refusal(reply)
            reply.close()  # to a request whose caller has given up

    def _receive(self, timeout: float, what: str, *, even_late: bool = False) -> Reply:
        try:
            data, ancillary, flags = self._receive_raw(timeout, even_late=even_late)
        except TimeoutError:
            raise self._silent(what, timeout) from None
        except ConnectionResetError:  # it hung up without reading the request
            self._raise_refusal()
            raise WorkerGone("the worker has ended") from None
        fds = received_fds(ancillary)
        if not data:
            raise WorkerGone("the worker has ended")
        if flags & socket.MSG_CTRUNC:
            _close_all(fds)
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            raise OSError(
                errno.EMFILE,
                f"this process is at its limit of {soft} open files, so it lost descriptors from "
                "the worker: close files, or raise the limit (ulimit -n, LimitNOFILE= of the "
                "service)",
            )
        return _parse(data, fds)


def reach(sock: socket.socket, path: Path) -> int:
    """Connect to the socket `path` of a worker or of a pool, by the pool's door if only its user
    may do that. Return the process there. Raises `OSError`, `WorkerSilent`."""
    try:
        sock.connect(os.fspath(path))
    except PermissionError as closed:
        try:
            sock.connect(os.fspath(paths.door_socket(path.parent)))
        except FileNotFoundError:
            raise closed from None
        return _say_hello(sock, path)
    return liveness.peer(sock)[0]


def _say_hello(sock: socket.socket, path: Path) -> int:
    timeout = sock.gettimeout()
    number = path.stem.removeprefix("worker-")
    slot = int(number) if number.isdecimal() else CTL_HELLO_POOL
    door = Connection(sock, f"the door of pool {path.parent.name!r}", liveness.peer(sock)[0])
    try:
        reply = door.request(Request(Op.HELLO, HELLO.pack(slot, 0)))
    except ControlError as refused:
        raise OSError(refused.errno, refused.strerror) from None  # of the kind of its errno
    finally:
        sock.settimeout(timeout)
    return int(PONG.unpack_from(reply.body)[0])


def stopped_text(pid: int) -> str:
    """Return what is to be said about a process that is stopped."""
    return (
        f"is stopped, by a signal or a debugger: continue it (kill -CONT {pid}), or end it "
        f"(kill -9 {pid})"
    )


def _until_ms(timeout: float) -> int:
    """Return the time limit for the header of a request whose answer is awaited for `timeout`
    seconds. 0: no limit."""
    if timeout <= 0:
        return 0
    return (time.monotonic_ns() // 1_000_000 + int(timeout * ANSWER_SHARE * 1000)) & 0xFFFFFFFF or 1


def received_fds(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came with a message."""
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds.tolist()


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def _parse(data: bytes, fds: list[int]) -> Reply:
    if len(data) >= HEADER.size:
        magic, op, request, result, body_bytes, _ = HEADER.unpack_from(data)
        body = data[HEADER.size :]
        if magic == CTL_MAGIC and len(body) == body_bytes:
            return Reply(op, request, result, body, fds)
    _close_all(fds)
    raise OSError(
        errno.EPROTO,
            f"a malformed message of {len(data)} bytes came from the worker: use the same version "
            "of shmring in all processes"
    )


def refusal(reply: Reply) -> ControlError:
    """Return the error for a reply with ``result < 0``."""
    reply.close()
    text = reply.body.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
    return ControlError(-reply.result, text or os.strerror(-reply.result))
