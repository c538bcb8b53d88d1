"""csrc/python/rtpsynth"""

from array import array
from collections.abc import Callable, Iterable
from threading import Thread
from typing import (
    Any,
    Final,
    Literal,
    SupportsBytes,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    final,
    overload,
)

from typing_extensions import Buffer

from rtpsynth._mux import Mux

_Out = TypeVar("_Out", bound=Buffer)

def set_randfunc(function: Callable[..., int] | None, /) -> None: ...

@final
class RtpSynth:
    def __init__(self, srate: int, ptime: int, /, **ignored: Any) -> None: ...
    def next_pkt(
        self,
        plen: int,
        pt: int,
        pload: Buffer | SupportsBytes | Iterable[SupportsIndex] | None = None,
    ) -> bytes: ...
    @overload
    def next_pkts(
        self, n: int, payload: int | Buffer, pt: int, out: None = None, stride: int | None = None
    ) -> bytearray: ...
    @overload
    def next_pkts(
        self, n: int, payload: int | Buffer, pt: int, out: _Out, stride: int | None = None
    ) -> _Out: ...
    def set_mbt(self, new: int, /) -> int: ...
    @overload
    def resync(self) -> None: ...
    @overload
    def resync(self, ts: int, seq: int, /) -> None: ...
    def skip(self, npkts: int, /) -> None: ...
    def pkt_free(self, packet: object, /) -> None: ...

_Datagram: TypeAlias = Buffer | Iterable[int] | SupportsBytes
_Ints: TypeAlias = Buffer | Iterable[int]

def _set_dealloc_counting(flag: object, /) -> None: ...
def _get_dealloc_counting() -> bool: ...
def _reset_dealloc_counts() -> None: ...
def _get_dealloc_counts() -> dict[str, int]: ...

class RTPParseError(Exception): ...

@final
class RTPInfo:
    data_size: Final[int]
    data_offset: Final[int]
    nsamples: Final[int]
    ts: Final[int]
    seq: Final[int]
    ssrc: Final[int]
    appendable: Final[bool]
    rtp_profile: Final[int]

@final
class RTPPacket:
    info: Final[RTPInfo]
    lseq: Final[int]
    data: Final[int]

@final
class RTPFrameUnion:
    rtp: Final[RTPPacket]
    ers: Final[None]

@final
class RTPFrame:
    type: Final[Literal[0]]
    frame: Final[RTPFrameUnion]

@final
class ERSFrame:
    lseq_start: Final[int]
    lseq_end: Final[int]
    ts_diff: Final[int]
    type: Final[Literal[1]]

@final
class FrameWrapper:
    content: Final[RTPFrame | ERSFrame]
    data: Final[bytes | None]
    rtp_data: Final[bytes | None]
    opaque: Final[Any]

@final
class RtpJBuf:
    def __init__(self, capacity: int, /) -> None: ...
    def udp_in(self, data: _Datagram, opaque: object = None, /) -> list[FrameWrapper]: ...
    def flush(self) -> list[FrameWrapper]: ...
    def drain(self) -> list[FrameWrapper]: ...
    @overload
    def udp_in_many(
        self,
        data: Buffer | Iterable[_Datagram],
        sizes: _Ints | int | None = None,
        *,
        offsets: _Ints | None = None,
        stride: int | None = None,
        out: None = None,
    ) -> Any: ...
    @overload
    def udp_in_many(
        self,
        data: Buffer | Iterable[_Datagram],
        sizes: _Ints | int | None = None,
        *,
        offsets: _Ints | None = None,
        stride: int | None = None,
        out: Buffer,
    ) -> int: ...
    @overload
    def flush_many(self, *, out: None = None) -> Any: ...
    @overload
    def flush_many(self, *, out: Buffer) -> int: ...
    @overload
    def drain_many(self, *, out: None = None) -> Any: ...
    @overload
    def drain_many(self, *, out: Buffer) -> int: ...
    dropped: Final[int]
    offered: Final[int]
    held: Final[int]
    capacity: Final[int]
    counters: Final[dict[str, int]]

class ChannelProcError(RuntimeError): ...

@final
class RtpProcChannel:
    id: Final[int]
    closed: Final[bool]
    def close(self) -> None: ...

@final
class RtpProc:
    def __new__(cls) -> RtpProc: ...
    def create_channel(self, proc_in: Callable[[int, int], int | None]) -> RtpProcChannel: ...
    def shutdown(self) -> None: ...

def configure_proc(
    do_nothing: Callable[[], None], make_thread: Callable[[Callable[[], None]], Thread], /
) -> None: ...
def after_fork_in_child() -> None: ...
def at_exit() -> None: ...

class RtpQueueFullError(Exception): ...

@final
class RtpChannel:
    local_addr: Final[tuple[str, int]]
    closed: Final[bool]
    def send_pkt(self, data: object, /) -> None: ...
    def set_target(self, host: str, port: int, /) -> None: ...
    def close(self) -> None: ...

@final
class RtpServer:
    def __new__(cls, tick_hz: int = 200) -> RtpServer: ...
    tick_ns: Final[int]
    def create_channel(
        self,
        pkt_in: Callable[[bytes, tuple[str, int], int], object],
        bind_host: str | None = None,
        bind_port: int = 0,
        queue_size: int = 32,
        bind_family: int | str | None = None,
    ) -> RtpChannel: ...
    def shutdown(self) -> None: ...

@final
class Exchange:
    def __new__(cls, owner: object, address: int, places: int, /) -> Exchange: ...
    stopping: Final[bool]
    def check(self) -> None: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...
    def forget(self) -> None: ...

def shared_bytes(places: int, /) -> int: ...
def configure_server(open_mux: Callable[[], Mux], /) -> None: ...
def resample_linear(pcm: Buffer, in_rate: int, out_rate: int, /) -> array[int]: ...
@overload
def linear2ulaw(sample: int, /) -> int: ...
@overload
def linear2ulaw(sample: Buffer, /) -> bytes: ...
@overload
def ulaw2linear(code: int, /) -> int: ...
@overload
def ulaw2linear(code: Buffer, /) -> array[int]: ...
@overload
def linear2alaw(sample: int, /) -> int: ...
@overload
def linear2alaw(sample: Buffer, /) -> bytes: ...
@overload
def alaw2linear(code: int, /) -> int: ...
@overload
def alaw2linear(code: Buffer, /) -> array[int]: ...

@final
class RtpUtils:
    @staticmethod
    def resample_linear(pcm: Buffer, in_rate: int, out_rate: int, /) -> array[int]: ...
    @overload
    @staticmethod
    def linear2ulaw(sample: int, /) -> int: ...
    @overload
    @staticmethod
    def linear2ulaw(sample: Buffer, /) -> bytes: ...
    @overload
    @staticmethod
    def ulaw2linear(code: int, /) -> int: ...
    @overload
    @staticmethod
    def ulaw2linear(code: Buffer, /) -> array[int]: ...
    @overload
    @staticmethod
    def linear2alaw(sample: int, /) -> int: ...
    @overload
    @staticmethod
    def linear2alaw(sample: Buffer, /) -> bytes: ...
    @overload
    @staticmethod
    def alaw2linear(code: int, /) -> int: ...
    @overload
    @staticmethod
    def alaw2linear(code: Buffer, /) -> array[int]: ...

def parse_headers(
    buffer: Buffer,
    offsets: Buffer | None,
    sizes: Buffer | None,
    stride: int,
    size: int,
    count: int,
    /,
) -> bytearray: ...
