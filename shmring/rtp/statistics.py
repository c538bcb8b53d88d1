"""Counters and measurements of an RTP channel: `Channel.stats().engine`."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from shmring._facts import values_at
from shmring._numbers import RtpNumbers
from shmring._ring import ffi, lib
from shmring._segment import text_of
from shmring.observe.reading import engine_places

CNAME_BYTES = 256
_NTP_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(RtpNumbers):
    """The sent stream, the received stream, and what RTCP reports about both.

    Counters run since the channel was opened, or since `shmring.Channel.reset_stats`. None means
    "not known". Each number is read whole, but not all at one instant. The counters of
    `ChannelStats` beside these count datagrams, including RTCP if it shares the port.
    """

    remote_cname: str
    """CNAME of the source. Empty: not known."""

    @property
    def concealed_ms(self) -> float:
        """`concealed_ns` in milliseconds."""
        return self.concealed_ns / 1e6

    @property
    def skew_ppm(self) -> float:
        """`skew_ppb` in parts per million."""
        return self.skew_ppb / 1000

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def rtp_stats(segment: Any, words: Sequence[int]) -> Stats:
    """Return the statistics of a mapped segment (``shm_segment_t *``) from the engine's words."""
    state = ffi.cast("shm_rtp_state_t *", segment.engine)
    cname = ffi.new("char[]", CNAME_BYTES)
    lib.rtp_read_cname(state, cname)
    now = values_at(RtpNumbers, words, engine_places("rtp"))
    if not segment.config.direction & lib.SHM_RX:  # then it is not set
        now["remote_ssrc"] = None
    if now["sr_ntp"] is not None:
        now["sr_ntp"] &= _NTP_MASK
    return Stats(**now, remote_cname=text_of(cname))
