"""Channels: one process's end of a named flow of packets."""

from collections.abc import Iterable, Sequence

from shmring._arguments import deadline
from shmring._channel_base import ChannelBase, SendQueue
from shmring._hot import Packet, PacketCalls
from shmring.batch import PacketBatch
from shmring.types import Buffer


class Channel(PacketCalls, SendQueue, ChannelBase[Packet]):
    """One process's end of a channel: it sends, receives, and reads what became of each packet.

    `Pool.open`, `shmring.open` and `shmring.attach` return it. Any thread may use it. A child may
    use it after fork and is then a separate client. A pickled copy attaches by name. If a worker is
    replaced, the next call attaches to its successor.

    Times are ns in the channel's clock, see `now_ns`. `timeout=` is in seconds. Sending waits for
    room and receiving waits for a packet, without limit unless `timeout` sets one. `try_send` and
    `try_recv` never wait.
    """

    _REMOTE_HINT = "give to=(host, port), or open it with remote="

    def _begin(self) -> None:
        self._use(self._endpoint)
        self._start_sending()

    async def send_async(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        to: tuple[str, int] | None = None,
        source: tuple[str, int] | None = None,
        timeout: float | None = None,
    ) -> int:
        """Queue one packet and return its sequence number, without blocking the event loop while
        the ring is full.

        data, at, to, source: as for `send`. timeout: seconds to wait for room. None: no limit.
        Raises `SendTimeout`, `PayloadTooLarge`, `BadAddress`, `ChannelClosed`, `NoPermission` (a
        read-only end), `ValueError`, `TypeError`.
        """
        until_ns = deadline(timeout)
        return await self._when_room(
            lambda: self.send(data, at, to=to, source=source, timeout=0.0), until_ns
        )

    async def send_many_async(
        self,
        packets: Buffer | Iterable[Buffer],
        *,
        size: int | None = None,
        sizes: Sequence[int] | Buffer | None = None,
        offsets: Buffer | None = None,
        at: int | Sequence[int] | Buffer | None = None,
        interval_ns: int | None = None,
        spread_ns: int | None = None,
        to: tuple[str, int] | Buffer | None = None,
        source: tuple[str, int] | Buffer | None = None,
        timeout: float | None = None,
        sequences: Buffer | None = None,
    ) -> int:
        """Queue many packets and return the sequence number of the first, without blocking the
        event loop while the ring is full.

        packets, size, sizes, offsets, at, interval_ns, spread_ns, to, source, sequences: as for
        `send_many`. Do not change the buffers before the call ends. timeout: seconds to wait for
        room, for the whole call. None: no limit.

        If the call ends early, the packets that were queued so far are sent. The attribute ``sent``
        of the exception says how many these are, also that of a cancellation
        (`asyncio.CancelledError`, ``trio.Cancelled``) which the caller of this coroutine catches.
        Raises `SendTimeout`, `PayloadTooLarge`, `BadAddress`, `ChannelClosed`, `NoPermission` (a
        read-only end), `ValueError`, `TypeError`.
        """
        return await self._all_when_room(
            self._endpoint.batch(
                packets,
                size=size,
                sizes=sizes,
                offsets=offsets,
                at=at,
                interval_ns=interval_ns,
                spread_ns=spread_ns,
                to=to,
                source=source,
                sequences=sequences,
            ),
            deadline(timeout),
        )

    async def recv_many_async(
        self, max: int = 1024, *, timeout: float | None = None, out: Buffer | None = None
    ) -> PacketBatch:
        """Wait for the first packet without blocking the event loop, and return all that are there,
        up to `max` or about a megabyte of payload.

        max: 1 to 1048576. timeout: seconds. None: no limit. out: writable buffer for the payloads.
        Cancelling the call loses no packet. Raises `ReceiveTimeout`, `ChannelClosed`,
        `PayloadTooLarge`.
        """
        return await self._many_async(
            lambda: self.recv_many(max, timeout=0.0, out=out), deadline(timeout)
        )
