"""What a card's driver reports: its name, timestamps, clock, and interrupt coalescing."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from array import array
from dataclasses import dataclass

_SIOCETHTOOL = 0x8946
_GDRVINFO = 0x03
_GCOALESCE = 0x0E
_GET_TS_INFO = 0x41

_TX_HARDWARE = 1 << 0
_TX_SOFTWARE = 1 << 1
_RX_HARDWARE = 1 << 2
_RX_SOFTWARE = 1 << 3
_FILTER_ALL = 1 << 1

# struct ptp_sys_offset_extended of linux/ptp_clock.h: the header, then up to 25 triples.
_PTP_HEAD = struct.Struct("=I12x")
_PTP_TIME = struct.Struct("=qI4x")
_PTP_ROWS = 25
_PTP_BYTES = _PTP_HEAD.size + _PTP_ROWS * 3 * _PTP_TIME.size
_PTP_SYS_OFFSET_EXTENDED = 3 << 30 | _PTP_BYTES << 16 | ord("=") << 8 | 9
_SAMPLES = 9


@dataclass(frozen=True, slots=True)
class Stamps:
    """The timestamps that an interface supports."""

    tx_hardware: bool
    rx_hardware: bool
    rx_all: bool
    """Whether the card timestamps every received packet, not only those of PTP."""
    tx_software: bool
    rx_software: bool
    phc_index: int | None
    """N of its clock /dev/ptpN."""


@dataclass(frozen=True, slots=True)
class Coalescing:
    """How long a card collects packets before it interrupts."""

    rx_us: int
    tx_us: int
    adaptive_rx: bool


@dataclass(frozen=True, slots=True)
class PhcReading:
    """A card's clock compared with CLOCK_REALTIME, or why it could not be read."""

    offset_ns: int | None = None
    """Card minus CLOCK_REALTIME."""
    width_ns: int | None = None
    """Uncertainty of the reading."""
    error: str = ""


def driver(name: str) -> str | None:
    """Return the name of an interface's driver, or None if it has none."""
    answer = _ask(name, _GDRVINFO, 196)
    return None if answer is None else answer[4:36].split(b"\0")[0].decode("ascii", "replace")


def stamps(name: str) -> Stamps | None:
    """Return the timestamps that an interface supports, or None if they are unknown."""
    answer = _ask(name, _GET_TS_INFO, 44)
    return None if answer is None else parse_stamps(answer)


def parse_stamps(answer: bytes) -> Stamps:
    """struct ethtool_ts_info."""
    _, flags, phc_index, _, filters = struct.unpack_from("=IIiI12xI", answer)
    return Stamps(
        tx_hardware=bool(flags & _TX_HARDWARE),
        rx_hardware=bool(flags & _RX_HARDWARE),
        rx_all=bool(filters & _FILTER_ALL),
        tx_software=bool(flags & _TX_SOFTWARE),
        rx_software=bool(flags & _RX_SOFTWARE),
        phc_index=phc_index if phc_index >= 0 else None,
    )


def coalescing(name: str) -> Coalescing | None:
    """Return a card's interrupt coalescing, or None if its driver does not tell."""
    answer = _ask(name, _GCOALESCE, 92)
    if answer is None:
        return None
    words = struct.unpack_from("=23I", answer)
    return Coalescing(rx_us=words[1], tx_us=words[5], adaptive_rx=bool(words[10]))


def _ask(name: str, number: int, size: int) -> bytes | None:
    """Make one SIOCETHTOOL call. Return None if the driver does not support it. Raises `OSError`
    for other errors."""
    answer = array("B", struct.pack("=I", number) + bytes(size - 4))
    address, _ = answer.buffer_info()
    request = struct.pack("@16sP16x", name.encode(), address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            fcntl.ioctl(asker, _SIOCETHTOOL, request)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.ENOTTY):
                return None
            raise
    return answer.tobytes()


def read_phc(index: int) -> PhcReading:
    """Read the clock /dev/ptpN against CLOCK_REALTIME, and use the tightest of several brackets."""
    path = f"/dev/ptp{index}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return PhcReading(error=f"{path}: {error.strerror}")
    try:
        data = bytearray(_PTP_HEAD.pack(_SAMPLES) + bytes(_PTP_BYTES - _PTP_HEAD.size))
        fcntl.ioctl(fd, _PTP_SYS_OFFSET_EXTENDED, data)
    except OSError as error:
        return PhcReading(error=f"{path}: PTP_SYS_OFFSET_EXTENDED: {error.strerror}")
    finally:
        os.close(fd)
    return parse_phc(bytes(data))


def parse_phc(data: bytes) -> PhcReading:
    """Parse a struct ptp_sys_offset_extended: triples of system, card, system time."""
    (count,) = _PTP_HEAD.unpack_from(data)
    best: tuple[int, int] | None = None
    for row in range(min(count, _PTP_ROWS)):
        at = _PTP_HEAD.size + row * 3 * _PTP_TIME.size
        before, card, after = (
            seconds * 1_000_000_000 + ns
            for seconds, ns in (
                _PTP_TIME.unpack_from(data, at + part * _PTP_TIME.size) for part in range(3)
            )
        )
        width = after - before
        if width >= 0 and (best is None or width < best[0]):
            best = (width, card - (before + width // 2))
    if best is None:
        return PhcReading(error="the system's time was stepped during the reading")
    return PhcReading(offset_ns=best[1], width_ns=best[0])
