"""Worlds whose pools end with their process: mux, UDT, and owners that open and close."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import ledger
import numpy as np
import wire
from stage import ENDED, Actor, gone, parent_of, segments, workers_of
from world import MS, WORKER_LIFE_NS, Failed, World

TOLD_S = 2.0


class PrivateWorld(World):
    """Workers are children of processes of this harness."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.since: dict[int, int] = {}

    def workers(self) -> list[int]:
        now = time.monotonic_ns()
        current = [pid for pid in workers_of(self.runtime) if not gone(pid)]
        self.since = {pid: self.since.get(pid, now) for pid in current}
        return current

    most_kills = 20
    always_sweep = True  # the lock in the runtime directory that told who lived

    def steady_worker(self) -> int | None:
        now = time.monotonic_ns()
        steady = [
            pid
            for pid in self.workers()
            if now - self.since[pid] > WORKER_LIFE_NS and not self.is_stopped(pid)
        ]
        return self.rng.choice(steady) if steady else None


class MuxWorld(PrivateWorld):
    """An `rtpsynth.RtpServer`: many UDP ports on one channel."""

    engine = "mux"
    PORTS = 8
    pause_s = 0.15

    def set_up(self) -> None:
        self.clock = self.start("clock", output=str(self.clock_file))
        self.sink = self.start("receiver", output=str(self.folder / "arrivals"), sockets=self.PORTS)
        self.sink.wait_ready()
        self.ports = [int(p) for p in (self.folder / "arrivals.ports").read_text().split()]
        self.targets = self.folder / "targets.txt"
        self.servers: list[Actor] = []
        self.injected: dict[int, Actor] = {}
        self._serve()

    def _serve(self) -> None:
        self.server = self.start(
            "mux_server",
            ports=self.ports,
            folder=str(self.folder),
            targets=str(self.targets),
            rate=1500.0,
        )
        self.server.wait_ready()
        self.servers.append(self.server)
        self.injector = self.start("injector", targets=str(self.targets), burst=16, pause_s=0.01)
        self.injected[self.server.life] = self.injector

    def strike(self) -> None:
        pid = self.steady_worker()
        dice = self.rng.random()
        if dice < 0.6:
            if pid is not None:
                self.kill(pid, "worker")
        elif dice < 0.7:
            if pid is not None:
                self.stop(pid, "worker", 100 * MS)
        elif dice < 0.9:
            if not self.is_stopped(self.server.pid):
                self.stop(self.server, "client", 100 * MS)
        elif dice < 0.93:
            self._replace_owner()

    def _replace_owner(self) -> None:
        self.injector.finish()
        self.kill(self.server, "owner")
        self.wait_for(
            "the worker of a dead owner ends, and its segments are gone",
            lambda: not self.workers() and not segments(self.namespace),
        )
        self._serve()

    def judge(self) -> None:
        self.injector.finish()
        self.injector.wait_end()
        self.server.finish()
        if not self.server.wait_end(30) or self.server.state != ENDED:
            raise Failed(f"mux: the server does not end: see {self.stage.log}")
        time.sleep(0.3)
        arrivals = wire.read(self.folder / "arrivals", wire.ARRIVAL)
        deaths = self.sums.counts["killed worker"]
        for server in self.servers:
            self._judge_server(server, arrivals[arrivals["life"] == server.life], deaths)

    def _judge_server(self, server: Actor, arrivals: Any, deaths: int) -> None:
        accepted = wire.read(self.folder / f"{server.life}.accepted", wire.ACCEPTED)
        unique = np.unique(arrivals["number"])
        if len(unique) != len(arrivals):
            self.complaints.append(f"mux: {len(arrivals) - len(unique)} packets were sent twice")
        for index in range(self.PORTS):
            if (np.diff(arrivals["number"][arrivals["socket"] == index]) < 0).any():
                self.complaints.append(f"mux: packets of port {index} left out of order")
        if len(unique) and int(unique.max()) >= self.stage.board.attempted(server.life):
            self.complaints.append("mux: packets came that were never sent")
        self.sums.counts["accepted"] += len(accepted)
        self.sums.counts["received"] += len(unique)
        told = self.folder / f"{server.life}.json"
        if not told.exists():
            return  # it was killed, and with it whoever could say what became of the rest
        stats = json.loads(told.read_text())
        self._judge_books(server, len(accepted), len(unique), stats)

    def _judge_books(self, server: Actor, accepted: int, came: int, stats: dict[str, int]) -> None:
        unsure = stats["tx_failed"] + stats["tx_cancelled"] + stats["tx_dropped_late"]
        if accepted - came > unsure:
            self.complaints.append(
                f"mux: {accepted - came} of {accepted} packets did not arrive, {unsure} have a "
                "verdict that says so"
            )
        if stats["tx_requested"] != stats["tx_next_sequence"]:
            self.complaints.append(
                f"mux: {stats['tx_next_sequence']} numbers were given, the verdicts are "
                f"{stats['tx_requested']}"
            )
        injector = self.injected[server.life]
        delivered = wire.read(self.folder / f"{server.life}.delivered", wire.DELIVERED)
        counters = ("rx_kernel_drops", "rx_overwritten", "rx_errors", "rx_lost_takeover")
        lost = sum(stats[name] for name in counters)
        total = self.stage.board.attempted(injector.life)
        self.complaints += ledger.check_delivered(
            "mux", delivered, {injector.life: total}, lost, self.sums
        )

    def tear_down(self) -> None:
        for actor in (self.sink, self.clock):
            actor.finish()
        for actor in (self.sink, self.clock, *self.servers, *self.injected.values()):
            actor.wait_end()
            self.stage.forget(actor)


