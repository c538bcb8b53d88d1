"""csrc/python/hot.c"""

import sys
from collections.abc import Iterable, Sequence
from types import GenericAlias
from typing import Any, Generic, TypeAlias, final, type_check_only

from typing_extensions import TypeVar, disjoint_base

from shmring.batch import PacketBatch, PacketLoan
from shmring.types import Buffer, Stamp

def configure(
    stamps: tuple[Stamp, ...], unpack_address: Any, batch: Any, loan: Any, /
) -> None: ...

def arrow_schema(description: tuple[Any, ...], /) -> Any: ...
def arrow_array(description: tuple[Any, ...], /) -> Any: ...
def arrow_stream(description: tuple[Any, ...], /) -> Any: ...
def payload_column(
    records: Any, record_bytes: int, offset_at: int, length_at: int, payload: Any, /
) -> tuple[bytes, Any]: ...
def dlpack(
    buffer: Any, bits: int, rows: int, columns: int, row_items: int, versioned: bool, /
) -> Any: ...

_Data = TypeVar("_Data", bound=bytes | memoryview, default=bytes)
# None on a local channel alone. Callers with a socket need not check for it.
_MaybeNone: TypeAlias = Any

@final
class Packet(Generic[_Data]):
    def __new__(
        cls,
        data: _Data,
        timestamp_ns: int,
        stamp: Stamp,
        source: bytes,
        sequence: int,
        tos: int = 0,
        lost_before: int = 0,
        flags: int = 0,
        local: bytes = ...,
    ) -> Packet[_Data]: ...
    @property
    def data(self) -> _Data: ...
    @property
    def timestamp_ns(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def lost_before(self) -> int: ...
    @property
    def tos(self) -> int: ...
    @property
    def stamp(self) -> Stamp: ...
    @property
    def source(self) -> tuple[str, int] | _MaybeNone: ...
    @property
    def local(self) -> tuple[str, int] | None: ...
    @property
    def shared_stamp(self) -> bool: ...
    @property
    def truncated(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __class_getitem__(cls, kind: Any, /) -> GenericAlias: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@type_check_only
class _Calls:
    def send(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        to: tuple[str, int] | None = None,
        source: tuple[str, int] | None = None,
        timeout: float | None = None,
    ) -> int: ...
    def try_send(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        to: tuple[str, int] | None = None,
        source: tuple[str, int] | None = None,
    ) -> int | None: ...
    def send_many(
        self,
        packets: Buffer | Iterable[Buffer],
        *,
        size: int | None = None,
        sizes: Sequence[int] | Buffer | None = None,
        offsets: Buffer | None = None,
        at: int | Sequence[int] | Buffer | None = None,
        interval_ns: int | None = None,
        spread_ns: int | None = None,
        to: tuple[str, int] | Buffer | None = None,
        source: tuple[str, int] | Buffer | None = None,
        timeout: float | None = None,
        sequences: Buffer | None = None,
    ) -> int: ...
    def try_send_many(
        self,
        packets: Buffer | Iterable[Buffer],
        *,
        size: int | None = None,
        sizes: Sequence[int] | Buffer | None = None,
        offsets: Buffer | None = None,
        at: int | Sequence[int] | Buffer | None = None,
        interval_ns: int | None = None,
        spread_ns: int | None = None,
        to: tuple[str, int] | Buffer | None = None,
        source: tuple[str, int] | Buffer | None = None,
        sequences: Buffer | None = None,
    ) -> int: ...
    def replace(
        self,
        sequence: int,
        data: Buffer,
        at: int | None = None,
        *,
        to: tuple[str, int] | None = None,
        source: tuple[str, int] | None = None,
        timeout: float | None = None,
    ) -> int: ...
    def recv(self, *, timeout: float | None = None) -> Packet: ...
    def try_recv(self) -> Packet | None: ...
    def recv_into(self, buffer: Buffer, *, timeout: float | None = None) -> Packet[memoryview]: ...
    def recv_many(
        self, max: int = 1024, *, timeout: float | None = None, out: Buffer | None = None
    ) -> PacketBatch: ...
    def loan_many(self, max: int = 1024, *, timeout: float | None = None) -> PacketLoan: ...

@final
class Loan:
    @property
    def overwritten(self) -> int: ...
    def end(self) -> int: ...
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...

@disjoint_base
class PacketCalls(_Calls):
    def _use(self, endpoint: Core, /) -> None: ...

@disjoint_base
class Core(_Calls):
    def batch(
        self,
        packets: Buffer | Iterable[Buffer],
        *,
        size: int | None = None,
        sizes: Sequence[int] | Buffer | None = None,
        offsets: Buffer | None = None,
        at: int | Sequence[int] | Buffer | None = None,
        interval_ns: int | None = None,
        spread_ns: int | None = None,
        to: tuple[str, int] | Buffer | None = None,
        source: tuple[str, int] | Buffer | None = None,
        sequences: Buffer | None = None,
    ) -> Any: ...
    def queue(self, batch: Any, /) -> bool: ...
    def queued(self, batch: Any, /) -> tuple[int, int]: ...
    def put(self, values: Any, /) -> None: ...
    def tick(self, until_ns: int, /) -> tuple[int, int, int] | None: ...
    def snapshot(self, decode: Any, /) -> tuple[Any, ...] | None: ...
    def spin(self) -> bool: ...
    def waited(self) -> None: ...
    def polls(self, on: bool, /) -> None: ...
    def may_have_room(self) -> bool: ...
    def _serve(self, owner: object, address: int, /) -> None: ...
    def _bind(self, attachment: int, /) -> None: ...
    def _ring_bell(self) -> None: ...
    def _shut(self) -> None: ...
