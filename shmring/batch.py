"""Many packets, or many reports, without a Python object for each.

Each field is a `memoryview` over one block of records, with one entry per packet.
``numpy.asarray(batch.timestamps_ns)`` copies nothing, and `array` is the whole block as a NumPy
record array. Only `array` needs NumPy.
"""

import contextlib
import struct
from collections.abc import Iterator
from typing import Any, Literal, Never, Self, overload

from shmring import _address, _arrow, _hot, errors
from shmring._address import pack_addresses as pack_addresses
from shmring._hot import Core as Core
from shmring._hot import Packet as Packet
from shmring.extras import missing
from shmring.types import STAMPS, SendReport, Stamp, Verdict, stamp_of, verdict_of

# packet_record_t of csrc/client/endpoint.h
_PACKET_BYTES = 80
_PACKET_FIELDS: dict[str, tuple[str, int]] = {
    "sequence": ("u8", 0),
    "timestamp_ns": ("i8", 8),
    "offset": ("u8", 16),
    "length": ("u4", 24),
    "stamp": ("u1", 28),
    "flags": ("u1", 29),
    "tos": ("u1", 30),
    "source_family": ("u2", 32),
    "source_port": ("u2", 34),
    "source_scope": ("u4", 36),
    "source_ip": ("16u1", 40),
    "local_family": ("u2", 56),
    "local_port": ("u2", 58),
    "local_scope": ("u4", 60),
    "local_ip": ("16u1", 64),
}
_SOURCE = slice(32, 56)
_LOCAL = slice(56, 80)
# Of a record: its source and its local address, before and behind the port.
_SOURCE_HOST = struct.Struct("32x2s2x20s24x")
_LOCAL_HOST = struct.Struct("56x2s2x20s")

# shm_report_t of csrc/shm/shm_layout.h
_REPORT_BYTES = 64
_REPORT_FIELDS: dict[str, tuple[str, int]] = {
    "sequence": ("u8", 0),
    "scheduled_ns": ("i8", 8),
    "enqueued_ns": ("i8", 16),
    "woken_ns": ("i8", 24),
    "sent_ns": ("i8", 32),
    "handed_ns": ("i8", 40),
    "stamped_ns": ("i8", 48),
    "error": ("i4", 56),
    "verdict": ("u1", 60),
    "stamp": ("u1", 61),
    "batch": ("u2", 62),
}
_REPORT_TIMES = 7  # fields of 8 bytes, the first
_FAILED = tuple(Verdict).index(Verdict.FAILED)


_Code = Literal["B", "H", "I", "Q", "i", "q"]
_CODES: dict[str, _Code] = {
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "i4": "i",
    "i8": "q",
}


class Column:
    """A view of one field of all records of a batch."""

    def __init__(self, field: tuple[str, int], meaning: str) -> None:
        """field: NumPy's name of its type, and its offset in a record."""
        self._field = field
        self.__doc__ = meaning

    @overload
    def __get__(self, batch: None, kind: type) -> Self: ...
    @overload
    def __get__(self, batch: "Records", kind: type) -> "memoryview[int]": ...
    def __get__(self, batch: "Records | None", kind: type) -> "Self | memoryview[int]":
        if batch is None:
            return self
        return batch._column(self._field)

    def __set__(self, batch: "Records", value: object) -> Never:
        raise AttributeError("the fields of a batch cannot be set")


_CPU = (1, 0)  # kDLCPU
_VERSIONED = (1, 0)  # from this version of DLPack on a tensor can be read-only


