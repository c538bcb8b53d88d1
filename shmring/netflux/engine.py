"""Netflux as an engine of a channel: what `open` takes as ``engine=shmring.Netflux(...)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shmring.engine import Engine, Start
from shmring.netflux import options as netflux_options
from shmring.netflux.channel import NetfluxChannel, starting_end
from shmring.netflux.options import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Netflux(Engine[NetfluxChannel]):
    """A Netflux link to one partner: the channel is a `NetfluxChannel`, which exchanges values in
    cycles.

    Times are ns, sizes are bytes. One of `send` and `receive` must be given. Of the options of
    `open`, those for queued packets, deadlines and reports do not go with it.

    What is exchanged:

    send: what is sent: its size, 0 to 1499, or a `Record`. None: 0, number and feedback only.
    receive: what the partner sends, likewise. Shorter datagrams are refused, the rest of longer
        ones is ignored.
    values: the first values to be sent: bytes, or what the record encodes. None: nothing is sent
        before the first `NetfluxChannel.update`.

    The link:

    any_source: take datagrams from anywhere. None: only if no `remote` is given.
    cycle_ns: from one send to the next, 100 us to 1 h.
    own_number: the number used last by a link that this one goes on with, 0 to 255. With 0 the
        link begins with number 1.
    partner_number: the number accepted last by that link, 0 to 255. None: whatever comes first is
        taken.

    Watching:

    watchdog_ns: the partner is dead when nothing new came for so long, up to 1 h. 0: never.
    hear_ns: the partner does not hear us when it acknowledged nothing new for so long, up to 1 h.
        None: the watchdog, but three cycles at least, and never if there is no watchdog.
    keep_values: when the watchdog runs out, received values stay as they are. False: they become
        zeros.
    keep_window: numbers are still expected to go on behind a time-out, so that a partner that
        starts anew is refused until its numbers fit, 128 datagrams at most. False: whatever comes
        next is taken.

    Values that grow old:

    stale_ns: values to be sent are stale when nobody has updated them for so long, up to 1 h. 0:
        when the process that wrote them has died.
    on_stale: what is sent then. "keep": the same values. "failsafe": those of `failsafe`. "stop":
        nothing, so that the partner's own watchdog runs out. A pool without a name ends with its
        process: then fail-safe values are sent once, and nothing after that.
    failsafe: values to be sent when others are stale: bytes, or what the record encodes. None:
        none.
    """

    send: int | Record | None = None
    receive: int | Record | None = None
    values: Any = None
    any_source: bool | None = None
    cycle_ns: int = netflux_options.CYCLE_NS
    own_number: int = 0
    partner_number: int | None = None
    watchdog_ns: int = netflux_options.WATCHDOG_NS
    hear_ns: int | None = None
    keep_values: bool = False
    keep_window: bool = False
    stale_ns: int = 0
    on_stale: str = "keep"
    failsafe: Any = None

    def prepare(self, options: dict[str, Any]) -> Start[NetfluxChannel]:
        begin = netflux_options.prepare(options, self.given())
        return Start(begin.plain, begin.engine, starting_end(begin))
