"""The signature of `open`, and the engine for plain UDP.

Users see the signature of `Opening.open`. Functions that pass its options on take `OpenOptions`.
"""

import errno
import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Unpack, cast

from shmring import _options, errors
from shmring._endpoint import Endpoint, made
from shmring._host import translated
from shmring._in_thread import made_in_thread
from shmring._option_rows import UdpRows
from shmring._ring import lib
from shmring._spec import Held, Parts
from shmring.channel import Channel
from shmring.engine import SHARE, Engine, EngineConfig, OpenOptions, Start, start_of
from shmring.parts import QUEUES, SOCKET, Queue, Share, Socket, explained, options_of
from shmring.types import Impairment, Profile, WorkerInfo

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    C = TypeVarWithDefault("C", default=Channel)
else:
    C = TypeVar("C")

F = TypeVar("F", bound=Callable[..., Any])


@explained
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Udp(UdpRows, Engine[Channel]):
    """Plain packets: what `open` uses without an engine. The channel is a `Channel`.

    Times are in ns, sizes in bytes.

    """

    tx: int | Queue | None = None
    rx: int | Queue | None = None
    max_payload: int | None = None
    socket: Socket = SOCKET

    _parts: ClassVar[Parts] = QUEUES | {"socket": Socket}
    _held: ClassVar[Held] = {"max_payload": _options.max_payload_held()}

    def __post_init__(self) -> None:
        if options := options_of(self):
            _options.check_alone(options, lib.SHM_MAX_PAYLOAD)

    def prepare(self, options: dict[str, Any]) -> Start[Channel]:
        return Start(options_of(self) | options, None, Channel)

    def attach(self, end: Endpoint) -> Channel:
        self.refuse_given()
        return Channel(end)


UDP = Udp()


def signature_of(stub: F) -> F:
    """Turn a stub that is only a signature into a method. The method calls `_open` of its object
    with the engine and the options that the caller gave."""

    @functools.wraps(stub)
    def open(self: "Opening", name: str, engine: Engine[Any] = UDP, **given: Any) -> Any:
        return self._open(name, engine, given)

    return cast("F", open)


def showing(options: Any, source: Callable[..., Any] | None = None) -> Callable[[F], F]:
    """Let `inspect.signature` and `help` show these options of `source`, with their types and
    defaults, for a function that passes them on as ``**options``. None: of `Opening.open`."""

    def show(function: F) -> F:
        shown = inspect.signature(function)
        own = [each for each in shown.parameters.values() if each.kind is not each.VAR_KEYWORD]
        there = inspect.signature(source or Opening.open).parameters
        passed = [there[name] for name in there if name in options.__optional_keys__]
        vars(function)["__signature__"] = shown.replace(parameters=own + passed)
        return function

    return show


def end_at_once(channel: Any) -> None:
    """Undo the opening of a channel for a task that was cancelled meanwhile."""
    channel._endpoint.undo()