class Records:
    """Records of one size in one block, and views of their fields.

    Libraries that read Arrow (polars, duckdb, pandas) get a table with one row per record, through
    ``__arrow_c_stream__`` and ``__arrow_c_array__``. Libraries with DLPack (NumPy, torch, JAX) get
    one tensor through ``__dlpack__``.
    """

    __slots__ = ("_count", "_record_bytes", "_records")

    def __init__(self, records: bytes, record_bytes: int, count: int) -> None:
        self._records = memoryview(records)[: count * record_bytes]
        self._record_bytes = record_bytes
        self._count = count

    def __len__(self) -> int:
        return self._count

    def _index(self, index: int) -> int:
        found = index + self._count if index < 0 else index
        if not 0 <= found < self._count:
            raise IndexError(f"index {index}: there are {self._count} entries")
        return found * self._record_bytes

    # --- for other libraries ----------------------------------------------------------------------

    def _table(self) -> _arrow.Node:
        """Describe the table for Arrow."""
        raise NotImplementedError

    def _tensor(self) -> tuple[Any, int, int, int, int]:
        """Return memory, bits of an item, rows, columns (0: a vector), items from row to row."""
        raise NotImplementedError

    def _column(self, field: tuple[str, int]) -> "memoryview[int]":
        items: memoryview[int] = self._records.cast(_CODES[field[0]])
        return items[field[1] // items.itemsize :: self._record_bytes // items.itemsize]

    def __arrow_c_schema__(self) -> Any:
        """Return the table's schema for Arrow."""
        return _hot.arrow_schema(self._table())

    def __arrow_c_array__(self, requested_schema: Any = None) -> tuple[Any, Any]:
        """Return the table for Arrow. `requested_schema` is ignored."""
        table = self._table()
        return _hot.arrow_schema(table), _hot.arrow_array(table)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the table for Arrow, as a stream of one batch. `requested_schema` is ignored."""
        return _hot.arrow_stream(self._table())

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return the tensor. It is a view if `copy` is not True and the consumer knows read-only
        tensors, or the memory is writable. Raises BufferError."""
        if stream is not None or (dl_device is not None and tuple(dl_device) != _CPU):
            raise BufferError("batches are in CPU memory: leave out stream and dl_device")
        memory, bits, rows, columns, row_items = self._tensor()
        versioned = max_version is not None and tuple(max_version) >= _VERSIONED
        if copy or (memoryview(memory).readonly and not versioned):
            if copy is False:
                raise BufferError(
                    "this batch is read-only, which needs DLPack 1.0: give copy=None, or receive "
                    "into out="
                )
            memory = bytearray(memory)
        return _hot.dlpack(memory, bits, rows, columns, row_items, versioned)

    def _as_array(self, fields: dict[str, tuple[str, int]]) -> Any:
        try:
            import numpy as np
        except ModuleNotFoundError:
            raise missing("numpy", "numpy", "the array of a batch") from None

        dtype = np.dtype(
            {
                "names": list(fields),
                "formats": [code for code, _ in fields.values()],
                "offsets": [offset for _, offset in fields.values()],
                "itemsize": self._record_bytes,
            }
        )
        return np.frombuffer(self._records, dtype=dtype, count=self._count)


class PacketBatch(Records):
    """Packets that one `Channel.recv_many` call returned, oldest first.

    It is a sequence of `Packet`. Each one is created on access. As a tensor it is `payload`, a
    vector of bytes.
    """

    __slots__ = ("payload",)

    payload: bytes | memoryview
    """All payloads, one after the other: a view of `out` if that was given."""

    def __init__(self, payload: bytes | memoryview, records: bytes, count: int) -> None:
        super().__init__(records, _PACKET_BYTES, count)
        self.payload = payload

    def _table(self) -> _arrow.Node:
        numbers = ("sequence", "timestamp_ns", "flags", "tos", "source_port")
        columns = [
            _arrow.numbers(name, _PACKET_FIELDS[name][0], self._column(_PACKET_FIELDS[name]))
            for name in numbers
        ]
        offset_at, length_at = _PACKET_FIELDS["offset"][1], _PACKET_FIELDS["length"][1]
        return _arrow.struct(
            self._count,
            [
                *columns,
                _arrow.names("stamp", self.stamps, tuple(Stamp)),
                _arrow.hosts("source_ip", list(_SOURCE_HOST.iter_unpack(self._records))),
                _arrow.hosts("local_ip", list(_LOCAL_HOST.iter_unpack(self._records))),
                _arrow.payloads(self, _PACKET_BYTES, offset_at, length_at),
            ],
        )

    def _tensor(self) -> tuple[Any, int, int, int, int]:
        return self.payload, 8, len(self.payload), 0, 0

    def __reduce__(self) -> tuple[Any, ...]:
        return PacketBatch, (bytes(self.payload), bytes(self._records), self._count)

    sequences = Column(_PACKET_FIELDS["sequence"], "Sequence numbers in the channel.")
    timestamps_ns = Column(
        _PACKET_FIELDS["timestamp_ns"], "Arrival times in the channel's clock, ns."
    )
    offsets = Column(
        _PACKET_FIELDS["offset"],
        "Where each payload begins in `payload`. `Channel.send_many` accepts it with `lengths`.",
    )
    lengths = Column(_PACKET_FIELDS["length"], "Length of each payload, bytes.")
    stamps = Column(
        _PACKET_FIELDS["stamp"],
        "Who took each timestamp, as an index into ``tuple(shmring.types.Stamp)``.",
    )

    @property
    def sources(self) -> list[tuple[str, int] | Any]:
        """Sender of each packet, None on a local channel. Each access makes a new list."""
        return [packet.source for packet in self]

    @property
    def locals(self) -> list[tuple[str, int] | None]:
        """`Packet.local` of each packet. Each access makes a new list."""
        return [packet.local for packet in self]

    @property
    def array(self) -> Any:
        """NumPy record array with the fields sequence, timestamp_ns, offset, length, stamp, flags,
        tos, and family, port, scope and ip of source and local, such as source_ip.

        Raises ImportError without NumPy.
        """
        return self._as_array(_PACKET_FIELDS)

    @overload
    def __getitem__(self, index: int) -> Packet: ...
    @overload
    def __getitem__(self, index: slice) -> list[Packet]: ...
    def __getitem__(self, index: int | slice) -> Packet | list[Packet]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        return self._packet(self._index(index))

    def __iter__(self) -> Iterator[Packet]:
        return (self._packet(at) for at in range(0, len(self._records), self._record_bytes))

    def _packet(self, at: int) -> Packet:
        record = self._records[at : at + self._record_bytes]
        sequence, _, offset = record[:24].cast("Q")
        length = record[24:28].cast("I")[0]
        return Packet(
            self._payload_at(offset, offset + length),
            record[8:16].cast("q")[0],
            stamp_of(record[28]),
            bytes(record[_SOURCE]),
            sequence,
            record[30],
            0,
            record[29],
            bytes(record[_LOCAL]),
        )

    def _payload_at(self, start: int, end: int) -> Any:
        return bytes(self.payload[start:end])

    def __repr__(self) -> str:
        return f"<PacketBatch of {self._count} packets, {len(self.payload)} bytes>"


class PacketLoan(PacketBatch):
    """Packets that one `Channel.loan_many` call returned, oldest first, still in the receive ring.

    It is a sequence of `Packet` whose `data` are read-only views. Use it in a ``with`` block, whose
    end calls `release`. From then on the views raise ValueError. The other fields are copies, and
    stay.

    With ``overflow="oldest"`` (the default) a worker that needs room overwrites lent packets, too.
    `release` raises `LoanOverwritten` in this case, because what was read may have been wrong. With
    ``overflow="wait"`` the worker waits for the release instead. It does not wait for read-only
    ends, and `Channel.purge` and a replaced worker end the protection.
    """

    __slots__ = ("_loan", "_views")

    payload: memoryview  # pyright: ignore[reportIncompatibleVariableOverride]
    """The memory of the receive ring. `offsets` and `lengths` say where the payloads are in it.
    `Channel.send_many` accepts all three."""

    def __init__(self, loan: _hot.Loan, records: bytes, count: int) -> None:
        super().__init__(_memory_of(loan), records, count)
        self._loan = loan
        self._views: dict[tuple[int, int], memoryview] = {}

    @property
    def overwritten(self) -> int:
        """How many packets the worker may have overwritten so far, from the oldest on.

        What was read before from the other packets was correct.
        """
        return self._loan.overwritten

    def release(self) -> None:
        """End the loan. It may be called more than once.

        Raises `LoanOverwritten`, and BufferError while something else uses the memory of packets,
        for example a NumPy array. Then the loan goes on: call it again. Until then its packets can
        be read, but views that were taken before may have ended.
        """
        try:
            for place in list(self._views):
                self._views[place].release()
                del self._views[place]
            self.payload.release()
        except BufferError as why:
            raise self._in_use(why) from None
        try:
            overwritten = self._loan.end()
        except BufferError as why:
            self.payload = _memory_of(self._loan)  # pyright: ignore[reportIncompatibleVariableOverride]
            raise self._in_use(why) from None
        if overwritten:
            raise self._torn(overwritten)

    def _in_use(self, why: BufferError) -> BufferError:
        return BufferError(
            f"a loan of {self._count} packets cannot be released, because its memory is in use: "
            f"delete arrays and slices made from it first ({why})"
        )

    def _torn(self, overwritten: int) -> errors.LoanOverwritten:
        torn = errors.LoanOverwritten(
            f"{overwritten} of {self._count} lent packets were overwritten during the loan, or the "
            "channel's file was cut short: release sooner, or open the channel with a larger "
            'rx or with overflow="wait"'
        )
        torn.overwritten = overwritten
        return torn

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.release()
            return
        with contextlib.suppress(BufferError):  # LoanOverwritten is one, too
            self.release()

    def _table(self) -> _arrow.Node:
        table = super()._table()  # which copies payloads with gaps between them
        if overwritten := self.overwritten:
            raise self._torn(overwritten)
        return table

    def __reduce__(self) -> Never:
        raise TypeError("a loan is memory of this process, and cannot be pickled: use recv_many")

    def _payload_at(self, start: int, end: int) -> memoryview:
        view = self._views.get((start, end))
        if view is None or _is_released(view):
            view = self._views[start, end] = self.payload[start:end]
        return view

    def __repr__(self) -> str:
        return f"<PacketLoan of {self._count} packets>"


def _is_released(view: memoryview) -> bool:
    try:
        return view.nbytes < 0
    except ValueError:
        return True


def _memory_of(loan: _hot.Loan) -> memoryview:
    memory: Any = loan  # type checkers know the buffer protocol of C from Python 3.12 on
    return memoryview(memory)


class ReportBatch(Records):
    """Send reports that one call of `reports().read` returned, oldest first.

    It is a sequence of `SendReport`. Each one is created on access. As a tensor it is a matrix of
    int64 with the columns sequence, scheduled_ns, enqueued_ns, woken_ns, sent_ns, handed_ns and
    stamped_ns.
    """

    __slots__ = ()

    def __init__(self, records: bytes, count: int) -> None:
        super().__init__(records, _REPORT_BYTES, count)

    def _table(self) -> _arrow.Node:
        words = {"stamp": (tuple(Stamp), 0), "verdict": (tuple(Verdict), _FAILED)}
        return _arrow.struct(
            self._count,
            [
                _arrow.names(name, self._column(field), *words[name])
                if name in words
                else _arrow.numbers(name, field[0], self._column(field))
                for name, field in _REPORT_FIELDS.items()
            ],
        )

    def _tensor(self) -> tuple[Any, int, int, int, int]:
        return self._records, 64, self._count, _REPORT_TIMES, _REPORT_BYTES // 8

    def __reduce__(self) -> tuple[Any, ...]:
        return ReportBatch, (bytes(self._records), self._count)

    @property
    def array(self) -> Any:
        """NumPy record array with the fields of `SendReport`. verdict and stamp are indices into
        ``tuple(shmring.Verdict)`` and ``tuple(shmring.types.Stamp)``.

        Raises ImportError without NumPy.
        """
        return self._as_array(_REPORT_FIELDS)

    @overload
    def __getitem__(self, index: int) -> SendReport: ...
    @overload
    def __getitem__(self, index: slice) -> list[SendReport]: ...
    def __getitem__(self, index: int | slice) -> SendReport | list[SendReport]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        return self._report(self._index(index))

    def __iter__(self) -> Iterator[SendReport]:
        return (self._report(at) for at in range(0, len(self._records), self._record_bytes))

    def _report(self, at: int) -> SendReport:
        record = self._records[at : at + self._record_bytes]
        scheduled_ns, enqueued_ns, woken_ns, sent_ns, handed_ns, stamped_ns = record[8:56].cast("q")
        return SendReport(
            record[:8].cast("Q")[0],
            scheduled_ns,
            enqueued_ns,
            woken_ns,
            sent_ns,
            handed_ns,
            stamped_ns,
            stamp_of(record[61]),
            verdict_of(record[60]),
            record[56:60].cast("i")[0],
            record[62:64].cast("H")[0],
        )

    def __repr__(self) -> str:
        return f"<ReportBatch of {self._count} reports>"


_hot.configure(STAMPS, _address.unpack, PacketBatch, PacketLoan)
