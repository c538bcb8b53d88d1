"""The workers of one pool and their supervision.

One thread per pool waits for the death of any worker (a pidfd becomes readable) and looks at the
heartbeats twice a second. `restart_policy` decides what happens then, and this file does it:

      user's thread                  supervisor's thread              worker process
      ensure(slot) --- launch ------------------------------------->  serves, says "ready"
      open(holding) -- OPEN, fds ---------------------------------->  takes socket and segment
                                     pidfd readable  <--------------  killed
                                     launch -- OPEN, TAKEOVER, fds ->  continues where it stopped

The worker that serves a segment or page gives it its name in shared memory, and removes the name.
The pool removes a name only if the worker could not.

For every channel the pool keeps a `Holding`: segment, bell and socket. A socket that a second
process holds does not die with the worker, so datagrams that arrive meanwhile wait in it.

Locks: `Supervisor._lock` guards the tables and is never held during a request. `Slot.lock` is held
while a worker starts, dies or answers its pool. Take the slot's lock first, then the tables'.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from rtworkers import affinity, launch, liveness, page, paths, records, restart_policy
from rtworkers.config import PoolSettings
from rtworkers.control import (
    OPENED,
    REPLY_TIMEOUT_S,
    Reply,
    Request,
    WorkerDown,
    WorkerGone,
    WorkerSilent,
    WorkerStartError,
    channel_body,
    open_request,
    refusal,
)
from rtworkers.door import Door
from rtworkers.launch import Process
from rtworkers.layout import EventId, Op
from rtworkers.leavings import Leavings
from rtworkers.opener import Opener
from rtworkers.rare_log import RareLog
from rtworkers.restart_policy import FREE_CRASHES, Action, Phase
from rtworkers.slot import Holding, Slot, SlotFacts

log = logging.getLogger("shmring.workers")

HEARTBEAT_PERIOD_S = 0.5
RESTART_WAIT_S = 5.0
OPEN_TRIES = FREE_CRASHES + 1  # as many deaths have a successor at once
QUIT_TIMEOUT_S = 2.0
# Temporary shortages of a process: descriptors, processes, memory.
SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC))
# Temporary obstacles to passing descriptors. ETOOMANYREFS: this user has too many of
# them under way.
PASSING = SHORTAGES | {errno.ENOBUFS, errno.ETOOMANYREFS}
# A channel that could not be handed over for such a reason is handed over again after this number
# of seconds, then after twice as many and so on, up to the longest: altogether 10 s.
HAND_OVER_PAUSE_S = 0.01
HAND_OVER_LONGEST_PAUSE_S = 1.0
HAND_OVER_TRIES = 17
EXPORTED_ALWAYS = 2  # descriptors of a channel: segment and bell; the third is its socket


# Handles of processes that this one must not reap any more: dropping one would raise a warning.
_let_go: list[object] = []


class Supervisor:
    """Starts, watches, restarts and ends the workers of one pool. Any thread may use it.

    `mark_failed(holding, errno, text)` is called from the supervisor's thread for each channel that
    no worker will serve any more.
    """

    def __init__(
        self, settings: PoolSettings, mark_failed: Callable[[Holding, int, str], None]
    ) -> None:
        self.settings = settings
        self._mark_failed = mark_failed
        self._lock = threading.RLock()
        self._slots: dict[int, Slot] = {}
        self._users: dict[int, int] = {}  # with a worker for each user: their numbers, from 1 on
        self._starting: dict[int, threading.Lock] = {}
        self._channels: dict[str, Slot] = {}
        self._watched: dict[int, tuple[Slot, Process]] = {}
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._leave = False
        self._forgotten = False
        self._notes = RareLog(log)
        self.leavings = Leavings()
        self._door: Door | None = None
        self._owner_fd = -1
        self._lock_fd = -1
        if not settings.private:
            self._lock_fd, self._owner_fd = liveness.own_directory(
                settings.directory, settings.group
            )
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        launch.grow_file_table(self._wake_fd)
        self._epoll = select.epoll()
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        _supervisors.add(self)

    # --- what pools ask for -------------------------------------------------------------------

    def place(self, cpu: int | None, uid: int) -> int:
        """Return the slot for a new channel of a user. Raises `ValueError`, `TypeError`."""
        with self._lock:
            first = self._first_slot(uid)
            load = {number - first: len(slot.holdings) for number, slot in self._slots.items()}
        return first + affinity.place(self.settings.cpus, cpu, load)

    def _first_slot(self, uid: int) -> int:
        """Return the first slot of the workers that serve a user. The caller holds the tables'
        lock. Raises `ValueError`."""
        if not self.settings.worker_per_user or uid in (0, os.geteuid()):
            return 0
        if uid not in self._users:
            used = {number // affinity.CORES for number in self._slots} | set(self._users.values())
            number = max(used, default=0) + 1
            if number > affinity.MOST_USERS:
                raise ValueError(
                    f"{affinity.MOST_USERS} users have had workers of their own, the limit: close "
                    "the pool and start it again"
                )
            self._users[uid] = number
        return self._users[uid] * affinity.CORES

    def ensure(self, number: int) -> tuple[Slot, bool]:
        """Return the worker of a slot, which is started if necessary, and whether it was started.

        Raises `WorkerStartError`, `FileExistsError`, `OSError`.
        """
        with self._lock:
            self._check_open()
            slot = self._slots.get(number)
            if slot is not None:
                return slot, False
            starting = self._starting.setdefault(number, threading.Lock())
        with starting:
            with self._lock:
                slot = self._slots.get(number)
            if slot is not None:
                return slot, False
            return self._begin(number), True

    def open(self, number: int, holding: Holding, sock: int | None, *, takeover: bool) -> bool:
        """Have the worker of a slot serve a channel. From then on the supervisor owns `holding`.

        `sock` is a bound socket to adopt, which the caller keeps owning. Returns whether a
        worker was started for it. Raises `ControlError` (refused), `WorkerDown`,
        `WorkerStartError`, `WorkerSilent`. Then the caller keeps owning `holding`.
        """
        with self.locked(holding.name) as found:
            if found is not None:
                self._drop_closed(*found)
        slot, started = self.ensure(number)
        process = None
        for attempt in range(OPEN_TRIES):
            with slot.lock:
                process = slot.running()
                again = takeover or attempt > 0
                try:
                    reply = self._request_open(process, holding, sock, takeover=again)
                except WorkerGone:
                    log.debug("worker %d died while it opened %s", number, holding.name)
                else:
                    self._keep(slot, holding, reply)
                    return started
            slot.wait_restarted(process, RESTART_WAIT_S)
        raise WorkerDown(
            f"worker {number} died {OPEN_TRIES} times while it opened channel {holding.name!r}"
        )

    def close(self, name: str) -> None:
        """End a channel: waiting packets are cancelled, its segment is unlinked.

        If the worker has just died, its successor does it, so that peers get their goodbye.
        """
        with self.locked(name) as found:
            if found is None:
                return
            slot, _ = found
            self._withdraw(slot, name)
            process = slot.process
            if not self._close_served(slot, name) and self._restarts():
                slot.wait_restarted(process, RESTART_WAIT_S)  # unlocked meanwhile
                self._close_served(slot, name)  # under one lock: no hand-over in between
            holding = slot.holdings.pop(name)
            liveness.remove_own(holding.posix_name, holding.segment_fd)  # if the worker did not
            self._let_go(holding)

    def _let_go(self, holding: Holding) -> None:
        """Let go of a channel that has ended and lost its name."""
        if self.settings.group is not None:
            self.leavings.add(holding.segment_fd, holding.uid)
            holding.segment_fd = -1
        holding.close()

    def _withdraw(self, slot: Slot, name: str) -> None:
        """Take a channel out of the pool's tables and records. The caller holds the slot's lock,
        and removes the channel from `Slot.holdings`."""
        with self._lock:
            del self._channels[name]
        records.remove(self.settings.directory, name)

    def _close_served(self, slot: Slot, name: str) -> bool:
        """Have the worker end a channel. The caller holds the slot's lock. False: there is no
        worker now."""
        if slot.process is None:
            return False
        try:
            slot.process.connection.request(Request(Op.CLOSE, channel_body(name)))
        except WorkerGone:
            return False
        except OSError as error:  # it is not served, as wanted
            log.debug("closing channel %s: %s", name, error)
        return True

    def _restarts(self) -> bool:
        """Wait until a dead worker has a successor. Return whether it got one."""
        return not self.stopping and self._thread is not threading.current_thread()

    @contextlib.contextmanager
    def locked(self, name: str, *, running: bool = False) -> Iterator[tuple[Slot, Holding] | None]:
        """Hold the lock of a channel's slot during the block, so that the channel stays what it is.
        Gives None if this pool has no such channel.

        running: if the worker has died, first wait a short time for its successor.
        """
        with self._lock:
            slot = self._channels.get(name)
        if slot is None:
            yield None
            return
        with slot.lock:
            if running:
                slot.wait_restarted(None, RESTART_WAIT_S)
            with self._lock:
                served = self._channels.get(name) is slot and not self.stopping
            yield (slot, slot.holdings[name]) if served else None

    def join(self, slot: Slot, holding: Holding, opener: Opener, *, hold: bool) -> bool:
        """Count one more opener of a channel. Return whether no other one runs. If it fails,
        nothing has changed. The caller holds the slot's lock.

        hold: have the worker hold the channel, if no other opener runs.
        """
        process, before = slot.process, holding.openers
        alone = not holding.living()
        holding.openers = holding.joined_by(opener)
        holding.held_anew = False
        try:
            self._note(slot, holding)
            if hold and alone:
                slot.running().connection.request(Request(Op.HOLD, channel_body(holding.name)))
                holding.held_anew = True
        except BaseException as failure:
            holding.openers = before
            with self._noting_failure(holding):
                self._note(slot, holding)
            if isinstance(failure, WorkerGone):
                slot.wait_restarted(process, RESTART_WAIT_S)  # unlocked meanwhile, for another try
            raise
        return alone

    def leave(self, slot: Slot, holding: Holding, opener: Opener, *, end: bool) -> bool:
        """Count one opener of a channel less. Return whether that ended the channel. The caller
        holds the slot's lock.

        end: end the channel if it was the last one that runs. Otherwise the channel stays as it was
            before the opener joined. This does not fail: at worst the record names the opener until
            that ends, or the channel stays held.
        """
        if not holding.leave(opener) and (holding.openers or opener.uid not in (0, os.geteuid())):
            return False
        if end and not holding.living():
            self.close(holding.name)
            return True
        held_anew, holding.held_anew = holding.held_anew, False
        with self._noting_failure(holding):
            self._note(slot, holding)
        with self._noting_failure(holding):
            if held_anew and not end:
                slot.running().connection.request(Request(Op.RELEASE, channel_body(holding.name)))
        return False

    @contextlib.contextmanager
    def _noting_failure(self, holding: Holding) -> Iterator[None]:
        try:
            yield
        except (OSError, WorkerDown) as error:
            self._notes.warning("channel %s was not left in full: %s", holding.name, error)

    def channel_names(self) -> list[str]:
        with self._lock:
            return sorted(self._channels)

    def facts(self) -> list[SlotFacts]:
        """Return all workers, by slot."""
        with self._lock:
            return [slot.facts() for _, slot in sorted(self._slots.items())]

    def stop(self, *, leave: bool = False) -> None:
        """End the workers and remove every file of the pool. May be called more than once.

        With `leave` the workers continue, for the next process that becomes this pool.
        """
        with self._lock:
            if self._stopping or self._forgotten:
                return
            self._stopping = True
            self._leave = leave
            if self._thread is threading.current_thread():
                return  # the garbage collector called it during a round: the thread ends by itself
            os.eventfd_write(self._wake_fd, 1)
        if self._thread is not None:
            self._thread.join()
        else:
            self.finish()

    def finish(self) -> None:
        """The last action of the supervisor's thread."""
        with self._lock:  # it may have seen the request to stop before its wake-up
            leave = self._leave
        if self._door is not None:
            self._door.forget() if leave else self._door.close()
            _let_go.append(self._door)
        if leave:
            for slot in self._slots.values():
                _let_go.append(slot.process)
                slot.close()
        else:
            self._end(list(self._slots.values()))
        self._slots.clear()
        self._channels.clear()
        self.leavings.give_back()
        self._close_own()

    def forget(self) -> None:
        """In a forked child: close what was inherited, and touch nothing else."""
        self._forgotten = True
        if self._door is not None:
            self._door.forget()
            _let_go.append(self._door)
        for slot in self._slots.values():
            _let_go.append(slot.process)
            with contextlib.suppress(OSError, BufferError):
                slot.close()
        self.leavings.forget()
        self._close_own()

    # --- adoption ------------------------------------------------------------------------------

    def adopt(self) -> list[str]:
        """Adopt the workers that a previous process of this pool left. Return
        their channels."""
        self._open_door()
        names: list[str] = []
        for path in paths.listed(self.settings.directory, "worker-*.sock"):
            number = path.stem.removeprefix("worker-")
            if number.isdecimal():
                names += self._adopt(int(number), path)
        return names

    def _adopt(self, number: int, path: Path) -> list[str]:
        process = launch.adopt(path)
        if process is None:
            path.unlink(missing_ok=True)
            return []
        adopted = Reply(Op.ADOPT, 0, 0, b"")
        try:
            adopted = process.connection.request(Request(Op.ADOPT))
            names = process.connection.list_channels()
            page_name = paths.worker_page(self.settings.namespace, self.settings.name, number)
            page_fd = paths.open_shm(page_name, writable=True)
        except BaseException:
            adopted.close()
            process.close()
            raise
        (rx_fd,) = adopted.fds
        liveness.lock_shared(page_fd)
        slot = Slot(number, affinity.UNPINNED, page_name, page_fd, rx_fd)
        facts = page.facts(page_fd)
        if facts is not None and facts.cpu_wanted is not None:
            slot.cpu = facts.cpu_wanted
        slot.process = process
        with slot.lock:
            slot.apply(restart_policy.Launched())
            requests = (Request(Op.EXPORT, channel_body(name)) for name in names)
            for name, reply in zip(names, process.connection.request_row(requests), strict=True):
                self._keep_exported(slot, name, reply)
        users = {one.uid for one in slot.holdings.values()} - {0, os.geteuid()}
        with self._lock:
            self._slots[number] = slot
            if number >= affinity.CORES and users:
                self._users[users.pop()] = number // affinity.CORES
        self._watch(slot, process)
        return list(slot.holdings)

    def _keep_exported(self, slot: Slot, name: str, reply: Reply) -> None:
        if reply.result < 0 or len(reply.fds) < EXPORTED_ALWAYS:
            error = refusal(reply)
            if error.errno != errno.ENOENT:  # another worker has that one
                log.warning("channel %s cannot be adopted: %s", name, error)
            return
        segment_fd, bell_fd, *rest = reply.fds
        socket_fd = rest[0] if rest else -1
        posix_name = paths.channel_segment(self.settings.namespace, name)
        holding = Holding(name, posix_name, reply.body, segment_fd, bell_fd, socket_fd)
        noted = records.read(self.settings.directory, name)
        if noted is not None and noted.is_of(os.fstat(segment_fd)):
            holding.asked, holding.openers, holding.uid = noted.config, noted.openers, noted.uid
        slot.holdings[name] = holding
        with self._lock:
            self._channels[name] = slot

    # --- starting ------------------------------------------------------------------------------

    def _begin(self, number: int) -> Slot:
        with self._lock:
            self._start_thread()  # first, because an unwatched worker must not start
        page_name = paths.worker_page(self.settings.namespace, self.settings.name, number)
        page_fd = page.create(page_name)
        rx_fd = os.memfd_create(f"shmring-worker-{number}-rx", os.MFD_CLOEXEC)
        cpu = self.settings.cpu_of(number)
        slot = Slot(number, cpu, page_name, page_fd, rx_fd)
        try:
            slot.process = self._launch(slot)
        except BaseException:
            liveness.remove_own(page_name, page_fd)
            slot.close()
            self._remove_directory()
            raise
        with slot.lock:
            slot.apply(restart_policy.Launched())
        with self._lock:
            if not self.stopping:
                self._slots[number] = slot
                self._watch(slot, slot.process)
                self._open_door()
                return slot
        self._end([slot])  # the pool was closed in the meantime
        raise WorkerDown(f"pool {self.settings.name!r} is closed")

    def _launch(self, slot: Slot) -> Process:
        """Start the worker of a slot. During that, a private pool makes its directory and holds it.
        The last worker removes it."""
        with contextlib.ExitStack() as held:

            def settle_directory() -> None:
                if self.settings.private:
                    directory, group = self.settings.directory, self.settings.group
                    held.callback(os.close, liveness.hold_directory(directory, group))

            return launch.launch(
                self.settings, slot.number, slot.cpu, slot.page_fd, slot.rx_fd, settle_directory
            )

    def _open_door(self) -> None:
        """Let other users in, if the pool has a group. Raises `WorkerStartError`, `OSError`."""
        with self._lock:
            if self.settings.group is None or self._door is not None:
                return
            self._door = Door(self.settings)
            self._epoll.register(self._door.pidfd, select.EPOLLIN)
            self._start_thread()
        os.eventfd_write(self._wake_fd, 1)

    def _reopen_door(self) -> float | None:
        """Start another door in the place of one that has ended. Return the seconds until another
        attempt, if this one fails."""
        with self._lock:
            if self._door is not None and self._door.has_ended():
                self._epoll.unregister(self._door.pidfd)
                self._door.close()
                self._door = None
                self._notes.warning("the door of the pool has ended and is started again")
            wanted = bool(self._slots) or not self.settings.private
        if self._door is None and wanted:
            try:
                self._open_door()
            except (WorkerStartError, OSError) as error:
                self._notes.warning("%s", error)
                return HEARTBEAT_PERIOD_S
        return None

    def _watch(self, slot: Slot, process: Process) -> None:
        with self._lock:
            self._watched[process.pidfd] = (slot, process)
            self._epoll.register(process.pidfd, select.EPOLLIN)
            self._start_thread()
        os.eventfd_write(self._wake_fd, 1)

    def _start_thread(self) -> None:
        """The caller holds the tables' lock. Raises `BlockingIOError`."""
        if self._thread is not None:
            return
        # A daemon: the pool's finalizer ends it, which runs after Python would have waited
        # for other threads.
        thread = threading.Thread(
            target=_supervise,
            args=(weakref.ref(self), self._epoll, self._wake_fd),
            name=f"shmring-pool-{self.settings.name}",
            daemon=True,
        )
        launch.start_thread(thread)
        self._thread = thread

    def _request_open(
        self, process: Process, holding: Holding, sock: int | None, *, takeover: bool
    ) -> Reply:
        request = _open_request(holding, sock, takeover=takeover)
        try:
            return process.connection.request(request)
        except WorkerSilent:
            # It may still do it later. Then it finds this request.
            process.connection.post(Request(Op.CLOSE, channel_body(holding.name)))
            raise

    def _keep(self, slot: Slot, holding: Holding, reply: Reply) -> None:
        """Hold what the worker serves now. If that raises, the channel is not served: `holding` may
        be closed then, and the worker's successor must not get it."""
        if reply.fds:
            holding.socket_fd = reply.fds.pop()
        reply.close()
        (holding.memory_bytes,) = OPENED.unpack(reply.body)
        try:
            self._note(slot, holding)
        except BaseException:
            self._close_served(slot, holding.name)
            raise
        slot.holdings[holding.name] = holding
        with self._lock:
            self._channels[holding.name] = slot

    def _note(self, slot: Slot, holding: Holding) -> None:
        if not self.settings.private:
            records.write(
                self.settings.directory,
                holding.name,
                slot.number,
                holding.asked,
                holding.segment_fd,
                holding.socket_fd,
                holding.openers,
                holding.uid,
            )

    def _check_open(self) -> None:
        if self._stopping or self._forgotten:
            raise WorkerDown(f"pool {self.settings.name!r} is closed")

    # --- watching: the supervisor's thread -------------------------------------------------------

    def attend(self, ready: list[int]) -> float | None:
        """Do one round of the supervisor's thread: handle the deaths of the `ready` descriptors,
        and do what is due. Return the seconds until the next round, or None for no limit."""
        for fd in ready:
            with self._lock:
                watched = self._watched.pop(fd, None)
            if watched is not None:
                self._epoll.unregister(fd)
                self._on_death(*watched)
        with self._lock:
            slots = list(self._slots.values())
        waits = [self._reopen_door(), self.leavings.give_back_due()]
        waits += [self._look_after(slot) for slot in slots]
        return min((wait for wait in waits if wait is not None), default=None)

    @property
    def stopping(self) -> bool:
        return self._stopping or self._forgotten

    def _look_after(self, slot: Slot) -> float:
        with slot.lock:
            now_ns = time.monotonic_ns()
            if slot.state.phase is Phase.PAUSED:
                if now_ns < slot.state.restart_at_ns:
                    return (slot.state.restart_at_ns - now_ns) / 1e9
                self._start_again(slot)
            wait_s = self._hand_over_again(slot, now_ns)
            self._check_heartbeat(slot)
        return wait_s

    def _check_heartbeat(self, slot: Slot) -> None:
        facts = page.facts(slot.page_fd) if slot.process is not None else None
        if facts is None:
            return
        slot.samples = (slot.samples[1], (time.monotonic_ns(), facts.cpu_ns))
        if facts.channels < sum(holding.served for holding in slot.holdings.values()):
            self._drop_closed(slot, *[one for one in slot.holdings.values() if one.served])
        match slot.apply(restart_policy.Beat(facts.heartbeat_ns)):
            case Action.REPORT_STALL:
                slot.error = "alive, but without a heartbeat"
                slot.problems.note(EventId.WORKER_STALLED)
                log.warning("worker %d (process %d) is %s", slot.number, facts.pid, slot.error)
            case Action.REPORT_RECOVERY:
                slot.error = ""
                log.warning("worker %d (process %d) continues", slot.number, facts.pid)

    def _drop_closed(self, slot: Slot, *holdings: Holding) -> None:
        """Drop those channels that the worker closed because another process asked it. The caller
        holds the slot's lock."""
        for holding in holdings:
            if holding.is_named():
                continue
            with self._lock:
                if self._channels.get(holding.name) is not slot:
                    continue  # a thread waits for the worker that closes it
            self._withdraw(slot, holding.name)
            log.info("channel %s was closed by another process", holding.name)
            if slot.process is not None:  # it may be handed over late, or only the name be removed
                slot.process.connection.post(Request(Op.CLOSE, channel_body(holding.name)))
            del slot.holdings[holding.name]
            self._let_go(holding)

    def _on_death(self, slot: Slot, process: Process) -> None:
        with slot.lock:
            if slot.process is not process or self.stopping:
                return
            status = None
            with contextlib.suppress(TimeoutError):
                status = process.reap(QUIT_TIMEOUT_S)
                slot.error = launch.describe_status(status)
            if said := process.stderr_text():
                slot.error += f": {said}"
            log.warning("worker %d (process %d) %s", slot.number, process.pid, slot.error)
            slot.problems.note(EventId.WORKER_DIED, slot.error, number=status or 0)
            process.close()
            slot.process = None
            self._follow(slot, slot.apply(restart_policy.Died()))

    def _follow(self, slot: Slot, action: Action) -> None:
        if action is Action.START:
            self._start_again(slot)
        elif action is Action.GIVE_UP:
            self._give_up(slot)

    def _start_again(self, slot: Slot) -> None:
        try:
            process = self._launch(slot)
        except (WorkerStartError, OSError) as error:
            slot.error = str(error)
            self._notes.warning("worker %d did not restart: %s", slot.number, error)
            slot.problems.note(EventId.WORKER_NOT_STARTED, slot.error)
            short = error.errno in SHORTAGES
            event = restart_policy.Short() if short else restart_policy.Died()
            self._follow(slot, slot.apply(event))
            return
        slot.process = process
        slot.apply(restart_policy.Launched())
        slot.hand_overs = slot.silent_beat_ns = 0
        for holding in slot.holdings.values():
            holding.served = holding.lacks_socket = False
            holding.refusals = 0
        self._hand_over(slot, process)
        self._watch(slot, process)

    def _hand_over_again(self, slot: Slot, now_ns: int) -> float:
        """Hand over the channels that a shortage delayed. Return the seconds until the next look.

        A worker without a heartbeat is not asked again before it continues. Each request would
        block this thread, and leave more requests for the worker.
        """
        if slot.process is None or slot.hand_over_at_ns == 0 or slot.stands_still():
            return HEARTBEAT_PERIOD_S
        if slot.hand_over_at_ns <= now_ns:
            self._hand_over(slot, slot.process)
        if slot.hand_over_at_ns == 0:
            return HEARTBEAT_PERIOD_S
        wait_s = (slot.hand_over_at_ns - time.monotonic_ns()) / 1e9
        return min(max(wait_s, 0.0), HEARTBEAT_PERIOD_S)

    def _hand_over(self, slot: Slot, process: Process) -> None:
        """Hand over all channels that the worker does not serve yet. If necessary, try
        again later."""
        waiting = slot.unserved()
        slot.hand_overs += 1
        slot.hand_over_at_ns = slot.silent_beat_ns = 0
        timeout = REPLY_TIMEOUT_S if slot.hand_overs == 1 else HEARTBEAT_PERIOD_S
        try:
            replies = process.connection.request_row(map(_takeover_request, waiting), timeout)
            for holding, reply in zip(waiting, replies, strict=True):
                self._handed_over(slot, holding, reply)
            for holding in slot.without_socket():
                _fetch_socket(process, holding)
        except OSError as error:  # it died again, as its pidfd says in the next round, or it hangs
            if isinstance(error, WorkerSilent):
                slot.silent_beat_ns = slot.heartbeat_ns()
            self._notes.warning("worker %d did not take over all channels: %s", slot.number, error)
            slot.problems.note(EventId.TAKEOVER_FAILED, str(error), number=error.errno or 0)
        if slot.unserved() or slot.without_socket():
            pause_s = HAND_OVER_PAUSE_S * 2 ** min(slot.hand_overs - 1, HAND_OVER_TRIES)
            pause_s = min(pause_s, HAND_OVER_LONGEST_PAUSE_S)
            slot.hand_over_at_ns = time.monotonic_ns() + int(pause_s * 1e9)

    def _handed_over(self, slot: Slot, holding: Holding, reply: Reply) -> None:
        if reply.result == -errno.EEXIST:  # taken over before, but the answer was not awaited
            holding.served = holding.lacks_socket = True
        elif reply.result < 0:
            self._not_handed_over(slot, holding, refusal(reply))
        else:
            holding.served = True
            if holding.socket_fd < 0 and reply.fds:
                holding.socket_fd = reply.fds.pop()
        reply.close()

    def _not_handed_over(self, slot: Slot, holding: Holding, error: OSError) -> None:
        text = str(error.strerror)
        holding.refusals += 1
        if error.errno in PASSING and holding.refusals < HAND_OVER_TRIES:
            self._notes.warning("channel %s is handed over again: %s", holding.name, text)
            return
        if holding.refusals > 1:
            text = f"{text} (tried {holding.refusals} times)"
        self._fail(slot, holding, error.errno or 0, text)

    def _give_up(self, slot: Slot) -> None:
        text = (
            f"worker {slot.number} died {slot.state.fast_crashes} times in a row, the last time: "
            f"{slot.error}"
        )
        log.error("%s; its channels have failed", text)
        slot.error = text
        slot.problems.note(EventId.WORKER_GIVEN_UP, text)
        for holding in slot.holdings.values():
            self._fail(slot, holding, 0, text)

    def _fail(self, slot: Slot, holding: Holding, error: int, text: str) -> None:
        holding.error = text
        slot.problems.note(EventId.CHANNEL_GIVEN_UP, text, number=error, channel=holding.name)
        log.error("channel %s has failed: %s", holding.name, text)
        self._mark_failed(holding, error, text)

    # --- ending ----------------------------------------------------------------------------------

    def _end(self, slots: list[Slot]) -> None:
        for slot in slots:
            with slot.lock:
                slot.apply(restart_policy.Stop())
                if slot.process is not None:
                    with contextlib.suppress(OSError):
                        slot.process.connection.request(Request(Op.QUIT), QUIT_TIMEOUT_S)
        for slot in slots:
            with slot.lock:
                self._bury(slot)

    def _bury(self, slot: Slot) -> None:
        if slot.process is not None:
            try:
                slot.process.reap(QUIT_TIMEOUT_S)
            except TimeoutError:
                slot.process.kill()
                slot.process.reap(QUIT_TIMEOUT_S)
        for holding in slot.holdings.values():
            liveness.remove_own(holding.posix_name, holding.segment_fd)
            records.remove(self.settings.directory, holding.name)
            self._let_go(holding)
        liveness.remove_own(slot.page_name, slot.page_fd)
        slot.close()

    def _close_own(self) -> None:
        for fd in (self._owner_fd, self._lock_fd, self._wake_fd):
            if fd >= 0:
                os.close(fd)
        self._owner_fd = self._lock_fd = self._wake_fd = -1
        self._epoll.close()
        if not self._forgotten:
            self._remove_directory()

    def _remove_directory(self) -> None:
        """Do this here, because no worker is left to do it."""
        directory = self.settings.directory
        with liveness.deserted(directory) as empty:
            if empty:
                liveness.remove_directory(directory)


