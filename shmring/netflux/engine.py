"""Netflux as an engine of a channel: what `open` takes as ``engine=shmring.Netflux(...)``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from shmring import _options
from shmring._endpoint import Endpoint
from shmring._option_rows import NetfluxRows
from shmring._spec import Parts, Spec
from shmring.engine import Engine, Start
from shmring.netflux import options as netflux_options
from shmring.netflux.channel import Channel, starting_end
from shmring.netflux.options import Record
from shmring.parts import SOCKET, Socket, checked, explained, options_of
from shmring.types import OnStale


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Netflux(NetfluxRows, Engine[Channel]):
    """A Netflux link to one partner: the channel is a `netflux.Channel`, which exchanges values in
    cycles.

    Times are ns, sizes are bytes. The opener gives `send`, `receive` or both.

    What is exchanged:

    send: the values that are sent: their size, 0 to 1499, or a `Record`. None: 0, only number and
        feedback are sent.
    receive: the values that the partner sends, in the same form. Shorter datagrams are rejected.
        The rest of longer ones is ignored.
    values: the first values to be sent: bytes, or an object that the record encodes. None: nothing
        is sent before the first `Channel.update`.

    The link:

    any_source: accept datagrams from any address. None: only if no `remote` is given.
    own_number: the last number sent by the link that this one continues, 0 to 255. With 0 the
        link begins with number 1.
    partner_number: the number accepted last by that link, 0 to 255. None: the first datagram is
        accepted, whatever its number.

    Watching:

    keep_values: when the watchdog expires, received values stay as they are. False: they become
        zeros.
    keep_window: numbers are expected to continue after a timeout, so a partner that restarts is
        rejected until its numbers fit, at most 128 datagrams. False: the next datagram is
        accepted, whatever its number.

    Values that grow old:

    on_stale: what is sent when values are stale. "continue": the same values. "failsafe": those of
        `failsafe`. "stop": nothing, so that the partner's own watchdog expires. A pool without a
        name ends with its process. In this case fail-safe values are sent once, and nothing after
        that.
    failsafe: values to be sent when others are stale: bytes, or an object that the record encodes.
        None: there are none.

    The channel:

    direction: "duplex", "tx": nothing is received, or "rx": nothing is sent.
    rx: how many arrivals are kept, 1 to 2**31 - 1. None: 256.
    tolerance_ns: how late a cycle may start and still be on time, ns, 0 to 100 s. None: a tenth of
        the cycle, but at least 50 us.
    """

    send: int | Record | None = None
    receive: int | Record | None = None
    values: Any = None
    any_source: bool | None = None
    own_number: int = 0
    partner_number: int | None = None
    keep_values: bool = False
    keep_window: bool = False
    on_stale: OnStale = "continue"
    failsafe: Any = None
    rx: int | None = None
    socket: Socket = SOCKET

    _parts: ClassVar[Parts] = {"socket": Socket}
    _unheld = netflux_options.REFUSED
    _struct = "shm_netflux_config"
    _held = netflux_options.HELD
    _places: ClassVar[Mapping[str, str]] = {
        name: place for name, place in Spec._places.items() if name != "rx_packet_bytes"
    }

    def __post_init__(self) -> None:
        if self.rx is not None:
            _options.integer("rx", self.rx, 1, _options.CAPACITY_MAX)
        if self.given():
            begin = self._begin({})
            if begin.send is None:
                object.__setattr__(self, "values", begin.values)
                object.__setattr__(self, "failsafe", begin.failsafe)

    def prepare(self, options: dict[str, Any]) -> Start[Channel]:
        begin = self._begin(options)
        return Start(begin.plain, begin.engine, starting_end(begin))

    def _begin(self, options: dict[str, Any]) -> netflux_options.Start:
        checked("socket", self.socket, Socket)
        self.refuse(self.socket.given(), netflux_options.REFUSED)
        return netflux_options.prepare(options_of(self) | options, self.given())

    def attach(self, end: Endpoint) -> Channel:
        self.refuse_given("send", "receive")
        # The channel refuses a number of bytes in place of a record.
        records = cast("tuple[Record | None, Record | None]", (self.send, self.receive))
        return Channel(end, *records)
