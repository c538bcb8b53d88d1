"""A connection's channel: its state, events and commands, and its end."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any, Unpack

from shmring import errors
from shmring._aio import Waiters
from shmring._arguments import deadline, has_passed
from shmring._endpoint import Endpoint
from shmring._ring import ffi, lib
from shmring.types import State
from shmring.udt import closer
from shmring.udt.errors import Code, udt_error
from shmring.udt.options import Begin, Settings, connection_channel
from shmring.udt.port import Port, draw_name, open_channel

SCRATCH_BYTES = 1 << 18
# The worker reports the end of a connection within its time limit. After this time it is dead.
GRACE_S = 2.0
LOST = (lib.SHM_UDT_BROKEN, lib.SHM_UDT_CLOSED, lib.SHM_UDT_LOST)
_NS_PER_S = 1_000_000_000
_OPEN_STATES = (State.NEW, State.OPEN, State.HELD)


class Connection:
    """What sending and receiving share. It ends when there is no reference to it.

    `tx_lock` guards the sending part of the end, `rx_lock` the receiving part. A thread that takes
    both takes `rx_lock` first.
    """

    closed = True  # until it was made

    def __init__(
        self,
        port: Port,
        remote: tuple[str, int],
        settings: Settings,
        **begin: Unpack[Begin],
    ) -> None:
        """Begin to connect from `port`, which is held until the end."""
        closer.start()
        made = connection_channel(settings, port.name, remote, port.cpu, **begin)
        port.acquire()
        try:
            self.endpoint = open_channel(port.pool, draw_name("socket"), made)
        except BaseException:
            port.release()
            raise
        self.port = port
        self.settings = settings
        self.rx_lock = threading.RLock()
        self.tx_lock = threading.RLock()
        self.waiters = Waiters()
        self.connected = False
        self.ended = 0
        """Code of the error that calls raise after everything was received. 0: it continues."""
        self._segment = self.endpoint.mapped()
        self._end = self.endpoint.end
        self.udt = ffi.new("udt_endpoint_t *")
        self.udt.end = self._end
        self.tag = ffi.new("uint32_t *")
        self._scratch: Any = None
        self._fd = -1
        self._pid = os.getpid()
        self.closed = False
        try:
            self.endpoint.attach_now(lib.ENDPOINT_TX)
        except BaseException:
            self.leave()
            raise
        self._epoch = int(self._end.epoch)

    def mapped(self) -> Any:
        """The segment. Raises `UdtError` if this end is closed."""
        if self.closed:
            raise udt_error(Code.EINVSOCK)
        return self._segment

    def state(self) -> int:
        """`shm_udt_conn_state_t`. Raises `UdtError` if this end is closed."""
        return int(lib.udt_read_state(self.mapped()))

    def fileno(self) -> int:
        """A descriptor that is readable while there may be something to receive."""
        if self._fd < 0:
            with self.rx_lock, self.tx_lock:
                self.mapped()
                self._fd = self.endpoint.fileno()
        self.mapped()
        return self._fd

    def scratch(self) -> Any:
        """Memory for received data. Use it only with `rx_lock`."""
        if self._scratch is None:
            self._scratch = ffi.new("uint8_t[]", SCRATCH_BYTES)
        return self._scratch

    # --- events -----------------------------------------------------------------------------------

    def try_connected(self, what: str) -> bool:
        """Whether it is connected. what: begins the text of the error that a failure raises."""
        with self.rx_lock:
            if not self.connected:
                self._look()
            if self.connected:
                return True
            if not self.ended:
                self.find_end()
            if self.ended:
                raise udt_error(self.ended, what)
            self.rearm()
            return False

    def note(self, tag: int) -> None:
        """Handle an event from the ring."""
        kind, number = tag & 0xFF, tag >> 8
        if kind == lib.SHM_UDT_GOT_CONNECTED:
            self.connected = True
        elif kind == lib.SHM_UDT_GOT_FAILED:
            self.ended = number or int(Code.ECONNSETUP)
        elif kind in (lib.SHM_UDT_GOT_BROKEN, lib.SHM_UDT_GOT_CLOSED):
            self.ended = int(Code.ECONNLOST)

    def _look(self) -> None:
        """Take the events that are next in the ring. With `rx_lock`."""
        self.mapped()
        while (tag := lib.udt_endpoint_event(self.udt)) != lib.UDT_NO_RECORD:
            self.note(tag)

    def find_end(self) -> None:
        """Whether the worker is gone, or reports in its page what it cannot put into the ring."""
        segment = self.mapped()
        replaced = int(segment.status.epoch) != self._epoch
        gone = self.endpoint.state not in _OPEN_STATES
        if replaced or gone or self.state() == lib.SHM_UDT_LOST:
            self.ended = int(Code.ECONNLOST)

    def rearm(self) -> None:
        """Make the descriptor readable for the next item."""
        if self._fd >= 0:
            lib.endpoint_rearm(self._end)
            self.endpoint.settle()

    def sleep(self, what: int, until_ns: int) -> None:
        """Wait until there is something to receive, or room to send, or a short time has passed.
        Python's signal handlers run afterwards."""
        lock = self.tx_lock if what == lib.ENDPOINT_TX else self.rx_lock
        sleep = ffi.new("endpoint_sleep_t *")
        with lock:
            segment = self.mapped()
            lib.endpoint_before_sleep(self._end, what, until_ns, sleep)
        lib.endpoint_sleep(sleep)
        del segment  # kept it mapped until here
        if what == lib.ENDPOINT_TX:
            self.mapped()

    # --- commands and the end ---------------------------------------------------------------------

    def command(self, op: int, value: int = 0) -> None:
        """Send a command to the worker."""
        self.mapped()
        _command(self.endpoint, op, value)

    def close(self, linger_s: float) -> None:
        """Send what is queued, wait a limited time until everything is acknowledged, and detach."""
        if self.closed:
            return
        try:
            if self._pid == os.getpid():
                with contextlib.suppress(errors.ShmringError, OSError):
                    self._say_goodbye(linger_s)
        finally:  # a signal's handler may have ended the wait
            self.leave()

    def _say_goodbye(self, linger_s: float) -> None:
        if self.state() not in (lib.SHM_UDT_CONNECTED, lib.SHM_UDT_CONNECTING):
            return
        self.command(lib.SHM_UDT_CLOSE, int(linger_s * _NS_PER_S))
        until_ns = deadline(linger_s + GRACE_S)
        while self.state() not in LOST and not has_passed(until_ns):
            with self.rx_lock:
                self._discard()
                if self.ended:
                    return
            self.sleep(lib.ENDPOINT_RX, until_ns)

    def _discard(self) -> None:
        """Discard received data, so that the worker can report that it is done. With `rx_lock`."""
        self.mapped()  # another thread may have closed this end while this one slept
        room = self.scratch()
        while True:
            lib.udt_endpoint_take(self.udt, room, self.tag)
            if self.tag[0] == lib.UDT_NO_RECORD:
                self.find_end()
                return
            self.note(self.tag[0])

    def leave(self) -> None:
        """Close this end at once."""
        with self.rx_lock, self.tx_lock:
            if self.closed:
                return
            self.closed = True
            self.waiters.close()
            with contextlib.suppress(errors.ShmringError, OSError):
                self.endpoint.close()
            self._scratch = self._segment = None
        with contextlib.suppress(errors.ShmringError, OSError):
            self.port.release()

    def __del__(self) -> None:
        # Do not touch mapped memory: in a garbage cycle it may be unmapped already.
        if not self.closed and self._pid == os.getpid():
            closer.later(_Forgotten(self.port, self.endpoint.name, self.settings.linger))


