"""One engine's world: its pool, channels, clients and tools, what fate does to them, and the
ledger at the end of each chapter."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ledger
import wire
from ledger import Interval, Sums
from stage import (
    BROKEN,
    ENDED,
    STARTING,
    Actor,
    Stage,
    gone,
    run_delay_ns,
    segments,
    workers_of,
)

MS = 1_000_000
WORKER_LIFE_NS = 1_050 * MS  # below a second, the pool takes a death for a crash and pauses


@dataclass
class Event:
    """Something that fate did."""

    at_ns: int
    what: str  # "kill" or "stop"
    role: str
    pid: int
    until_ns: int = 0  # of a stop; of a worker's death: until it was replaced


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
        if self.pool_died:  # all at once: what nobody owns any more is the collector's
            sweeper = self.start("sweeper", output=str(self.folder / "swept"))
            sweeper.wait_end()
            self.stage.forget(sweeper)
        self.look_for_leftovers()

    pause_s = 0.06

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
        """Once a dead worker's successor serves, note how long the machine kept those waiting that
        had to bring it up."""
        for entry in list(self.replacing):
            event, up_pid, before = entry
            fresh = [pid for pid in self.workers() if pid != event.pid]
            if fresh and time.monotonic_ns() - event.at_ns > 60 * MS:
                delay = max(0, run_delay_ns(up_pid) - before) + sum(map(run_delay_ns, fresh))
                self.excused[event.at_ns] = delay
                event.until_ns = time.monotonic_ns()
                self.replacing.remove(entry)

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
        """When the worker could not serve, by our own doing."""
        allowed = []
        for event in self.events:
            if event.what == "stop" and event.role == "worker":
                allowed.append((event.at_ns, event.until_ns))
            if event.what == "kill" and event.role == "worker":
                # Without the pool's process nobody replaces a worker.
                stops = [
                    (e.at_ns, e.until_ns)
                    for e in self.events
                    if e.what == "stop" and e.role == "up"
                ]
                for begin, end in [*self.down, *stops]:
                    if begin < event.at_ns + 1000 * MS and end > event.at_ns:
                        allowed.append((max(begin, event.at_ns), end))
                excused = self.excused.get(event.at_ns, 0)
                allowed.append((event.at_ns, event.at_ns + excused))
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


class FlowWorld(PoolWorld):
    """Channels of plain UDP: undated and dated senders, watchers, readers, tools."""

    engine = "udp"
    SOCKETS = ("flow", "timed", "watch")
    ROLES = (
        ("kill", "sender", 40),
        ("kill", "reader", 8),
        ("kill", "tool", 8),
        ("kill", "worker", 60),
        ("kill", "up", 3),
        ("stop", "sender", 10),
        ("stop", "reader", 3),
        ("stop", "worker", 5),
        ("stop", "up", 2),
    )

    def channels(self, ports: list[int]) -> dict[str, dict[str, Any]]:
        def home(index: int) -> tuple[str, int]:
            return ("127.0.0.1", ports[index])

        return {
            "flow": {
                "remote": home(0),
                "direction": "tx",
                "capacity": 1024,
                "report_capacity": 1 << 16,
            },
            "timed": {
                "remote": home(1),
                "direction": "tx",
                "capacity": 1024,
                "report_capacity": 1 << 16,
                "tx_stamp": "off",
            },
            "watch": {
                "remote": home(2),
                "direction": "tx",
                "capacity": 1024,
                "report_capacity": 1 << 16,
            },
            "in": {
                "local": ("127.0.0.1", 0),
                "direction": "rx",
                "rx_capacity": 1 << 15,
                "rx_packet_bytes": 64,
                "rcvbuf_bytes": 4 << 20,
            },
        }

    def set_up(self) -> None:
        self.pool_died = False
        self.down.clear()
        self.excused.clear()
        self.replacing.clear()
        self.clock = self.start("clock", output=str(self.clock_file))
        self.sink = self.start(
            "receiver", output=str(self.folder / "arrivals"), sockets=len(self.SOCKETS)
        )
        self.sink.wait_ready()
        ports = [int(p) for p in (self.folder / "arrivals.ports").read_text().split()]
        self.ports = ports
        self.start_up()
        assert self.up is not None
        self.up.wait_ready()
        opened = self.folder / "opened.json"
        opener = self.start(
            "opener", pool=self.pool, channels=self.channels(ports), output=str(opened)
        )
        if not opener.wait_end() or opener.state != ENDED:
            raise Failed(f"{self.engine}: channels were not opened: see {self.stage.log}")
        self.stage.forget(opener)
        local = json.loads(opened.read_text())
        (self.folder / "targets.txt").write_text(str(local["in"]))
        self.lives: dict[int, tuple[str, Actor, bool]] = {}  # of senders: channel, actor, dated
        self.auditor = self.start(
            "auditor", channels=["flow", "timed", "watch", "in"], folder=str(self.folder)
        )
        self.auditor.wait_ready()
        self.witness = self.start(
            "reader", channel="in", output=str(self.folder / "witness.delivered")
        )
        self.witness.wait_ready()
        self.watchers = [self._sender("watch", rate=400.0, frames=64)]
        for watcher in self.watchers:
            watcher.wait_ready()
        self.injector = self.start(
            "injector", targets=str(self.folder / "targets.txt"), burst=32, pause_s=0.01
        )
        self.victims: dict[str, list[Actor]] = {"sender": [], "reader": [], "tool": []}
        self._fill()

    def _sender(self, channel: str, **options: Any) -> Actor:
        # the file must bear the life's number, which the stage gives
        output = self.folder / f"{channel}.{len(self.lives)}.accepted"
        actor = self.start("sender", channel=channel, output=str(output), **options)
        self.lives[actor.life] = (channel, actor, "lead_ns" in options)
        self.files = getattr(self, "files", {})
        self.files[actor.life] = output
        return actor

    def _fill(self) -> None:
        """Bring those back that were killed."""
        for role, actors in self.victims.items():
            for actor in [a for a in actors if not a.alive()]:
                actors.remove(actor)
                if role != "sender":  # its life goes on in the ledger
                    self.stage.forget(actor)
        senders = self.victims["sender"]
        while len(senders) < 4:
            if len([a for a in senders if self.lives[a.life][0] == "flow"]) < 2:
                senders.append(self._sender("flow", rate=300.0, burst=self.rng.choice((1, 8, 40))))
            else:
                senders.append(
                    self._sender(
                        "timed",
                        rate=300.0,
                        lead_ns=2 * MS,
                        spread_ns=20 * MS,
                        burst=self.rng.choice((1, 8)),
                    )
                )
        while len(self.victims["reader"]) < 2:
            output = str(self.folder / f"reader.{self.rng.randrange(1 << 40)}.delivered")
            self.victims["reader"].append(self.start("reader", channel="in", output=output))
        while len(self.victims["tool"]) < 1:
            self.victims["tool"].append(self.start("tool", words=self.rng.choice(self.TOOLS)))

    TOOLS = (
        ["shmring", "tap", "flow", "-o", "/dev/null"],
        ["shmring", "tap", "in", "-o", "/dev/null"],
        ["rtstat", "show", "flow"],
        ["rtstat", "--once"],
        ["shmring", "ls"],
    )

    def strike(self) -> None:
        """Do one thing, or two at once."""
        self.watch_replacing()
        if self.up is not None and not self.up.alive():
            self.complaints.append("shmring up has ended by itself")
            return
        for _ in range(2 if self.rng.random() < 0.15 else 1):
            weights = [weight for _, _, weight in self.ROLES]
            what, role, _ = self.rng.choices(self.ROLES, weights)[0]
            self._strike_at(what, role)
        if self.up is None:
            self._after_up_died()
        self._fill()

    def _strike_at(self, what: str, role: str) -> None:
        if role == "worker":
            pid = self.steady_worker()
            if pid is None or self.replacing:
                return
            if what == "kill":
                self.kill_worker(pid)
            else:
                self.stop(pid, "worker", 120 * MS)
        elif role == "up":
            if self.up is None or self.is_stopped(self.up.pid):
                return
            if what == "kill":
                self.kill_up()
            else:
                self.stop(self.up, "up", 150 * MS)
        else:
            standing = [a for a in self.victims[role] if a.alive() and not self.is_stopped(a.pid)]
            if not standing:
                return
            victim = self.rng.choice(standing)
            if what == "kill":
                self.kill(victim, role)
            else:
                self.stop(victim, role, 250 * MS)

    def _after_up_died(self) -> None:
        time.sleep(self.rng.uniform(0, 0.05))
        self.bring_up()

    # --- the ledger -----------------------------------------------------------------------------

    def judge(self) -> None:
        senders = [actor for _, actor, _ in self.lives.values()]
        self.injector.finish()
        for actor in senders:
            actor.finish()
        for actor in senders:
            if actor.alive() and not actor.wait_end(20):
                self.complaints.append(
                    f"{self.engine}: sender {actor.life} does not end: its channel is stuck"
                )
        self.injector.wait_end()
        if self.pool_died:
            self.sums.counts["pools that died as a whole"] += 1
            stats: dict[str, Any] = {}
            for actor in senders:
                if actor.state not in (ENDED, BROKEN) and actor.alive():
                    self.complaints.append(
                        f"{self.engine}: nobody told sender {actor.life} that its channel is closed"
                    )
        else:
            stats = self._settled()
        self._mark()
        self._wait_witness(stats)
        arrivals = wire.read(self.folder / "arrivals", wire.ARRIVAL)
        arrivals = arrivals[arrivals["life"] != wire.MARK_LIFE]
        self._judge_channels(arrivals, stats)
        self._judge_times(arrivals)
        self._judge_arrivals(stats)

    def _settled(self) -> dict[str, Any]:
        self.stage.board.order(self.auditor.life, 1000)
        self.wait_for(
            "what was queued is sent, and reported",
            lambda: (
                self.stage.board.get(self.auditor.life, 0) == 1000 or self.auditor.state == BROKEN
            ),
            60,
        )
        if self.auditor.state == BROKEN:
            raise Failed(f"{self.engine}: the auditor broke: see {self.stage.log}")
        told: dict[str, Any] = json.loads((self.folder / "stats.json").read_text())
        return told

    def _mark(self) -> None:
        """All that came before is in the receiver's file."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for port in self.ports:
                sock.sendto(wire.pack(wire.MARK_LIFE, 0, 0), ("127.0.0.1", port))

        def marked() -> bool:
            lines = wire.read(self.folder / "arrivals", wire.ARRIVAL)
            return int((lines["life"] == wire.MARK_LIFE).sum()) == len(self.ports)

        self.wait_for("the receiver reads to the end", marked)

    def _wait_witness(self, stats: dict[str, Any]) -> None:
        size, same = -1, 0
        path = self.folder / "witness.delivered"
        while same < 10:
            now = path.stat().st_size
            same = same + 1 if now == size else 0
            size = now
            time.sleep(0.02)

    def _judge_channels(self, arrivals: Any, stats: dict[str, Any]) -> None:
        deaths = [e.at_ns for e in self.events if e.what == "kill" and e.role == "worker"]
        for index, name in enumerate(self.SOCKETS):
            reports = wire.read(self.folder / f"{name}.reports", wire.REPORT)
            here = arrivals[arrivals["socket"] == index]
            senders = [
                ledger.Sender(
                    life,
                    wire.read(self.files[life], wire.ACCEPTED),
                    self.stage.board.attempted(life),
                )
                for life, (channel, _, _) in self.lives.items()
                if channel == name
            ]
            self.complaints += ledger.check_channel(
                name,
                senders,
                here,
                reports,
                stats.get(name, {}),
                self.sums,
                deaths_ns=deaths,
                whole=not self.pool_died,
            )
            if name == "timed":
                self.complaints += ledger.check_deadline_order(name, reports)
            else:
                accepted = {sender.life: sender.accepted for sender in senders}
                self.complaints += ledger.check_order(name, accepted, here, reports, accepted)

    def _judge_times(self, arrivals: Any) -> None:
        watch = arrivals[arrivals["socket"] == self.SOCKETS.index("watch")]
        if not self.pool_died:
            self.complaints += ledger.check_delays(
                "watch", watch, self.allowed_delays(), self.machine_still(), self.sums
            )
        for event in self.events:
            if event.what == "kill" and event.role == "worker":
                took = ledger.recovery_ns(watch, event.at_ns)
                undisturbed = not ledger.overlap_ns(
                    (event.at_ns, event.at_ns + 500 * MS),
                    [
                        *self.down,
                        *(
                            (e.at_ns, e.until_ns)
                            for e in self.events
                            if e.what == "stop" and e.role in ("up", "worker")
                        ),
                    ],
                )
                if took is not None and undisturbed:
                    self.sums.recoveries_ns.append(took)

    def _judge_arrivals(self, stats: dict[str, Any]) -> None:
        if self.pool_died:
            return
        told = stats["in"]
        lost = (
            told["rx_kernel_drops"] + told["rx_errors"] + self.stage.board.get(self.witness.life, 0)
        )
        lost += told.get("rx_lost_with_worker", 0)
        delivered = wire.read(self.folder / "witness.delivered", wire.DELIVERED)
        total = self.stage.board.attempted(self.injector.life)
        self.complaints += ledger.check_delivered(
            "in", delivered, {self.injector.life: total}, lost, self.sums
        )

    # --- the end --------------------------------------------------------------------------------

    def tear_down(self) -> None:
        for actor in [self.auditor, self.witness, self.sink, self.clock, *self.victims["reader"]]:
            actor.finish()
        for actor in self.victims["tool"]:
            actor.signal(signal.SIGTERM)
        ends = [
            self.auditor,
            self.witness,
            self.sink,
            self.clock,
            self.injector,
            *self.victims["reader"],
            *self.victims["tool"],
            *(a for _, a, _ in self.lives.values()),
        ]
        for actor in ends:
            if not actor.wait_end(10):
                self.complaints.append(f"{self.engine}: {actor.role} does not end")
                actor.signal(signal.SIGKILL)
                actor.wait_end()
            self.stage.forget(actor)
        self.end_up()


