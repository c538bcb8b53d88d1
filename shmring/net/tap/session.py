"""A running tap: it reads the log, keeps or writes records, and follows the channel to a new
worker."""

import contextlib
import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from shmring import errors
from shmring._attachment import Attachment
from shmring._ring import lib
from shmring.net.tap import records
from shmring.net.tap.capture import Capture
from shmring.net.tap.keeper import Keeper
from shmring.net.tap.log import Batch, TapLog, memory_bytes
from shmring.net.tap.records import Record
from shmring.net.tap.stamps import StampMerger

POLL_MS = 5
BATCHES_PER_ROUND = 64
NS_PER_S = 1_000_000_000

WHY_A_WORKER = (
    "a tap needs a connection to the channel's worker: sent packets are not kept in shared memory, "
    "so only the worker can copy them"
)


@dataclass(frozen=True, slots=True)
class TapStats:
    """What a tap has done so far."""

    seen: int
    """Datagrams read from the log."""
    written: int
    """Datagrams written to the output as packets."""
    lost: int
    """Datagrams overwritten in the log before they were read, or dropped because
    of `memory_bytes`."""
    late: int
    """Packets with a verdict that means late."""
    triggers: int
    restarts: int
    """How often another worker took over the channel."""
    written_bytes: int


@dataclass(slots=True)
class _Remark:
    """A comment for the packet with this number, or for the first packet at or after this time."""

    text: str
    at_ns: int
    number: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tap copies, and what it does with it."""

    what: int
    """``CTL_TAP_*``: what the worker copies."""
    snap_bytes: int
    buffer_bytes: int
    keep_ns: int | None
    memory_bytes: int
    triggers: frozenset[str]
    after_ns: int
    again: bool
    most_packets: int | None
    clock_tai: bool


class Tap:
    """Copies the packets of a channel. `shmring.net.tap.open` makes it. It runs on its own thread.

    A context manager: the end of the block closes the tap. Any thread may call its methods.
    """

    def __init__(
        self,
        segment: Any,
        name: str,
        capture: Capture,
        plan: Plan,
        close_output: Callable[[], object],
    ) -> None:
        self._segment = segment
        self._name = name
        self._capture = capture
        self._plan = plan
        self._close_output = close_output
        self._now_ns = lib.rt_tai_ns if plan.clock_tai else lib.rt_mono_ns
        self._merger = StampMerger()
        self._keeper = Keeper(plan.keep_ns or 0, plan.memory_bytes)
        self._writes = plan.keep_ns is None
        self._from_ns = 0
        self._until_ns: int | None = None
        self._remarks: list[_Remark] = []
        self._seen = self._overwritten = self._late = self._fired = self._restarts = 0
        self._requests: deque[str] = deque()
        self._stopping = False
        self._ended = ""
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._attachment = Attachment(segment)
        self._log = self._attach()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # A signal handler may ring at any time, also after the end, and may take no lock.
        weakref.finalize(self, os.close, self._wake).atexit = False
        self._thread = threading.Thread(target=self._run, name=f"tap {name}", daemon=True)

    # --- for others ---------------------------------------------------------------------------

    def trigger(self, reason: str = "api") -> None:
        """Write what was kept and what follows. Without `keep`, add a comment to the
        next packet."""
        self._requests.append(reason)
        self._ring()

    def stop(self) -> None:
        """End soon, with what has been logged by now."""
        self._stopping = True
        self._ring()

    def wait(self, *, timeout: float | None = None) -> bool:
        """Wait for the end. Return False if it did not come within `timeout` seconds.

        If an error ended the tap, it is raised: `WorkerFailed`, or `OSError` of the output.
        """
        if not self._done.wait(timeout):
            return False
        if self._error is not None:
            raise self._error
        return True

    def close(self) -> None:
        """End, and wait until it has ended. May be called more than once. Raises the exceptions of
        `wait`."""
        self.stop()
        self.wait()

    @property
    def ended(self) -> str:
        """The reason why it ended, empty while it runs: ``stopped``, ``triggered``, ``count``,
        ``output closed``, ``channel closed``, ``channel failed`` or ``error``."""
        return self._ended

    def stats(self) -> TapStats:
        """What it has done so far."""
        return TapStats(
            seen=self._seen,
            written=self._capture.packets,
            lost=self._overwritten + self._keeper.dropped,
            late=self._late,
            triggers=self._fired,
            restarts=self._restarts,
            written_bytes=self._capture.written_bytes,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start reading. `shmring.net.tap.open` has already called it."""
        self._thread.start()
        return self

    # --- the worker's side --------------------------------------------------------------------

    def _attach(self) -> TapLog:
        plan = self._plan
        size = memory_bytes(plan.buffer_bytes)
        try:
            return TapLog(self._attachment.tap(plan.what, plan.snap_bytes, size), size)
        except BaseException:
            self._attachment.disconnect()
            raise

    def _worker_gone(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            poller = select.poll()
            poller.register(self._attachment.fileno(), select.POLLIN | select.POLLHUP)
            return bool(poller.poll(0))
        return True

    def _follow(self) -> None:
        """Continue with the worker that takes over the channel. Raises the reason if that fails."""
        self._end_of_log()
        self._attachment.disconnect()
        self._log.close()
        self._log = self._attach()
        self._restarts += 1
        epoch = self._segment.status.epoch
        self._remarks = [_Remark(r.text, 0, None) for r in self._remarks]
        self._remark(f"another worker from here on, epoch {epoch}: packets between are missing")

    def _end_of_log(self) -> None:
        while (batch := self._log.take()) is not None:
            self._take(batch)
        self._count_untold()
        self._write_out(self._merger.rest())
        self._merger = StampMerger()

    def _count_untold(self) -> None:
        """Count what was overwritten after the last record that is left."""
        untold = self._log.untold
        self._overwritten += untold
        if untold and self._writes:
            self._lost(untold)

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except BrokenPipeError:
            self._ended = "output closed"
        except BaseException as reason:
            self._ended, self._error = "error", reason
        finally:
            self._attachment.close()
            self._log.close()
            self._shut_output()
            self._done.set()

    def _shut_output(self) -> None:
        try:
            self._close_output()
        except OSError as reason:  # some file systems report a full disk only here
            self._error = self._error or reason

    def _serve(self) -> None:
        while not self._ended:
            took = self._read_some()
            self._turn(took)
            if not took and not self._ended:
                self._capture.flush()
                self._look_around()
        if self._writes:
            self._write_out(self._merger.rest())
        self._capture.finish()

    def _read_some(self) -> bool:
        for done in range(BATCHES_PER_ROUND):
            batch = self._log.take()
            if batch is None or self._ended:
                return done > 0
            self._take(batch)
        return True

    def _turn(self, took: bool) -> None:
        now_ns = int(self._now_ns())
        while self._requests:
            self._fire(self._requests.popleft(), now_ns, None)
        if self._writes:
            self._write_out(self._merger.ready(now_ns))
        else:
            self._keeper.expire(now_ns)
        if self._stopping and not self._ended:
            self._stop_now()
        elif self._until_ns is not None and now_ns > self._until_ns and not took:
            self._end_episode(now_ns)

    def _stop_now(self) -> None:
        """Write what had been logged when this was called, and nothing later: records may arrive
        faster than they are read."""
        until_ns = time.monotonic_ns() + NS_PER_S
        while (batch := self._log.take()) is not None:
            self._take(batch)
            if time.monotonic_ns() > until_ns:
                break
        else:
            self._count_untold()
        self._ended = self._ended or "stopped"

    def _look_around(self) -> None:
        """There is nothing to read. End if the channel has ended or its worker is gone,
        else wait."""
        state = self._log.state
        if state in (lib.TAP_CLOSED, lib.TAP_FAILED):
            self._end_of_log()
            self._ended = "channel closed" if state == lib.TAP_CLOSED else "channel failed"
            return
        if self._worker_gone():
            try:
                self._follow()
            except errors.ChannelClosed:
                self._ended = "channel closed"
            return
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        poller.register(self._attachment.fileno(), select.POLLIN)
        if poller.poll(POLL_MS):
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    # --- records ------------------------------------------------------------------------------

    def _take(self, batch: Batch) -> None:
        self._seen += batch.datagrams
        self._overwritten += batch.lost_before
        self._late += batch.late
        if self._writes:
            self._write(batch)
        else:
            self._keeper.add(batch, int(self._now_ns()))
        wanted = (batch.late and "late" in self._plan.triggers) or (
            batch.marks and "api" in self._plan.triggers
        )
        if wanted and self._plan.keep_ns is not None and self._until_ns is None:
            self._fire_for(batch)

    def _fire_for(self, batch: Batch) -> None:
        for record in records.parse(batch.raw):
            if record.kind == records.MARK and "api" in self._plan.triggers:
                self._fire("api", record.time_ns, None)
                return
            if record.is_late and "late" in self._plan.triggers and record.kind != records.STAMPED:
                self._fire("late", record.time_ns, record.number)
                return

    def _fire(self, reason: str, at_ns: int, number: int | None) -> None:
        self._fired += 1
        self._remarks.append(_Remark(f"trigger: {reason}", at_ns, number))
        if self._plan.keep_ns is None or self._until_ns is not None:
            return
        self._from_ns = at_ns - self._plan.keep_ns
        self._until_ns = at_ns + self._plan.after_ns
        self._writes = True
        for batch in self._keeper.take_all():
            self._write(batch)

    def _end_episode(self, now_ns: int) -> None:
        if len(self._merger) and now_ns < (self._until_ns or 0) + NS_PER_S:
            return  # timestamps are still to come
        self._write_out(self._merger.rest())
        self._until_ns = None
        if not self._plan.again:
            self._ended = "triggered"
            return
        self._writes = False
        self._merger = StampMerger()
        self._capture.flush()

    def _write(self, batch: Batch) -> None:
        if batch.lost_before:
            self._lost(batch.lost_before)
        for record in records.parse(batch.raw):
            self._merger.feed(record)
        self._write_out(self._merger.ready(int(self._now_ns())))

    def _lost(self, datagrams: int) -> None:
        self._write_out(self._merger.rest())
        self._capture.note_lost(datagrams)

    def _write_out(self, ready: Iterable[Record]) -> None:
        most = self._plan.most_packets
        for record in self._wanted(ready):
            if self._remarks:
                self._tell_remarks(record)
            self._capture.put(record)
            if most is not None and self._capture.packets >= most:
                self._ended = self._ended or "count"
                return

    def _wanted(self, ready: Iterable[Record]) -> Iterator[Record]:
        if self._ended == "count":
            return
        for record in ready:
            if record.time_ns >= self._from_ns:
                yield record

    def _remark(self, text: str) -> None:
        self._remarks.append(_Remark(text, 0, None))

    def _tell_remarks(self, record: Record) -> None:
        left: list[_Remark] = []
        for remark in self._remarks:
            due = (
                record.time_ns >= remark.at_ns
                if remark.number is None
                else record.number >= remark.number
            )
            if due:
                self._capture.remark(remark.text)
            else:
                left.append(remark)
        self._remarks = left
