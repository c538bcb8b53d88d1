"""The receiving half of a connection: a stream's bytes, and complete messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from shmring._arguments import has_passed
from shmring._ring import ffi, lib
from shmring.udt.connection import SCRATCH_BYTES, Connection
from shmring.udt.errors import Code, udt_error

T = TypeVar("T")


class Receiver:
    """Takes the data that the worker put into the ring, and the events between them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pieces: list[bytes] = []

    def has_data(self) -> bool:
        """Whether a call would return something now, or raise an error."""
        connection = self._connection
        with connection.rx_lock:
            connection.mapped()
            if connection.ended or lib.udt_endpoint_has_data(connection.udt):
                return True
            connection.find_end()
            if connection.ended:
                return True
            connection.rearm()
            return bool(lib.udt_endpoint_has_data(connection.udt))

    def read(self, room: Any, size: int) -> int:
        """Take available bytes of the stream. 0: nothing now. Raises at its end."""
        connection = self._connection
        with connection.rx_lock:
            while True:
                connection.mapped()
                got = lib.udt_endpoint_read(connection.udt, room, size, connection.tag)
                if got:
                    return int(got)
                if connection.tag[0] == lib.UDT_NO_RECORD:
                    self._nothing_there()
                    return 0
                connection.note(connection.tag[0])

    def try_bytes(self, size: int) -> bytes | None:
        """Take bytes of the stream. None: nothing now. Raises at its end."""
        with self._connection.rx_lock:
            room = self._connection.scratch()
            got = self.read(room, min(size, SCRATCH_BYTES))
            return bytes(ffi.buffer(room, got)) if got else None

    def try_message(self) -> bytes | None:
        """Take the next message. None: it is not complete yet. Raises at the end."""
        connection = self._connection
        with connection.rx_lock:
            while True:
                connection.mapped()
                room = connection.scratch()
                length = lib.udt_endpoint_take(connection.udt, room, connection.tag)
                tag = connection.tag[0]
                if tag == lib.UDT_NO_RECORD:
                    self._nothing_there()
                    return None
                kind = tag & 0xFF
                if kind == lib.SHM_UDT_GOT_PIECE:
                    self._pieces.append(bytes(ffi.buffer(room, length)))
                elif kind == lib.SHM_UDT_GOT_MESSAGE:
                    return self._whole(bytes(ffi.buffer(room, length)))
                else:
                    connection.note(tag)

    def _whole(self, last: bytes) -> bytes:
        if not self._pieces:
            return last
        whole = b"".join((*self._pieces, last))
        self._pieces.clear()
        return whole

    def _nothing_there(self) -> None:
        """Whether the empty ring will stay empty. With the receiving lock."""
        connection = self._connection
        if not connection.ended:
            connection.find_end()
            if connection.ended and lib.udt_endpoint_has_data(connection.udt):
                return  # it came before the end did
        if connection.ended:
            raise udt_error(connection.ended)
        if not connection.connected and connection.state() != lib.SHM_UDT_CONNECTED:
            raise udt_error(Code.ENOCONN)
        connection.rearm()

    def take(self, try_take: Callable[[], T | None], until_ns: int) -> T:
        """Wait until `try_take` has something."""
        while (got := try_take()) is None:
            self.wait(until_ns)
        return got

    def wait(self, until_ns: int) -> None:
        """Wait until more may have arrived. Raises `UdtTimeout`, `UdtWouldBlock`."""
        self.check_time(until_ns)
        self._connection.sleep(lib.ENDPOINT_RX, until_ns)

    def check_time(self, until_ns: int) -> None:
        """Raise `UdtTimeout` or `UdtWouldBlock` if the time is over."""
        if has_passed(until_ns):
            raise udt_error(Code.ETIMEOUT if until_ns else Code.EASYNCRCV)
