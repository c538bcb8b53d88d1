"""Reads a capture file or pipe in pieces. The parsing is C (csrc/proto/capture)."""

import io
import ipaddress
import os
import random
import select
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Self

from shmring._facts import values
from shmring._numbers import CaptureFates
from shmring._proto import ffi, lib
from shmring.net.capture.gzipped import GZIP, Gunzip
from shmring.net.lanes.lane import RECORDS

_PIECE_BYTES = 4 << 20  # more than the longest block
_WAIT_MS = 200

Ends = tuple[tuple[str, int], tuple[str, int]]
"""Source and destination of a flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates(CaptureFates):
    """What became of the packets in a file: each field counts one kind."""


class Reader:
    """The UDP packets of a capture, batch by batch. It takes the same memory for any file."""

    def __init__(self, path: str | os.PathLike[str] | BinaryIO) -> None:
        """path: a file, ``"-"`` for standard input, or a binary file object, which the caller keeps
        owning. Raises `OSError`."""
        self._mine = isinstance(path, (str, os.PathLike))
        self.name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else "the capture"
        self._file: Any = path
        if self.name == "-":
            self.name, self._file = "standard input", os.fdopen(os.dup(0), "rb", buffering=0)
        elif self._mine:
            self._file = open(self.name, "rb", buffering=0)  # noqa: SIM115 (closed by close)
        self.state: Any = ffi.new("capture_t *")
        lib.capture_init(self.state, random.getrandbits(64))
        self._piece = bytearray(_PIECE_BYTES)
        self._begin: int = 0
        self._end: int = 0
        self._bytes: Any = ffi.from_buffer("uint8_t[]", self._piece)
        self.records: Any = ffi.new("capture_record_t[]", RECORDS)
        self._gunzip: Gunzip | None = None
        self._begun = False
        self.cut_bytes = 0
        """What is left at the end of the file and is no whole packet."""

    def close(self) -> None:
        """Close the file."""
        if self._mine:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size_bytes(self) -> int | None:
        """Size of the file. None: it is a pipe."""
        try:
            return os.fstat(self._file.fileno()).st_size if self.can_rewind else None
        except OSError:
            return None

    @property
    def share(self) -> float | None:
        """How much of the file was read in this round, 0 to 1. None: it is a pipe."""
        size = self.size_bytes
        gunzip = self._gunzip
        taken = int(self.state.file.taken_bytes) if gunzip is None else gunzip.taken_bytes
        return min(1.0, taken / size) if size else None

    @property
    def payloads(self) -> memoryview:
        """The bytes to which the offsets of the last batch refer."""
        return memoryview(self._piece)[self._begin : self._end]

    @property
    def can_rewind(self) -> bool:
        """Whether the file can be read again. A pipe cannot."""
        return bool(self._file.seekable())

    def rewind(self) -> None:
        """Begin with the first packet again. The flows stay. Raises `OSError` for a pipe."""
        self._file.seek(0)
        self._begin = self._end = 0
        self._gunzip, self._begun = None, False
        lib.capture_rewind(self.state)

    @property
    def fates(self) -> Fates:
        """What became of the packets that were read so far, in all rounds."""
        return Fates(**values(CaptureFates, self.state.fates))

    @property
    def other_link(self) -> int:
        """The last link type that is not supported."""
        return int(self.state.other_link)

    @property
    def packets_without_time(self) -> int:
        """Simple packet blocks, which have no time: they get that of the packet before."""
        return int(self.state.file.frames_without_time)

    @property
    def flow_count(self) -> int:
        """How many flows were found so far. Each has a number from 0 on."""
        return int(self.state.flows.count)

    def ends(self, flow: int) -> Ends:
        """Return the source and the destination of a flow."""
        ends = self.state.flows.flows[flow].ends
        size = 4 if ends.family == 4 else 16
        source, destination = (
            str(ipaddress.ip_address(bytes(ffi.buffer(raw))[:size]))
            for raw in (ends.source, ends.destination)
        )
        return (source, int(ends.source_port)), (destination, int(ends.destination_port))

    def batches(self) -> Iterator[int]:
        """Iterate to the end of the file. Each item is the number of new `records`, whose payloads
        are in `payloads` until the next one. It is 0 about five times a second while a pipe has
        nothing. Raises `ValueError` if the file is no capture or is damaged, and `OSError`."""
        used, count = ffi.new("size_t *"), ffi.new("uint32_t *")
        while True:
            at = self._bytes + self._begin
            size = self._end - self._begin
            rc = lib.capture_read(self.state, at, size, self.records, RECORDS, used, count)
            problem = ffi.string(lib.rt_err_text()).decode("utf-8", "replace") if rc < 0 else ""
            if count[0]:
                yield int(count[0])
            self._begin += int(used[0])
            if problem:
                raise ValueError(f"{self.name}: {problem}")
            while count[0] < RECORDS and not self._ready():
                yield 0
            if count[0] < RECORDS and not self._refill():
                return

    def _ready(self) -> bool:
        """Whether reading does not wait for long. Waits for a pipe itself, so that the caller can
        stop: a read that a signal interrupts begins again."""
        if self.can_rewind or not isinstance(self._file, io.RawIOBase):
            return True
        poll = select.poll()
        try:
            poll.register(self._file.fileno(), select.POLLIN)
        except OSError:  # it has no descriptor
            return True
        return bool(poll.poll(_WAIT_MS))

    def _refill(self) -> bool:
        """Read more of the file behind what is left. Return whether there was more."""
        left = self._end - self._begin
        ffi.memmove(self._bytes, self._bytes + self._begin, left)
        self._begin, self._end = 0, left
        more = self._read_into(memoryview(self._piece)[left:])
        self._end += more
        if not more:
            self._check_end(left)
        return more > 0

    def _read_into(self, into: memoryview) -> int:
        if not self._begun:
            return self._read_first(into)
        if self._gunzip is None:
            return int(self._file.readinto(into) or 0)
        try:
            return self._gunzip.read_into(into)
        except ValueError as damage:
            raise ValueError(f"{self.name}: {damage}") from None

    def _read_first(self, into: memoryview) -> int:
        """Read the first two bytes, which tell what gzip has compressed."""
        first = self._file.read(len(GZIP)) or b""
        if len(first) == 1:
            first += self._file.read(1) or b""
        self._begun = True
        if first == GZIP:
            self._gunzip = Gunzip(self._file.read, first)
            return self._read_into(into)
        into[: len(first)] = first
        return len(first)

    def _check_end(self, left: int) -> None:
        self.cut_bytes = left + int(self.state.file.skipped_bytes)
        if not self.state.file.format:
            raise ValueError(
                f"{self.name}: {left} bytes are no capture: the shortest pcap has 24 bytes"
            )
