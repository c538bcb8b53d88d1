"""A channel's control connection to its worker, and the slots that it holds there."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import Any

from rtworkers import liveness, ownership, paths
from rtworkers.control import (
    Connection,
    ControlError,
    FilesLost,
    Reply,
    Request,
    WorkerGone,
    WorkerSilent,
    channel_body,
    engine_request,
    mark_request,
)
from rtworkers.layout import Op
from shmring import _host, errors
from shmring._check import error
from shmring._readiness import Readiness
from shmring._ring import ffi, lib
from shmring.stats import text_of
from shmring.types import STATES, State

# A dead worker is replaced within 0.1 s, unless the supervisor has a reason to wait longer.
CONNECT_WAIT_S = 3.0
CONNECT_LOOK_S = 0.002
# After this time without a heartbeat of its channel, an end checks if pool or worker live.
UNHEARD_NS = 1_000_000_000
_PASSING = (errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET)


class Link:
    """Connects on demand, and holds at most one producer slot and one reader slot.

    The caller serialises calls and keeps the segment mapped.
    """

    def __init__(self, segment: Any) -> None:
        self._segment = segment
        self._connection: Connection | None = None
        self._epoch = -1
        self.producer: int = lib.CTL_NO_SLOT
        self.reader: int = lib.CTL_NO_SLOT
        self.holds_producer = False
        """Whether the connected worker knows of the producer slot (`holds_reader`: of the reader
        slot)."""
        self.holds_reader = False
        self.bell_fd = -1
        self._locks: dict[int, int] = {}
        """Descriptors that hold the slots, by role. They are only kept, never used."""
        self.readiness: Readiness | None = None
        """Is told about every connection."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the worker that serves the channel now."""
        return self._connection is not None and self._epoch == self._segment.status.epoch

    def fileno(self) -> int:
        """Descriptor of the connection, or -1 if there is none."""
        return -1 if self._connection is None else self._connection.socket.fileno()

    def connect(self) -> Connection:
        """Connect to the current worker. Wait for it if the worker is just being replaced.

        Raises `ChannelClosed`, `WorkerFailed`, `NoPermission`.
        """
        self.disconnect()
        give_up = time.monotonic() + CONNECT_WAIT_S
        while True:
            self._epoch = served_epoch(self._segment)
            path = self._socket_path()
            try:
                self._connection = Connection.connect(path)
                self._check_peer(path)
                if self.readiness is not None:
                    self.readiness.watch(self.fileno())
                return self._connection
            except OSError as reason:
                if reason.errno not in _PASSING:
                    raise _host.from_os(f"worker's socket {path}", reason) from None
            if time.monotonic() > give_up:
                raise error(
                    errno.ECONNRESET,
                    f"channel {text_of(self._segment.config.name)!r}: no worker answers at {path}: "
                    'its pool has ended or restarts it. See "shmring ls". Remove leftovers with '
                    '"shmring gc"',
                )
            time.sleep(CONNECT_LOOK_S)

    def _check_peer(self, path: Any) -> None:
        """Raise `NoPermission` if another user listens: that user made a folder of this name before
        the pool did."""
        if self._connection is None:
            return
        _, uid, _ = liveness.peer(self._connection.socket)
        if uid in (0, os.geteuid(), self._segment.owner_uid):
            return
        self.disconnect()
        raise error(
            errno.EPERM,
            f"worker's socket {path} belongs to {ownership.user_text(uid)}, who does not own "
            "the channel: remove it, or set SHMRING_RUNTIME_DIR to a folder of your own",
        )

    def attach_producer(self) -> None:
        """Get a producer slot and the worker's bell. If this end had a slot, it gets the
        same one."""
        reply = self._attach(lib.CTL_ATTACH_PRODUCER, ())
        self._drop_bell()
        self.bell_fd = reply.fds.pop(0)

    def attach_reader(self, reader_fd: int) -> None:
        """Get a reader slot, the same one if this end had one. The worker will ring `reader_fd`."""
        self._attach(lib.CTL_ATTACH_READER, (reader_fd,))

    def command(self, op: Op) -> None:
        """Send a request that names the channel and nothing else."""
        self._request(Request(op, channel_body(text_of(self._segment.config.name)))).close()

    def engine_request(self, body: bytes, fds: tuple[int, ...] = ()) -> tuple[int, bytes]:
        """Send a request that only the channel's engine understands. Return its result and its
        answer."""
        reply = self._request(engine_request(text_of(self._segment.config.name), body, fds))
        reply.close()
        return reply.result, reply.body

    def tap(self, what: int, snap_bytes: int, memory: int) -> int:
        """Have datagrams copied into `memory` during this connection. Return the worker's epoch."""
        ask = ffi.new("ctl_tap_t *")
        ask.channel.name = ffi.string(self._segment.config.name)
        ask.what, ask.snap_bytes = what, snap_bytes
        reply = self._request(Request(Op.TAP, bytes(ffi.buffer(ask)), (memory,)))
        got = ffi.new("ctl_tapped_t *")
        ffi.buffer(got)[:] = reply.body
        return int(got.epoch)

    def mark(self, text: bytes) -> int:
        """Write `text` into the logs of all taps. Return the number of taps."""
        reply = self._request(mark_request(text_of(self._segment.config.name), text))
        return reply.result

    def disconnect(self) -> None:
        """Hang up. The worker frees the slots unless another connection takes them over."""
        self.holds_producer = self.holds_reader = False
        if self._connection is not None:
            if self.readiness is not None:
                self.readiness.unwatch()
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close for good. The segment is not used any more."""
        for what in tuple(self._locks):
            os.close(self._locks.pop(what))
        self.disconnect()
        self._drop_bell()
        self._segment = None

    def _attach(self, what: int, fds: tuple[int, ...]) -> Reply:
        ask = ffi.new("ctl_attach_t *")
        ask.channel.name = ffi.string(self._segment.config.name)
        ask.what = what
        ask.producer, ask.reader = self.producer, self.reader
        try:
            reply = self._request(Request(Op.ATTACH, bytes(ffi.buffer(ask)), fds))
        except FilesLost as lost:
            self._give_back(what, lost.reply.body)
            name = text_of(self._segment.config.name)
            raise _host.from_os(f"channel {name!r}", lost) from None
        got = ffi.new("ctl_attached_t *")
        ffi.buffer(got)[:] = reply.body
        former = self._locks.pop(what, -1)
        self._locks[what] = reply.fds.pop()
        if former >= 0:  # for the same slot of the previous worker, or for a lost slot
            os.close(former)
        if what == lib.CTL_ATTACH_PRODUCER:
            self.producer, self.holds_producer = got.producer, True
        else:
            self.reader, self.holds_reader = got.reader, True
        return reply

    def _give_back(self, what: int, body: bytes) -> None:
        """Free the slot of an ATTACH answer that came without its descriptors.

        It may be the slot that this end had before, which is still locked since the previous
        worker. Then this end keeps it: the worker that loses the connection sees that the slot is
        held.
        """
        got = ffi.new("ctl_attached_t *")
        ffi.buffer(got)[:] = body
        if what == lib.CTL_ATTACH_PRODUCER:
            is_former = got.producer == self.producer
        else:
            is_former = got.reader == self.reader
        if self._connection is not None and not is_former:
            with contextlib.suppress(OSError):
                self._connection.request(Request(Op.DETACH, body)).close()
                return
        self.disconnect()

    def _request(self, request: Request) -> Reply:
        """Send a request. Repeat it while one worker replaces another."""
        give_up = time.monotonic() + CONNECT_WAIT_S
        while True:
            try:
                return self._connected().request(request)
            except WorkerGone as gone:
                self.disconnect()
                reason: OSError = gone
            except ControlError as refused:
                if refused.errno != errno.ENOENT:
                    raise self._refusal(request, refused) from None
                served_epoch(self._segment)  # closed meanwhile?
                reason = refused  # it has not taken over the channel yet
            except WorkerSilent as silent:
                name = text_of(self._segment.config.name)
                raise errors.WorkerFailed(
                    errno.ETIMEDOUT, f"channel {name!r}: {silent.strerror}"
                ) from None
            if time.monotonic() > give_up:
                raise self._refusal(request, reason)
            time.sleep(CONNECT_LOOK_S)

    def _connected(self) -> Connection:
        if self._connection is None or not self.connected:
            return self.connect()
        return self._connection

    def _refusal(self, request: Request, reason: OSError) -> Exception:
        name = text_of(self._segment.config.name)
        number = reason.errno or errno.ECONNRESET
        text = reason.strerror or str(reason)
        return error(number, f"channel {name!r}: {request.op.name} refused: {text}")

    def _socket_path(self) -> Any:
        config = self._segment.config
        directory = paths.pool_directory(text_of(config.name_space), text_of(config.pool))
        return paths.worker_socket(directory, self._segment.status.worker_slot)

    def _drop_bell(self) -> None:
        if self.bell_fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self.bell_fd)
            self.bell_fd = -1


def check_whole(segment: Any) -> None:
    """Raise `ChannelClosed` if the segment's file was truncated while this process mapped it."""
    if lib.shm_segment_torn(segment):
        raise error(
            errno.EPIPE,
            f"channel {text_of(segment.config.name)!r}: another process cut short its file in "
            "shared memory: close the channel and open it again",
        )