class UdtWorld(PrivateWorld):
    """Connections of UDT: a listener, clients with private pools of their own."""

    engine = "udt"
    CLIENTS = 3
    pause_s = 0.15

    def set_up(self) -> None:
        self.clock = self.start("clock", output=str(self.clock_file))
        self.port_file = self.folder / "port.txt"
        self.server = self.start(
            "udt_server", folder=str(self.folder), port_file=str(self.port_file)
        )
        self.server.wait_ready()
        self.clients: list[Actor] = []
        self.past: list[Actor] = []
        self.worker_killed_ns: dict[int, int] = {}  # by the process of its pool
        self.nobody_left = 0
        self._fill()

    def _fill(self) -> None:
        for client in [each for each in self.clients if not each.alive()]:
            self.clients.remove(client)
            self.past.append(client)
        while len(self.clients) < self.CLIENTS:
            self.clients.append(self.start("udt_client", port_file=str(self.port_file), rate=150.0))

    def strike(self) -> None:
        dice = self.rng.random()
        pid = self.steady_worker()
        if dice < 0.2:
            self._kill_owner(self.rng.choice(self.clients))
        elif dice < 0.75 and pid is not None:
            self.worker_killed_ns[parent_of(pid)] = time.monotonic_ns()
            self.kill(pid, "worker")
        elif dice < 0.85 and pid is not None:
            self.stop(pid, "worker", 100 * MS)
        else:
            victim = self.rng.choice([*self.clients, self.server])
            if not self.is_stopped(victim.pid):
                self.stop(victim, "client", 100 * MS)
        time.sleep(0.01)
        self._fill()

    def _kill_owner(self, client: Actor) -> None:
        """If its worker died just before, nobody may be left to say goodbye to the server."""
        since_ns = time.monotonic_ns() - self.worker_killed_ns.get(client.pid, 0)
        self.nobody_left += since_ns < 1000 * MS
        self.kill(client, "owner")

    def judge(self) -> None:
        time.sleep(TOLD_S)  # whoever lost its connection knows it by then
        for client in self.clients:
            client.finish()
        for client in self.clients:
            if not client.wait_end(60):
                self.complaints.append(f"udt: client {client.life} does not end")
        self.server.finish()
        if not self.server.wait_end(60):
            raise Failed(f"udt: the server does not end: see {self.stage.log}")
        still = self.stage.board.get(self.server.life, 1)
        if still > self.nobody_left:
            self.complaints.append(
                f"udt: {still} connections to processes that are gone are still open after 10 s"
            )
        delivered = wire.read(self.folder / f"{self.server.life}.delivered", wire.DELIVERED)
        for client in [*self.clients, *self.past]:
            self._judge_client(client, delivered["number"][delivered["life"] == client.life])

    def _judge_client(self, client: Actor, numbers: Any) -> None:
        board = self.stage.board
        if not np.array_equal(numbers, np.arange(len(numbers))):
            self.complaints.append(
                f"udt: client {client.life}: what arrived is not the beginning of what was sent"
            )
        if len(numbers) > board.attempted(client.life):
            self.complaints.append(f"udt: client {client.life}: more arrived than was sent")
        accepted = board.get(client.life, 0)
        orderly = client.state == ENDED and not board.get(client.life, 1)
        self.sums.counts["accepted"] += accepted
        self.sums.counts["received"] += len(numbers)
        self.sums.counts["connections"] += 1
        self.sums.counts["connections closed in order"] += orderly
        if orderly and len(numbers) != accepted:
            self.complaints.append(
                f"udt: client {client.life} closed in order, and {accepted - len(numbers)} of its "
                f"{accepted} messages are missing"
            )

    def tear_down(self) -> None:
        self.clock.finish()
        for actor in (self.clock, self.server, *self.clients, *self.past):
            actor.wait_end()
            self.stage.forget(actor)


class OwnersWorld(PrivateWorld):
    """Owners of private pools that are killed while they open and close channels."""

    engine = "owners"
    pause_s = 0.0

    def set_up(self) -> None:
        self.after_s: list[float] = []

    def strike(self) -> None:
        owners = [self.start("private_owner", policy=self.policy) for _ in range(2)]
        for owner in owners:
            owner.wait_ready()
        time.sleep(self.rng.uniform(0.0, 0.3))
        number = signal.SIGTERM if self.rng.random() < 0.3 else signal.SIGKILL
        for owner in owners:
            self.kill(owner, "owner", number)
        began = time.monotonic()
        for owner in owners:
            owner.wait_end()
            self.stage.forget(owner)
        try:
            self.wait_for(
                "workers and segments of dead owners are gone",
                lambda: not self.workers() and not segments(self.namespace),
                3.0,
            )
            self.after_s.append(time.monotonic() - began)
        except Failed:
            self.sums.counts["owners that left something to the collector"] += 1
            self.complaints.append(f"owners: left behind: {segments(self.namespace)}")
            self.sweep()
