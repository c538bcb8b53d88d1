"""How an end is attached to the worker that serves its channel: `csrc/client/attachment.h`."""

from __future__ import annotations

import errno
import os
from typing import Any

from rtworkers import paths
from rtworkers.layout import Op
from rtworkers.similar import meant_channel
from shmring import _host, errors
from shmring._check import check, last_text
from shmring._ring import ffi, lib

_interrupted: list[BaseException] = []
"""The exception of a signal handler that ran while the C code waited for a worker."""


def _on_signal() -> int:
    return 0  # Python has run the handlers before this line


def _keep_raised(_kind: object, raised: BaseException, _trace: object) -> None:
    _interrupted.append(raised)


ffi.def_extern("ring_on_signal", error=-errno.EINTR, onerror=_keep_raised)(_on_signal)
lib.control_on_signal = lib.ring_on_signal


def checked(rc: int) -> int:
    """Return `rc`, or raise the exception of a call of `attachment.h` that failed."""
    if rc == -errno.EINTR and _interrupted:
        raise _interrupted.pop()
    if rc == -errno.ETIMEDOUT:
        raise errors.WorkerFailed(errno.ETIMEDOUT, last_text())
    return check(rc)


class Attachment:
    """What one end has of its channel's worker. It connects when that is needed.

    The caller serialises calls and keeps the segment mapped.
    """

    def __init__(self, segment: Any) -> None:
        self.own = ffi.new("attachment_t *")
        """The attachment_t."""
        # C finds it in the environment, too, but not where the interpreter has file capabilities.
        self._base = ffi.new("char[]", os.fsencode(paths.runtime_base()))
        lib.attachment_init(self.own, segment, self._base)

    def fileno(self) -> int:
        """Descriptor of the connection, or -1 if there is none."""
        return int(self.own.control.fd)

    def open_files(self) -> int:
        """Return how many descriptors it has open."""
        own = self.own
        bells = (own.bell_fd, own.doorbell_fd, own.watch_fd)
        both = (own.readiness, own.progress)
        sets = [fd for one in both for fd in (one.epoll_fd, one.own_fd, one.timer_fd)]
        locks = (own.producer_lock, own.reader_lock)
        return sum(fd >= 0 for fd in (own.control.fd, *bells, *sets, *locks))

    def request(self, op: Op, rest: bytes = b"") -> tuple[int, bytes]:
        """Send a request about the channel, with `rest` after the channel's name. Return its result
        and its answer.

        Raises `ChannelClosed`, `WorkerFailed`, `NoPermission`, or the worker's refusal.
        """
        reply = self._ask(op, rest)
        lib.control_reply_close(reply)
        return int(reply.result), bytes(ffi.buffer(reply.body, reply.bytes))

    def tap(self, what: int, snap_bytes: int, memory_bytes: int) -> int:
        """Have datagrams copied into memory during this connection. Return its descriptor."""
        fields = {"what": what, "snap_bytes": snap_bytes, "memory_bytes": memory_bytes}
        ask = ffi.new("ctl_tap_t *", fields)
        reply = self._ask(Op.TAP, bytes(ffi.buffer(ask))[ffi.sizeof(ask.channel) :])
        return int(reply.fds[0])

    def _ask(self, op: Op, rest: bytes) -> Any:
        reply = ffi.new("control_reply_t *")
        checked(lib.attachment_request(self.own, op, rest, len(rest), reply))
        return reply

    def disconnect(self) -> None:
        """Hang up. The worker frees the slots unless another connection takes them over."""
        lib.attachment_disconnect(self.own)

    def close(self) -> None:
        """Hang up for good. May be called more than once, also without the segment."""
        lib.attachment_close(self.own)


def served_epoch(segment: Any) -> int:
    """Return the epoch of the worker that serves the channel. Wait for the first worker.

    Raises `ChannelClosed`, or the reason why the channel failed.
    """
    epoch = ffi.new("uint32_t *")
    checked(lib.attachment_served_epoch(segment, epoch))
    return int(epoch[0])


def check_whole(segment: Any) -> None:
    """Raise `ChannelClosed` if the segment's file was truncated while this process mapped it."""
    check(lib.attachment_check_whole(segment))


def map_named(name: str, namespace: str, *, writable: bool, trusted: int | None = None) -> Any:
    """Map a channel's segment. It is unmapped when its last reference ends.

    `trusted`: the id of another user who may own the segment. Raises `ChannelNotFound`,
    `NoPermission`, `LayoutMismatch`, `BadConfig`.
    """
    with _host.translated(f"channel {name!r}"):
        space = paths.check_name("namespace", namespace).encode()
        own = paths.check_name("channel name", name).encode()
    segment = ffi.new("shm_segment_t *")
    rc = lib.host_map_segment(segment, space, own, writable, trusted or 0)
    if rc == -errno.ENOENT:
        check(rc, last_text() + meant_channel(name, namespace))
    check(rc)
    return ffi.gc(segment, lib.shm_segment_unmap)
