"""Channels: one process's end of a named flow of packets."""

from __future__ import annotations

from typing import Any

from shmring._arguments import Buffer, deadline
from shmring._channel_base import ChannelBase, SendQueue
from shmring._endpoint import Owner
from shmring._hot import Packet, PacketCalls


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

    def __init__(
        self,
        name: str,
        *,
        namespace: str | None = None,
        readonly: bool = False,
        reading: str | None = None,
        owner: Owner | None = None,
        segment: Any = None,
    ) -> None:
        """Attach to an open channel.

        namespace: None: ``$SHMRING_NAMESPACE``, else ``default``.
        readonly: attach as a tap, which only observes and which nobody notices.
        reading: ``"broadcast"`` or ``"shared"``. None: as the channel was opened, a tap with
            broadcast.
        owner: the opener of the channel. If given, `end` ends the channel for all processes, and
            reading starts at the oldest packet. Other ends read what arrives from now on.
        segment: the mapping of the segment, if the opener has one.

        Raises `ChannelNotFound`, `ChannelClosed`, `LayoutMismatch`, `NoPermission`, `BadConfig`.
        """
        super().__init__(
            name,
            namespace=namespace,
            readonly=readonly,
            reading=reading,
            owner=owner,
            segment=segment,
        )
        self._use(self._endpoint)
        self._start_reports()

    async def send_async(
        self,
        data: Buffer,
        at: int | None = None,
        *,
        to: tuple[str, int] | None = None,
        timeout: float | None = None,
    ) -> int:
        """Like `send`, but without blocking the event loop while the ring is full."""
        until_ns = deadline(timeout)
        return await self._when_room(lambda: self.send(data, at, to=to, timeout=0.0), until_ns)
