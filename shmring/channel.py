"""Channels: one process's end of a named flow of packets."""

from typing import Any, Self

from shmring._arguments import deadline
from shmring._channel_aio import ArrivalsAio, QueueAio, all_when_room, queueing, receiving
from shmring._channel_base import ChannelBase, SendQueue
from shmring._hot import Packet, PacketCalls
from shmring._signature import like


class Channel(PacketCalls, SendQueue, ChannelBase[Packet]):
    """One process's end of a channel: it sends, receives, and reads what became of each packet.

    `Pool.open`, `shmring.open` and `shmring.attach` return it. Any thread may use it. A child may
    use it after fork and is then a separate client. A pickled copy attaches by name. If a worker is
    replaced, the next call attaches to its successor.

    Times are ns in the channel's clock, see `now_ns`. `timeout=` is in seconds. Sending waits for
    room and receiving waits for a packet, without limit unless `timeout` sets one. `try_send` and
    `try_recv` never wait. In a task of asyncio or trio use `aio`.
    """

    _REMOTE_HINT = "give to=(host, port), or open it with remote="

    aio: "ChannelAio"
    """The calls that wait, for tasks of asyncio and trio: ``await ch.aio.recv()``."""

    def _begin(self) -> None:
        self._use(self._endpoint)
        self._start_sending()
        self.aio = ChannelAio(self._same_end())

    def _same_end(self) -> Self:
        other = super()._same_end()
        other._use(self._endpoint)
        return other


class ChannelAio(QueueAio, ArrivalsAio[Packet]):
    """The calls of a `Channel` that wait, for tasks of asyncio and trio."""

    __slots__ = ()

    send = queueing(Channel.send)
    replace = queueing(Channel.replace)
    recv_into = receiving(Channel.recv_into)
    recv_many = receiving(Channel.recv_many)
    loan_many = receiving(Channel.loan_many)

    @like(Channel.send_many)
    async def send_many(self, *args: Any, timeout: float | None = None, **how: Any) -> int:
        # Not a variable: a traceback would keep the caller's buffers.
        return await all_when_room(self._end, self._end.batch(*args, **how), deadline(timeout))
