"""Enums whose numbers are in shared memory, and the words that options take."""

# Made by csrc/schema.py from csrc/rows: edit those, then run `make schema`.

from enum import StrEnum
from typing import Literal

Clock = Literal["monotonic", "tai"]
Direction = Literal["tx", "rx", "duplex"]
Reading = Literal["each", "shared"]
Overflow = Literal["oldest", "wait"]
Late = Literal["send", "drop"]
Align = Literal["start", "wire"]
Reports = Literal["off", "late", "all"]
Profile = Literal["balanced", "latency", "power"]
Txtime = Literal["off", "auto", "require"]
StampSource = Literal["hardware", "kernel", "off"]


class State(StrEnum):
    """State of a channel. Compares equal to its lower-case name."""

    NEW = "new"
    """Made by the pool, not yet served by a worker."""
    OPEN = "open"
    """Served by a worker."""
    HELD = "held"
    """Served, but sending and receiving are held."""
    CLOSED = "closed"
    """Closed for good: readers take what is left."""
    FAILED = "failed"
    """Broken for good: error and reason say why."""


class Stamp(StrEnum):
    """What took a timestamp. Compares equal to its lower-case name."""

    NONE = "none"
    USER = "user"
    """Read from the clock by the worker after the system call."""
    KERNEL = "kernel"
    """Taken by the kernel when the packet passed the driver."""
    HARDWARE = "hardware"
    """Taken by the network card, converted to the channel's clock."""


class Verdict(StrEnum):
    """The result of sending a packet: one for each. Compares equal to its lower-case name."""

    ON_TIME = "on_time"
    ENQUEUED_LATE = "enqueued_late"
    """It was queued after its deadline."""
    WOKE_LATE = "woke_late"
    """It was queued in time, and the worker woke up too late."""
    SEND_SLOW = "send_slow"
    """The worker was in time, and the kernel took too long."""
    QUEUED_BEHIND = "queued_behind"
    """The worker was busy with packets before it, or held it back behind them."""
    DROPPED_LATE = "dropped_late"
    """Not sent: it was late, and the channel has ``late="drop"``."""
    CANCELLED = "cancelled"
    """Not sent: a client took it back."""
    FAILED = "failed"
    """Refused by the kernel for good; the report has the errno."""
    PRODUCER_HALTED = "producer_halted"
    """Sent late: a client stopped during this or an earlier send."""