def served_epoch(segment: Any) -> int:
    """Return the epoch of the worker that serves the channel. Wait for the first worker.

    Raises `ChannelClosed`, or the reason why the channel failed.
    """
    give_up = time.monotonic() + CONNECT_WAIT_S
    name = text_of(segment.config.name)
    while True:
        epoch, state = segment.status.epoch, _state(segment)
        check_whole(segment)
        if state is State.CLOSED:
            raise error(errno.EPIPE, f"channel {name!r} was closed: open it again, or attach again")
        if state is State.FAILED:
            number = segment.status.error
            if number not in errno.errorcode:  # the worker left none, or a process overwrote it
                number = errno.EIO
            why = text_of(segment.status.reason) or os.strerror(number)
            raise error(number, f"channel {name!r} failed: {why}. Close it and open it again")
        if state is not State.NEW:
            return int(epoch)
        if time.monotonic() > give_up:
            raise error(errno.ECONNRESET, f"channel {name!r} was made, but no worker serves it")
        time.sleep(CONNECT_LOOK_S)


def check_not_deserted(segment: Any) -> None:
    """Raise `ChannelClosed` if neither a pool nor a worker holds the channel any more.

    If both died together, neither could mark the segment as closed.
    """
    if is_deserted(segment):
        name = text_of(segment.config.name)
        raise error(errno.EPIPE, f"channel {name!r} is closed: its pool and its worker have ended")


def is_deserted(segment: Any) -> bool:
    """Whether no process serves the channel although its state says open. Makes system calls only
    if there was no heartbeat for a second."""
    status, config = segment.status, segment.config
    silent_ns = time.monotonic_ns() - status.heartbeat_mono_ns
    if _state(segment) not in (State.OPEN, State.HELD) or silent_ns < UNHEARD_NS:
        return False
    namespace, name = text_of(config.name_space), text_of(config.name)
    fd = _host.open_segment_file(paths.channel_segment(namespace, name), writable=False)
    if fd is None:
        return False  # it was removed by hand, so nothing is known
    try:
        return liveness.file_deserted(fd) or not _is_file_of(segment, fd)
    finally:
        os.close(fd)


def _is_file_of(segment: Any, fd: int) -> bool:
    with _host.mapped(fd, writable=False) as other:
        return other is None or other.segment_id == segment.segment_id


def _state(segment: Any) -> State:
    number = segment.status.state
    return STATES[number] if number < len(STATES) else State.FAILED
