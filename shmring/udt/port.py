"""UDP ports that UDT connections share."""

import contextlib
import errno
import itertools
import os
import secrets
import threading
from typing import Any, Self, Unpack

from rtworkers import affinity, page
from shmring import _address, errors
from shmring._endpoint import Endpoint
from shmring._opening import Opening
from shmring._options import integer, switch
from shmring._ring import ffi, lib
from shmring.engine import Start
from shmring.pool import Pool, pool_for
from shmring.udt import closer
from shmring.udt import options as udt_options
from shmring.udt.errors import Code, udt_error
from shmring.udt.options import PortOptions
from shmring.udt.statistics import UdtPortStats, read_port_stats

_numbers = itertools.count()


def draw_name(what: str) -> str:
    """A unique name for an internal channel."""
    return f"udt-{what}-{os.getpid()}-{next(_numbers)}-{secrets.token_hex(4)}"


def open_channel(pool: Opening, name: str, made: tuple[Any, Any]) -> Endpoint:
    """Open a channel and return its end. Raises the errors of `Pool.open`."""
    plain, engine = made
    return pool._start(name, Start(plain, engine, _itself, quiet=True))


def _itself(end: Endpoint) -> Endpoint:
    return end


class Port:
    """A UDP port. Any number of connections and at most one listener use it.

    Connections and listeners hold it (`acquire`, `release`). It is closed when nothing holds it,
    after `close`, the end of a ``with``, or when there is no reference to it.
    """

    def __init__(
        self,
        local: tuple[str, int] | None = None,
        *,
        pool: Pool | str | None = None,
        namespace: str | None = None,
        **options: Unpack[PortOptions],
    ) -> None:
        """Bind to `local`, numeric (host, port), port 0 for any. None: IPv4, the kernel chooses.

        Raises the errors of `shmring.open`, and `UdtError` with `Code.ESOCKFAIL` if the port is in
        use.
        """
        if local is None and options.get("socket") is None:
            local = ("0.0.0.0", 0)
        self.pool = pool_for(pool, namespace)
        made = udt_options.port_channel(local, options)
        try:
            self._endpoint = open_channel(self.pool, draw_name("port"), made)
        except errors.ShmringOSError as caught:
            if caught.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
                raise udt_error(Code.ESOCKFAIL, str(caught.strerror)) from caught
            raise
        self._name = self._endpoint.name
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._holders = 0
        self._wanted = True
        self._gone = False
        closer.start()

    @property
    def name(self) -> str:
        """Name of its channel."""
        return self._name

    @property
    def local(self) -> tuple[str, int]:
        """The bound address."""
        segment = self._endpoint.mapped()
        found = _address.unpack(segment.status.bound)
        if found is None:
            raise udt_error(Code.EUNBOUNDSOCK)
        return found

    @property
    def cpu(self) -> int | None:
        """Core that connections must name to use the same worker. None: there is one worker."""
        segment = self._endpoint.mapped()
        status = segment.status
        return None if page.core(status.cpu) is None else int(status.worker_slot) % affinity.CORES

    @property
    def closed(self) -> bool:
        """Whether the port was closed."""
        return self._gone or self._endpoint.closed

    def acquire(self) -> None:
        """Keep it open until `release`. Raises `UdtError` if it is closed."""
        with self._lock:
            if self._gone:
                raise udt_error(Code.EINVSOCK, "the port is closed")
            self._holders += 1

    def release(self) -> None:
        """The counterpart of `acquire`. Raises `ValueError` if nothing holds the port."""
        with self._lock:
            if self._holders == 0:
                raise ValueError("nothing holds the port: release goes with an earlier acquire")
            self._holders -= 1
        self._close_if_idle()

    def close(self) -> None:
        """Close it as soon as nothing holds it. May be called repeatedly."""
        with self._lock:
            self._wanted = False
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        with self._lock:
            if self._wanted or self._holders or self._gone:
                return
            self._gone = True
        with contextlib.suppress(errors.ShmringError, OSError):
            self._endpoint.close()
        if self._pid != os.getpid():
            return
        # In a garbage cycle the channel may already be finalized.
        with contextlib.suppress(errors.ShmringError, OSError):
            self.pool.end(self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self.__dict__.get("_gone", True):
            closer.later(self.close)

    def stats(self) -> UdtPortStats:
        """Return what the port has counted."""
        return read_port_stats(self._endpoint.mapped())

    def listen(self, messages: bool, backlog: int) -> None:
        """Deliver connection requests as packets of the channel.

        backlog: 1 to 4096. Raises `UdtError` with `Code.EDUPLISTEN` if there is already a listener.
        """
        mode = udt_options.transfer_mode(switch("messages", messages))
        backlog = integer("backlog", backlog, 1, udt_options.MOST_BACKLOG)
        try:
            self._command(lib.SHM_UDT_LISTEN, mode=mode, backlog=backlog)
        except OSError as caught:
            if caught.errno in (errno.EBUSY, errno.EADDRINUSE, errno.EALREADY, errno.EEXIST):
                raise udt_error(Code.EDUPLISTEN) from caught
            raise

    def unlisten(self) -> None:
        """Stop delivering connection requests."""
        self._command(lib.SHM_UDT_UNLISTEN)

    def refuse(self, number: int) -> None:
        """Refuse the connection request with this number."""
        self._command(lib.SHM_UDT_REFUSE, number=integer("number", number, 0, 2**32 - 1))

    def _command(self, op: int, *, mode: int = 0, backlog: int = 0, number: int = 0) -> None:
        command = ffi.new("shm_udt_port_command_t *")
        command.op, command.mode, command.backlog, command.number = op, mode, backlog, number
        self._endpoint.engine_request(bytes(ffi.buffer(command)))

    def __repr__(self) -> str:
        with contextlib.suppress(errors.ShmringError):
            host, port = self.local
            return f"<shmring.udt.Port {host}:{port}>"
        return "<shmring.udt.Port closed>"
