"""A listener, which accepts connections."""

import collections
import contextlib
import logging
import os
import select
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Self

from shmring import errors
from shmring._aio import Waiters
from shmring._arguments import deadline, has_passed
from shmring._hot import Packet
from shmring._moved import moved
from shmring._ring import ffi, lib
from shmring._signature import like
from shmring.udt import closer
from shmring.udt.errors import Code, UdtError, udt_error
from shmring.udt.options import BACKLOG, Settings
from shmring.udt.port import Port
from shmring.udt.socket import UdtSocket

log = logging.getLogger("shmring.udt")

# A wait ends after this time at the latest, so that Python's signal handlers run.
SLICE_S = 0.5
# An end that was opened to answer a request connects at once, or the worker forgot the request.
ANSWER_S = 5.0
_NS_PER_S = 1_000_000_000


_MOVED = {"accept_async": "aio.accept"}


class UdtListener:
    """Answers connection requests on a port, and hands out the connections.

    `listen` makes it. Up to `backlog` peers are answered before `accept` is called. They are
    connected and may send. Further requests are refused. Any thread may use it. Iteration accepts
    forever.
    """

    def __init__(self, port: Port, settings: Settings, backlog: int = BACKLOG) -> None:
        """Listen on `port`, which is held until the end. settings: of the connections.

        Raises `UdtError` with `Code.EDUPLISTEN` if there is already a listener.
        """
        closer.start()
        port.acquire()
        try:
            port.listen(settings.messages, backlog)
        except BaseException:
            port.release()
            raise
        self._shared = _Shared(port, settings, backlog)
        self._timeout: float | None = None
        self._waiters = Waiters()
        self._thread = threading.Thread(
            target=_answer, args=(self._shared,), name=f"accepting at {port.name}", daemon=True
        )
        self._finalizer = weakref.finalize(self, _Shared.end, self._shared)
        self._thread.start()

    @property
    def port(self) -> Port:
        """The UDP port, which outgoing connections may use, too."""
        return self._shared.port

    @property
    def local(self) -> tuple[str, int]:
        """The bound address, with the chosen port if 0 was given."""
        return self._shared.port.local

    @property
    def closed(self) -> bool:
        """Whether the listener was closed."""
        return self._shared.ended

    @property
    def waiting(self) -> int:
        """Number of connections that `accept` would return now."""
        return len(self._shared.queue)

    def getsockname(self) -> tuple[str, int]:
        """The bound address: (host, port)."""
        return self.local

    def use(self, settings: Settings) -> None:
        """Answer requests from now on with these settings of connections."""
        self._shared.settings = settings

    def fileno(self) -> int:
        """Return a descriptor that is readable while `accept` would return at once."""
        if self._shared.ended:
            raise udt_error(Code.EINVSOCK, "the listener is closed")
        return self._shared.ready_fd

    def settimeout(self, timeout: float | None) -> None:
        """How long `accept` waits, seconds. 0: not at all, None: forever."""
        deadline(timeout)
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """How long `accept` waits, seconds."""
        return self._timeout

    def accept(
        self, *, timeout: float | EllipsisType | None = ...
    ) -> tuple[UdtSocket, tuple[str, int]]:
        """Return the oldest connection and the peer's address.

        timeout: seconds. Default: that of `settimeout`. Raises `UdtTimeout`, `UdtWouldBlock`, and
        `UdtError` with `Code.ENOLISTEN` when the listener is closed.
        """
        until_ns = self._until(timeout)
        shared = self._shared
        while (taken := self._try_accept(until_ns)) is None:
            left_s = (until_ns - lib.rt_mono_ns()) / _NS_PER_S
            with shared.changed:
                if not shared.queue and not shared.ended:
                    shared.changed.wait(min(SLICE_S, max(left_s, 0.0)))
        return taken, taken.remote

    def _until(self, timeout: float | EllipsisType | None) -> int:
        return deadline(self._timeout if isinstance(timeout, EllipsisType) else timeout)

    def _try_accept(self, until_ns: int) -> UdtSocket | None:
        """Take the oldest connection. None: there is none now. Raises when there will be none, and
        if the time is over."""
        taken = self._shared.take()
        if taken is None and self._shared.ended:
            raise udt_error(Code.ENOLISTEN, "accept")
        if taken is None and has_passed(until_ns):
            raise udt_error(Code.ETIMEOUT if until_ns else Code.EASYNCRCV, "accept")
        return taken

    def __iter__(self) -> Iterator[UdtSocket]:
        """Iterate over connections as they arrive, until the listener is closed."""
        with _until_closed():
            while True:
                yield self.accept(timeout=None)[0]

    async def __aiter__(self) -> AsyncIterator[UdtSocket]:
        """As iteration, without blocking the event loop."""
        with _until_closed():
            while True:
                yield (await self.aio.accept(timeout=None))[0]

    @property
    def aio(self) -> "ListenerAio":
        """The calls that wait, for tasks of asyncio and trio: ``await listener.aio.accept()``."""
        return ListenerAio(self)

    def close(self) -> None:
        """Accept no more connections, and close those not accepted yet. The others continue."""
        self._waiters.close()
        if self._finalizer.detach() is None:
            return
        self._shared.end()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    if not TYPE_CHECKING:  # for a type checker, an object with __getattr__ has every name

        def __getattr__(self, name):
            raise moved(self, name, _MOVED)

    def __repr__(self) -> str:
        if self._shared.ended:
            return "<shmring.udt.UdtListener closed>"
        host, port = self.local
        return f"<shmring.udt.UdtListener {host}:{port}>"


