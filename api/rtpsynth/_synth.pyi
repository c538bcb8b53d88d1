"""csrc/python/rtpsynth/synth.c"""

from collections.abc import Callable, Iterable
from typing import Any, SupportsBytes, SupportsIndex, TypeVar, final, overload

from typing_extensions import Buffer

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
