"""The signature of `open`, its options, and the engine for plain UDP.

Users see the signature of `Opening.open`. Functions that pass its options on take `OpenOptions`.
"""

import errno
import functools
import inspect
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

from shmring import _options, errors
from shmring._host import translated
from shmring._in_thread import made_in_thread
from shmring.channel import Channel
from shmring.engine import AttachOptions, Engine, EngineConfig, Start
from shmring.types import (
    Align,
    Clock,
    Direction,
    Impairment,
    Late,
    Overflow,
    Profile,
    Reading,
    Reports,
    StampSource,
    Txtime,
    WorkerInfo,
)

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    C = TypeVarWithDefault("C", default=Channel)
else:
    C = TypeVar("C")

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Udp(Engine[Channel]):
    """Plain packets: what `open` uses without `engine`. The channel is a `Channel`."""

    def prepare(self, options: dict[str, Any]) -> Start[Channel]:
        return Start(options, None, Channel)

    def attach(self, name: str, **how: Unpack[AttachOptions]) -> Channel:
        return Channel(name, **how)


UDP = Udp()


def checked_engine(engine: Engine[C]) -> Engine[C]:
    """Return the engine. Raises `TypeError` if it is none."""
    if not isinstance(engine, Engine):
        raise TypeError(f"engine must be an engine such as shmring.Rtp(...), not {engine!r}")
    return engine


def signature_of(stub: F) -> F:
    """Turn a stub that is only a signature into a method. The method calls `_open` of its object
    with the engine and the options that the caller gave."""

    @functools.wraps(stub)
    def open(self: "Opening", name: str, *, engine: Engine[Any] = UDP, **given: Any) -> Any:
        return self._open(name, engine, _options.asked_for(given, _options.OPTIONS, "a channel"))

    return cast("F", open)


def showing(options: Any) -> Callable[[F], F]:
    """Let `inspect.signature` and `help` show these options of `Opening.open`, with their types and
    defaults, for a function that passes them on as ``**options``."""

    def show(function: F) -> F:
        shown = inspect.signature(function)
        own = [each for each in shown.parameters.values() if each.kind is not each.VAR_KEYWORD]
        all_of_open = inspect.signature(Opening.open).parameters
        passed = [all_of_open[name] for name in all_of_open if name in options.__optional_keys__]
        vars(function)["__signature__"] = shown.replace(parameters=own + passed)
        return function

    return show


def end_at_once(channel: Any) -> None:
    """End a channel that was opened for a task that was cancelled meanwhile. One that it took over
    is given back."""
    channel._endpoint.undo()


@dataclass(frozen=True, slots=True)
class Opened:
    """A channel that this process opened on a pool, or took over there."""

    pool: "Opening"
    name: str
    taken_over: bool = False

    def end(self) -> None:
        """End the channel for all processes."""
        self.pool.close_channel(self.name)

    def undo(self) -> None:
        """End the channel if it is new, or give it back if it was taken over: it is orphaned again,
        and others stay attached."""
        if self.taken_over:
            self.pool._give_back(self.name)
        else:
            self.end()


