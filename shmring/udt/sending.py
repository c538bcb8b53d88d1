"""The sending half of a connection: a stream's bytes, and messages as runs of records."""

from __future__ import annotations

import contextlib
import errno
import threading
from typing import Any, Never

from shmring import errors
from shmring._aio import SharedLock
from shmring._arguments import has_passed, payload
from shmring._ring import ffi, lib
from shmring.udt.connection import LOST, Connection
from shmring.udt.errors import Code, udt_error
from shmring.udt.statistics import read_facts


class Sender:
    """Queues bytes for the worker. Views are `payload` of `shmring._arguments`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._messages = connection.settings.messages
        # A message is one run of records.
        self._message_lock = SharedLock()
        self._peer_errors_told = 0
        self._done = ffi.new("uint64_t *")

    def has_room(self) -> bool:
        """Whether a call would queue something now, or raise an error."""
        connection = self._connection
        with connection.tx_lock:
            state = connection.state()
            if state in LOST:
                return True
            return state == lib.SHM_UDT_CONNECTED and bool(
                lib.udt_endpoint_has_room(connection.udt)
            )

    # --- a stream ---------------------------------------------------------------------------------

    def send_some(self, view: Any, start: int, until_ns: int) -> int:
        """Queue at least one byte from `start` on, and return the number."""
        while start < len(view):
            done = self.queue(view, start)
            if done > start:
                return done - start
            self._wait_for_room(until_ns)
        return 0

    async def send_some_in_task(self, view: Any, start: int, until_ns: int) -> int:
        """As `send_some`, without blocking the event loop."""
        while start < len(view):
            done = self.queue(view, start)
            if done > start:
                return done - start
            await self._room_in_task(until_ns)
        return 0

    def queue(self, view: Any, done: int, ttl_ms: int = -1, flags: int = 0) -> int:
        """Queue as much as there is room for, from `done` on, and return the new position."""
        connection = self._connection
        with connection.tx_lock:
            peer_errors = lib.udt_read_peer_errors(connection.mapped())
            if self._peer_errors_told != peer_errors:
                self._peer_errors_told = peer_errors
                raise udt_error(Code.EPEERERR)
            self._done[0] = done
            data = ffi.cast("uint8_t *", view)
            rc = lib.udt_endpoint_send(
                connection.udt, data, len(view), ttl_ms, flags, self._messages, self._done
            )
            now = int(self._done[0])
        if now > done or rc in (0, -errno.ENOBUFS):
            return now
        self._refuse()

    def _wait_for_room(self, until_ns: int) -> None:
        _check_time(until_ns)
        self._connection.sleep(lib.ENDPOINT_TX, until_ns)

    async def _room_in_task(self, until_ns: int) -> None:
        _check_time(until_ns)
        await self._connection.endpoint.progress(self.has_room, until_ns)

    def _refuse(self) -> Never:
        state = self._connection.state()
        if state == lib.SHM_UDT_CONNECTING or state == 0:
            raise udt_error(Code.ENOCONN)
        raise udt_error(Code.ECONNLOST)

    # --- messages ---------------------------------------------------------------------------------

    def send_message(self, view: Any, ttl_ms: int, flags: int, until_ns: int) -> int:
        """Queue one message. Wait for room for its beginning only until `until_ns`."""
        self._check_length(len(view))
        self._message_lock.acquire()
        done = 0
        try:
            while done < len(view):
                done = self.queue(view, done, ttl_ms, flags)
                if done < len(view):
                    self._wait_for_room(until_ns if done == 0 else lib.RT_NEVER_NS)
        finally:
            self._end_message(view, done, ttl_ms, flags)
        return done

    async def send_message_in_task(
        self, view: Any, ttl_ms: int, flags: int, until_ns: int
    ) -> int:
        """As `send_message`, without blocking the event loop."""
        self._check_length(len(view))
        await self._message_lock.acquire_in_task()
        done = 0
        try:
            while (done := self.queue(view, done, ttl_ms, flags)) < len(view):
                await self._room_in_task(until_ns if done == 0 else lib.RT_NEVER_NS)
        finally:
            self._end_message(view, done, ttl_ms, flags)
        return done

    def _end_message(self, view: Any, done: int, ttl_ms: int, flags: int) -> None:
        """Let others send messages as soon as this one is completely queued. Otherwise its queued
        part would become the beginning of the next one."""
        if not 0 < done < len(view):
            self._message_lock.release()
            return
        rest = bytes(ffi.buffer(view))[done:]
        threading.Thread(
            target=self._finish_message,
            args=(rest, ttl_ms, flags),
            name="a UDT socket finishes a message",
            daemon=True,
        ).start()

    def _finish_message(self, rest: bytes, ttl_ms: int, flags: int) -> None:
        try:
            with contextlib.suppress(errors.ShmringError, OSError), payload(rest) as view:
                done = 0
                while (done := self.queue(view, done, ttl_ms, flags)) < len(view):
                    self._connection.sleep(lib.ENDPOINT_TX, lib.RT_NEVER_NS)
        finally:
            self._message_lock.release()

    def _check_length(self, length: int) -> None:
        most = self._connection.settings.send_bytes
        if length > most:
            raise udt_error(
                Code.ELARGEMSG,
                f"the message has {length} bytes, the send buffer {most}: send less at once, or "
                "open the socket with larger send_bytes",
            )

    # --- all of it --------------------------------------------------------------------------------

    def flush(self, until_ns: int) -> None:
        """Wait until the peer has acknowledged everything."""
        self._connection.mapped()
        while self._must_wait_to_flush(until_ns):
            self._connection.endpoint.await_worker(self._is_flushed, until_ns)

    async def flush_in_task(self, until_ns: int) -> None:
        """As `flush`, without blocking the event loop."""
        self._connection.mapped()
        while self._must_wait_to_flush(until_ns):
            await self._connection.endpoint.progress(self._is_flushed, until_ns)

    def _must_wait_to_flush(self, until_ns: int) -> bool:
        unsent = self._unsent()
        if unsent and self._connection.state() in LOST:
            raise udt_error(Code.ECONNLOST, "flush")
        if unsent and has_passed(until_ns):
            raise udt_error(Code.ETIMEOUT, "flush")
        return unsent

    def _is_flushed(self) -> bool:
        return not self._unsent() or self._connection.state() in LOST

    def _unsent(self) -> bool:
        with contextlib.suppress(errors.ShmringError):
            segment = self._connection.mapped()
            return bool(lib.tx_ring_waiting(segment) or read_facts(segment).unsent_bytes)
        return False


def _check_time(until_ns: int) -> None:
    if has_passed(until_ns):
        raise udt_error(Code.ETIMEOUT if until_ns else Code.EASYNCSND)
