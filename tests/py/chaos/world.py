"""One engine's world: its pool, channels, clients and tools, who is killed or stopped, and the
ledger at the end of each chapter."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ledger
import wire
from ledger import Interval, Sums
from stage import (
    STARTING,
    Actor,
    Stage,
    gone,
    run_delay_ns,
    segments,
    workers_of,
)

MS = 1_000_000
SUCCESSOR_SERVES_NS = 500 * MS  # after a death, at the latest
WORKER_LIFE_NS = 1_500 * MS  # below a second since it serves, the pool takes a death for a crash


@dataclass
class Event:
    """A kill or a stop."""

    at_ns: int
    what: str  # "kill" or "stop"
    role: str
    pid: int
    until_ns: int = 0  # of a stop


class Failed(AssertionError):
    """Complaints of the ledger."""


class World:
    """What all engines share. A chapter: set_up, fate for a while, judge, tear_down."""

    engine = ""

    def __init__(self, stage: Stage, rng: random.Random, folder: Path, namespace: str, policy: str):
        self.stage, self.rng, self.home, self.policy = stage, rng, folder, policy
        self.namespace = namespace
        self.chapters = 0
        self._open_folder()
        self.events: list[Event] = []
        self.kills = 0
        self.pool_died = False
        self.sums = Sums()
        self.complaints: list[str] = []
        self._stops: list[tuple[int, Actor | int, Event]] = []

    def _open_folder(self) -> None:
        self.folder = self.home / str(self.chapters)
        self.folder.mkdir(parents=True)
        self.runtime = self.folder / "run"
        self.clock_file = self.folder / "still"
        self.env = {
            "SHMRING_NAMESPACE": self.namespace,
            "SHMRING_RUNTIME_DIR": str(self.runtime),
        }

    # --- actors -------------------------------------------------------------------------------

    def start(self, role: str, **arguments: Any) -> Actor:
        return self.stage.start(role, self.env, **arguments)

    def signal_to(self, victim: Actor | int, number: int) -> None:
        if isinstance(victim, Actor):
            victim.signal(number)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, number)

    def kill(self, victim: Actor | int, role: str, number: int = signal.SIGKILL) -> Event:
        event = Event(
            time.monotonic_ns(), "kill", role, victim if isinstance(victim, int) else victim.pid
        )
        self.signal_to(victim, number)
        self.events.append(event)
        self.kills += 1
        self.sums.counts[f"killed {role}"] += 1
        return event

    def stop(self, victim: Actor | int, role: str, longest_ns: int) -> Event:
        now = time.monotonic_ns()
        event = Event(now, "stop", role, victim if isinstance(victim, int) else victim.pid)
        event.until_ns = now + self.rng.randrange(5 * MS, longest_ns)
        self.signal_to(victim, signal.SIGSTOP)
        self.events.append(event)
        self.sums.counts[f"stopped {role}"] += 1
        self._stops.append((event.until_ns, victim, event))
        return event

    def continue_due(self, *, everyone: bool = False) -> None:
        for entry in list(self._stops):
            until, victim, event = entry
            if everyone or time.monotonic_ns() >= until:
                self.signal_to(victim, signal.SIGCONT)
                event.until_ns = time.monotonic_ns()
                self._stops.remove(entry)

    def is_stopped(self, pid: int) -> bool:
        return any(event.pid == pid for _, _, event in self._stops)

    def wait_for(self, what: str, condition: Any, timeout: float = 20.0) -> Any:
        give_up = time.monotonic() + timeout
        while not (found := condition()):
            if time.monotonic() > give_up:
                raise Failed(f"{self.engine}: {what}: not within {timeout} s")
            self.continue_due()  # what is stopped may be what is waited for
            time.sleep(0.002)
        return found

    # --- a chapter ----------------------------------------------------------------------------

    def chapter(self, kills: int) -> None:
        self.chapters += 1
        self._open_folder()
        self.events.clear()
        try:
            self._chapter(kills)
        except (Failed, TimeoutError) as caught:
            self.complaints.append(str(caught))
            self.break_off()
        if not self.complaints:
            shutil.rmtree(self.folder)

    def break_off(self) -> None:
        self.continue_due(everyone=True)
        self.stage.clear()
        for pid in workers_of(self.runtime):
            self.signal_to(pid, signal.SIGKILL)
        for name in segments(self.namespace):
            Path("/dev/shm", name).unlink(missing_ok=True)

    def _chapter(self, kills: int) -> None:
        before = self.kills
        self.set_up()
        while self.kills - before < kills and not self.complaints and not self.pool_died:
            self.continue_due()
            self.strike()
            self.stage.reap()
            time.sleep(self.rng.uniform(0.0, self.pause_s))
        self.continue_due(everyone=True)
        self.judge()
        self.tear_down()
        if self.pool_died or self.always_sweep:  # what nobody owns any more is the collector's
            self.sweep()
        self.look_for_leftovers()

    pause_s = 0.06
    always_sweep = False
    most_kills = 1000  # of a chapter

    def sweep(self) -> None:
        sweeper = self.start("sweeper", output=str(self.folder / "swept"))
        sweeper.wait_end()
        self.stage.forget(sweeper)

    def set_up(self) -> None: ...
    def strike(self) -> None: ...
    def judge(self) -> None: ...
    def tear_down(self) -> None: ...

    def look_for_leftovers(self) -> None:
        try:
            self.wait_for(
                "workers end", lambda: not [p for p in workers_of(self.runtime) if not gone(p)]
            )
            self.wait_for("segments removed", lambda: not segments(self.namespace), 5.0)
        except Failed as failed:
            self.complaints.append(
                f"{failed}: {segments(self.namespace)} {workers_of(self.runtime)}"
            )
        files = [str(path) for path in self.runtime.rglob("*") if not path.is_dir()]
        if files:
            self.complaints.append(
                f"{self.engine}: left in the runtime directory: {ledger.some(files)}"
            )

    # --- times that explain delays ------------------------------------------------------------

    def machine_still(self) -> list[Interval]:
        lines = wire.read(self.clock_file, wire.STILL)
        return [(int(line["begin_ns"]), int(line["end_ns"])) for line in lines]


class PoolWorld(World):
    """Worlds whose channels live in a named pool "x", which `shmring up` runs."""

    pool = "x"

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.up: Actor | None = None
        self.down_since_ns = 0
        self.down: list[Interval] = []
        self.worker_since: dict[int, int] = {}
        self.replacing: list[tuple[Event, int, int]] = []  # death, up's pid, its run delay then
        self.excused: dict[int, int] = {}  # death -> how long those that recover had no core
        self.pool_died = False

    def start_up(self) -> None:
        self.up = self.start("up", name=self.pool, policy=self.policy)

    def workers(self) -> list[int]:
        return [pid for pid in workers_of(self.runtime) if not gone(pid)]

    def steady_worker(self) -> int | None:
        """A worker that has lived long enough to be killed, and is not stopped."""
        now = time.monotonic_ns()
        current = self.workers()
        self.worker_since = {pid: self.worker_since.get(pid, now) for pid in current}
        steady = [
            p
            for p in current
            if now - self.worker_since[p] > WORKER_LIFE_NS and not self.is_stopped(p)
        ]
        return self.rng.choice(steady) if steady else None

    def kill_worker(self, pid: int) -> None:
        up_pid = self.up.pid if self.up is not None else 0
        before = run_delay_ns(up_pid)
        event = self.kill(pid, "worker")
        self.replacing.append((event, up_pid, before))

    def watch_replacing(self) -> None:
        """Note how long the machine kept those waiting that had to replace a dead worker, until
        its successor surely serves."""
        for entry in list(self.replacing):
            event, up_pid, before = entry
            fresh = [pid for pid in self.workers() if pid != event.pid]
            since_ns = time.monotonic_ns() - max([event.at_ns, *(end for _, end in self.down)])
            if fresh:
                now_up = up_pid if self.up is None else self.up.pid
                waited = run_delay_ns(now_up) - (before if now_up == up_pid else 0)
                delay = waited + sum(map(run_delay_ns, fresh))
                self.excused[event.at_ns] = max(delay, self.excused.get(event.at_ns, 0))
                if since_ns > SUCCESSOR_SERVES_NS:
                    self.replacing.remove(entry)

    def all_replaced(self) -> bool:
        self.watch_replacing()
        return not self.replacing

    def kill_up(self) -> None:
        assert self.up is not None
        self.kill(self.up, "up")
        self.down_since_ns = time.monotonic_ns()
        self.up.wait_end()
        self.stage.forget(self.up)
        self.up = None

    def bring_up(self) -> None:
        """Start the pool's process again. If nobody served its channels, they are over."""
        self.start_up()
        up = self.up
        assert up is not None
        while up.state == STARTING and up.alive():
            self.continue_due()
            time.sleep(0.002)
        self.down.append((self.down_since_ns, time.monotonic_ns()))
        self.pool_died = not any(":c:" in name for name in segments(self.namespace))

    def allowed_delays(self) -> list[Interval]:
        """When the worker could not serve because of our own kills and stops."""
        stops = [
            (e.at_ns, e.until_ns) for e in self.events if e.what == "stop" and e.role == "up"
        ]
        allowed = []
        for event in self.events:
            if event.what == "stop" and event.role == "worker":
                allowed.append((event.at_ns, event.until_ns))
            if event.what == "kill" and event.role == "worker":
                waited_ns = self.excused.get(event.at_ns, 0)
                allowed.append((event.at_ns, event.at_ns + waited_ns))
                # Without the pool's process nobody replaces a worker.
                for begin, end in [*self.down, *stops]:
                    if begin < event.at_ns + 1000 * MS and end > event.at_ns:
                        allowed.append((max(begin, event.at_ns), end + waited_ns))
        return _merged(allowed)

    def end_up(self) -> None:
        assert self.up is not None
        self.up.signal(signal.SIGCONT)
        self.up.signal(signal.SIGTERM)
        if not self.up.wait_end(20):
            self.complaints.append(f"{self.engine}: shmring up does not end within 20 s of SIGTERM")
            self.up.signal(signal.SIGKILL)
            self.up.wait_end()
        self.stage.forget(self.up)
        self.up = None


def _merged(intervals: list[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged
