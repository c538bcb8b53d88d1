"""One descriptor that is readable when a channel needs attention: `Channel.fileno`.

`csrc/client/readiness.h` describes its parts.
"""

from __future__ import annotations

import os

from shmring._ring import ffi, lib


def open_bell() -> int:
    """Return a descriptor that is readable after a write to it. Raises `OSError`."""
    return _or_raise(lib.doorbell_open())


class Readiness:
    """The descriptor of one channel. The caller serialises calls, and keeps owning the bell."""

    def __init__(self, reader_fd: int) -> None:
        """Raises `OSError`, like `watch` and `keep_looking`."""
        self._own = ffi.new("readiness_t *")
        _or_raise(lib.readiness_open(self._own, reader_fd))

    def fileno(self) -> int:
        return int(self._own.epoll_fd)

    def watch(self, control_fd: int) -> None:
        """Watch this control connection from now on, and stop watching the previous one."""
        _or_raise(lib.readiness_watch(self._own, control_fd))

    def unwatch(self) -> None:
        """Stop watching the control connection, which is about to be closed."""
        lib.readiness_unwatch(self._own)

    def look(self) -> bool:
        """Clear what made the descriptor readable, except packets. Return whether the connection
        hung up."""
        return bool(lib.readiness_look(self._own))

    def keep_looking(self) -> None:
        """Become readable from time to time until `watch` is called."""
        _or_raise(lib.readiness_keep_looking(self._own))

    def close(self) -> None:
        lib.readiness_close(self._own)


def _or_raise(rc: int) -> int:
    if rc < 0:
        raise OSError(-rc, os.strerror(-rc))
    return int(rc)