class ListenerAio:
    """The calls of a `UdtListener` that wait, for tasks of asyncio and trio."""

    __slots__ = ("_listener",)

    def __init__(self, listener: UdtListener) -> None:
        self._listener = listener

    @like(UdtListener.accept)
    async def accept(
        self, *, timeout: float | EllipsisType | None = ...
    ) -> tuple[UdtSocket, tuple[str, int]]:
        listener = self._listener
        until_ns = listener._until(timeout)
        while (taken := listener._try_accept(until_ns)) is None:
            await listener._waiters.wait(listener.fileno(), until_ns)
        return taken, taken.remote


class _Shared:
    """The state of the thread. It holds no reference to the listener."""

    def __init__(self, port: Port, settings: Settings, backlog: int) -> None:
        self.port = port
        self.settings = settings
        self.backlog = backlog
        self.queue: collections.deque[UdtSocket] = collections.deque()
        self.changed = threading.Condition()
        self.ended = False
        self.ready_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
        self.stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.pid = os.getpid()

    def take(self) -> UdtSocket | None:
        with self.changed:
            if not self.queue:
                return None
            if not self.ended:
                os.eventfd_read(self.ready_fd)
            return self.queue.popleft()

    def put(self, connection: UdtSocket) -> None:
        with self.changed:
            if self.ended:
                closer.later(connection.close)
                return
            self.queue.append(connection)
            os.eventfd_write(self.ready_fd, 1)
            self.changed.notify()

    def drop_silent(self) -> list[UdtSocket]:
        """Take out those whose peers never said anything, for the caller to close."""
        with self.changed:
            silent = [waiting for waiting in self.queue if _never_spoke(waiting)]
            for connection in silent:
                self.queue.remove(connection)
                os.eventfd_read(self.ready_fd)
        return silent

    def end(self) -> None:
        """Tell the thread, which closes the rest."""
        if self.pid != os.getpid():
            return
        with self.changed:
            self.ended = True
            if self.stop_fd >= 0:
                os.eventfd_write(self.stop_fd, 1)

    def finish(self) -> None:
        """Called by the thread, last."""
        with self.changed:
            self.ended = True
            left = list(self.queue)
            self.queue.clear()
            self.changed.notify_all()
            os.close(self.ready_fd)
            os.close(self.stop_fd)
            self.ready_fd = self.stop_fd = -1
        for connection in left:
            connection.close(linger=0)
        with contextlib.suppress(errors.ShmringError, OSError):
            self.port.unlisten()
        with contextlib.suppress(errors.ShmringError, OSError):
            self.port.release()


def _answer(shared: _Shared) -> None:
    """The thread of a listener."""
    endpoint = shared.port._endpoint
    try:
        poll = select.poll()
        poll.register(endpoint.fileno(), select.POLLIN)
        poll.register(shared.stop_fd, select.POLLIN)
        while not shared.ended:
            packet = endpoint.try_recv()
            if packet is not None:
                _answer_one(shared, packet)
                continue
            poll.poll(ANSWER_S * 1000 if shared.queue else None)
            for connection in shared.drop_silent():
                connection.close(linger=0)
    except errors.ChannelClosed:
        pass
    except Exception:
        log.exception("a UDT listener ends")
    finally:
        shared.finish()


def _never_spoke(connection: UdtSocket) -> bool:
    with contextlib.suppress(errors.ShmringError):
        return connection._facts().error == Code.ECONNSETUP
    return False


def _answer_one(shared: _Shared, packet: Packet) -> None:
    request = ffi.new("shm_udt_request_t *")
    if len(packet.data) < ffi.sizeof(request[0]):
        return
    ffi.memmove(request, bytes(packet.data), ffi.sizeof(request[0]))
    try:
        if len(shared.queue) >= shared.backlog:
            shared.port.refuse(request.number)
            return
        connection = UdtSocket(shared.port, packet.source, shared.settings, accepts=request.number)
    except errors.ChannelClosed:
        raise
    except (errors.ShmringError, OSError) as caught:
        # Forgotten in the meantime, or no memory or files left: the peer asks again, or is refused.
        log.warning("a connection from %s was not accepted: %s", packet.source, caught)
        with contextlib.suppress(errors.ShmringError, OSError):
            shared.port.refuse(request.number)
        return
    try:
        connection.wait_connected(timeout=ANSWER_S)
    except UdtError as caught:
        log.info("a connection from %s ended before it was established: %s", packet.source, caught)
        connection.close(linger=0)
        return
    shared.put(connection)


class _until_closed(contextlib.suppress):
    """Suppress the error of a closed listener."""

    def __exit__(self, kind: Any, caught: Any, traceback: Any) -> bool:
        return getattr(caught, "code", None) in (Code.ENOLISTEN, Code.EINVSOCK)
