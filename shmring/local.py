"""Channels without a socket: what `open` takes as ``engine=shmring.Local()``."""

from dataclasses import dataclass
from typing import Any, ClassVar

from shmring import _options
from shmring._endpoint import Endpoint
from shmring._option_rows import LocalRows
from shmring._ring import lib
from shmring._spec import Held, Parts
from shmring.channel import Channel
from shmring.engine import Engine, EngineConfig, Start
from shmring.parts import QUEUES, Queue, explained, options_of

ENGINE = "local"

_NO_ADDRESSES = "a local channel has no socket: leave it out, or use the engine Udp"
_REFUSED = {
    "local": _NO_ADDRESSES,
    "remote": _NO_ADDRESSES,
    "impair_rx": "a packet takes one path from sender to readers: use impair",
}


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Local(LocalRows, Engine[Channel]):
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

    The options `local`, `remote` and `impair_rx` of `open` raise `BadConfig`.

    """

    tx: int | Queue | None = None
    rx: int | Queue | None = None
    max_payload: int | None = None

    _parts: ClassVar[Parts] = QUEUES
    _held: ClassVar[Held] = {"max_payload": _options.max_payload_held()}

    def __post_init__(self) -> None:
        if options := options_of(self):
            _options.check_alone(options, lib.SHM_MAX_PAYLOAD)

    def prepare(self, options: dict[str, Any]) -> Start[Channel]:
        self.refuse(options, _REFUSED)
        plain = options_of(self) | options
        if "impair" in plain:
            plain["impair_rx"] = plain.pop("impair")
        return Start(plain, EngineConfig(ENGINE, b""), Channel)

    def attach(self, end: Endpoint) -> Channel:
        self.refuse_given()
        return Channel(end)


__all__ = ["Local"]
