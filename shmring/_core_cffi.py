"""The per-packet calls through cffi: what `csrc/python/hot.c` does, for Pythons without it.

cffi lets other threads run during each call, so a lock guards the end; nobody sleeps holding it.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Never

from shmring import _address, _arguments
from shmring._arguments import Buffer, deadline, has_passed, time_ns
from shmring._check import last_text
from shmring._ring import ffi, lib
from shmring._send_batch import SendBatch
from shmring.batch import PacketBatch
from shmring.types import STAMPS, Stamp

RECV_MANY_DEFAULT = 1024
RECV_MANY_MOST = 1 << 20
RECV_MANY_BYTES = 1 << 20


if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Data = TypeVar("Data", bound="bytes | memoryview", default=bytes)
else:
    from typing import TypeVar

    Data = TypeVar("Data")

Taken = TypeVar("Taken")


class Packet(Generic[Data]):
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
        data: Data,
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

    _core_end: Any = None  # endpoint_t *
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

    def _check_heard(self) -> None:
        raise NotImplementedError

    # --- life ---------------------------------------------------------------------------------

    def _serve(self, owner: object, address: int) -> None:
        """Work on the endpoint_t at `address`; `owner` keeps it and its segment."""
        self._core_lock = threading.Lock()
        self._core_owner = owner
        self._core_end = ffi.cast("endpoint_t *", address)

    def _shut(self) -> None:
        """No call works from now on, and those that sleep return."""
        with self._core_lock:
            lib.endpoint_shut(self._core_end)
            self._core_end = None
            self._core_owner = None

    def _bind_producer(self, slot: int, bell_fd: int) -> int:
        with self._core_lock:
            return int(lib.endpoint_attach_producer(self._need_end(), slot, bell_fd))

    def _bind_reader(self, slot: int, reader_fd: int) -> int:
        with self._core_lock:
            return int(lib.endpoint_attach_reader(self._need_end(), slot, reader_fd))

    def _need_end(self) -> Any:
        end = self._core_end
        if end is None or end.segment == ffi.NULL:
            self._refuse(-errno.EPIPE, None)
        return end

    def _sleep(self, what: int, until_ns: int) -> None:
        if lib.endpoint_unheard(self._need_end()):
            self._check_heard()
        owner = self._core_owner
        sleep = ffi.new("endpoint_sleep_t *")
        with self._core_lock:
            lib.endpoint_before_sleep(self._need_end(), what, until_ns, sleep)
        lib.endpoint_sleep(sleep)
        with self._core_lock:
            lib.endpoint_after_sleep(self._need_end(), sleep)
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
        due_ns = 0 if at is None else time_ns(at, "at")
        until_ns = deadline(timeout)
        dest = self._destination(to)
        sequence = ffi.new("uint64_t *")
        with _arguments.payload(data) as payload:
            size = len(payload)
            while True:
                with self._core_lock:
                    rc = lib.endpoint_send(self._need_end(), payload, size, due_ns, dest, sequence)
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

        Raises `TooLate` if the old packet does not wait any more, `ShmringOSError` with ``EBUSY``
        as `Channel.cancel`, otherwise as `send`.
        """
        old = _arguments.sequence(sequence)
        due_ns = 0 if at is None else time_ns(at, "at")
        until_ns = deadline(timeout)
        dest = self._destination(to)
        new = ffi.new("uint64_t *")
        with _arguments.payload(data) as payload:
            size = len(payload)
            while True:
                with self._core_lock:
                    rc = lib.endpoint_replace(
                        self._need_end(), old, payload, size, at is None, due_ns, dest, new
                    )
                    text = last_text() if rc in (-errno.EMSGSIZE, -errno.EBUSY) else ""
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
        until_ns = deadline(timeout)
        with SendBatch(packets, size, sizes, offsets) as batch:
            batch.set_times(at, interval_ns)
            batch.want_sequences(sequences)
            batch.set_destination(self._destination(to))
            if not batch.count:
                raise ValueError("there are no packets to send")
            while batch.done < batch.count:
                with self._core_lock:
                    rc = batch.send(self._need_end())
                    text = last_text() if rc == -errno.EMSGSIZE else ""
                if rc == -errno.EFAULT:
                    raise batch.bad_cut()
                if rc < 0:
                    first = batch.first_sequence
                    self._after_failed_send(rc, text, until_ns, batch.done, first)
            return batch.first_sequence

    def _destination(self, to: tuple[str, int] | None) -> Any:
        if to is None:
            return ffi.NULL
        dest = ffi.new("shm_addr_t *")
        ffi.memmove(dest, self._pack_address(to), _address.ADDRESS_BYTES)
        return dest

    def _after_failed_send(self, rc: int, text: str, until_ns: int, sent: int, first: int) -> None:
        if rc == -errno.ESTALE:
            self._attach_now(lib.ENDPOINT_TX)
        elif rc != -errno.ENOBUFS:
            self._refuse(rc, text)
        elif has_passed(until_ns):
            self._raise_full(until_ns != 0, sent, first)
        else:
            self._sleep(lib.ENDPOINT_TX, until_ns)

    # --- cyclic links -------------------------------------------------------------------------

    def _put(self, values: Buffer) -> None:
        """Put values into the out box of a Netflux channel."""
        with _arguments.payload(values) as payload:
            while True:
                with self._core_lock:
                    rc = lib.endpoint_put(self._need_end(), payload, len(payload))
                    text = last_text() if rc < 0 else ""
                if rc == 0:
                    return
                if rc == -errno.ESTALE:
                    self._attach_now(lib.ENDPOINT_TX)
                else:
                    self._refuse(rc, text)

    def _snapshot(self, decode: Callable[[bytes], Any] | None) -> tuple[Any, ...] | None:
        """What the in box of a Netflux channel has: the fields of `NetfluxSnapshot`."""
        found = ffi.new("netflux_snapshot_t *")
        with self._core_lock:
            rc = lib.endpoint_snapshot(self._need_end(), found)
            text = last_text() if rc < 0 else ""
        if rc < 0:
            self._refuse(rc, text)
        if rc == 0:
            return None
        head = found.head
        values = bytes(ffi.buffer(found.values, found.bytes))
        return (
            values if decode is None else decode(values),
            head.number,
            head.feedback,
            head.at_mono_ns,
            STAMPS[found.stamp] if found.stamp < len(STAMPS) else Stamp.NONE,
            head.published,
            bool(head.flags & lib.SHM_NETFLUX_VOID),
            bool(head.flags & lib.SHM_NETFLUX_OVERSIZE),
        )

    # --- receiving ----------------------------------------------------------------------------

    def recv(self, timeout: float | None = None) -> Packet:
        """Take the next packet, waiting `timeout` seconds for it; 0: not at all, None: for ever.

        Raises `ReceiveTimeout`, `ChannelClosed` (after the last packet was taken).
        """
        packet = self._receive(deadline(timeout), _take)
        if packet is None:
            self._raise_timeout()
        return packet

    def try_recv(self) -> Packet | None:
        """Take the next packet, or return None if there is none now. Raises `ChannelClosed`."""
        return self._receive(0, _take)

    def recv_into(self, buffer: Buffer, *, timeout: float | None = None) -> Packet[memoryview]:
        """As `recv`, with the payload in a writable buffer; `Packet.data` is a view of it.

        Raises also `PayloadTooLarge`; the packet stays for the next call.
        """
        view = _arguments.writable(buffer, "buffer")
        packet = self._receive(deadline(timeout), lambda end: self._take_into(end, view))
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
        most = _arguments.count(max, "max", 1, RECV_MANY_MOST)
        until_ns = deadline(timeout)
        view = None if out is None else _arguments.writable(out, "out")
        batch = self._receive(until_ns, lambda end: self._take_many(end, most, view))
        if batch is None:
            self._raise_timeout()
        return batch

    def _take_many(self, end: Any, most: int, out: memoryview | None) -> PacketBatch:
        if out is None:
            target: Any = bytearray(RECV_MANY_BYTES + end.segment.config.max_payload_bytes)
        else:
            target = out
        most = min(most, lib.endpoint_waiting(end))
        records = ffi.new("packet_record_t[]", most)
        used = ffi.new("uint64_t *")
        with ffi.from_buffer("uint8_t[]", target, require_writable=True) as room:
            count = lib.endpoint_take_many(end, room, len(room), records, most, used)
        if count == 0:
            self._refuse_buffer(end, len(target))
        payload = bytes(target[: used[0]]) if out is None else out[: used[0]]
        return PacketBatch(payload, bytes(ffi.buffer(records)), count)

    def _wait_for_packet(self, until_ns: int) -> bool:
        """Whether a packet lies in the end's spare buffer now, or did a moment ago."""
        while True:
            with self._core_lock:
                end = self._need_end()
                found = lib.endpoint_poll(end)
                if found == 1:
                    return True
                give_up = found == 0 and has_passed(until_ns)
                if give_up and end.reader_fd >= 0:
                    lib.endpoint_rearm(end)
            if found == -errno.ESTALE:
                self._attach_now(lib.ENDPOINT_RX)
            elif give_up:
                return self._found_on_settling(end)
            else:
                self._sleep(lib.ENDPOINT_RX, until_ns)

    def _found_on_settling(self, end: Any) -> bool:
        if end.reader_fd < 0:
            return False
        self._settle()
        with self._core_lock:
            return bool(lib.endpoint_peek(self._need_end()))

    def _receive(self, until_ns: int, take: Callable[[Any], Taken]) -> Taken | None:
        """What `take` makes of the end when a packet is there; None when none came in time."""
        while self._wait_for_packet(until_ns):
            with self._core_lock:
                end = self._need_end()
                if lib.endpoint_peek(end):  # else another thread took it
                    return take(end)
        return None

    def _take_into(self, end: Any, view: memoryview) -> Packet[memoryview]:
        length = end.spare_packet.payload_bytes
        if length > len(view):
            self._refuse_buffer(end, len(view))
        view[:length] = ffi.buffer(end.spare, length)
        return _taken(end, view[:length])

    def _refuse_buffer(self, end: Any, room: int) -> Never:
        self._refuse(
            -errno.EMSGSIZE,
            f"the next packet has {end.spare_packet.payload_bytes} bytes, the buffer {room}: give "
            "a larger one; the packet is kept",
        )


def _take(end: Any) -> Packet:
    return _taken(end, bytes(ffi.buffer(end.spare, end.spare_packet.payload_bytes)))


def _taken(end: Any, data: Data) -> Packet[Data]:
    """The packet in the end's spare buffer, which is free for the next."""
    facts = end.spare_packet
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
    lib.endpoint_taken(end)
    return packet
