"""The jitter buffer of librtpsynth and its parser, written from their description: one function per
step, lists and plain integers, and nothing in common with our C. And random streams for it."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import Any

NONE = 2**64 - 1
MASK = 2**64 - 1


def datagram(
    seq: int,
    ts: int | None = None,
    *,
    ssrc: int = 0x5EED,
    payload_type: int = 0,
    marker: bool = False,
    payload: bytes = b"",
    first_byte: int = 0x80,
) -> bytes:
    """An RTP datagram; ts: 160 units per number where it is left out."""
    ts = seq * 160 if ts is None else ts
    second = payload_type | (0x80 if marker else 0)
    return struct.pack("!BBHII", first_byte, second, seq % 2**16, ts % 2**32, ssrc) + payload


def parse(data: bytes) -> int | tuple[int, int]:
    """An error code, or (payload offset, payload bytes)."""
    size = len(data)
    if size < 12:
        return -1
    if data[0] >> 6 != 2:
        return -2
    offset = 12 + 4 * (data[0] & 15)
    if data[0] & 0x10:
        if size < offset + 4:
            return -3
        offset += 4 + 4 * int.from_bytes(data[offset + 2 : offset + 4], "big")
    if size < offset:
        return -4
    padding = 0
    if data[0] & 0x20:
        if size == offset:
            return -5
        padding = data[-1]
        if padding == 0:
            return -7
        if padding > size - offset:
            return -6
    return offset, size - offset - padding


@dataclass
class Held:
    lseq: int
    ts: int
    item: Any
    age: int = 0


@dataclass
class Outcome:
    """What one call gives out.

    ready: ("frame", lseq, ts, item) and at most one ("erasure", first, last, ts_diff), before them
    dropped: (lseq, item)
    """

    error: int = 0
    ready: list[tuple[Any, ...]] = field(default_factory=list)
    dropped: list[tuple[int, Any]] = field(default_factory=list)


class Model:
    """The state machine. `unsafe` tells that it met a stream on which the original, in the same
    place, ends the process or goes astray; `too_wide` names the erasures (first, last) whose time
    the original gets wrong, because a product exceeds 32 bits."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: list[Held] = []
        self.last = NONE
        self.last_ts = 0
        self.top = NONE
        self.epoch = 0
        self.unsafe = False
        self.too_wide: set[tuple[int, int]] = set()

    @property
    def warm_up(self) -> bool:
        return self.last == NONE

    def udp_in(self, data: bytes, item: Any) -> Outcome:
        out = Outcome()
        self._purge(out)
        parsed = parse(data)
        if isinstance(parsed, int):
            out.error = parsed
            return out
        _, _, seq, ts = struct.unpack_from("!BBHI", data)
        new = Held(self.epoch | seq, ts, item)
        if self.top != NONE:
            if not self._wrap(new, seq) or (not self.warm_up and new.lseq <= self.last):
                out.dropped.insert(0, (new.lseq, item))
                return out
            if self.held:
                self._insert(new, out)
                return out
        self._first(new, out)
        return out

    def _purge(self, out: Outcome) -> None:
        if not self.held or len(self.held) < (self.capacity - 1) % 2**32:
            return
        tail = self.held[-1]
        tail.age += 1
        if tail.age < self.capacity:
            return
        self.held.pop()
        out.dropped.append((tail.lseq, tail.item))
        if self.top == tail.lseq:
            self.top = self.held[-1].lseq if self.held else NONE
            if not self.held and not self.warm_up:
                self.unsafe = True
                self.top = self.last

    def _wrap(self, new: Held, seq: int) -> bool:
        """False: from before the beginning of the stream."""
        if self.top % 65536 < 536 and seq > 65000:
            if self.epoch == 0:
                self.unsafe = True
                return False
            new.lseq -= 65536
        elif self.top > 65000 and new.lseq < self.top - 65000:
            self.epoch += 65536
            new.lseq += 65536
        return True

    def _first(self, new: Held, out: Outcome) -> None:
        self.top = new.lseq
        self.held = [new]
        if new.lseq == (0 if self.warm_up else self.last + 1):
            self._release(out)

    def _insert(self, new: Held, out: Outcome) -> None:
        if any(frame.lseq == new.lseq for frame in self.held):
            out.dropped.insert(0, (new.lseq, new.item))
            return
        self.held.append(new)
        self.held.sort(key=lambda frame: frame.lseq)
        if self.held[-1] is new:
            self.top = new.lseq
        follows = not self.warm_up and self.held[0].lseq == self.last + 1
        if follows or len(self.held) == self.capacity:
            self._release(out)

    def _run(self, start: int) -> int:
        end = start + 1
        while end < len(self.held) and self.held[end].lseq == self.held[end - 1].lseq + 1:
            end += 1
        return end

    def _release(self, out: Outcome, *, invent: bool = False) -> None:
        """invent: an erasure from 0 in warm-up, as flush does."""
        if (invent or not self.warm_up) and (self.last + 1) & MASK != self.held[0].lseq:
            start = (self.last + 1) & MASK
            missing = (self.held[0].lseq - start) % 2**32
            span = (self.held[0].ts - self.last_ts) % 2**32
            end = self.held[0].lseq - 1
            out.ready.append(("erasure", start, end, span * missing // (missing + 1)))
            if span * missing >= 2**32:
                self.too_wide.add((start, end))
        end = self._run(0)
        for frame in self.held[:end]:
            out.ready.append(("frame", frame.lseq, frame.ts, frame.item))
            self.last, self.last_ts = frame.lseq, frame.ts
        del self.held[:end]

    def flush(self) -> Outcome:
        out = Outcome()
        runs = []
        start = 0
        while start < len(self.held):
            end = self._run(start)
            runs.append(self.held[start:end])
            start = end
        if runs:
            for run in reversed(runs[:-1]):
                out.dropped += [(frame.lseq, frame.item) for frame in run]
            self.held = runs[-1]
            self._release(out, invent=True)
        return out

    def drain(self) -> Outcome:
        """Ours, not the original's: nothing is dropped."""
        out = Outcome()
        while self.held:
            self._release(out)
        return out


def random_stream(rng: random.Random, length: int) -> list[bytes]:
    """Datagrams with loss, duplication, reordering, jumps, wraps and corruption."""
    loss, twice, jump, corrupt = (rng.choice([0, 0.01, 0.1]) for _ in range(4))
    window = rng.choice([1, 1, 2, 5, 20, 60])
    seq = rng.choice([0, 0, 1, 500, 1000, 64900, 65500, rng.randrange(65536)])
    stream: list[bytes] = []
    while len(stream) < length:
        seq += 1
        if rng.random() < jump / 10:
            seq += rng.choice([-3, 7, 100, 540, 30000, 65000, rng.randrange(65536)])
        if rng.random() < loss:
            continue
        data = bytearray(datagram(seq, payload=bytes([seq % 256]) * rng.randrange(4)))
        if rng.random() < corrupt:
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < corrupt:
            del data[rng.randrange(len(data)) :]
        stream += [bytes(data)] * (2 if rng.random() < twice else 1)
    for start in range(0, len(stream), window):
        part = stream[start : start + window]
        rng.shuffle(part)
        stream[start : start + window] = part
    return stream
