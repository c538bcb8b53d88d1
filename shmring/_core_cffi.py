"""The per-packet calls through cffi: what `csrc/python/hot.c` does, for Pythons without it.

cffi lets other threads run during each call, so a lock guards the end; nobody sleeps holding it.
"""

from __future__ import annotations

import array
import errno
import operator
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Never

from shmring import _address
from shmring._check import last_text
from shmring._ring import ffi, lib
from shmring.batch import PacketBatch
from shmring.types import STAMPS, Stamp

RECV_MANY_DEFAULT = 1024
RECV_MANY_MOST = 1 << 20
RECV_MANY_BYTES = 1 << 20
NS_PER_S = 1_000_000_000
TIME_MAX_NS = 2**63 - 1

Buffer = bytes | bytearray | memoryview | Any
"""Anything with the buffer protocol, C-contiguous."""

_RECORD_BYTES = ffi.sizeof("packet_record_t")
_INTEGERS = frozenset("bhilqnBHILQN")


class Packet:
    """One received packet."""

    __slots__ = (
        "_flags",
        "_source",
        "data",
        "lost_before",
        "sequence",
        "stamp",
        "timestamp_ns",
        "tos",
    )

    def __init__(
        self,
        data: bytes | memoryview,
        timestamp_ns: int,
        stamp: Stamp,
        source: bytes,
        sequence: int,
        tos: int = 0,
        lost_before: int = 0,
        flags: int = 0,
    ) -> None:
        self.data = data
        """Payload: bytes, or a memoryview of the buffer given to `Channel.recv_into`."""
        self.timestamp_ns = timestamp_ns
        """Arrival in the channel's clock, ns; `stamp` says who took it."""
        self.stamp = Stamp(stamp)
        self.sequence = sequence
        """Number of the packet in the channel, counted up by 1 from 0."""
        self.tos = tos
        """Type of service or traffic class it came with; DSCP is ``tos >> 2``."""
        self.lost_before = lost_before
        """Packets overwritten between the one read before and this one."""
        self._flags = flags
        self._source = source

    @property
    def source(self) -> tuple[str, int]:
        """Sender: (host, port)."""
        return _address.unpack(self._source)  # type: ignore[return-value]

    @property
    def shared_stamp(self) -> bool:
        """Whether one stamp covers several packets that the kernel received as one."""
        return bool(self._flags & lib.SHM_RX_SHARED_STAMP)

    @property
    def truncated(self) -> bool:
        """Whether the datagram was longer than the channel's `max_payload`."""
        return bool(self._flags & lib.SHM_RX_TRUNCATED)

    def _fields(self) -> tuple[Any, ...]:
        return (
            bytes(self.data),
            self.timestamp_ns,
            self.stamp,
            self._source,
            self.sequence,
            self.tos,
            self.lost_before,
            self._flags,
        )

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, Packet) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.sequence, self.timestamp_ns))

    def __reduce__(self) -> tuple[Any, ...]:
        return Packet, self._fields()

    def __repr__(self) -> str:
        return (
            f"Packet({len(self.data)} bytes, timestamp_ns={self.timestamp_ns}, stamp={self.stamp}, "
            f"source={self.source!r}, sequence={self.sequence})"
        )


Packet.__module__ = "shmring"


