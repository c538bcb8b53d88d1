"""Values that channels accept and return.

The literals name the words that options take, for annotations in your own code:
``def plan(late: shmring.types.Late) -> None``.
"""

import errno
import os
import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from shmring._address import Address as Address
from shmring._check import check
from shmring._enums import (
    Align,
    Clock,
    Direction,
    Late,
    Overflow,
    Profile,
    Reading,
    Reports,
    Stamp,
    StampSource,
    State,
    Txtime,
    Verdict,
)
from shmring._ring import ffi, lib
from shmring.errors import BadConfig

if sys.version_info >= (3, 12):
    from collections.abc import Buffer
elif TYPE_CHECKING:
    from typing import Protocol

    from typing_extensions import Buffer as _Buffer

    class _Array(Protocol):
        """NumPy's arrays: their types admit the buffer protocol from Python 3.12 on only."""

        @property
        def __array_interface__(self) -> dict[str, Any]: ...

    Buffer = _Buffer | _Array
else:
    Buffer = bytes | bytearray | memoryview

__all__ = [
    "LAYOUT_VERSION",
    "STAMPS",
    "STATES",
    "VERDICTS",
    "Address",
    "Align",
    "Buffer",
    "Clock",
    "Codec",
    "Congestion",
    "Delivery",
    "Direction",
    "Impairment",
    "Late",
    "OnStale",
    "Overflow",
    "Policy",
    "Profile",
    "Reading",
    "Reports",
    "RtcpPort",
    "SendReport",
    "Stamp",
    "StampSource",
    "State",
    "TapDirection",
    "TapTimes",
    "TapTrigger",
    "Txtime",
    "Underrun",
    "Verdict",
    "WorkerInfo",
]

Policy = Literal["fifo", "other"]
# of Rtp
Codec = Literal["pcmu", "pcma", "l16"]
Underrun = Literal["resume", "catch_up", "fill"]
Delivery = Literal["playout", "in_order", "as_arrived"]
RtcpPort = Literal["mux", "next_port"]
# of Netflux, UDT and taps
OnStale = Literal["continue", "failsafe", "stop"]
Congestion = Literal["daimd", "bbr", "fixed"]
TapDirection = Literal["tx", "rx", "both"]
TapTimes = Literal["auto", "sent", "wire"]
TapTrigger = Literal["late", "api"]

LAYOUT_VERSION = int(lib.SHM_LAYOUT_VERSION)
"""Version of the shared memory layout. Processes share channels only if they have the same one."""

# Numbers in shared memory are positions in these tuples.
STAMPS = tuple(Stamp)
VERDICTS = tuple(Verdict)
STATES = tuple(State)


# Any process may overwrite shared memory, so a number there may be wrong.


def stamp_of(number: int) -> Stamp:
    return STAMPS[number] if number < len(STAMPS) else Stamp.NONE


def verdict_of(number: int) -> Verdict:
    return VERDICTS[number] if number < len(VERDICTS) else Verdict.FAILED


def state_of(number: int) -> State:
    return STATES[number] if number < len(STATES) else State.FAILED


