"""Worlds on a named pool that `shmring up` runs: plain UDP, RTP and Netflux channels, their
clients, and tools that look on."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from typing import Any

import ledger
import near_wrap
import numpy as np
import wire
from stage import BROKEN, ENDED, Actor
from world import MS, Failed, PoolWorld


class FlowWorld(PoolWorld):
    """Channels of plain UDP: undated and dated senders, watchers, readers, tools."""

    engine = "udp"
    SOCKETS = AUDITED = ("flow", "timed", "watch")
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
                "tx": 1024,
                "report_capacity": 1 << 16,
            },
            "timed": {
                "remote": home(1),
                "direction": "tx",
                "tx": 1024,
                "report_capacity": 1 << 16,
                "socket": {"tx_stamp": "off"},
            },
            "watch": {
                "remote": home(2),
                "direction": "tx",
                "tx": 1024,
                "report_capacity": 1 << 16,
            },
            "in": {
                "local": ("127.0.0.1", 0),
                "direction": "rx",
                "rx": (1 << 15, 64),
                "socket": {"rcvbuf_bytes": 4 << 20},
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
        self.base = self._start_near_wrap() if self.chapters % 2 else 0
        (self.folder / "targets.txt").write_text(str(local["in"]))
        self.lives: dict[int, tuple[str, Actor, bool]] = {}  # of senders: channel, actor, dated
        self.auditor = self.start(
            "auditor", channels=[*self.AUDITED, "in"], folder=str(self.folder)
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

    def _start_near_wrap(self) -> int:
        """Half of the chapters begin just below sequence 2^32."""
        base = 2**32 - 500
        (pid,) = self.workers()
        for name in (*self.AUDITED, "in"):
            near_wrap.set_sequences(self.namespace, name, base)
        os.kill(pid, signal.SIGKILL)
        self.wait_for("a worker starts", lambda: [p for p in self.workers() if p != pid])
        return base

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
        self._fill_senders(self.victims["sender"])
        while len(self.victims["reader"]) < 2:
            output = str(self.folder / f"reader.{self.rng.randrange(1 << 40)}.delivered")
            self.victims["reader"].append(self.start("reader", channel="in", output=output))
        while len(self.victims["tool"]) < 1:
            self.victims["tool"].append(self.start("tool", words=self.rng.choice(self.TOOLS)))

    def _fill_senders(self, senders: list[Actor]) -> None:
        while len(senders) < 4:
            if len([a for a in senders if self.lives[a.life][0] == "flow"]) < 2:
                senders.append(self._sender("flow", rate=300.0, burst=self.rng.choice((1, 8, 40))))
            else:
                burst = self.rng.choice((1, 8))
                ahead = {"lead_ns": 2 * MS, "spread_ns": 20 * MS}
                senders.append(self._sender("timed", rate=300.0, burst=burst, **ahead))

    TOOLS = (
        ["shmring", "tap", "flow", "-o", "/dev/null"],
        ["shmring", "tap", "in", "-o", "/dev/null"],
        ["rtstat", "show", "flow"],
        ["rtstat", "--plain"],
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
        if not self.pool_died:
            self.wait_for("workers are replaced", self.all_replaced)
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
        for name in self.AUDITED:
            reports = wire.read(self.folder / f"{name}.reports", wire.REPORT)
            here = arrivals[arrivals["socket"] == self.SOCKETS.index(name)]
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
                base=self.base,
                deaths_ns=deaths,
                whole=not self.pool_died,
            )
            self._judge_one(name, here, reports)
            if name != "timed":
                accepted = {sender.life: sender.accepted for sender in senders}
                self.complaints += ledger.check_order(name, accepted, here, reports, accepted)

    def _judge_one(self, name: str, arrivals: Any, reports: Any) -> None:
        if name == "timed":
            there = {
                sequence: returned
                for life, (channel, _, _) in self.lives.items()
                if channel == name
                for sequence, _, _, returned in self._accepted(life).tolist()
            }
            self.complaints += ledger.check_deadline_order(name, reports, there)

    def _accepted(self, life: int) -> Any:
        return wire.read(self.files[life], wire.ACCEPTED)

    def _judge_times(self, arrivals: Any) -> None:
        watch = arrivals[arrivals["socket"] == self.SOCKETS.index("watch")]
        if not self.pool_died:
            self.complaints += ledger.check_delays(
                "watch",
                watch,
                self.allowed_delays(),
                self.machine_still(),
                self.sums,
                {
                    (watcher.life, number): returned
                    for watcher in self.watchers
                    for number, returned in enumerate(
                        self._accepted(watcher.life)["returned_ns"].tolist()
                    )
                },
            )
        for event in self.events:
            if event.what == "kill" and event.role == "worker":
                took = ledger.recovery_ns(watch, event.at_ns)
                undisturbed = not ledger.overlap_ns(
                    (event.at_ns, event.at_ns + 200 * MS),
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
        if told["rx_sockets_reopened"]:  # all who held it had died: nobody knows what waited in it
            self.sums.counts["sockets reopened"] += told["rx_sockets_reopened"]
            return
        lost = (
            told["rx_kernel_drops"] + told["rx_errors"] + self.stage.board.get(self.witness.life, 0)
        )
        lost += told["rx_lost_takeover"]
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


class RtpWorld(FlowWorld):
    """A stream whose frames several processes queue."""

    engine = "rtp"
    SOCKETS = AUDITED = ("flow", "watch")

    def channels(self, ports: list[int]) -> dict[str, dict[str, Any]]:
        plain = super().channels([ports[0], ports[0], ports[1]])
        del plain["timed"]
        plain["flow"] |= {
            "engine": "rtp",
            "payload_type": 96,
            "clock_rate": 8000,
            "ptime_ns": 2 * MS,
        }
        return plain

    def _fill_senders(self, senders: list[Actor]) -> None:
        while len(senders) < 3:
            senders.append(self._sender("flow", rate=120.0, burst=self.rng.choice((1, 4))))

    def _judge_one(self, name: str, arrivals: Any, reports: Any) -> None:
        if name != "flow":
            return
        numbers = [int.from_bytes(bytes(head)[2:4], "big") for head in arrivals["head"]]
        if len(set(numbers)) != len(numbers) and len(numbers) < 60_000:
            self.complaints.append(f"{name}: an RTP sequence number was used twice")
        steps = np.diff(np.array(numbers)) % 65536
        self.sums.counts["rtp_numbers_skipped"] += int((steps[steps < 1000] - 1).sum())
        if (steps > 1000).any():
            self.complaints.append(f"{name}: RTP sequence numbers go back")


class NetfluxWorld(FlowWorld):
    """A link that sends the newest values of several processes every 5 ms."""

    engine = "netflux"
    SOCKETS = ("link", "watch")
    AUDITED = ("watch",)
    VALUES = 64

    def channels(self, ports: list[int]) -> dict[str, dict[str, Any]]:
        plain = super().channels([ports[0], ports[0], ports[1]])
        link = {
            "engine": "netflux",
            "local": ("127.0.0.1", 0),
            "remote": ("127.0.0.1", ports[0]),
            "send": self.VALUES,
            "receive": 0,
            "cycle_ns": 5 * MS,
            "values_hex": wire.pack(0, 0, 0, 0, self.VALUES).hex(),
        }
        return {"link": link, "watch": plain["watch"], "in": plain["in"]}

    TOOLS = (["rtstat", "show", "link"], ["rtstat", "--plain"], ["shmring", "ls"])

    def _fill_senders(self, senders: list[Actor]) -> None:
        while len(senders) < 3:
            output = self.folder / f"link.{len(self.lives)}.accepted"
            actor = self.start("updater", channel="link", size=self.VALUES)
            self.files[actor.life] = output
            self.lives[actor.life] = ("link", actor, False)
            senders.append(actor)

    def _judge_channels(self, arrivals: Any, stats: dict[str, Any]) -> None:
        link = arrivals[arrivals["socket"] == 0]
        self._judge_link(link)
        super()._judge_channels(arrivals, stats)

    def _judge_link(self, link: Any) -> None:
        self.sums.counts[f"{self.engine}_datagrams"] += len(link)
        self._judge_numbers(link)
        self._judge_values(link)
        self._judge_pauses(link)

    def _judge_numbers(self, link: Any) -> None:
        numbers = np.array([bytes(head)[0] for head in link["head"]], np.int64)
        steps = np.diff(numbers) % 256
        self.sums.counts["netflux_numbers_skipped"] += int((steps[steps < 128] - 1).clip(0).sum())
        if (steps == 0).any():
            self.complaints.append(f"link: {(steps == 0).sum()} numbers were sent twice in a row")
        if (steps > 127).any():
            self.complaints.append(f"link: numbers went back {(steps > 127).sum()} times")

    def _judge_values(self, link: Any) -> None:
        torn = link[(link["life"] > 0) & (link["due_ns"] != link["number"] * 7 + link["life"])]
        if len(torn):
            self.complaints.append(f"link: {len(torn)} datagrams mix the values of two updates")
        for life in np.unique(link["life"]).tolist():
            mine = link["number"][link["life"] == life]
            if life and (np.diff(mine) < 0).any():
                self.complaints.append(f"link: values of process {life} went back to older ones")
            if life and int(mine.max()) >= self.stage.board.attempted(life):
                self.complaints.append(f"link: values of process {life} that it never had")

    def _judge_pauses(self, link: Any) -> None:
        at = link["arrived_ns"]
        if self.pool_died:
            return
        for index in np.flatnonzero(np.diff(at) > ledger.BLOCKED_NS).tolist():
            pause = (int(at[index]), int(at[index + 1]))
            rest = pause[1] - pause[0] - ledger.overlap_ns(pause, self.allowed_delays())
            rest -= ledger.overlap_ns(pause, self.machine_still())
            if rest > ledger.BLOCKED_NS:
                self.complaints.append(
                    f"link: nothing was sent for {(pause[1] - pause[0]) / 1e6:.1f} ms; "
                    f"{rest / 1e6:.1f} ms of that are explained by nothing"
                )


class CyclicWorld(NetfluxWorld):
    """The same with the engine cyclic: its payload has no number of the engine."""

    engine = "cyclic"

    def channels(self, ports: list[int]) -> dict[str, dict[str, Any]]:
        made = super().channels(ports)
        link = made["link"]
        made["link"] = {
            "engine": "cyclic",
            "local": link["local"],
            "remote": link["remote"],
            "period_ns": link["cycle_ns"],
            "on_stale": "continue",
            "payload_hex": link["values_hex"],
        }
        return made

    def _judge_numbers(self, link: Any) -> None:
        """It has none."""