class _Forgotten:
    """End a connection that has no references, by the name of its channel."""

    def __init__(self, port: Port, name: str, linger_s: float) -> None:
        self._port = port
        self._name = name
        self._linger_s = linger_s

    def __call__(self) -> None:
        thread = threading.Thread(target=self._end, name="a UDT socket lingers", daemon=True)
        thread.start()

    def _end(self) -> None:
        pool = self._port.pool
        with contextlib.suppress(errors.ShmringError, OSError):
            self._linger(Endpoint(self._name, namespace=pool.namespace))
        with contextlib.suppress(errors.ShmringError, OSError):
            pool.end(self._name)
        self._port.release()

    def _linger(self, endpoint: Endpoint) -> None:
        segment = endpoint.mapped()
        until_ns = deadline(self._linger_s + GRACE_S)
        _command(endpoint, lib.SHM_UDT_CLOSE, int(self._linger_s * _NS_PER_S))

        def is_over() -> bool:
            return endpoint.state not in _OPEN_STATES or lib.udt_read_state(segment) in LOST

        while not is_over() and not has_passed(until_ns):
            endpoint.await_worker(is_over, until_ns)
        endpoint.detach()


def _command(endpoint: Endpoint, op: int, value: int) -> None:
    command = ffi.new("shm_udt_command_t *")
    command.op, command.value = op, value
    endpoint.engine_request(bytes(ffi.buffer(command)))