class SendReport(NamedTuple):
    """What happened to one packet. Every time is in ns. 0 means that there is none.

    `scheduled_ns` and `stamped_ns` are in the channel's clock. So are the other times: the worker
    reads them from CLOCK_MONOTONIC, and converts them if the channel has another clock.
    """

    sequence: int
    scheduled_ns: int
    """The deadline, 0 for a packet without one."""
    enqueued_ns: int
    """When `send` was called."""
    woken_ns: int
    """When the worker took up this packet."""
    sent_ns: int
    """Start of the send call, 0 if the packet was not sent."""
    handed_ns: int
    """Return of the send call."""
    stamped_ns: int
    """Transmit timestamp, see `stamp`. 0 if there is none."""
    stamp: Stamp
    verdict: Verdict
    error: int
    """errno of verdict ``failed``, else 0. `error_text` has it in words."""
    batch: int
    """How many packets the same call sent."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"SendReport({fields}, late_ns={self.late_ns})"

    @property
    def error_text(self) -> str:
        """What `error` means, such as "Permission denied". Empty if there was none."""
        if self.error == errno.EADDRNOTAVAIL:
            return "the source is not an address of the worker's host"
        return os.strerror(self.error) if self.error else ""

    @property
    def late_ns(self) -> int | None:
        """Time from the deadline to the start of the send call. None without a deadline or if not
        sent."""
        if not self.scheduled_ns or not self.sent_ns:
            return None
        return self.sent_ns - self.scheduled_ns

    @property
    def wire_error_ns(self) -> int | None:
        """Time from the deadline to the timestamp, negative if it is before. None if one is
        missing."""
        if not self.scheduled_ns or not self.stamped_ns:
            return None
        return self.stamped_ns - self.scheduled_ns


@dataclass(frozen=True, slots=True)
class Impairment:
    """An impaired path: what it does to the packets that pass. By default it does nothing.

    Shares (`loss` ... `corrupt`) are 0 to 1, delays up to 60 s. With the same `seed`, the same
    sequence of packets gets the same treatment. Raises `BadConfig`, `TypeError`.
    """

    loss: float = 0.0
    """Share of packets lost independently."""
    burst_loss: float = 0.0
    """Share of packets lost in bursts, at most b / (1 + b) with b = `burst_packets`."""
    duplicate: float = 0.0
    reorder: float = 0.0
    """Share of packets delayed by `reorder_extra_ns`, so that others overtake them."""
    delay_ns: int = 0
    jitter_ns: int = 0
    """The delay is uniform from delay - jitter to delay + jitter. The order is kept."""
    rate_bps: int = 0
    """Bit rate of the path, 0: unlimited."""
    corrupt: float = 0.0
    """Share of packets with one flipped bit."""
    seed: int = 0
    burst_packets: float = 4.0
    """Mean length of a burst, in packets."""
    reorder_extra_ns: int = 0
    """0: the default."""
    queue_bytes: int = 0
    """Payload bytes that may wait for the rate limit, 0: the default."""

    def __post_init__(self) -> None:
        target = ffi.new("shm_impair_t *")
        self.fill(target)
        check(lib.shm_impair_check(target))

    def fill(self, target: Any) -> None:
        """Copy the fields to a cdata ``shm_impair_t *``. Raises `BadConfig`, `TypeError`."""
        for field in fields(self):
            number = getattr(self, field.name)
            try:
                if isinstance(number, bool):
                    raise TypeError
                setattr(target, field.name, number)
            except TypeError:
                kind = "an integer" if isinstance(field.default, int) else "a number"
                raise TypeError(f"impairment {field.name} must be {kind}, not {number!r}") from None
            except OverflowError:
                raise BadConfig(
                    f"impairment {field.name} is {number}; it must be at least 0 and fit 64 bits"
                ) from None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker of a pool with its current values."""

    slot: int
    """Its slot in the pool: the number of its core, or 0 in a pool without pinning. With
    `worker_per_user`, 4096 times the number that its user has in the pool is added."""
    state: str
    """``"running"``, ``"starting"``, ``"stalled"`` (alive, heartbeat older than 1 s), ``"paused"``
    (crashed repeatedly, starts again soon) or ``"given up"``."""
    pid: int | None
    """Process id. None while there is none: before a start, or between two processes."""
    cpu_wanted: int | None
    cpu: int | None
    """Core in effect. None: not pinned."""
    policy: str
    """Scheduling class in effect: ``"fifo"`` or ``"other"``."""
    priority: int
    """Priority in effect, 0 for ``"other"``."""
    memory_locked: bool
    profile: str
    channels: int
    restarts: int
    """How often its process was replaced."""
    heartbeat_age_ns: int
    """Time since its last heartbeat."""
    cpu_share: float
    """Share of its core that it used in about the last second, 0 to 1."""
    calls_filtered: bool
    """Whether seccomp limits it to a list of system calls."""
    calls_refused: int
    """System calls that were not on that list. If it is not 0, please report it."""
    error: str
    """The last error, with what the worker wrote to stderr. Empty if there was none."""
