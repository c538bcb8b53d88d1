"""Arguments that no program should pass, and those that one would."""

from __future__ import annotations

import array
import ctypes
import decimal
import fractions
import random
import struct
import time
from collections.abc import Callable
from typing import Any


class OwnError(Exception):
    """What objects of the program raise. It is expected to reach the caller."""


class Raising:
    """An object whose every use fails."""

    def _fail(self, *_: object) -> Any:
        raise OwnError

    __index__ = __int__ = __float__ = __len__ = __iter__ = __getitem__ = __bool__ = _fail
    __str__ = __hash__ = __eq__ = __lt__ = __gt__ = _fail

    def __repr__(self) -> str:
        return "<raising>"


class Number:
    """An integer of another type, such as NumPy's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"<number {self.value}>"


class Loud(bytes):
    """A class derived from bytes whose methods fail."""

    def __len__(self) -> int:
        raise OwnError

    def __getitem__(self, _: Any) -> Any:
        raise OwnError


OWN_ITEM: list[Any] = []
OWN_ITEM.append(OWN_ITEM)

ABSURD: tuple[Any, ...] = (
    *(None, True, False, ..., NotImplemented, object(), type, int, len, Raising(), Exception("x")),
    *(0, 1, -1, 3, 8, 255, 256, 65535, 65536, 10**9, 2**31 - 1, 2**31, 2**32, 2**53, 10**30),
    *(2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**31), -(2**63), -(2**64), -8),
    *(0.0, -0.0, 0.5, 1.0, 8.0, -1.0, 1e308, -1e308, float("nan"), float("-inf"), 5e-324),
    *(1j, decimal.Decimal("NaN"), decimal.Decimal(8), fractions.Fraction(1, 3)),
    *(Number(8), Number(-1), Number(2**70)),
    *("", "8", "text", "\0", "\ud800", "ä" * 300, "127.0.0.1", "a/b", "..", "None"),
    *(b"", b"8", b"\0" * 3, b"\xff" * 8, bytes(70_000), bytearray(), bytearray(8)),
    *(Loud(b"12345678"), ctypes.c_int(8), (ctypes.c_uint16 * 4)()),
    *(memoryview(b"abcdefgh")[::2], memoryview(b"abcdefgh")[::-1], memoryview(bytearray(16))),
    *(memoryview(bytes(8)).cast("B", (2, 4)), memoryview(bytes(8)).cast("d")),
    *(array.array("d", [0.5]), array.array("q", [-1, 2**62]), array.array("I"), array.array("b")),
    *([], [1], [8, 8], ["text"], [b"x", 5], [None], [[]], OWN_ITEM, [b"x"] * 3, [(1, 8)]),
    *((), (1,), ("127.0.0.1", 70_000), ("127.0.0.1", -1), ("127.0.0.1", "9"), ("::1", 9)),
    *(("host", 9), (None, None), ("127.0.0.1", 9, 9), ("fe80::1%none", 9), ("::1", 9, 0, -1)),
    *({}, {"a": 1}, {1: 2}, set(), frozenset({1}), range(3), slice(None), iter(())),
)
"""All are small, and none makes a call wait that has no reason to."""

EIGHT = b"12345678"
PAYLOADS = (EIGHT, bytearray(EIGHT), memoryview(EIGHT), bytes(160), b"", bytes(1400))
# A call must not wait for long: these are all the times that it may be told to wait.
TIMEOUTS = (0, 0.0, 0.001, 5e-324, -1, -0.5, float("nan"), float("-inf"), "1", b"1", [], 1j, True)
WAITS = ("timeout", "linger")


def plausible(name: str, draw: random.Random, words: dict[str, Any]) -> Any:
    """Return what a program would pass as a parameter of this name."""
    makers: dict[str, Callable[[], Any]] = {
        "data": lambda: draw.choice(PAYLOADS),
        "values": lambda: draw.choice(PAYLOADS),
        "payload": lambda: draw.choice(PAYLOADS),
        "packets": lambda: draw.choice(([b"a", b"b"], b"abcdefgh", [bytes(100)] * 8)),
        "frames": lambda: draw.choice(([bytes(160)], [bytes(160)] * 5, [])),
        "item": lambda: [],
        "sequence": lambda: draw.randrange(20),
        "max": lambda: draw.choice((1, 10, 1024)),
        "size": lambda: draw.choice((1, 2, 1000)),
        "sizes": lambda: draw.choice(([1, 1], array.array("I", [1, 7]), [8])),
        "offsets": lambda: array.array("I", [0, 4]),
        "at": lambda: draw.choice((None, 0, time.monotonic_ns() + 10**6, [0, 0])),
        "interval_ns": lambda: draw.choice((0, 1000)),
        "spread_ns": lambda: draw.choice((0, 10**6)),
        "to": lambda: draw.choice((("127.0.0.1", 9), struct.pack("24x"))),
        "source": lambda: draw.choice((None, ("127.0.0.1", 0), ("127.0.0.2", 9))),
        "remote": lambda: ("127.0.0.1", draw.choice((9, 10))),
        "buffer": lambda: bytearray(2000),
        "out": lambda: bytearray(65536),
        "sequences": lambda: array.array("q", [0] * 8),
        "samples": lambda: draw.choice((160, 1)),
        "payload_type": lambda: draw.choice((0, 8, 96)),
        "elements": lambda: [(1, b"x")],
        "bytes_per_packet": lambda: draw.choice((80, 160)),
        "number": lambda: draw.choice((None, 0, 255)),
        "name": lambda: f"made-{draw.randrange(50)}",
        "backlog": lambda: 8,
        "ttl_ms": lambda: draw.choice((None, 0, 1000)),
        "cycle_ns": lambda: 10**7,
        "period_ns": lambda: 10**7,
        "bytes_per_second": lambda: draw.choice((None, 10**9)),
        **words,
    }
    return makers.get(name, lambda: draw.choice((True, False)))()


def argument(name: str, draw: random.Random, words: dict[str, Any]) -> Any:
    """Return an argument for a parameter of this name, absurd in half of all cases."""
    if name in WAITS:
        return draw.choice(TIMEOUTS)
    return draw.choice(ABSURD) if draw.random() < 0.5 else plausible(name, draw, words)
