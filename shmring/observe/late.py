"""A channel's latest late packets: packets with any verdict except on_time and cancelled."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtworkers import health, layout, paths
from rtworkers.owner import process_id
from shmring import _host
from shmring._check import error, last_text
from shmring._facts import names
from shmring._numbers import ChannelCounters
from shmring._ring import ffi, lib
from shmring._segment import text_of
from shmring.types import Stamp, State, Verdict, stamp_of, state_of, verdict_of

_CLOCKS: tuple[str, ...] = tuple(layout.CLOCK)


@dataclass(frozen=True, slots=True)
class LatePacket:
    """What happened to one packet. Times are in ns of the channel's clock, as in a `SendReport`. 0
    means that the time is unknown."""

    sequence: int
    verdict: Verdict
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
    error: int
    """errno of verdict ``failed``, else 0."""
    batch: int
    """How many packets the same call sent."""
    noted_mono_ns: int
    """When the packet got its verdict, in CLOCK_MONOTONIC like the flight recorder."""
    producer_slot: int
    """Slot of the producer that queued it. 0: the worker itself."""
    producer_pid: int | None
    """Process that had this slot when the packet got its verdict. 0: none any more. None: a process
    in another pid namespace."""

    @property
    def due_ns(self) -> int:
        """The deadline. For a packet without one: the time at which it was queued."""
        return self.scheduled_ns or self.enqueued_ns

    @property
    def late_ns(self) -> int:
        """How late the send call started. If it was not sent: how late it already was."""
        return (self.sent_ns or self.woken_ns) - self.due_ns

    @property
    def to_mono_ns(self) -> int:
        """The difference from the channel's clock to CLOCK_MONOTONIC, to be added to a time."""
        return self.noted_mono_ns - (self.handed_ns or self.woken_ns)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        return asdict(self) | {"due_ns": self.due_ns, "late_ns": self.late_ns}


@dataclass(frozen=True, slots=True)
class LateChannel:
    """The facts about a channel that explain its late packets, whether it is served or not."""

    name: str
    namespace: str
    pool: str
    engine: str
    state: State
    alive: bool
    """Whether the worker that last served it exists, running or stopped."""
    clock: str
    """``"monotonic"`` or ``"tai"``."""
    tolerance_ns: int
    channel_id: int
    epoch: int
    """The number of workers that have served it so far."""
    worker_pid: int
    worker_slot: int
    """-1: no worker has served it yet."""
    heartbeat_mono_ns: int
    """Time of the last heartbeat for it, 0: never."""
    opened_mono_ns: int
    counters: dict[str, int]
    """All counters of the channel."""
    kept: int
    """How many late packets it keeps at most. 0: none, because it has no deadlines."""
    overwritten: int
    """Late packets that were kept and then overwritten."""
    packets: tuple[LatePacket, ...]
    """The late packets, oldest first."""

    @property
    def heartbeat_age_ns(self) -> int:
        """Time since the last heartbeat, 0 if there was none."""
        if not self.heartbeat_mono_ns:
            return 0
        return max(0, time.monotonic_ns() - self.heartbeat_mono_ns)

    @property
    def stands_still(self) -> bool:
        """Whether the last heartbeat for it is older than a second: no worker serves it, or the
        worker is stopped. Everything else here is as old as that."""
        return health.of_worker(self.heartbeat_age_ns) == "stale"


def late_packets(channel: str, namespace: str | None = None) -> list[LatePacket]:
    """Return the latest late packets of a channel, oldest first. Arguments as
    for `late_channel`."""
    return list(late_channel(channel, namespace).packets)


def late_channel(channel: str, namespace: str | None = None) -> LateChannel:
    """Return a channel's state and its latest late packets. It only reads, and needs no running
    process.

    `namespace`: None for ``$SHMRING_NAMESPACE``, else ``default``. Raises `ChannelNotFound`,
    `NoPermission`, `LayoutMismatch`, and ValueError for a malformed name.
    """
    space = paths.namespace_of(namespace)
    paths.check_name("channel name", channel)
    with _opened(channel, space) as segment:
        return _read(channel, space, segment)


def worker_lives(pid: int, heartbeat_mono_ns: int) -> bool:
    """Return whether a worker's process exists, running or stopped. Asks no process.

    A worker that this process cannot see counts as alive while its heartbeat continues.
    """
    if health.of_worker(time.monotonic_ns() - heartbeat_mono_ns) == "ok":
        return True
    try:
        facts = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    name, _, rest = facts.partition("(")[2].rpartition(")")
    return name.startswith("shmring-w") and rest.split()[0] not in ("Z", "X")


def _clock_name(number: int) -> str:
    return _CLOCKS[number] if number < len(_CLOCKS) else str(number)


@contextmanager
def _opened(channel: str, space: str) -> Iterator[Any]:
    try:
        fd = paths.open_shm(paths.channel_segment(space, channel))
    except OSError as caught:
        text = f"channel {channel!r} in namespace {space!r}: {caught.strerror}"
        raise error(caught.errno or 0, text) from None
    try:
        with _host.mapped(fd, writable=False) as segment:
            if segment is None:
                raise error(errno.EPROTO, f"channel {channel!r}: {last_text()}")
            yield segment
    finally:
        os.close(fd)


def _read(channel: str, space: str, segment: Any) -> LateChannel:
    config, status = segment.config, segment.status
    reader = ffi.new("slot_reader_t *")
    lib.channel_late_reader_init(reader, segment)
    before = int(reader.next)
    kept = int(config.late_slots)
    out = ffi.new("shm_late_packet_t[]", max(kept, 1))
    count = lib.slot_reader_next(reader, out, kept)
    return LateChannel(
        name=channel,
        namespace=space,
        pool=text_of(config.pool),
        engine=text_of(config.engine),
        state=state_of(status.state),
        alive=worker_lives(status.worker_pid, status.heartbeat_mono_ns),
        clock=_clock_name(int(config.clock)),
        tolerance_ns=config.tolerance_ns,
        channel_id=segment.segment_id,
        epoch=status.epoch,
        worker_pid=status.worker_pid,
        worker_slot=-1 if status.worker_slot == 2**32 - 1 else status.worker_slot,
        heartbeat_mono_ns=status.heartbeat_mono_ns,
        opened_mono_ns=status.opened_mono_ns,
        counters=_counters(segment.stats),
        kept=kept,
        overwritten=before + int(reader.lost),
        packets=tuple(_packet(out[i]) for i in range(count)),
    )


def _counters(stats: Any) -> dict[str, int]:
    values = ffi.new("uint64_t[]", lib.SHM_COUNTER_TOTAL)
    lib.channel_read_counters(stats, values)
    return dict(zip(names(ChannelCounters), values, strict=True))


def _packet(late: Any) -> LatePacket:
    report = late.report
    return LatePacket(
        sequence=report.sequence,
        verdict=verdict_of(report.verdict),
        scheduled_ns=report.scheduled_ns,
        enqueued_ns=report.enqueued_ns,
        woken_ns=report.woken_ns,
        sent_ns=report.sent_ns,
        handed_ns=report.handed_ns,
        stamped_ns=report.stamped_ns,
        stamp=stamp_of(report.stamp),
        error=report.error,
        batch=report.batch,
        noted_mono_ns=late.noted_mono_ns,
        producer_slot=late.producer,
        producer_pid=process_id(late.producer_pid),
    )
