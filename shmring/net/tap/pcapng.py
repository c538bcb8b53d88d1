"""Writes pcapng: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html

It implements only what a tap needs: one section, interfaces with times in ns, packets with
comments, and statistics at the end. Output is collected and written in large pieces.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Protocol

from shmring._proto import lib

LINKTYPE_RAW: int = lib.CAPTURE_LINK_RAW
"""Packets begin with their IPv4 or IPv6 header."""
LINKTYPE_IPV4: int = lib.CAPTURE_LINK_IPV4
LINKTYPE_IPV6: int = lib.CAPTURE_LINK_IPV6
"""The same of one IP version. Libpcap, and so tcpdump, reads one interface of LINKTYPE_RAW in a
file, but any number of these."""

INBOUND = 1
OUTBOUND = 2
"""epb_flags, bits 0 and 1."""

FLUSH_BYTES = 256 * 1024

_SECTION: int = lib.PCAPNG_SECTION
_INTERFACE: int = lib.PCAPNG_INTERFACE
_STATISTICS: int = lib.PCAPNG_STATISTICS
_PACKET: int = lib.PCAPNG_PACKET
_BYTE_ORDER: int = lib.PCAPNG_BYTE_ORDER
_UNKNOWN_LENGTH = -1
_TSRESOL_NS = 9

_COMMENT = 1
_SHB_OS = 3
_SHB_USERAPPL = 4
_IF_NAME = 2
_IF_DESCRIPTION = 3
_IF_TSRESOL: int = lib.PCAPNG_IF_TSRESOL
_EPB_FLAGS = 2
_EPB_DROPCOUNT = 4
_EPB_PACKETID = 5
_ISB_IFRECV = 4
_ISB_IFDROP = 5

_OPTION = struct.Struct("=HH")
_PACKET_HEAD = struct.Struct("=IIIIIII")
_FLAGS_OPTION = struct.Struct("=HHI")
_COUNT_OPTION = struct.Struct("=HHQ")
_LENGTH = struct.Struct("=I")
_MOST_OPTION_BYTES = 0xFFFF


class Sink(Protocol):
    """The destination of the bytes: a file or a pipe. Its ``flush`` is called if it has one."""

    def write(self, data: memoryview, /) -> int | None: ...


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    value = value[:_MOST_OPTION_BYTES]
    return _OPTION.pack(code, len(value)) + _padded(value)


def _text(code: int, text: str) -> bytes:
    return _option(code, text.encode("utf-8", "replace")) if text else b""


class Writer:
    """Assembles blocks and writes them to a sink, which the caller keeps owning."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._flush_sink: Callable[[], object] | None = getattr(sink, "flush", None)
        self._pending = bytearray()
        self._interfaces = 0
        self.written_bytes = 0
        """Bytes passed to the sink."""

    def section(self, *, application: str, system: str, comment: str) -> None:
        """Write the section header. Call it once, before everything else."""
        body = struct.pack("=IHHq", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH)
        options = _text(_COMMENT, comment) + _text(_SHB_OS, system)
        self._block(_SECTION, body, options + _text(_SHB_USERAPPL, application))

    def interface(
        self, name: str, description: str, snap_bytes: int = 0, link: int = LINKTYPE_RAW
    ) -> int:
        """Declare an interface of raw IP packets with times in ns. Return its number."""
        body = struct.pack("=HHI", link, 0, snap_bytes)
        options = _text(_IF_NAME, name) + _text(_IF_DESCRIPTION, description)
        self._block(_INTERFACE, body, options + _option(_IF_TSRESOL, bytes([_TSRESOL_NS])))
        self._interfaces += 1
        return self._interfaces - 1

    def packet(
        self,
        interface: int,
        time_ns: int,
        data: bytes,
        *,
        original_bytes: int,
        direction: int,
        comments: Sequence[str] = (),
        packet_id: int = 0,
        dropped: int = 0,
    ) -> None:
        """Write one packet. `time_ns`: Unix time. `dropped`: how many are missing before it."""
        options = b"".join([_text(_COMMENT, comment) for comment in comments])
        options += _FLAGS_OPTION.pack(_EPB_FLAGS, 4, direction)
        if dropped:
            options += _COUNT_OPTION.pack(_EPB_DROPCOUNT, 8, dropped)
        if packet_id:
            options += _COUNT_OPTION.pack(_EPB_PACKETID, 8, packet_id)
        options += bytes(4)
        padding = bytes(-len(data) % 4)
        total = _PACKET_HEAD.size + len(data) + len(padding) + len(options) + _LENGTH.size
        pending = self._pending
        pending += _PACKET_HEAD.pack(
            _PACKET,
            total,
            interface,
            time_ns >> 32 & 0xFFFFFFFF,
            time_ns & 0xFFFFFFFF,
            len(data),
            original_bytes,
        )
        pending += data
        pending += padding
        pending += options
        pending += _LENGTH.pack(total)
        if len(pending) >= FLUSH_BYTES:
            self.flush()

    def statistics(
        self, interface: int, time_ns: int, *, received: int, dropped: int, comment: str
    ) -> None:
        """Write the statistics of an interface at the end."""
        body = struct.pack("=III", interface, time_ns >> 32 & 0xFFFFFFFF, time_ns & 0xFFFFFFFF)
        counts = _COUNT_OPTION.pack(_ISB_IFRECV, 8, received)
        counts += _COUNT_OPTION.pack(_ISB_IFDROP, 8, dropped)
        self._block(_STATISTICS, body, _text(_COMMENT, comment) + counts)

    def flush(self) -> None:
        """Write what was collected. Raises `OSError`, `BrokenPipeError`."""
        if not self._pending:
            return
        left, self._pending = memoryview(self._pending), bytearray()
        while left:
            done = self._sink.write(left)
            done = len(left) if done is None else done
            self.written_bytes += done
            left = left[done:]
        if self._flush_sink is not None:
            self._flush_sink()

    def _block(self, kind: int, body: bytes, options: bytes) -> None:
        content = body + (options + bytes(4) if options else b"")
        total = 12 + len(content)
        self._pending += struct.pack("=II", kind, total) + content + _LENGTH.pack(total)
