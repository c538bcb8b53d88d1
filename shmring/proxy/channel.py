"""Proxy channels: one process's end of a UDP proxy."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from shmring import _address
from shmring._channel_aio import EndAio
from shmring._channel_base import ChannelEnd
from shmring._facts import values_at
from shmring._numbers import ProxyNumbers
from shmring._ring import ffi, lib
from shmring.observe.reading import engine_places, engine_words_of
from shmring.stats import ChannelStats, read_stats
from shmring.types import Impairment

ENGINE = "proxy"
_WAYS = (("forward", lib.SHM_PROXY_FORWARD), ("backward", lib.SHM_PROXY_BACKWARD))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(ProxyNumbers):
    """Counters and state of a proxy.

    Counters run since the channel was opened, or since `Channel.reset_stats`. Each number is
    read whole, but not all at one instant.
    """

    def to_dict(self) -> dict[str, int]:
        """Return everything as values that `json` accepts."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


class Channel(ChannelEnd):
    """One process's end of a UDP proxy.

    `Pool.open` and `shmring.open` with ``engine=Proxy(...)`` return it, and so does
    `shmring.attach`. Threads, fork, pickling, taps, hold and release work as in `shmring.Channel`.
    `hold` stops the proxy: datagrams wait in the sockets and on the paths. `purge` loses those that
    are on the paths.
    """

    aio: EndAio
    """The calls that wait, for tasks of asyncio and trio: ``await ch.aio.close()``."""

    def _begin(self) -> None:
        self._config = self._engine_config("Proxy", ENGINE, "shm_proxy_config_t")
        self.aio = EndAio(self._same_end())

    @property
    def to(self) -> tuple[str, int]:
        """Address of the server."""
        found = _address.unpack(self._config.to)
        assert found is not None  # checked when it was opened
        return found

    @property
    def flows(self) -> int:
        """How many clients there may be at a time."""
        return int(self._config.flows)

    @property
    def idle_ns(self) -> int:
        """A flow without datagrams for this long ends."""
        return int(self._config.idle_ns)

    @property
    def forward(self) -> Impairment:
        """The impairment in effect from clients to the server."""
        return self._impairment(lib.SHM_PROXY_FORWARD)

    @property
    def backward(self) -> Impairment:
        """The impairment in effect from the server to clients."""
        return self._impairment(lib.SHM_PROXY_BACKWARD)

    def set(self, *, forward: Impairment | None = None, backward: Impairment | None = None) -> None:
        """Change the impairments, both at one instant. None leaves a direction as it is.

        Datagrams on a path keep the time at which they leave it, and later ones do not overtake
        them: after the delay was shortened, those that come at once leave together with the last
        one that had the longer delay. The random choices go on where they were, unless `seed` is
        another one. For single fields: ``ch.set(forward=dataclasses.replace(ch.forward, loss=1))``.

        Raises `ChannelClosed`, `WorkerFailed`, `NoPermission` (a read-only end), `TypeError`,
        `ShmringOSError` (no memory for the path).
        """
        command = ffi.new("shm_proxy_command_t *")
        command.op = lib.SHM_PROXY_SET
        for (name, way), wanted in zip(_WAYS, (forward, backward), strict=True):
            if wanted is None:
                continue
            if not isinstance(wanted, Impairment):
                raise TypeError(f"{name} must be a shmring.Impairment, not {wanted!r}")
            command.ways |= 1 << way
            wanted.fill(command.impair[way])
        if command.ways:
            self._endpoint.engine_request(bytes(ffi.buffer(command)))

    def proxy_stats(self) -> Stats:
        """Return the counters and state of the proxy, without the rest of `stats`, in a few
        microseconds."""
        segment = self._endpoint.mapped()
        return _stats(segment, engine_words_of(segment))

    def stats(self) -> ChannelStats[Stats]:
        """Return the counters and measurements of the channel and, in `engine`, of the proxy.

        `ChannelStats.impair_tx_offered` and its like are counters of the forward path, and
        `ChannelStats.impair_rx_offered` and its like those of the backward path. `lateness` is the
        time from the instant at which a datagram should leave to the start of the send call.
        Without a delay it is the time that the proxy itself adds.
        """
        return read_stats(self._endpoint.mapped(), _stats)

    def _impairment(self, way: int) -> Impairment:
        segment = self._endpoint.mapped()
        found = ffi.new("shm_impair_t *")
        lib.proxy_read_impair(segment, way, found)
        return Impairment(**{item.name: getattr(found, item.name) for item in fields(Impairment)})


def _stats(segment: Any, words: Sequence[int]) -> Stats:
    return Stats(**values_at(ProxyNumbers, words, engine_places(ENGINE)))
