"""Channels: one process's end of a named flow of packets."""

from __future__ import annotations

from typing import Any

from shmring._arguments import Buffer, deadline
from shmring._channel_base import ChannelBase, SendQueue
from shmring._endpoint import Owner
from shmring._hot import Packet, PacketCalls


class Channel(PacketCalls, SendQueue, ChannelBase[Packet]):
    """One process's end of a channel: send, receive, and see what became of each packet.

    Made by `Pool.open`, `shmring.open` and `shmring.attach`. May be used by any thread, in a child
    after fork (which then is a party of its own), and be pickled (the copy attaches by name). A
    replaced worker goes unnoticed: the next call attaches to its successor.

    Times are ns in the channel's clock, see `now_ns`; `timeout=` is in seconds. A call that sends
    waits for room and a call that receives waits for a packet, for ever unless `timeout` says how
    long; `try_send` and `try_recv` never wait.
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
        """Attach to a channel that is open.

        namespace: None: ``$SHMRING_NAMESPACE``, else ``default``.
        readonly: a tap, which reads along without being noticed and cannot disturb anything.
        reading: ``"broadcast"`` or ``"shared"``; None: as the channel was opened, a tap broadcast.
        owner: whoever opened it: `end` then closes it for all, and reading starts at the oldest
            packet. Others read what arrives from now on.
        segment: the mapping of its segment, where whoever opened it has one.

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
        """As `send`, without blocking the event loop while the ring is full."""
        until_ns = deadline(timeout)
        return await self._when_room(lambda: self.send(data, at, to=to, timeout=0.0), until_ns)