@dataclass(frozen=True, slots=True)
class Opened:
    """A channel that this process opened on a pool, as one of its openers."""

    pool: "Opening"
    name: str
    created: bool = True
    """Whether it was not open before."""
    alone: bool = True
    """Whether no other opener of it ran then."""

    def has_others(self) -> bool:
        """Whether the channel was opened through other ends whose processes run."""
        return self.pool._has_other_openers(self.name)

    def end(self) -> bool:
        """End the channel for all processes if no other opener runs. Return whether it did."""
        return self.pool._leave_channel(self.name, end=True)

    @property
    def ends_undone(self) -> bool:
        """Whether undoing ends the channel, if no other opener runs. One that a dead program left
        stays."""
        return self.created or not self.alone

    def undo(self) -> None:
        """Undo the opening."""
        self.pool._leave_channel(self.name, end=self.ends_undone)


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
        exist_ok: bool = False,
    ) -> tuple[Opened, Any]:
        """Like `open`, but without an end in this process. Raises the same exceptions.

        Returns also the mapping of the segment if this process has one. quiet: do not warn of what
        a worker lacks. exist_ok: the channel may be open already.
        """
        raise NotImplementedError

    def _leave_channel(self, name: str, *, end: bool) -> bool:
        """Let this process have one end less of a channel that it opened. Return whether that ended
        the channel. end: end it if no other opener of it runs."""
        raise NotImplementedError

    def _has_other_openers(self, name: str) -> bool:
        """Return whether a channel was opened through more than one end whose process runs."""
        raise NotImplementedError

    def channels(self) -> list[str]:
        """Names of the channels that this pool serves."""
        raise NotImplementedError

    def workers(self) -> list[WorkerInfo]:
        """The started workers, by slot."""
        raise NotImplementedError

    def end(self, name: str) -> None:
        """End a channel of this pool for all processes, whoever opened it."""
        raise NotImplementedError

    @signature_of
    def open(
        self,
        name: str,
        engine: Engine[C] = UDP,  # type: ignore[assignment]
        *,
        local: tuple[str, int] | None = None,
        remote: tuple[str, int] | None = None,
        impair: Impairment | None = None,
        impair_rx: Impairment | None = None,
        cpu: int | None = None,
        profile: Profile | None = None,
        strict: bool | None = None,
        share: Share = SHARE,
        held: bool = False,
        exist_ok: bool = False,
    ) -> C:
        """Open a channel and return this process's end of it.

        Only `name` is required.

        engine: what the worker does for the channel, with its options: `Udp` (default), `Local`,
            `Cyclic`, `Rtp`, `Netflux` or `Proxy`. Any number of channels may use one object.
        local: (host, port) to bind to, port 0 for any. None: the kernel chooses.
        remote: (host, port) of the destination, unless `send` names another one. None: each `send`
            names one. With `Proxy` it is the server.
        impair: an impaired path between this channel and the network, sending side, with `Proxy`
            from clients to the server. None: none.
        impair_rx: the same, receiving side, with `Proxy` from the server to clients.
        cpu: core of the worker that serves the channel. None: the one with the fewest channels.
        profile: how the worker waits, "balanced", "latency" or "power". None: as the pool.
        strict: raise an error if the worker lacks something requested. None: as the pool.
        share: who else may use the channel: `Share`.
        held: open the channel held: nothing is sent or received before `Channel.release`.

        exist_ok: if the pool has it open with equal options, attach to it as one more of its
            openers: `Channel.created` is False. The last opener that runs ends it. Port 0 matches
            any port. `held` and first values then count only if no other opener runs. Not with
            `Rtp`.

        Raises, before anything is made: `BadConfig`, `BadAddress`, `PayloadTooLarge`, `TypeError`.
        Later: `ChannelExists`, `NoSpace` (shared memory, open files), `NoPermission`,
        `WorkerFailed`, `ShmringOSError` (the socket, `errno` says why). In these cases nothing is
        left behind.
        """
        raise NotImplementedError

    @property
    def aio(self) -> "OpeningAio":
        """The calls that wait, for tasks of asyncio and trio: ``await pool.aio.open("ctl")``."""
        return OpeningAio(self)

    def _open(self, name: str, engine: Engine[C], options: Mapping[str, Any]) -> C:
        return self._start(name, start_of(engine, options))

    def _start(self, name: str, start: Start[C]) -> C:
        """Open a channel and return this process's end of it. If that cannot be made, undo."""
        with translated(f"channel {name!r}"):
            spare_fd = os.eventfd(0, os.EFD_CLOEXEC)  # for the request to undo
        try:
            opened, segment = self._make_named(name, start)
            try:
                end = Endpoint(name, namespace=self.namespace, owner=opened, segment=segment)
                return made(start.end, end)
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
            return self._make_channel(
                name, start.options, start.config, quiet=start.quiet, exist_ok=start.exist_ok
            )
        except errors.ShmringOSError as refused:
            where = start.options.get("local")
            if refused.errno != errno.EADDRINUSE or where is None:
                raise
            from shmring import _port_owner

            raise _port_owner.named(refused, (where[0], where[1])) from None


class OpeningAio:
    """The calls of a pool that wait, for tasks of asyncio and trio.

    If a task is cancelled during a call, the call is completed first. In asyncio a channel that it
    opened is then ended. In trio the task gets it, and is cancelled at its next checkpoint.
    """

    __slots__ = ("_pool",)

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @showing(OpenOptions)
    async def open(
        self,
        name: str,
        engine: Engine[C] = UDP,  # type: ignore[assignment]
        **options: Unpack[OpenOptions],
    ) -> C:
        """Open a channel as `Pool.open` does, and return this process's end of it."""
        pool: Opening = self._pool
        return await made_in_thread(pool._open, end_at_once, name, engine, options)


def _undo(opened: Opened, failure: BaseException) -> None:
    """Undo an open after a failure, which counts more than that of the undoing."""
    try:
        opened.undo()
    except Exception as caught:
        failure.add_note(f"channel {opened.name!r} stays open: {caught}")