class Opening:
    """An object that opens channels: a pool of this process, or of another one."""

    @property
    def namespace(self) -> str:
        """The namespace of the pool's channels."""
        raise NotImplementedError

    def _make_channel(
        self,
        name: str,
        options: dict[str, Any],
        engine: EngineConfig | None = None,
        *,
        quiet: bool = False,
    ) -> tuple[Opened, Any]:
        """Like `open`, but without an end in this process. Raises the same exceptions.

        Returns also the mapping of the segment if this process has one. quiet: do not warn of what
        a worker lacks.
        """
        raise NotImplementedError

    def _give_back(self, name: str) -> bool:
        """Undo a takeover by this process. Return whether there was one."""
        raise NotImplementedError

    def channels(self) -> list[str]:
        """Names of the channels that this pool serves."""
        raise NotImplementedError

    def workers(self) -> list[WorkerInfo]:
        """The started workers, by slot."""
        raise NotImplementedError

    def close_channel(self, name: str) -> None:
        """End a channel of this pool for all processes."""
        raise NotImplementedError

    @signature_of
    def open(
        self,
        name: str,
        *,
        engine: Engine[C] = UDP,  # type: ignore[assignment]
        local: tuple[str, int] | None = None,
        remote: tuple[str, int] | None = None,
        direction: Direction = "duplex",
        capacity: int | None = None,
        packet_bytes: int | None = None,
        rx_capacity: int | None = None,
        rx_packet_bytes: int | None = None,
        max_payload: int | None = None,
        reading: Reading = "broadcast",
        overflow: Overflow = "oldest",
        late: Late = "send",
        align: Align = "start",
        clock: Clock = "monotonic",
        reports: Reports = "all",
        report_capacity: int | None = None,
        tolerance_ns: int = 50_000,
        catch_up: float | None = None,
        profile: Profile | None = None,
        rx_stamp: StampSource = "hardware",
        tx_stamp: StampSource = "hardware",
        stamp_every: int | None = None,
        txtime: Txtime = "auto",
        connect: bool = False,
        reuse: bool = False,
        broadcast: bool = False,
        ttl: int | None = None,
        multicast_ttl: int | None = None,
        multicast_loop: bool = True,
        multicast_interface: str | int | None = None,
        groups: Iterable[str | tuple[str, str | int | None]] = (),
        dscp: int | None = None,
        so_priority: int | None = None,
        device: str | None = None,
        dont_fragment: bool = False,
        v6only: bool = False,
        rcvbuf_bytes: int | None = None,
        sndbuf_bytes: int | None = None,
        gso: bool = True,
        gro: bool = True,
        impair: Impairment | None = None,
        impair_rx: Impairment | None = None,
        producers: int | None = None,
        readers: int | None = None,
        permissions: int | None = None,
        group: str | int | None = None,
        cpu: int | None = None,
        held: bool = False,
        strict: bool | None = None,
        socket: socket.socket | int | None = None,
    ) -> C:
        """Open a channel and return this process's end of it.

        Times are in ns, sizes in bytes. Only `name` is required.

        engine: what the worker does for the channel: `Udp` (default), `Local`, `Cyclic`, `Rtp`,
            `Netflux` or `Proxy`.
        local: (host, port) to bind to, port 0 for any. None: the kernel chooses.
        remote: (host, port) of the destination, unless `send` names another one. None: each `send`
            names one.
        direction: "tx", "rx" or "duplex".
        capacity: how many packets may wait to be sent, 1 to 2**31 - 1. None: 1024, with `Rtp` 256.
        packet_bytes: expected payload, 0 to 65507 bytes. It sizes the send ring: `capacity` such
            packets fit. None: 256 if no size is given, which makes a channel of 1.2 MB. Otherwise
            full 1500-byte packets while that takes at most 8 MiB, else 8-byte packets, and at least
            8 MiB.
        rx_capacity: how many arrived packets are kept, 1 to 2**31 - 1. None: as `capacity`, with
            `Cyclic` and `Netflux` 256.
        rx_packet_bytes: as `packet_bytes`, for the ring of arrived packets. None: as
            `packet_bytes`.
        max_payload: longest payload, 0 to 65507 bytes. Longer arrivals are cut. None: what the
            rings allow, at most 65507, with `Cyclic` 1472. With `Rtp` at most 3968.
        reading: "broadcast": every reader gets every packet. "shared": one of the readers gets each
            packet.
        overflow: what happens when the ring of arrived packets is full. "oldest": the oldest packet
            is overwritten. "wait": the worker waits for the slowest reader and leaves packets in
            the socket. An end is a reader from its first call that receives, such as `try_recv`.
        late: what happens to a packet past its deadline: "send" or "drop".
        align: what meets the deadline. "start": the start of sending, never before it. "wire": the
            time on the wire, centred on the deadline.
        clock: clock of deadlines and timestamps, "monotonic" or "tai".
        reports: packets that get a send report, "all", "late" or "off".
        report_capacity: send reports kept, 0 or a power of two up to 2**24. None: 4096, with `Rtp`
            and `Cyclic` 1024.
        tolerance_ns: how late a packet may start and still be on time, ns, 0 to 100 s. The default
            of `Cyclic` and `Netflux` is a tenth of the cycle, but at least 50 us.
        catch_up: how fast overdue packets leave after a hole, a time in which the worker could not
            send. A number above 1, up to 1000000: the gap between two overdue packets is at least
            their scheduled gap divided by it, until the schedule is reached. None: all at once.
        profile: how the worker waits, "balanced", "latency" or "power". None: as the pool.
        rx_stamp: best arrival timestamp wanted, "hardware", "kernel" or "off".
        tx_stamp: best departure timestamp wanted, "hardware", "kernel" or "off".
        stamp_every: one packet in this many gets a departure timestamp, 1 to 255, in pairs (8: two
            in 16). None: one in 16, at most 1000 a second. The reports of the others have the
            stamp "none". With 1 every packet has its own timestamp: about 1 us per send call.
            Packets that leave in one call share a timestamp.
        txtime: launch by the queueing discipline or the card (SO_TXTIME), "auto", "off" or
            "require".
        connect: receive from `remote` only.
        reuse: share the port (SO_REUSEADDR and SO_REUSEPORT).
        broadcast: allow sending to broadcast addresses.
        ttl: hop limit of unicast packets, 0 to 255, with IPv4 at least 1. None: the system's.
        multicast_ttl: hop limit of multicast packets, 0 to 255. None: the system's.
        multicast_loop: multicast packets come back to this host.
        multicast_interface: interface, by name or index, through which multicast leaves. None: the
            system's.
        groups: multicast groups to join, at most 8, each an address or (address, interface).
        dscp: class of service in the packets, 0 to 63. None: the system's.
        so_priority: priority for the queueing discipline, 0 to 15. Above 6 it needs CAP_NET_ADMIN.
            None: the system's.
        device: interface to bind to. None: any.
        dont_fragment: set the don't-fragment bit.
        v6only: an IPv6 socket takes no IPv4.
        rcvbuf_bytes: the kernel's receive buffer, bytes. Above net.core.rmem_max it needs
            CAP_NET_ADMIN. None: the system's.
        sndbuf_bytes: the kernel's send buffer, bytes. Above net.core.wmem_max it needs
            CAP_NET_ADMIN. None: the system's.
        gso: send packets that are due together, or within 2 us, in one call.
        gro: receive coalesced packets.
        impair: an impaired path between this channel and the network, sending side. None: none.
        impair_rx: the same, receiving side.
        producers: how many processes and threads may send, 0 to 1023. None: 63, with `Cyclic` and
            `Netflux` 16. The opener counts as one, except of fewer than 8 while it sends nothing.
        readers: how many readers may attach, 0 to 1024. Taps do not count. None: 64, with `Cyclic`
            and `Netflux` 16.
        permissions: file permissions of the segment. None: 0o600, with a group 0o660.
        group: group of the segment, by name or id. None: the pool's.
        cpu: core of the worker that serves the channel. None: the one with the fewest channels.
        held: open the channel held: nothing is sent or received before `Channel.release`.
        strict: raise an error if the worker lacks something requested. None: as the pool.
        socket: a bound UDP socket to work with, instead of `local`. The worker gets a copy of the
            descriptor. Close the original, or both will read from it. Options that you set on it,
            such as SO_REUSEPORT, stay. None: a new socket.

        The channel of a program that has died stays open on a named pool. Opened again by the same
        user with the same options on the same pool, it is taken over: see `Channel.taken_over`.
        If `open` fails after that, the channel is given back, and stays as it was.

        Raises, before anything is made: `BadConfig`, `BadAddress`, `PayloadTooLarge`, `TypeError`,
        and what a record of `Netflux` raises for values. Later: `ChannelExists`, `NoSpace`
        (shared memory, open files), `NoPermission`, `WorkerFailed`, `ShmringOSError` (the socket,
        `errno` says why). In these cases nothing is left behind.
        """
        raise NotImplementedError

    open_async = made_in_thread(open, end_at_once)

    def _open(self, name: str, engine: Engine[C], options: dict[str, Any]) -> C:
        return self._start(name, checked_engine(engine).prepare(options))

    def _start(self, name: str, start: Start[C]) -> C:
        """Open a channel and return this process's end of it. If that cannot be made, undo."""
        with translated(f"channel {name!r}"):
            spare_fd = os.eventfd(0, os.EFD_CLOEXEC)  # for the request to undo
        try:
            opened, segment = self._make_named(name, start)
            try:
                return start.end(name, namespace=self.namespace, owner=opened, segment=segment)
            except BaseException as caught:
                os.close(spare_fd)
                spare_fd = -1
                _undo(opened, caught)
                raise
        finally:
            if spare_fd >= 0:
                os.close(spare_fd)

    def _make_named(self, name: str, start: Start[Any]) -> tuple[Opened, Any]:
        """Make the channel. If its port is in use, the error says by whom."""
        try:
            return self._make_channel(name, start.options, start.config, quiet=start.quiet)
        except errors.ShmringOSError as refused:
            where = start.options.get("local")
            if refused.errno != errno.EADDRINUSE or where is None:
                raise
            from shmring import _port_owner

            raise _port_owner.named(refused, (where[0], where[1])) from None


def _undo(opened: Opened, failure: BaseException) -> None:
    """Undo an open after a failure, which counts more than that of the undoing."""
    try:
        opened.undo()
    except Exception as caught:
        failure.add_note(f"channel {opened.name!r} stays open: {caught}")