class Core:
    """The per-packet calls of a channel."""

    _core_end: Any = None  # channel_end_t *
    _core_owner: object = None
    _core_lock: threading.Lock

    # What Channel defines.

    def _attach_now(self, what: int) -> None:
        raise NotImplementedError

    def _pack_address(self, to: object) -> bytes:
        raise NotImplementedError

    def _refuse(self, rc: int, text: str | None) -> Never:
        raise NotImplementedError

    def _raise_full(self, waited: bool, sent: int, first: int) -> Never:
        raise NotImplementedError

    def _raise_timeout(self) -> Never:
        raise NotImplementedError

    def _settle(self) -> None:
        raise NotImplementedError

    # --- life ---------------------------------------------------------------------------------

    def _serve(self, owner: object, address: int) -> None:
        """Work on the channel_end_t at `address`; `owner` keeps it and its segment."""
        self._core_lock = threading.Lock()
        self._core_owner = owner
        self._core_end = ffi.cast("channel_end_t *", address)

    def _shut(self) -> None:
        """No call works from now on, and those that sleep return."""
        with self._core_lock:
            lib.end_shut(self._core_end)
            self._core_end = None
            self._core_owner = None

    def _bind_producer(self, slot: int, bell_fd: int) -> int:
        with self._core_lock:
            return int(lib.end_attach_producer(self._need_end(), slot, bell_fd))

    def _bind_reader(self, slot: int, reader_fd: int) -> int:
        with self._core_lock:
            return int(lib.end_attach_reader(self._need_end(), slot, reader_fd))

    def _need_end(self) -> Any:
        end = self._core_end
        if end is None or end.segment == ffi.NULL:
            self._refuse(-errno.EPIPE, None)
        return end

    def _sleep(self, what: int, until_ns: int) -> None:
        owner = self._core_owner
        sleep = ffi.new("end_sleep_t *")
        with self._core_lock:
            lib.end_before_sleep(self._need_end(), what, until_ns, sleep)
        lib.end_sleep(sleep)
        with self._core_lock:
            lib.end_after_sleep(self._need_end(), sleep)
        del owner  # kept the segment mapped

    # --- sending ------------------------------------------------------------------------------

    def send(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        to: tuple[str, int] | None = None,
        timeout: float | None = 0.0,
    ) -> int:
        """Queue one packet and return its sequence number in the channel.

        data: any C-contiguous bytes-like object of at most `max_payload` bytes; copied.
        at: when it is to leave, ns in the channel's clock (`now_ns`); None or 0: as soon as
            possible. A time that has passed is sent at once and counted late.
        to: numeric (host, port); None: the channel's `remote`.
        timeout: seconds to wait for room; 0.0: not at all, None: for ever.

        Raises `RingFull` (no room, timeout 0), `SendTimeout` (none in time), `PayloadTooLarge`,
        `BadAddress`, `ChannelClosed`, `NoPermission` (a tap), `ValueError` (a time below 0, or more
        than a year ahead in CLOCK_MONOTONIC), `TypeError` (a time that is not an int).
        """
        due_ns = 0 if at is None else _time_ns(at, "at")
        until_ns = _deadline(timeout)
        dest = self._destination(to)
        payload = ffi.from_buffer(data)
        sequence = ffi.new("uint64_t *")
        while True:
            with self._core_lock:
                rc = lib.end_send(self._need_end(), payload, len(payload), due_ns, dest, sequence)
                text = last_text() if rc == -errno.EMSGSIZE else ""
            if rc == 0:
                return int(sequence[0])
            self._after_failed_send(rc, text, until_ns, 0, 0)

    def replace(
        self,
        sequence: int,
        data: Buffer,
        at: int | None = None,
        *,
        to: tuple[str, int] | None = None,
        timeout: float | None = 0.0,
    ) -> int:
        """Put a new packet in the place of one that waits, and return its sequence.

        Either both happen, or the old packet is sent as it was. at: ns; None: the old one's
        deadline. to: None: the channel's `remote`.

        Raises `TooLate` if the old packet does not wait any more, otherwise as `send`.
        """
        old = _time_ns(sequence, "sequence")
        due_ns = 0 if at is None else _time_ns(at, "at")
        until_ns = _deadline(timeout)
        dest = self._destination(to)
        payload = ffi.from_buffer(data)
        new = ffi.new("uint64_t *")
        while True:
            with self._core_lock:
                rc = lib.end_replace(
                    self._need_end(), old, payload, len(payload), at is None, due_ns, dest, new
                )
                text = last_text() if rc == -errno.EMSGSIZE else ""
            if rc == 0:
                return int(new[0])
            self._after_failed_send(rc, text, until_ns, 0, 0)

    def send_many(
        self,
        packets: Buffer | Iterable[Buffer],
        *,
        size: int | None = None,
        sizes: Sequence[int] | Buffer | None = None,
        offsets: Buffer | None = None,
        at: int | Sequence[int] | Buffer | None = None,
        interval_ns: int | None = None,
        to: tuple[str, int] | None = None,
        timeout: float | None = 0.0,
        sequences: Buffer | None = None,
    ) -> int:
        """Queue many packets in one call and return the sequence of the first.

        packets: an iterable of bytes-like objects, or one buffer that is cut into packets:
            of `size` bytes each; of `sizes`, an integer array or a sequence; at `offsets`, an
            integer array, with `size` or `sizes`; or, two-dimensional, one packet per row.
        at: one time for all, ns; the time of the first, with `interval_ns` between them; an array
            or a sequence with one time each (0: as soon as possible); None: as soon as possible.
        to, timeout: as in `send`. The timeout covers the whole call.
        sequences: writable buffer of 8 bytes per packet that gets their sequences. They follow
            each other without gap as long as nobody else sends on the channel at the same time.

        Raises as `send`; `RingFull.sent` says how many were queued before.
        """
        batch, keep = self._batch(packets, size, sizes, offsets)
        items: Sequence[Buffer] | None = keep[0] if batch.data == ffi.NULL else None
        _batch_times(batch, keep, at, interval_ns)
        if sequences is not None:
            room = ffi.from_buffer("uint64_t[]", sequences, require_writable=True)
            if len(room) < batch.count:
                raise ValueError(
                    f"sequences has {len(room) * 8} bytes: {batch.count} packets need 8 each"
                )
            batch.sequences = room
            keep.append(room)
        batch.dest = dest = self._destination(to)
        until_ns = _deadline(timeout)
        if batch.count == 0:
            raise ValueError("there are no packets to send")
        while batch.done < batch.count:
            with self._core_lock:
                end = self._need_end()
                rc = _send_items(end, batch, items) if items else lib.end_send_batch(end, batch)
                text = last_text() if rc == -errno.EMSGSIZE else ""
            if rc == -errno.EFAULT:
                raise ValueError(
                    f"packet {batch.done} does not lie inside the buffer of {batch.data_bytes} "
                    f"bytes ({batch.done} were queued before it)"
                )
            if rc < 0:
                self._after_failed_send(rc, text, until_ns, batch.done, batch.first_sequence)
        del dest
        return int(batch.first_sequence)

    def _destination(self, to: tuple[str, int] | None) -> Any:
        if to is None:
            return ffi.NULL
        dest = ffi.new("shm_addr_t *")
        ffi.memmove(dest, self._pack_address(to), _address.ADDRESS_BYTES)
        return dest

    def _after_failed_send(self, rc: int, text: str, until_ns: int, sent: int, first: int) -> None:
        if rc == -errno.ESTALE:
            self._attach_now(lib.END_TX)
        elif rc != -errno.ENOBUFS:
            self._refuse(rc, text)
        elif _has_passed(until_ns):
            self._raise_full(until_ns != 0, sent, first)
        else:
            self._sleep(lib.END_TX, until_ns)

    def _batch(
        self,
        packets: Buffer | Iterable[Buffer],
        size: int | None,
        sizes: Sequence[int] | Buffer | None,
        offsets: Buffer | None,
    ) -> tuple[Any, list[Any]]:
        """The batch, and what has to live as long as it."""
        batch = ffi.new("send_batch_t *")
        try:
            whole = memoryview(packets)  # type: ignore[arg-type]
        except TypeError:
            if not (size is None and sizes is None and offsets is None):
                raise TypeError(
                    "size, sizes and offsets go with one buffer, not with a sequence of packets"
                ) from None
            items = tuple(packets)
            batch.count = len(items)
            return batch, [items]
        data = ffi.from_buffer("uint8_t[]", whole)
        batch.data = data
        batch.data_bytes = len(data)
        keep: list[Any] = [data]
        _batch_cut(batch, keep, whole, size, sizes, offsets)
        return batch, keep

    # --- receiving ----------------------------------------------------------------------------

    def recv(self, timeout: float | None = None) -> Packet:
        """Take the next packet, waiting `timeout` seconds for it; 0: not at all, None: for ever.

        Raises `ReceiveTimeout`, `ChannelClosed` (after the last packet was taken).
        """
        packet = self._receive(_deadline(timeout), None)
        if packet is None:
            self._raise_timeout()
        return packet

    def try_recv(self) -> Packet | None:
        """Take the next packet, or return None if there is none now. Raises `ChannelClosed`."""
        return self._receive(0, None)

    def recv_into(self, buffer: Buffer, *, timeout: float | None = None) -> Packet:
        """As `recv`, with the payload in a writable buffer; `Packet.data` is a view of it.

        Raises also `PayloadTooLarge`; the packet stays for the next call.
        """
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise BufferError("the buffer is read-only: use a bytearray or another writable one")
        packet = self._receive(_deadline(timeout), view)
        if packet is None:
            self._raise_timeout()
        return packet

    def recv_many(
        self,
        max: int = RECV_MANY_DEFAULT,
        *,
        timeout: float | None = None,
        out: Buffer | None = None,
    ) -> PacketBatch:
        """Take all packets that are there, up to `max` or about a megabyte of payload.

        Waits for the first, as `recv`. max: 1 to 1048576. out: writable buffer for the payloads;
        packets that do not fit stay.

        Raises as `recv`; `PayloadTooLarge` if not even the first fits into `out`.
        """
        most = _ns(max, "max")
        if not 1 <= most <= RECV_MANY_MOST:
            raise ValueError(f"max is {max} packets, must be 1 to {RECV_MANY_MOST}")
        until_ns = _deadline(timeout)
        view = None if out is None else memoryview(out).cast("B")
        if not self._wait_for_packet(until_ns):
            self._raise_timeout()
        with self._core_lock:
            return self._take_many(self._need_end(), most, view)

    def _take_many(self, end: Any, most: int, out: memoryview | None) -> PacketBatch:
        if out is None:
            target: Any = bytearray(RECV_MANY_BYTES + end.segment.config.max_payload_bytes)
        else:
            target = out
        most = min(most, lib.end_waiting(end))
        records = bytearray(most * _RECORD_BYTES)
        used = ffi.new("uint64_t *")
        count = lib.end_take_many(
            end,
            ffi.from_buffer("uint8_t[]", target, require_writable=True),
            len(target),
            ffi.cast("packet_record_t *", ffi.from_buffer(records)),
            most,
            used,
        )
        if count == 0:
            self._refuse_buffer(end, len(target))
        payload = bytes(target[: used[0]]) if out is None else out[: used[0]]
        return PacketBatch(payload, bytes(records), count)

    def _wait_for_packet(self, until_ns: int) -> bool:
        """Whether a packet lies in the end's spare buffer now, or did a moment ago."""
        while True:
            with self._core_lock:
                end = self._need_end()
                # Before looking: what arrived before the channel was closed is found below.
                stale = not end.rx_ready or not lib.end_in_force(end)
                if end.rx_ready and lib.end_peek(end):
                    return True
                give_up = not stale and _has_passed(until_ns)
                if give_up and end.reader_fd >= 0:
                    lib.end_rearm(end)
            if stale:
                self._attach_now(lib.END_RX)
            elif give_up:
                return self._found_on_settling(end)
            else:
                self._sleep(lib.END_RX, until_ns)

    def _found_on_settling(self, end: Any) -> bool:
        if end.reader_fd < 0:
            return False
        self._settle()
        with self._core_lock:
            return bool(lib.end_peek(self._need_end()))

    def _receive(self, until_ns: int, view: memoryview | None) -> Packet | None:
        while self._wait_for_packet(until_ns):
            with self._core_lock:
                end = self._need_end()
                if lib.end_peek(end):  # else another thread took it
                    return self._take(end, view)
        return None

    def _take(self, end: Any, view: memoryview | None) -> Packet:
        facts = end.spare_packet
        length = facts.payload_bytes
        data: bytes | memoryview
        if view is None:
            data = bytes(ffi.buffer(end.spare, length))
        elif length > len(view):
            self._refuse_buffer(end, len(view))
        else:
            ffi.memmove(ffi.from_buffer(view, require_writable=True), end.spare, length)
            data = view[:length]
        packet = Packet(
            data,
            facts.time_ns,
            STAMPS[facts.stamp] if facts.stamp < len(STAMPS) else Stamp.NONE,
            bytes(ffi.buffer(ffi.addressof(facts, "source"))),
            facts.sequence,
            facts.tos,
            end.spare_lost_before,
            facts.flags,
        )
        lib.end_taken(end)
        return packet

    def _refuse_buffer(self, end: Any, room: int) -> Never:
        self._refuse(
            -errno.EMSGSIZE,
            f"the next packet has {end.spare_packet.payload_bytes} bytes, the buffer {room}: give "
            "a larger one; the packet is kept",
        )


