"""Waits for many sockets at once."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time

import udt4._constants as c
from udt4._arguments import integer
from udt4._errors import UDTException, failure
from udt4._socket import UDTSOCKET

# States and room for sending have no descriptor: they are looked at so often.
ROOM_LOOK_S = 0.002
STATE_LOOK_S = 0.05
_ALL = c.UDT_EPOLL_IN | c.UDT_EPOLL_OUT | c.UDT_EPOLL_ERR
_ENDED = select.POLLERR | select.POLLHUP | select.POLLNVAL

Ready = tuple[frozenset[UDTSOCKET], frozenset[UDTSOCKET], frozenset[int], frozenset[int]]


class UDTepoll:
    """A level-triggered set of UDT sockets and system descriptors.

    When a connection ends, its socket is ready to read and to write, until one of its calls has
    raised the error of the end, or it is removed or closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: dict[UDTSOCKET, int] = {}
        self._files: dict[int, int] = {}

    def add_usock(self, sock: UDTSOCKET, flags: int = 0) -> int:
        """Watch a UDT socket for ``UDT_EPOLL_...`` events, 0 for all. Adding it again adds events.
        Returns 0. Raises `UDTException` for a closed one."""
        check_socket(sock)
        if sock.closed:
            raise failure(c.EINVSOCK)
        with self._lock:
            self._sockets[sock] = self._sockets.get(sock, 0) | _flags(flags)
        return 0

    def remove_usock(self, sock: UDTSOCKET, flags: int = 0) -> int:
        """Stop watching it. `flags`, and sockets that are not watched, are ignored. Returns 0."""
        check_socket(sock)
        with self._lock:
            self._sockets.pop(sock, None)
        return 0

    def add_ssock(self, descriptor: int, flags: int = 0) -> None:
        """Watch a system descriptor, as `add_usock`. Raises `UDTException` if it is not open."""
        descriptor = integer("descriptor", descriptor)
        try:
            os.fstat(descriptor)
        except (OSError, OverflowError) as caught:
            raise failure(c.EINVPARAM, f"descriptor {descriptor}: {caught}") from None
        with self._lock:
            self._files[descriptor] = self._files.get(descriptor, 0) | _flags(flags)

    def remove_ssock(self, descriptor: int, flags: int = 0) -> None:
        """Stop watching it. A descriptor that is not watched is ignored."""
        descriptor = integer("descriptor", descriptor)
        with self._lock:
            self._files.pop(descriptor, None)

    def wait(
        self,
        do_uread: object,
        do_uwrite: object,
        timeout: int,
        do_sread: object = False,
        do_swrite: object = False,
    ) -> Ready:
        """Wait until something is ready, and return it: sockets to read, sockets to write,
        descriptors to read, descriptors to write. Sets that are not requested are empty.

        timeout: ms. Negative: no limit. After it, this raises `UDTException` with `ETIMEOUT`. It
        raises one with `EINVPARAM` if the wait could never end.
        """
        timeout = integer("timeout", timeout)
        wanted = (bool(do_uread), bool(do_uwrite), bool(do_sread), bool(do_swrite))
        until_s = None if timeout < 0 else time.monotonic() + timeout / 1000
        while True:
            ready = self._ready(wanted)
            if any(ready):
                return ready
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise failure(c.ETIMEOUT)
            if left_s is None and not self._can_end(wanted):
                raise failure(c.EINVPARAM, "no watched socket or descriptor can become ready")
            self._sleep(wanted, left_s)

    # --- inside -----------------------------------------------------------------------------------

    def _watched(self) -> tuple[dict[UDTSOCKET, int], dict[int, int]]:
        with self._lock:
            for sock in [sock for sock in self._sockets if sock.closed]:
                del self._sockets[sock]
            return dict(self._sockets), dict(self._files)

    def _ready(self, wanted: tuple[bool, bool, bool, bool]) -> Ready:
        sockets, files = self._watched()
        reading: set[UDTSOCKET] = set()
        writing: set[UDTSOCKET] = set()
        for sock, flags in sockets.items():
            readable, writable = sock.ready(flags)
            if wanted[0] and readable:
                reading.add(sock)
            if wanted[1] and writable:
                writing.add(sock)
        found = _poll_files(files, wanted[2], wanted[3])
        return frozenset(reading), frozenset(writing), *found

    def _can_end(self, wanted: tuple[bool, bool, bool, bool]) -> bool:
        sockets, files = self._watched()
        alive = any(not sock.over for sock in sockets)
        return (alive and any(wanted[:2])) or (bool(files) and any(wanted[2:]))

    def _sleep(self, wanted: tuple[bool, bool, bool, bool], left_s: float | None) -> None:
        sockets, files = self._watched()
        poll = select.poll()
        for sock, flags in sockets.items():
            if wanted[0] and flags & c.UDT_EPOLL_IN and not sock.over:
                with contextlib.suppress(UDTException):
                    poll.register(sock.fileno(), select.POLLIN)
        for descriptor, flags in files.items():
            mask = _mask(flags, wanted[2], wanted[3])
            if mask:
                poll.register(descriptor, mask)
        slice_s = ROOM_LOOK_S if wanted[1] and sockets else STATE_LOOK_S
        if left_s is not None:
            slice_s = min(slice_s, left_s)
        poll.poll(max(0.0, slice_s) * 1000)


UDTepoll.__module__ = "udt4"


def check_socket(sock: object) -> UDTSOCKET:
    """Raises `TypeError`."""
    if not isinstance(sock, UDTSOCKET):
        raise TypeError(f"expected a UDTSOCKET, which udt4.socket returns, not {sock!r}")
    return sock


def _flags(flags: object) -> int:
    number = integer("flags", flags)
    if number and not number & _ALL:
        raise ValueError(f"flags are {number:#x}: use UDT_EPOLL_IN, _OUT and _ERR")
    return number & _ALL or _ALL


def _mask(flags: int, reading: bool, writing: bool) -> int:
    mask = 0
    if reading and flags & c.UDT_EPOLL_IN:
        mask |= select.POLLIN
    if writing and flags & c.UDT_EPOLL_OUT:
        mask |= select.POLLOUT
    return mask


def _poll_files(
    files: dict[int, int], reading: bool, writing: bool
) -> tuple[frozenset[int], frozenset[int]]:
    poll = select.poll()
    masks = {fd: _mask(flags, reading, writing) for fd, flags in files.items()}
    for fd, mask in masks.items():
        if mask:
            poll.register(fd, mask)
    events = dict(poll.poll(0)) if any(masks.values()) else {}

    def ready(event: int) -> frozenset[int]:
        return frozenset(
            fd for fd, found in events.items() if masks[fd] & event and found & (event | _ENDED)
        )

    return ready(select.POLLIN), ready(select.POLLOUT)
