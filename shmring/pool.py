"""Pools: workers that belong together, and the channels they serve.

A pool is private by default: it lives and dies with the process that made it. Other processes open
channels through a named pool, and its workers continue when its process dies.
"""

import atexit
import contextlib
import errno
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self, Unpack

from rtworkers import (
    PASSING,
    Holding,
    PoolSettings,
    SlotFacts,
    Supervisor,
    affinity,
    liveness,
    page,
    paths,
    records,
)
from rtworkers.config import default_policy
from rtworkers.control import WorkerGone
from rtworkers.launch import worker_binary
from rtworkers.opener import Opener
from shmring import (
    _address,
    _existing,
    _host,
    _leftovers,
    _options,
    _pool_server,
    _realtime,
    errors,
    room,
)
from shmring._arguments import deadline
from shmring._check import error
from shmring._endpoint import await_sent, ends_open_files
from shmring._host import translated
from shmring._in_thread import in_thread
from shmring._linger import LINGER_S, end_in_thread, linger_after, warn_unsent
from shmring._moved import moved
from shmring._opening import UDP, C, Opened, Opening, OpeningAio, showing
from shmring._options import Prepared
from shmring._pool_quota import NO_LIMIT, Budget
from shmring._pool_quota import UserLimits as UserLimits
from shmring._realtime import Shortfall
from shmring._ring import ffi, lib
from shmring._signature import like
from shmring.engine import Engine, EngineConfig, OpenOptions
from shmring.types import Policy, Profile, WorkerInfo

log = logging.getLogger("shmring.pool")

SHOWN = 10  # names in one line of the log

# The kernel may deliver a signal to a thread of this process that starts or ends just then. This
# does not interrupt the wait of the main thread, which alone runs Python's handlers.
MISSED_SIGNAL_S = 0.5

# Pauses before channels that failed for lack of resources are tried again, shared by all channels.
SHORTAGE_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0, 1.0, 1.0)

_private_numbers = itertools.count()


_MOVED = {
    "open_async": "aio.open",
    "close_async": "aio.close",
    "leave": "detach",
    "close_channel": "end",
}


