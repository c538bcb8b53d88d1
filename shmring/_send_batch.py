"""One `send_many` call of the cffi backend: what `csrc/python/hot.c` does in C."""

from __future__ import annotations

import array
import contextlib
import errno
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from shmring import _arguments
from shmring._arguments import Buffer, ns, time_ns
from shmring._ring import ffi, lib

_INTEGERS = frozenset("bhilqnBHILQN")


class SendBatch:
    """A ``send_batch_t`` and the buffers it points to, which are released at the end of the block.

    Released, not left to the garbage collector: cffi's views of a memoryview in a reference cycle
    crash CPython 3.11.
    """

    def __init__(
        self,
        packets: Buffer | Iterable[Buffer],
        size: int | None,
        sizes: Sequence[int] | Buffer | None,
        offsets: Buffer | None,
    ) -> None:
        self._batch = ffi.new("send_batch_t *")
        self._buffers = contextlib.ExitStack()
        self._items: tuple[Buffer, ...] | None = None
        try:
            self._take_packets(packets, size, sizes, offsets)
        except BaseException:
            self._buffers.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._buffers.close()

    @property
    def count(self) -> int:
        return int(self._batch.count)

    @property
    def done(self) -> int:
        """Packets queued so far."""
        return int(self._batch.done)

    @property
    def first_sequence(self) -> int:
        return int(self._batch.first_sequence)

    def set_times(self, at: Any, interval_ns: int | None) -> None:
        """From `at` and `interval_ns` of `send_many`."""
        batch = self._batch
        if interval_ns is not None:
            batch.interval_ns = time_ns(interval_ns, "interval_ns")
        if at is None:
            if interval_ns is not None:
                raise TypeError("interval_ns needs at=, the time of the first packet")
        elif hasattr(at, "__len__"):
            count = self._int_array(batch.dues, at, "at", ns)
            if interval_ns is not None:
                raise TypeError("interval_ns goes with at=start, not with an array")
            _check_count("at", count, batch.count)
        else:
            batch.due_ns = time_ns(at, "at")

    def set_destination(self, dest: Any) -> None:
        """An ``shm_addr_t *`` or NULL."""
        self._dest = dest
        self._batch.dest = dest

    def want_sequences(self, sequences: Buffer | None) -> None:
        """Where the sequences go, 8 bytes each."""
        if sequences is None:
            return
        view = _arguments.writable(sequences, "sequences")
        room = self._buffers.enter_context(
            ffi.from_buffer("uint64_t[]", view, require_writable=True)
        )
        if len(room) < self.count:
            raise ValueError(
                f"sequences has {len(room) * 8} bytes: {self.count} packets need 8 each"
            )
        self._batch.sequences = room

    def send(self, end: Any) -> int:
        """Queue packets as far as there is room. Returns as ``endpoint_send_batch``."""
        if self._items is None:
            return int(lib.endpoint_send_batch(end, self._batch))
        sequence = ffi.new("uint64_t *")
        rc = 0
        while rc == 0 and self.done < len(self._items):
            rc = self._send_item(end, self._items[self.done], sequence)
        return rc

    def bad_cut(self) -> ValueError:
        """Why ``-EFAULT``."""
        return ValueError(
            f"packet {self.done} does not lie inside the buffer of {self._batch.data_bytes} bytes "
            f"({self.done} were queued before it)"
        )

    def _send_item(self, end: Any, item: Buffer, sequence: Any) -> int:
        batch = self._batch
        due_ns = batch.due_ns + batch.done * batch.interval_ns if batch.due_ns else 0
        if batch.dues.width:
            due_ns = lib.int_at(ffi.addressof(batch, "dues"), batch.done)
        if due_ns < 0:
            return -errno.ERANGE
        with _arguments.payload(item) as payload:
            rc = int(lib.endpoint_send(end, payload, len(payload), due_ns, batch.dest, sequence))
        if rc == 0:
            if batch.done == 0:
                batch.first_sequence = sequence[0]
            if batch.sequences != ffi.NULL:
                batch.sequences[batch.done] = sequence[0]
            batch.done += 1
        return rc

    def _take_packets(
        self,
        packets: Buffer | Iterable[Buffer],
        size: int | None,
        sizes: Sequence[int] | Buffer | None,
        offsets: Buffer | None,
    ) -> None:
        try:
            whole = memoryview(packets)  # type: ignore[arg-type]
        except TypeError:
            if not (size is None and sizes is None and offsets is None):
                raise TypeError(
                    "size, sizes and offsets go with one buffer, not with a sequence of packets"
                ) from None
            if isinstance(packets, str) or not isinstance(packets, Iterable):
                raise TypeError(
                    "packets must be an iterable of bytes-like objects, or one buffer, not "
                    f"{packets!r}"
                ) from None
            self._items = tuple(packets)
            self._batch.count = len(self._items)
            return
        data = self._buffers.enter_context(ffi.from_buffer("uint8_t[]", packets))
        self._batch.data = data
        self._batch.data_bytes = len(data)
        row = whole.shape[1] * whole.itemsize if whole.ndim == 2 and whole.shape else None
        self._cut(row, size, sizes, offsets)

    def _cut(
        self,
        row: int | None,
        size: int | None,
        sizes: Sequence[int] | Buffer | None,
        offsets: Buffer | None,
    ) -> None:
        batch = self._batch
        if sizes is not None:
            batch.count = self._int_array(batch.sizes, sizes, "sizes")
            if offsets is None:
                self._check_total()
                return
        if offsets is not None and (size is not None or sizes is not None):
            count = self._int_array(batch.offsets, offsets, "offsets")
            if sizes is None:
                batch.count = count
                batch.size = _arguments.size(size, "size")
            _check_count("offsets", count, batch.count)
        elif offsets is None and size is not None:
            self._cut_by_size(_arguments.size(size, "size"))
        elif offsets is None and row is not None:
            self._cut_by_size(row)
        else:
            raise TypeError(
                "a buffer must be cut into packets: give size=, sizes=, offsets= and sizes=, or an "
                "array with one row per packet"
            )

    def _cut_by_size(self, size: int) -> None:
        batch = self._batch
        if size < 1 or batch.data_bytes % size:
            raise ValueError(
                f"a buffer of {batch.data_bytes} bytes is no whole number of packets of {size} "
                "bytes"
            )
        batch.size = size
        batch.count = batch.data_bytes // size

    def _check_total(self) -> None:
        sizes = ffi.addressof(self._batch, "sizes")
        total = sum(lib.int_at(sizes, i) for i in range(self.count))
        if total != self._batch.data_bytes:
            raise ValueError(
                f"sizes add up to {total}, the buffer has {self._batch.data_bytes} bytes"
            )

    def _int_array(
        self,
        into: Any,
        value: Any,
        what: str,
        number: Callable[[object, str], int] = _arguments.size,
    ) -> int:
        """Fill an int_array_t from an array or a sequence of ints. Returns how many there are."""
        try:
            view = memoryview(value)
        except TypeError:
            value = _packed(value, what, number)
            view = memoryview(value)
        code = view.format.lstrip("@=<")
        if view.ndim != 1 or code not in _INTEGERS:
            raise TypeError(
                f"{what} is an array of format '{view.format}' with {view.ndim} dimensions: use "
                'integers in one, such as numpy.int64 or array("q")'
            )
        if not view.c_contiguous:
            value = array.array(code, view.tolist())
        data = self._buffers.enter_context(ffi.from_buffer(value))
        into.base = data
        into.stride = into.width = view.itemsize
        into.is_signed = code.islower()
        return len(view)


def _packed(
    values: Iterable[object], what: str, number: Callable[[object, str], int]
) -> array.array[int]:
    packed = array.array("q")
    for index, value in enumerate(values):
        try:
            packed.append(number(value, what))
        except OverflowError:
            raise ValueError(f"{what}: entry {index}, {value}, takes more than 64 bits") from None
    return packed


def _check_count(what: str, count: int, wanted: int) -> None:
    if count != wanted:
        raise ValueError(f"{what} has {count} entries for {wanted} packets")
