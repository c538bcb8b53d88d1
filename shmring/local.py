"""Channels without a socket: what `open` takes as ``engine=shmring.Local()``."""

from dataclasses import dataclass
from typing import Any, Unpack

from shmring.channel import Channel
from shmring.engine import AttachOptions, Engine, EngineConfig, Start

ENGINE = "local"

_SOCKET_ONLY = frozenset(
    (
        *("local", "remote", "socket", "device", "connect", "reuse", "broadcast", "v6only"),
        *("groups", "multicast_interface", "multicast_ttl", "multicast_loop"),
        *("ttl", "dscp", "so_priority", "dont_fragment", "rcvbuf_bytes", "sndbuf_bytes"),
        *("gso", "gro", "txtime", "rx_stamp", "tx_stamp", "stamp_every"),
    )
)
_REFUSED = {
    "direction": "every local channel sends and receives: leave it out",
    "align": "nothing goes over a wire: leave it out",
    "impair_rx": "a packet takes one path from sender to readers: use impair",
} | dict.fromkeys(
    _SOCKET_ONLY, "a local channel has no socket: leave it out, or open the channel without engine="
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(Engine[Channel]):
    """Timed delivery between the processes of this host, without a socket. The channel is a
    `Channel`.

    Every packet is delivered, at its deadline, to all readers of the same channel, the sender's own
    process included. Packets without a deadline are delivered at once. With ``reading="shared"``
    one of the readers gets each packet. Verdicts, reports, statistics, taps, `impair` and `late`
    are those of a channel with a socket.

    The timestamp of a packet is the time of its delivery, in the channel's clock. Its `stamp` is
    ``user``, because the worker reads the clock, and its `source` is None, because there are no
    addresses. `Channel.local` and `Channel.remote` are None, and `send` refuses `to`.

    With ``overflow="wait"`` packets wait in the send ring while a reader is behind. When that ring
    is full, senders wait, too. With ``"oldest"`` a slow reader loses the oldest packets.

    The options of `open` that concern sockets raise `BadConfig`: addresses, multicast, buffers of
    the kernel, timestamps of the kernel or the card, `ttl`, `dscp` and the like. So do `direction`,
    `align` and `impair_rx`.
    """

    def prepare(self, options: dict[str, Any]) -> Start[Channel]:
        self.refuse(options, _REFUSED)
        plain = dict(options)
        if "impair" in plain:
            plain["impair_rx"] = plain.pop("impair")
        return Start(plain, EngineConfig(ENGINE, b""), Channel)

    def attach(self, name: str, **how: Unpack[AttachOptions]) -> Channel:
        return Channel(name, **how)


__all__ = ["Local"]
