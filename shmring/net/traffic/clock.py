"""The clock of the timestamps in generated packets."""

from typing import Any, Literal

from shmring._host_time import HostTime, Scale
from shmring._proto import lib
from shmring.types import Clock

StampFormat = Literal["ntp", "ptp"]

_SCALES: dict[StampFormat, Scale] = {"ntp": "utc", "ptp": "tai"}


def check_stamp(stamp: StampFormat, host: HostTime) -> None:
    """Raise `ValueError` if timestamps of this format cannot be made."""
    if stamp not in _SCALES:
        raise ValueError(f"stamp is {stamp!r}: it must be 'ntp' or 'ptp'")
    if stamp == "ptp" and not host.tai_is_known:
        raise ValueError(
            "stamp is 'ptp', but the kernel's TAI offset is 0: let ptp4l or chrony set it, or use "
            "stamp='ntp'"
        )


def tell_clock(raw: Any, stamp: StampFormat, host: HostTime, deadlines: Clock) -> None:
    """Fill a ``traffic_clock_t`` with what the host knows now. deadlines: their clock."""
    raw.format = lib.STAMP_NTP if stamp == "ntp" else lib.STAMP_PTP
    raw.ahead_ns = host.ahead_ns(_SCALES[stamp], deadlines)
    raw.synchronised = host.synchronised
    raw.error_ns = host.ahead_error_ns(deadlines)