_supervisors: weakref.WeakSet[Supervisor] = weakref.WeakSet()


def _takeover_request(holding: Holding) -> Request:
    sock = holding.socket_fd if holding.socket_fd >= 0 else None
    return _open_request(holding, sock, takeover=True)


def _open_request(holding: Holding, sock: int | None, *, takeover: bool) -> Request:
    return open_request(
        holding.config,
        holding.segment_fd,
        holding.bell_fd,
        sock,
        takeover=takeover,
        memory_limit=holding.memory_limit,
    )


def _fetch_socket(process: Process, holding: Holding) -> None:
    if holding.socket_fd < 0:
        request = Request(Op.EXPORT, channel_body(holding.name))
        reply = process.connection.request(request, HEARTBEAT_PERIOD_S)
        if len(reply.fds) > EXPORTED_ALWAYS:
            holding.socket_fd = reply.fds.pop()
        reply.close()
    holding.lacks_socket = False


def _supervise(reference: weakref.ref[Supervisor], epoll: select.epoll, wake_fd: int) -> None:
    """Body of the supervisor's thread. Between two rounds it holds no reference to its pool."""
    timeout: float | None = 0.0
    notes = RareLog(log)
    while True:
        try:
            ready = [fd for fd, _ in epoll.poll(timeout)]
        except (ValueError, OSError):
            return  # closed: this is a forked child, or the pool was never used
        supervisor = reference()
        if supervisor is None:
            return
        if wake_fd in ready:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(wake_fd)
        try:
            timeout = None if supervisor.stopping else supervisor.attend(ready)
        except Exception:
            notes.exception("supervision of pool %s failed; it continues", supervisor.settings.name)
            timeout = HEARTBEAT_PERIOD_S
        if supervisor.stopping:
            supervisor.finish()
            return
        del supervisor


def _forget_all() -> None:
    for supervisor in list(_supervisors):
        supervisor.forget()


os.register_at_fork(after_in_child=_forget_all)