# --- arguments --------------------------------------------------------------------------------


def _ns(value: object, what: str) -> int:
    """An integer; bool is refused although it is an int: it is never a time."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(
            f"{what} must be an int: nanoseconds (seconds times 1_000_000_000), not {value!r}"
        )
    return operator.index(value)


def _time_ns(value: object, what: str) -> int:
    ns = _ns(value, what)
    if not 0 <= ns <= TIME_MAX_NS:
        raise ValueError(
            f"{what} is {value} ns: a time in the channel's clock is between 0 and 2**63 - 1"
        )
    return ns


def _deadline(timeout: float | None) -> int:
    """timeout= in seconds to a point of CLOCK_MONOTONIC; 0: do not wait."""
    if timeout is None:
        return int(lib.RT_NEVER_NS)
    seconds = float(timeout)
    if not seconds >= 0.0:
        raise ValueError(
            f"timeout is {timeout!r}: use seconds, 0 not to wait, None to wait for ever"
        )
    if seconds == 0.0:
        return 0
    if seconds > 1e9:
        return int(lib.RT_NEVER_NS)
    return int(lib.rt_mono_ns()) + int(seconds * NS_PER_S)


def _has_passed(until_ns: int) -> bool:
    return until_ns == 0 or bool(lib.rt_mono_ns() >= until_ns)


# --- batches ----------------------------------------------------------------------------------


def _int_array(into: Any, keep: list[Any], value: Any, what: str) -> int:
    """Fill an int_array_t from an array or a sequence of ints. Returns how many there are."""
    try:
        view = memoryview(value)
    except TypeError:
        view = memoryview(array.array("q", [_ns(item, what) for item in value]))
    code = view.format.lstrip("@=<")
    if view.ndim != 1 or code not in _INTEGERS:
        raise TypeError(
            f"{what} is an array of format '{view.format}' with {view.ndim} dimensions: use "
            'integers in one, such as numpy.int64 or array("q")'
        )
    if not view.c_contiguous:
        view = memoryview(array.array(code, view.tolist()))
    data = ffi.from_buffer(view)
    keep.append(data)
    into.base = data
    into.stride = into.width = view.itemsize
    into.is_signed = code.islower()
    return len(view)


def _batch_cut(
    batch: Any,
    keep: list[Any],
    whole: memoryview,
    size: int | None,
    sizes: Sequence[int] | Buffer | None,
    offsets: Buffer | None,
) -> None:
    if sizes is not None:
        batch.count = _int_array(batch.sizes, keep, sizes, "sizes")
        if offsets is None:
            total = sum(lib.int_at(ffi.addressof(batch, "sizes"), i) for i in range(batch.count))
            if total != batch.data_bytes:
                raise ValueError(
                    f"sizes add up to {total}, the buffer has {batch.data_bytes} bytes"
                )
            return
    if offsets is not None and (size is not None or sizes is not None):
        count = _int_array(batch.offsets, keep, offsets, "offsets")
        if sizes is None:
            batch.count = count
            batch.size = _ns(size, "size")
        _check_count("offsets", count, batch.count)
    elif offsets is None and size is not None:
        _cut_by_size(batch, _ns(size, "size"))
    elif offsets is None and whole.ndim == 2 and whole.shape is not None:
        _cut_by_size(batch, whole.shape[1] * whole.itemsize)
    else:
        raise TypeError(
            "a buffer must be cut into packets: give size=, sizes=, offsets= and sizes=, or an "
            "array with one row per packet"
        )


def _check_count(what: str, count: int, wanted: int) -> None:
    if count != wanted:
        raise ValueError(f"{what} has {count} entries for {wanted} packets")


def _cut_by_size(batch: Any, size: int) -> None:
    if size < 1 or batch.data_bytes % size:
        raise ValueError(
            f"a buffer of {batch.data_bytes} bytes is no whole number of packets of {size} bytes"
        )
    batch.size = size
    batch.count = batch.data_bytes // size


def _batch_times(batch: Any, keep: list[Any], at: Any, interval_ns: int | None) -> None:
    if interval_ns is not None:
        batch.interval_ns = _time_ns(interval_ns, "interval_ns")
    if at is None:
        if interval_ns is not None:
            raise TypeError("interval_ns needs at=, the time of the first packet")
    elif hasattr(at, "__len__"):
        count = _int_array(batch.dues, keep, at, "at")
        if interval_ns is not None:
            raise TypeError("interval_ns goes with at=start, not with an array")
        _check_count("at", count, batch.count)
    else:
        batch.due_ns = _time_ns(at, "at")


def _send_items(end: Any, batch: Any, items: Sequence[Buffer]) -> int:
    """Queue packets one by one as far as there is room. Returns as end_send."""
    sequence = ffi.new("uint64_t *")
    for index in range(batch.done, len(items)):
        due_ns = _due_of(batch, index)
        if due_ns < 0:
            return -errno.ERANGE
        payload = ffi.from_buffer(items[index])
        rc = int(lib.end_send(end, payload, len(payload), due_ns, batch.dest, sequence))
        if rc < 0:
            return rc
        if index == 0:
            batch.first_sequence = sequence[0]
        if batch.sequences != ffi.NULL:
            batch.sequences[index] = sequence[0]
        batch.done += 1
    return 0


def _due_of(batch: Any, index: int) -> int:
    if batch.dues.width:
        return int(lib.int_at(ffi.addressof(batch, "dues"), index))
    return int(batch.due_ns + index * batch.interval_ns) if batch.due_ns else 0
