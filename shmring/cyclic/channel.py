"""Cyclic channels: one process's end of a payload that is sent in every cycle."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shmring._channel_aio import ArrivalsAio, ReportsAio, receiving
from shmring._channel_base import ChannelBase, Reporting
from shmring._facts import values_at
from shmring._hot import Packet
from shmring._numbers import CyclicNumbers
from shmring._ring import ffi, lib
from shmring.batch import PacketBatch
from shmring.observe.reading import engine_places, engine_words_of
from shmring.stats import ChannelStats, read_stats
from shmring.types import Buffer

ENGINE = "cyclic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(CyclicNumbers):
    """Counters and state of the cycles of a channel. None means "never".

    Counters run since the channel was opened, or since `shmring.Channel.reset_stats`. Times are ns
    of CLOCK_MONOTONIC.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that `json` accepts."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class Channel(Reporting, ChannelBase[Packet]):
    """One process's end of a channel that sends its newest payload in every cycle.

    `Pool.open` and `shmring.open` with ``engine=Cyclic(...)`` return it, and so does
    `shmring.attach`. Threads, fork, pickling, taps, reports, hold and release work as in
    `shmring.Channel`. Nothing is queued: in each cycle the worker sends what was given to `update`
    last. Datagrams that arrive are received as in `shmring.Channel`. Each cycle has a verdict. The
    sequence number of its report is the number of the cycle.

    Times are ns of CLOCK_MONOTONIC. `timeout=` is in seconds.
    """

    aio: "CyclicAio"
    """The calls that wait, for tasks of asyncio and trio: ``await ch.aio.recv()``."""

    def _begin(self) -> None:
        self._config = self._engine_config("Cyclic", ENGINE, "shm_cyclic_config_t")
        self._start_reports()
        self.aio = CyclicAio(self._same_end())

    @property
    def period_ns(self) -> int:
        """Time between two cycles."""
        return int(self._config.period_ns)

    def update(self, payload: Buffer) -> None:
        """Set what is sent from the next cycle on.

        payload: a bytes-like object of at most `max_payload` bytes.

        The call does not wait, except shortly when it is the first one in this process or the first
        one after a worker was replaced. If several processes update, the last one wins. The payload
        stays fresh for as long as this process is attached, and at most for `stale_after_ns`.

        Raises `PayloadTooLarge`, `ChannelClosed`, `NoPermission` (a read-only end), `TypeError`,
        and `WorkerFailed`: nothing was sent for 3 s.
        """
        self._endpoint.put(payload)

    def cyclic_stats(self) -> Stats:
        """Return the counters and state of the cycles, without the rest of `stats`, in a few
        microseconds."""
        segment = self._endpoint.mapped()
        return _stats(segment, engine_words_of(segment))

    def stats(self) -> ChannelStats[Stats]:
        """Return the counters and measurements of the channel and, in `engine`, of its cycles."""
        return read_stats(self._endpoint.mapped(), _stats)

    # --- what arrives -----------------------------------------------------------------------------

    def recv(self, *, timeout: float | None = None) -> Packet:
        """Return the next packet. Wait `timeout` seconds for it: 0 does not wait, None sets no
        limit. Raises `ReceiveTimeout`, `ChannelClosed`."""
        return self._endpoint.recv(timeout=timeout)

    def try_recv(self) -> Packet | None:
        """Return the next packet, or None if there is none now. Raises `ChannelClosed`."""
        return self._endpoint.try_recv()

    def recv_many(self, max: int = 1024, *, timeout: float | None = None) -> PacketBatch:
        """Return all available packets, up to `max`. Waits for the first one like `recv`, and
        raises the same exceptions."""
        return self._endpoint.recv_many(max, timeout=timeout)

    # --- inside -----------------------------------------------------------------------------------

    def _declare_failsafe(self, payload: bytes) -> None:
        segment = self._endpoint.mapped()
        box = lib.shm_cyclic_box(
            segment.engine, segment.config.producers, self._config.payload_bytes
        )
        lib.shm_cyclic_put_failsafe(ffi.new("shm_box_t *", box), payload, len(payload))
        request = int(lib.SHM_CYCLIC_KEEP_FAILSAFE).to_bytes(4, "little")
        self._endpoint.engine_request(request)


class CyclicAio(ReportsAio, ArrivalsAio[Packet]):
    """The calls of a `Channel` that wait, for tasks of asyncio and trio."""

    __slots__ = ()

    recv_many = receiving(Channel.recv_many)


def _stats(segment: Any, words: Sequence[int]) -> Stats:
    return Stats(**values_at(CyclicNumbers, words, engine_places(ENGINE)))
