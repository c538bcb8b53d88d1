"""One worker of a pool across its restarts, and what the pool keeps of its channels.

A `Slot` has a lock of its own, see `rtworkers.supervisor`.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field

from rtworkers import affinity, liveness, page, paths, restart_policy
from rtworkers.control import WorkerDown
from rtworkers.error_log import ErrorLog
from rtworkers.launch import Process
from rtworkers.opener import Opener
from rtworkers.restart_policy import Action, Phase


@dataclass(slots=True)
class Holding:
    """What the pool keeps of one channel, so that it survives any worker."""

    name: str
    posix_name: str
    config: bytes
    segment_fd: int
    bell_fd: int
    socket_fd: int = -1
    asked: bytes = b""
    """The configuration that its opener gave. A socket of a worker and a pool that both died is
    replaced by one with the same port, which only `config` has."""
    openers: dict[Opener, int] = field(default_factory=dict)
    """Who opened it and did not end it, oldest first, and through how many ends. If none of them
    runs, the last one stays. Empty: unknown."""
    uid: int = field(default_factory=os.geteuid)
    """The user for whom it counts."""
    memory_limit: int = 0
    """What a worker may take for it beside the segment, bytes. 0: no limit."""
    memory_bytes: int = 0
    """What of that counts for its user."""
    held_anew: bool = False
    """Whether the last one who opened it had it held. It was not held before."""
    error: str = ""
    served: bool = True
    """Whether the current worker has it."""
    lacks_socket: bool = False
    """Whether the answer with the socket was lost."""
    refusals: int = 0
    """How often the current worker could not take it over."""

    def __post_init__(self) -> None:
        self.asked = self.asked or self.config

    def living(self) -> list[Opener]:
        """The openers that run, as far as this process can tell."""
        return [one for one in self.openers if not one.is_dead]

    @property
    def opener(self) -> Opener | None:
        """The oldest opener that runs, else the last one. None: unknown."""
        return next(iter(self.living()), next(reversed(self.openers), None))

    def joined_by(self, opener: Opener) -> dict[Opener, int]:
        """Return the openers with one more end of `opener`, and without those that are dead."""
        known = self.living() or list(self.openers)[-1:]
        openers = {one: self.openers[one] for one in known}
        same = next((one for one in known if one.is_same(opener)), opener)
        openers[same] = openers.get(same, 0) + 1
        return openers

    def leave(self, opener: Opener) -> bool:
        """Take one end of `opener` off its openers. Return whether it had one."""
        same = next((one for one in self.openers if one.is_same(opener)), None)
        if same is None:
            return False
        self.openers[same] -= 1
        if self.openers[same] == 0:
            del self.openers[same]
        return True

    def is_named(self) -> bool:
        """Whether its segment still has its name."""
        return liveness.is_same_file(self.segment_fd, paths.shm_file(self.posix_name))

    def close(self) -> None:
        for fd in (self.segment_fd, self.bell_fd, self.socket_fd):
            if fd >= 0:
                os.close(fd)
        self.segment_fd = self.bell_fd = self.socket_fd = -1


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """One worker, as its pool sees it."""

    slot: int
    cpu_wanted: int | None
    phase: Phase
    pid: int | None
    restarts: int
    channels: int
    heartbeat_age_ns: int
    cpu_share: float
    page: page.PageFacts | None
    error: str


@dataclass(eq=False)
class Slot:
    """One worker and what it holds, across all its restarts."""

    number: int
    cpu: int
    page_name: str
    page_fd: int
    rx_fd: int  # memory of the worker's receive buffers, which survives it
    state: restart_policy.State = field(default_factory=restart_policy.State)
    process: Process | None = None
    holdings: dict[str, Holding] = field(default_factory=dict)
    hand_overs: int = 0  # in this process, for channels that it does not serve yet
    hand_over_at_ns: int = 0  # the next one; 0: all are served
    silent_beat_ns: int = 0  # its last heartbeat when it did not answer one; 0: it answered
    error: str = ""
    problems: ErrorLog = field(init=False)
    # CLOCK_MONOTONIC and CPU time at the last two looks: a share needs some time between them.
    samples: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    lock: threading.RLock = field(default_factory=threading.RLock)
    changed: threading.Condition = field(init=False)

    def __post_init__(self) -> None:
        self.changed = threading.Condition(self.lock)
        self.problems = ErrorLog(self.page_fd)

    def apply(self, event: restart_policy.Event) -> Action:
        """Return the policy's action for an event. The caller holds the slot's lock."""
        self.state, action = restart_policy.decide(self.state, event, time.monotonic_ns())
        self.changed.notify_all()
        return action

    def unserved(self) -> list[Holding]:
        """The channels that wait to be handed over. The caller holds the slot's lock."""
        return [one for one in self.holdings.values() if not one.served and not one.error]

    def without_socket(self) -> list[Holding]:
        """The channels whose socket the worker has to export. The caller holds the slot's lock."""
        return [one for one in self.holdings.values() if one.lacks_socket]

    def heartbeat_ns(self) -> int:
        """Time of the worker's last heartbeat. 0: its page does not say."""
        facts = page.facts(self.page_fd)
        return facts.heartbeat_ns if facts is not None else 0

    def stands_still(self) -> bool:
        """Whether there was no heartbeat since it did not answer a hand-over."""
        return self.silent_beat_ns != 0 and self.silent_beat_ns == self.heartbeat_ns()

    def running(self) -> Process:
        """The process. The caller holds the slot's lock. Raises `WorkerDown`."""
        if self.process is None:
            raise WorkerDown(
                f"worker {self.number} is {self.state.phase.value}: "
                f"{self.error or 'no worker process'}"
            )
        return self.process

    def wait_restarted(self, dead: Process | None, timeout: float) -> bool:
        """Wait up to `timeout` seconds. Return whether another process than `dead` serves this
        slot."""
        with self.changed:
            return self.changed.wait_for(
                lambda: self.process not in (None, dead) or self.state.phase is Phase.GIVEN_UP,
                timeout,
            )

    def facts(self) -> SlotFacts:
        """The worker's current facts. Any thread, no lock."""
        now_ns = time.monotonic_ns()
        process = self.process
        facts = page.facts(self.page_fd)
        share = 0.0
        if facts is not None:
            since_ns, cpu_ns = self.samples[0]
            if since_ns < facts.started_ns:
                since_ns, cpu_ns = facts.started_ns, 0
            share = (facts.cpu_ns - cpu_ns) / max(now_ns - since_ns, 1)
        return SlotFacts(
            slot=self.number,
            cpu_wanted=None if self.cpu == affinity.UNPINNED else self.cpu,
            phase=self.state.phase,
            pid=process.pid if process else None,
            restarts=self.state.restarts,
            channels=len(self.holdings),
            heartbeat_age_ns=max(0, now_ns - facts.heartbeat_ns) if facts else 0,
            cpu_share=min(max(share, 0.0), 1.0),
            page=facts,
            error=self.error,
        )

    def close(self) -> None:
        """Close everything that this process holds. Worker, segments and page are not affected."""
        if self.process is not None:
            self.process.close()
        for holding in self.holdings.values():
            holding.close()
        self.problems.close()
        for fd in (self.page_fd, self.rx_fd):
            if fd >= 0:
                os.close(fd)
        self.page_fd = self.rx_fd = -1
