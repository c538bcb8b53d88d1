"""One descriptor that is readable when a channel wants attention: `Channel.fileno`.

It is an epoll of the bell that the worker rings, and of the control connection, whose hang-up
says that the worker is gone. From then on, until another worker has taken the channel over, a timer
takes the connection's place: a dead connection would be readable all the time.
"""

from __future__ import annotations

import os
import select
import socket

from shmring._check import check
from shmring._ring import lib

TAKEOVER_LOOK_NS = 10_000_000


def open_bell() -> int:
    """A descriptor that is readable once somebody has written to it, a worker included.

    A datagram socket connected to itself, so that only holders of the descriptor can ring it. An
    eventfd will not do: a write to it may wait.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bell:
        bell.bind("")  # the kernel chooses a name
        bell.connect(bell.getsockname())
        return bell.detach()


class Readiness:
    """The epoll of one channel. The caller serialises calls; the bell stays the caller's."""

    def __init__(self, reader_fd: int) -> None:
        self._reader_fd = reader_fd
        self._control_fd = -1
        self._timer_fd = -1
        self._epoll = select.epoll()
        self._epoll.register(reader_fd, select.EPOLLIN)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def watch(self, control_fd: int) -> None:
        """Watch this control connection from now on, and nothing in its stead."""
        if control_fd == self._control_fd:
            return
        self._drop_timer()
        self._control_fd = control_fd
        self._epoll.register(control_fd, select.EPOLLIN | select.EPOLLRDHUP)

    def unwatch(self) -> None:
        """The control connection is about to be closed."""
        if self._control_fd >= 0:
            self._epoll.unregister(self._control_fd)
            self._control_fd = -1

    def look(self) -> bool:
        """Clear what made it readable, packets apart. Returns whether the connection hung up."""
        gone = False
        for fd, events in self._epoll.poll(0):
            if fd == self._timer_fd:
                os.read(fd, 8)
            elif fd == self._control_fd:
                gone = bool(events & (select.EPOLLHUP | select.EPOLLRDHUP))
        return gone

    def keep_looking(self) -> None:
        """Be readable from time to time until `watch` is called."""
        self.unwatch()
        if self._timer_fd < 0:
            self._timer_fd = check(lib.ring_timer_open(TAKEOVER_LOOK_NS))
            self._epoll.register(self._timer_fd, select.EPOLLIN)

    def close(self) -> None:
        self._drop_timer()
        self._epoll.close()

    def _drop_timer(self) -> None:
        if self._timer_fd >= 0:
            os.close(self._timer_fd)
            self._timer_fd = -1