class Pool(Opening):
    """Workers that start with the first channel of their core, and that are watched and restarted.

    `name`: None for a private pool, else the name of the pool.
    `cpus`: the cores. One worker is pinned to each. None: one worker, not pinned.
    `priority`: priority under SCHED_FIFO, 1 to 99.
    `policy`: ``"fifo"`` or ``"other"``. None: ``$SHMRING_POLICY``, else ``fifo``.
    `profile`: how workers wait, ``"balanced"``, ``"latency"`` or ``"power"``.
    `namespace`: a prefix that separates the names of different users and tests. None:
        ``$SHMRING_NAMESPACE``, else ``default``.
    `strict`: raise an error instead of a `RealtimeWarning` if a worker lacks core, scheduling class
        or locked memory.
    `group`: a group, by name or id, whose members may use the pool, each within `user_limits`. Only
        root and this user may stop the pool or end channels of other users.
    `user_limits`: what one member of the group may use. None: `UserLimits`.
    `worker_per_user`: each member of the group gets workers of his own, so that one who makes the
        kernel hold a worker up holds up only himself. With `cpus`, one on each of them.

    The pool is a context manager, and the end of the block closes it and all of its channels.
    Raises `BadConfig`, `TypeError`, and `ShmringOSError` with EBUSY for a named pool that another
    process runs.
    """

    def __init__(
        self,
        name: str | None = None,
        cpus: Sequence[int] | None = None,
        priority: int = 80,
        policy: Policy | None = None,
        profile: Profile = "balanced",
        namespace: str | None = None,
        strict: bool = False,
        group: str | int | None = None,
        user_limits: UserLimits | None = None,
        worker_per_user: bool = False,
    ) -> None:
        self._pid = os.getpid()
        self._stopped: SimpleQueue[None] = SimpleQueue()  # unlike an event, for handlers, too
        with translated("pool"):
            space = paths.namespace_of(namespace)
            pool = f"private-{self._pid}-{next(_private_numbers)}" if name is None else name
            paths.check_name("pool name", pool)
            self._settings = PoolSettings(
                space,
                pool,
                paths.pool_directory(space, pool),
                affinity.check_cores(cpus),
                priority,
                default_policy() if policy is None else policy,
                profile,
                private=name is None,
                strict=_options.switch("strict", strict),
                group=_options.group_id(group),
                worker_per_user=_options.switch("worker_per_user", worker_per_user),
            )
            self._supervisor = _supervise(self._settings)
        self._names = _existing.Names()
        limits = UserLimits() if user_limits is None else user_limits
        self._server = None if name is None else self._settle(limits)
        self._finalizer = weakref.finalize(self, _end, self._supervisor, self._server)

    # --- what it is ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The pool's name. Private pools have one too."""
        return self._settings.name

    @property
    def namespace(self) -> str:
        """The namespace of the pool's channels."""
        return self._settings.namespace

    @property
    def closed(self) -> bool:
        """Whether the pool was closed, or belongs to another process (after fork)."""
        return not self._finalizer.alive or self._pid != os.getpid()

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<shmring.Pool {self.name!r} in {self.namespace!r}{state}>"

    def workers(self) -> list[WorkerInfo]:
        """The started workers, by slot."""
        if self._is_inherited():
            return self._from_here().workers()
        return [_worker_info(facts) for facts in self._supervisor.facts()]

    def channels(self) -> list[str]:
        """Names of the channels that this pool serves."""
        if self._is_inherited():
            return self._from_here().channels()
        return self._supervisor.channel_names()

    # --- channels -----------------------------------------------------------------------------

    def _make_channel(
        self,
        name: str,
        options: dict[str, Any],
        engine: EngineConfig | None = None,
        *,
        quiet: bool = False,
        exist_ok: bool = False,
        opener: Opener | None = None,
        budget: Budget = NO_LIMIT,
    ) -> tuple[Opened, Any]:
        """Like `open`, but without an end in this process. Raises the same exceptions.

        Returns also the mapping of a new segment, for an end.

        quiet: do not warn if a worker lacks something.
        exist_ok: the channel may be open already.
        opener: the process that asked for it. None: this one.
        budget: what it may take, and what is told how much it took.
        """
        if self._is_inherited():
            here = self._from_here()
            return here._make_channel(name, options, engine, quiet=quiet, exist_ok=exist_ok)
        settings = self._settings
        with translated(f"channel {name!r}"):
            paths.check_name("channel name", name)
            prepared = _options.prepare(
                name, settings.namespace, settings.name, settings.profile, options, engine
            )
            asking = _asking(opener)
            prepared.config.opener_pid = asking.pid
            self._check_usable()
            if exist_ok:
                _existing.check_engine(prepared)
        with self._names.lock(name):
            with translated(f"channel {name!r}"):
                alone = self._join(prepared, asking, exist_ok=exist_ok)
                if alone is not None:
                    return Opened(self, name, created=False, alone=alone), None
                memory_limit = budget.reserve(prepared.segment_bytes)
                slot = self._supervisor.place(prepared.cpu, asking.uid)
            self._start_worker(slot, prepared, quiet)
            with translated(f"channel {name!r}"):
                holding, segment = self._create_segment(
                    prepared, asking, lambda free: room.what_fits(options, engine, free)
                )
                holding.memory_limit = memory_limit
                try:
                    self._supervisor.open(slot, holding, prepared.socket_fd, takeover=False)
                except BaseException:
                    liveness.remove_own(holding.posix_name, holding.segment_fd)
                    holding.close()
                    raise
        budget.settle(holding.memory_bytes)
        return Opened(self, name), segment

    def _leave_channel(self, name: str, *, end: bool, opener: Opener | None = None) -> bool:
        if self._is_inherited():
            return self._from_here()._leave_channel(name, end=end)
        if self.closed:
            return True
        with self._names.lock(name):
            return _existing.leave(self._supervisor, name, _asking(opener), end=end)

    def _has_other_openers(self, name: str) -> bool:
        if self._is_inherited():
            return self._from_here()._has_other_openers(name)
        return not self.closed and _existing.has_others(self._supervisor, name)

    def end(self, name: str) -> None:
        """End a channel of this pool for all processes, whoever opened it. Unknown names are
        ignored."""
        if self._is_inherited():
            self._from_here().end(name)
        elif not self.closed:
            with self._names.lock(name):
                self._supervisor.close(name)

    # --- life ---------------------------------------------------------------------------------

    def close(self, *, linger: float | None = LINGER_S) -> None:
        """End the workers and all channels, and remove all files of the pool.

        linger: how long to wait, in seconds, until the packets in all channels are sent. The others
            are then cancelled, and an `UnsentWarning` says how many. 0: cancel them now, without a
            warning. None: no limit. Packets of held channels are not waited for. After an exception
            in its ``with`` block a pool does not wait.
        """
        unsent = self._close(linger, count=linger != 0)
        warn_unsent(self._what, unsent, stacklevel=2)

    def detach(self) -> None:
        """End a named pool in this process, but leave its workers to the next `Pool` of this name.

        Raises `BadConfig` for a private pool, because no other process can adopt its workers.
        """
        if self._settings.private:
            raise errors.BadConfig("the workers of a private pool end with it: name the pool")
        self._end(leave=True)

    @property
    def aio(self) -> "PoolAio":
        """The calls that wait, for tasks of asyncio and trio: ``await pool.aio.open("ctl")``."""
        return PoolAio(self)

    if not TYPE_CHECKING:  # for a type checker, an object with __getattr__ has every name

        def __getattr__(self, name):
            raise moved(self, name, _MOVED)

    def serve_forever(self) -> None:
        """Wait until the pool ends: by `close`, `detach`, or a request to stop it."""
        while True:
            with contextlib.suppress(Empty):
                self._stopped.get(timeout=MISSED_SIGNAL_S)
                break
        self._stopped.put(None)  # for further calls

    def request_stop(self) -> None:
        """Let `serve_forever` return. Any thread and signal handlers may call it."""
        self._stopped.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        unsent = self._close(linger_after(kind))
        warn_unsent(self._what, unsent, stacklevel=2, failing=kind is not None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        failing = kind is not None
        await end_in_thread(self._what, lambda: self._close(linger_after(kind)), failing=failing)

    def _close(self, linger: float | None, *, count: bool = True) -> int:
        """Close the pool. Return how many packets were cancelled, 0 without `count`."""
        until_ns = deadline(linger, "linger")
        unsent = 0 if self.closed or not count else self._await_sent(until_ns)
        self._end(leave=False)
        return unsent

    @property
    def _what(self) -> str:
        return f"pool {self.name!r}"

    def _await_sent(self, until_ns: int) -> int:
        """Wait until no channel has packets that wait to be sent. Return how many still wait."""
        return sum(await_sent(name, self.namespace, until_ns) for name in self.channels())

    def _end(self, *, leave: bool) -> None:
        if self._pid == os.getpid() and self._finalizer.detach() is not None:
            _end(self._supervisor, self._server, leave=leave)
        self.request_stop()

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled copy opens channels through this pool from another process."""
        if self._settings.private:
            raise TypeError(
                f"pool {self.name!r} is private, so it cannot be passed to another process: pass "
                'channels, or give the pool a name, Pool("name")'
            )
        return _pool_server.RemotePool, (self.namespace, self.name)

    def _is_inherited(self) -> bool:
        """Whether this is a named pool, in a process that was forked from the one that runs it."""
        return self._pid != os.getpid() and not self._settings.private

    def _from_here(self) -> _pool_server.RemotePool:
        return _pool_server.RemotePool(self.namespace, self.name)

    # --- inside -------------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._pid != os.getpid():
            raise error(
                errno.EPIPE,
                f"this pool belongs to process {self._pid}, from which this one was forked: open "
                "channels with shmring.open() or with a Pool made here, or give the pool a name",
            )
        if not self._finalizer.alive:
            raise error(errno.EPIPE, f"pool {self.name!r} is closed: make another one")

    def _settle(self, limits: UserLimits) -> _pool_server.PoolServer:
        """Adopt what a previous process of this named pool left, and listen for requests."""
        try:
            with translated("pool"):
                adopted = self._supervisor.adopt()
                _settle_orphans(self._supervisor, self._settings, set(adopted))
                return _pool_server.PoolServer(
                    weakref.ref(self), self._settings, limits, self._supervisor.leavings
                )
        except BaseException:
            self._supervisor.stop(leave=True)
            raise

    def _start_worker(self, slot: int, prepared: Prepared, quiet: bool) -> None:
        with translated(f"worker {slot}"):
            _, started = self._supervisor.ensure(slot)
        lacking = self._lacking(slot) if started else []
        if started:
            _realtime.note(self.namespace, self.name, slot, lacking)
        if prepared.strict:
            self._check_strict(slot)
        if prepared.config.profile == lib.SHM_PROFILE_LATENCY and not quiet:
            lacking += _spins_on_the_last_core(self._facts(slot))
        if lacking and not quiet:
            _realtime.warn(lacking)

    def _check_strict(self, slot: int) -> None:
        if lacking := self._lacking(slot):
            raise error(errno.EPERM, f"strict: {_realtime.text_of(lacking)}")

    def _lacking(self, slot: int) -> list[Shortfall]:
        return _shortfalls(self._facts(slot), self._settings)

    def _facts(self, slot: int) -> SlotFacts:
        return next(facts for facts in self._supervisor.facts() if facts.slot == slot)

    def _join(self, prepared: Prepared, asking: Opener, *, exist_ok: bool) -> bool | None:
        """Open a channel that is open. Return whether no other opener of it runs. None: there is no
        such channel. Raises `ChannelExists`."""
        check = self._check_strict if prepared.strict else None
        given = (self._supervisor, prepared, asking, self._access(prepared), check)
        try:
            return _existing.join(*given, exist_ok=exist_ok)
        except WorkerGone:  # and was replaced: all is decided again
            return _existing.join(*given, exist_ok=exist_ok)

    def _create_segment(
        self, prepared: Prepared, opener: Opener, what_fits: Callable[[int], str]
    ) -> tuple[Holding, Any]:
        """Make the segment, and map it. The worker gives it its name."""
        _host.check_memory(prepared.segment_bytes, what_fits)
        posix_name = paths.channel_segment(self.namespace, prepared.name)
        _existing.free_name(posix_name, prepared, opener)
        fd = liveness.nameless_file()
        bell_fd = -1
        try:
            _host.check_files(fd, ends_open_files)
            bell_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            segment = _host.format_segment(fd, prepared.config)
            self._set_access(fd, prepared)
        except BaseException as failure:
            os.close(fd)
            if bell_fd >= 0:
                os.close(bell_fd)
            if isinstance(failure, errors.NoSpace) and failure.errno == errno.ENOSPC:
                # Another channel took the room meanwhile.
                _host.check_memory(prepared.segment_bytes, what_fits)
            raise
        config = prepared.config_bytes()
        holding = Holding(
            prepared.name, posix_name, config, fd, bell_fd, openers={opener: 1}, uid=opener.uid
        )
        return holding, segment

    def _set_access(self, segment_fd: int, prepared: Prepared) -> None:
        mode, group = self._access(prepared)
        if group is not None:
            os.fchown(segment_fd, -1, group)
        if mode != 0o600:
            os.fchmod(segment_fd, mode)

    def _access(self, prepared: Prepared) -> tuple[int, int | None]:
        """Return mode and group of the segment's file. None: this user's."""
        group = self._settings.group if prepared.group is None else prepared.group
        mode = prepared.permissions
        if mode is None:
            mode = 0o600 if group is None else 0o660
        return mode, group


def _asking(opener: Opener | None) -> Opener:
    """Return the process that asked for something. None: this one."""
    return Opener.this_process() if opener is None else opener


class PoolAio(OpeningAio):
    """The calls of a `Pool` that wait, for tasks of asyncio and trio.

    If a task is cancelled during a call, the call is completed first. In asyncio a channel that it
    opened is then ended. In trio the task gets it, and is cancelled at its next checkpoint.
    """

    __slots__ = ()

    @like(Pool.close)
    async def close(self, *, linger: float | None = LINGER_S) -> None:
        pool = self._pool
        await end_in_thread(pool._what, lambda: pool._close(linger, count=linger != 0))

    @like(Pool.detach)
    async def detach(self) -> None:
        await in_thread(self._pool.detach)

    @like(Pool.end)
    async def end(self, name: str) -> None:
        await in_thread(self._pool.end, name)


def _supervise(settings: PoolSettings) -> Supervisor:
    removed = _leftovers.sweep_dead_pools(settings.namespace)
    _say_closed(settings, removed.get(settings.name, []))
    try:
        return Supervisor(settings, _host.mark_failed)
    except BlockingIOError as caught:
        raise error(
            errno.EBUSY,
            f"pool {settings.name!r} in namespace {settings.namespace!r}: {caught.strerror}",
        ) from None


def _end(
    supervisor: Supervisor, server: _pool_server.PoolServer | None, *, leave: bool = False
) -> None:
    if server is not None:
        server.close()
    supervisor.stop(leave=leave)


def _worker_info(facts: SlotFacts) -> WorkerInfo:
    now = facts.page
    return WorkerInfo(
        slot=facts.slot,
        state=facts.phase.value,
        pid=facts.pid,
        cpu_wanted=facts.cpu_wanted,
        cpu=now.cpu if now else None,
        policy=now.policy if now else "",
        priority=now.priority if now else 0,
        memory_locked=now.memory_locked if now else False,
        profile=now.profile if now else "",
        channels=facts.channels,
        restarts=facts.restarts,
        heartbeat_age_ns=facts.heartbeat_age_ns,
        cpu_share=facts.cpu_share,
        calls_filtered=now.calls_filtered if now else False,
        calls_refused=now.calls_refused if now else 0,
        error=facts.error,
    )


def _shortfalls(facts: SlotFacts, settings: PoolSettings) -> list[Shortfall]:
    """Return what the pool asked for and its worker does not have, each with the fix."""
    now = facts.page
    if now is None:
        return []
    lacking: list[Shortfall] = []
    if facts.cpu_wanted is not None and now.cpu is None:
        what = f"not on core {facts.cpu_wanted}"
        lacking.append(Shortfall(what, affinity.explain_cpu(facts.cpu_wanted)))
    if settings.policy == "fifo":
        if now.policy != "fifo":
            why = affinity.explain_policy(settings.priority, str(worker_binary()))
            lacking.append(Shortfall("no SCHED_FIFO", why))
        elif now.priority < settings.priority:
            what = f"priority {now.priority} instead of {settings.priority}"
            why = affinity.explain_priority(settings.priority, now.priority)
            lacking.append(Shortfall(what, why))
        if not now.memory_locked:
            lacking.append(Shortfall("memory not locked", affinity.explain_memory()))
    return lacking


def _spins_on_the_last_core(facts: SlotFacts) -> list[Shortfall]:
    """Return what programs lack once this worker spins, if it does not spin yet. It is no reason to
    refuse a channel, even a strict one: a page of another user may be false."""
    own, spinning = facts.page, page.spinning()
    if own is None or own.policy == "other" or own.pid in [worker.pid for worker in spinning]:
        return []
    if page.cores_left([*spinning, own], affinity.allowed_cores()) > 0:
        return []
    return [Shortfall("no core without a worker that spins", affinity.explain_spinning())]


def _settle_orphans(supervisor: Supervisor, settings: PoolSettings, adopted: set[str]) -> None:
    """Handle the channels of this pool whose worker died while no process watched.

    If a worker still runs, even one that had just been started, the pool is the same one, and these
    channels are served again. If all workers had died, the pool is new and starts empty. A record
    is removed if its file has lost its name.
    """
    lived_on = bool(supervisor.facts())
    pauses = iter(SHORTAGE_PAUSES_S)
    closed: list[str] = []
    for name in records.names(settings.directory):
        if name in adopted:
            continue
        posix_name = paths.channel_segment(settings.namespace, name)
        noted = records.read(settings.directory, name)
        fd = None if noted is None else _noted_file(noted, posix_name)
        if noted is None or fd is None:
            records.remove(settings.directory, name)
        elif not liveness.file_deserted(fd):
            os.close(fd)
        elif lived_on:
            _revive(supervisor, noted.slot, _orphan(fd, name, posix_name, noted), pauses)
        else:
            _host.mark_closed(posix_name)
            _drop(settings, _orphan(fd, name, posix_name, noted))
            closed.append(name)
    _say_closed(settings, closed)


def _say_closed(settings: PoolSettings, names: Sequence[str]) -> None:
    """Log the channels that a previous pool of this name left, and which died together with its
    workers."""
    if not names:
        return
    shown = ", ".join(sorted(names)[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    log.warning(
        "pool %r died together with its workers, so it starts empty. Closed, with the packets that "
        "waited in them: %s (%d in all)",
        settings.name,
        shown,
        len(names),
    )


def _noted_file(noted: records.Record, posix_name: str) -> int | None:
    """Return the descriptor of the recorded segment, or None if it no longer has its name.

    Once the name is free, any user may give it to another file. Such a file is not even opened.
    """
    try:
        if not noted.is_of(paths.shm_file(posix_name).lstat()):
            return None
    except FileNotFoundError:
        return None
    fd = _host.open_segment_file(posix_name, writable=True)
    if fd is None or noted.is_of(os.fstat(fd)):
        return fd
    os.close(fd)
    return None


def _orphan(fd: int, name: str, posix_name: str, noted: records.Record) -> Holding:
    """Return the holding of a channel that no process holds. It owns `fd`."""
    liveness.lock_shared(fd)
    bell_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    return Holding(
        *(name, posix_name, _rebound(noted), fd, bell_fd),
        asked=noted.config,
        openers=noted.openers,
        uid=noted.uid,
    )


def _rebound(noted: records.Record) -> bytes:
    """Return the configuration of a channel whose socket is gone. A new socket gets the
    same port."""
    config = ffi.new("shm_config_t *")
    if len(noted.config) != ffi.sizeof("shm_config_t") or noted.bound is None:
        return noted.config
    ffi.buffer(config)[:] = noted.config
    ffi.buffer(ffi.addressof(config, "local"))[:] = _address.pack(noted.bound)
    return bytes(ffi.buffer(config))


def _revive(supervisor: Supervisor, slot: int, holding: Holding, pauses: Iterator[float]) -> None:
    if not supervisor.settings.has_slot(slot):
        slot = supervisor.place(None, holding.uid)
    try:
        with translated(f"channel {holding.name!r}"):
            _open_patiently(supervisor, slot, holding, pauses)
    except errors.ShmringError as caught:
        log.warning("%s; it is closed", caught)
        _host.mark_failed(holding, 0, str(caught))
        _drop(supervisor.settings, holding)


def _open_patiently(
    supervisor: Supervisor, slot: int, holding: Holding, pauses: Iterator[float]
) -> None:
    """Open an abandoned channel on a worker. If only resources are short, pause and try again."""
    while True:
        try:
            supervisor.open(slot, holding, None, takeover=True)
        except OSError as caught:
            pause_s = next(pauses, None)
            if caught.errno not in PASSING or pause_s is None:
                raise
            time.sleep(pause_s)
        else:
            return


def _drop(settings: PoolSettings, holding: Holding) -> None:
    records.remove(settings.directory, holding.name)
    liveness.remove_own(holding.posix_name, holding.segment_fd)
    holding.close()


# --- the default pool -----------------------------------------------------------------------------

_default_pools: dict[str, Pool] = {}
_default_lock = threading.Lock()


def default_pool(namespace: str | None = None) -> Pool:
    """Return the private pool that `shmring.open` uses. The first call makes it, and exit ends it.

    Each namespace has its own. A forked child gets a new one.
    """
    with translated("pool"):
        namespace = paths.namespace_of(namespace)
    with _default_lock:
        pool = _default_pools.get(namespace)
        if pool is None or pool.closed:
            pool = _default_pools[namespace] = Pool(namespace=namespace)
            atexit.unregister(_close_default_pools)
            atexit.register(_close_default_pools)  # runs before the finalizer of the pool
        return pool


def close_default_pool(namespace: str | None = None, *, linger: float | None = LINGER_S) -> None:
    """Close the pool of `default_pool`, if there is one. The next call makes another.

    linger: as of `Pool.close`. At exit, the default pools are closed with its default.
    """
    with translated("pool"):
        namespace = paths.namespace_of(namespace)
    with _default_lock:
        pool = _default_pools.pop(namespace, None)
    if pool is not None:
        pool.close(linger=linger)


def _close_default_pools() -> None:
    for namespace in list(_default_pools):
        close_default_pool(namespace)


@showing(OpenOptions)
def open(
    name: str,
    engine: Engine[C] = UDP,  # type: ignore[assignment]
    *,
    pool: Opening | str | None = None,
    namespace: str | None = None,
    **options: Unpack[OpenOptions],
) -> C:
    """Open a channel on the default pool of this process, as `Pool.open` does.

    pool: a pool, or the name of one that ``shmring up`` or a `Pool` of another process runs. None:
        `default_pool`.
    namespace: of the named pool or of the default pool. None: ``$SHMRING_NAMESPACE``, else
        ``default``.

    All others are the options of `Pool.open` and explained there. Raises the same exceptions, and
    `ChannelNotFound` if no pool has that name.
    """
    return pool_for(pool, namespace)._open(name, engine, options)


def pool_for(pool: Opening | str | None, namespace: str | None) -> Opening:
    """Return what `open` opens a channel on. Raises `BadConfig`."""
    if isinstance(pool, Opening):
        return pool
    if pool is None:
        return default_pool(namespace)
    with translated("pool"):
        return _pool_server.RemotePool(paths.namespace_of(namespace), pool)


def _after_fork() -> None:
    global _default_lock
    _default_lock = threading.Lock()
    _default_pools.clear()


os.register_at_fork(after_in_child=_after_fork)
