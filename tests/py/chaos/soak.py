"""Endurance: `make soak`.

About 200 channels of all engines, clients that come and go, channels that open and close, impaired
links, workers that are killed and replaced, sequences that cross 2^32, all at once and for long.
Memory, descriptors and /dev/shm must stay flat after warm-up, and so must the lateness of packets,
minute by minute.

    SOAK_SECONDS=600 make soak
    .venv/bin/python tests/py/chaos/soak.py --seconds 60 --json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import actors
import near_wrap
import numpy as np
import wire
from stage import ENDED, Actor, Stage, gone, segments, workers_of

MS = 1_000_000
NAMES = ("rss_kib", "descriptors", "shm_bytes")
# Growth above these limits fails: more than 1 %, and more than a single page or descriptor. What a
# process imports when it first needs it takes 0.6 MB, and a run of a minute may see that.
LEAST = {"rss_kib": 1024, "descriptors": 4, "shm_bytes": 65536}
BASE = 2**32 - 2000
# The p99.9 of lateness may double from the first minutes to the last ones, or grow by this much:
# the machine has better and worse minutes.
MOST_LATER_US = 5000.0


def channels(ports: list[int]) -> dict[str, dict[str, Any]]:
    def to(index: int) -> dict[str, Any]:
        return {"remote": ("127.0.0.1", ports[index]), "tx": (64, 64)}

    bad = {"loss": 0.02, "delay_ns": 2 * MS, "jitter_ns": MS, "duplicate": 0.01, "seed": 5}
    rtp = {"engine": "rtp", "payload_type": 96, "clock_rate": 8000, "ptime_ns": 20 * MS}
    values = wire.pack(0, 0, 0, 0, 64).hex()
    link = {"engine": "netflux", "send": 64, "receive": 0, "cycle_ns": 20 * MS}
    made: dict[str, dict[str, Any]] = {"timed": to(0) | {"tx": (1024, 64)}}
    for index in range(120):
        made[f"plain-{index}"] = to(1) | {"direction": "tx"}
    for index in range(40):
        made[f"bad-{index}"] = to(2) | {"direction": "tx", "impair": bad}
    for index in range(20):
        made[f"rtp-{index}"] = {"remote": ("127.0.0.1", ports[3]), "tx": 64} | rtp
    for index in range(19):
        remote = {"remote": ("127.0.0.1", ports[4]), "values_hex": values}
        made[f"link-{index}"] = {"local": ("127.0.0.1", 0)} | remote | link
    return made


def memory_of(pids: list[int]) -> int:
    """Resident KiB that nobody else shares, of these processes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1])
    return total


def descriptors_of(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += len(os.listdir(f"/proc/{pid}/fd"))
    return total


def later_and_later(p999_us: list[float]) -> list[str]:
    """Complaints about the p99.9 of each minute, without the first minute and the last one, which
    is not whole."""
    third = len(p999_us) // 3
    if third == 0:
        return []
    first, last = float(np.median(p999_us[:third])), float(np.median(p999_us[-third:]))
    if last <= max(2 * first, first + MOST_LATER_US):
        return []
    return [f"lateness p99.9 grew from {first:.0f} to {last:.0f} us"]


class Soak:
    def __init__(self, stage: Stage, folder: Path, rng: random.Random, policy: str) -> None:
        self.stage, self.folder, self.rng, self.policy = stage, folder, rng, policy
        self.namespace = f"soak-{os.getpid()}"
        self.runtime = folder / "run"
        self.env = {
            "SHMRING_NAMESPACE": self.namespace,
            "SHMRING_RUNTIME_DIR": str(self.runtime),
        }
        self.samples: list[tuple[float, int, int, int]] = []
        self.complaints: list[str] = []
        self.restarts = 0
        self.clients = 0

    def start(self, role: str, **arguments: Any) -> Actor:
        return self.stage.start(role, self.env, **arguments)

    def workers(self) -> list[int]:
        return [pid for pid in workers_of(self.runtime) if not gone(pid)]

    def set_up(self) -> None:
        self.sink = self.start("receiver", output=str(self.folder / "arrivals"), sockets=5)
        self.sink.wait_ready()
        ports = [int(p) for p in (self.folder / "arrivals.ports").read_text().split()]
        self.up = self.start("up", name="x", policy=self.policy)
        self.up.wait_ready()
        self.table = channels(ports)
        opened = self.folder / "opened.json"
        opener = self.start("opener", pool="x", channels=self.table, output=str(opened))
        if not opener.wait_end(60) or opener.state != ENDED:
            raise RuntimeError(f"channels were not opened: see {self.stage.log}")
        self.stage.forget(opener)
        self._near_wrap()
        self.busy = [name for name in self.table if not name.startswith("link")]
        self.lasting = [
            self.start("traffic", channels=self.busy[1:], rate=1000.0),
            self.start("churner", pool="x", port=ports[1]),
            self._timed(),
            self.start(
                "mux_server",
                ports=ports[1:2] * 4,
                folder=str(self.folder),
                targets=str(self.folder / "targets.txt"),
                rate=200.0,
            ),
            self.start("udt_server", folder=str(self.folder), port_file=str(self.folder / "udt")),
        ]
        for actor in self.lasting:
            actor.wait_ready(60)
        self.passing: list[Actor] = []

    def _timed(self) -> Actor:
        return self.start(
            "sender",
            channel="timed",
            output=str(self.folder / "timed.accepted"),
            rate=500.0,
            lead_ns=5 * MS,
        )

    def _near_wrap(self) -> None:
        (pid,) = self.workers()
        for name in self.table:
            if name == "timed" or name.startswith(("plain", "bad")):
                near_wrap.set_sequences(
                    self.namespace, name, BASE if name == "timed" else 2**32 - 20
                )
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 20
        while not [p for p in self.workers() if p != pid] and time.monotonic() < until:
            time.sleep(0.01)

    def run(self, seconds: float) -> None:
        began = self.began = time.monotonic()
        next_restart = began + 5.0
        while (now := time.monotonic()) - began < seconds:
            self._come_and_go()
            pids = self.serving()
            if now > next_restart and pids[1:]:
                os.kill(self.rng.choice(pids[1:]), signal.SIGKILL)
                self.restarts += 1
                next_restart = now + self.rng.uniform(4, 8)
            elif now > next_restart - 3.0 or self.restarts == 0:  # a replaced worker has settled
                self._sample(now - began, pids)
            for actor in [self.up, *self.lasting]:
                if not actor.alive():
                    raise RuntimeError(f"{actor.role} has ended: see {self.stage.log}")
            self.stage.reap()
            time.sleep(0.25)

    def serving(self) -> list[int]:
        """The pool's process, and the workers of that pool."""
        found = []
        for pid in self.workers():
            with contextlib.suppress(OSError):
                if b"\0--private" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return [self.up.pid, *found]

    def _sample(self, at: float, pids: list[int]) -> None:
        size = 0
        for name in segments(self.namespace):
            if ":c:churn-" not in name and ":c:udt-" not in name:
                with contextlib.suppress(OSError):
                    size += os.stat(f"/dev/shm/{name}").st_blocks * 512
        self.samples.append((at, memory_of(pids), descriptors_of(pids), size))

    def _come_and_go(self) -> None:
        for actor in [each for each in self.passing if not each.alive()]:
            self.passing.remove(actor)
            self.stage.forget(actor)
        while len(self.passing) < 4:
            self.clients += 1
            kind = self.rng.randrange(3)
            if kind == 0:
                actor = self.start("udt_client", port_file=str(self.folder / "udt"), rate=50.0)
            elif kind == 1:
                link = f"link-{self.rng.randrange(19)}"
                actor = self.start("updater", channel=link, size=64)
            else:
                name = self.rng.choice(self.busy[1:])
                output = str(self.folder / "passing.accepted")
                actor = self.start("sender", channel=name, output=output, rate=50.0, frames=64)
            self.passing.append(actor)
        victim = self.rng.choice(self.passing)
        if self.rng.random() < 0.2:
            victim.finish() if self.rng.random() < 0.5 else victim.signal(signal.SIGKILL)

    def tear_down(self) -> None:
        for actor in [*self.passing, *self.lasting]:
            actor.finish()
        for actor in [*self.passing, *self.lasting]:
            if not actor.wait_end(30):
                self.complaints.append(f"{actor.role} {actor.life} does not end")
        self.sink.finish()
        self.up.signal(signal.SIGTERM)
        if not self.up.wait_end(30):
            self.complaints.append("shmring up does not end")
        until = time.monotonic() + 5
        while (segments(self.namespace) or self.workers()) and time.monotonic() < until:
            time.sleep(0.05)
        if left := segments(self.namespace) + [str(pid) for pid in self.workers()]:
            self.complaints.append(f"left behind: {left[:5]}")

    # --- what came of it ------------------------------------------------------------------------

    def flatness(self) -> dict[str, dict[str, float]]:
        """Medians of the first and the last third after warm-up, and the growth in percent."""
        table = np.array(self.samples)
        warm = table[table[:, 0] > max(5.0, 0.2 * table[-1, 0])]
        third = max(1, len(warm) // 3)
        told = {}
        for column, name in enumerate(NAMES, start=1):
            first = float(np.median(warm[:third, column]))
            last = float(np.median(warm[-third:, column]))
            told[name] = {"first": first, "last": last, "growth_percent": 100 * (last / first - 1)}
            if last - first > max(0.01 * first, LEAST[name]):
                self.complaints.append(f"{name} grew from {first:.0f} to {last:.0f}")
        return told

    def lateness(self) -> list[dict[str, float]]:
        """Of packets with deadlines, at an independent receiver, minute by minute."""
        lines = wire.read(self.folder / "arrivals", wire.ARRIVAL)
        timed = lines[(lines["socket"] == 0) & (lines["due_ns"] > 0)]
        if not len(timed):
            self.complaints.append("no packet with a deadline arrived")
            return []
        late_us = (timed["arrived_ns"] - timed["due_ns"]) / 1e3
        minute = (timed["due_ns"] - timed["due_ns"][0]) // 60_000_000_000
        told = []
        for number in np.unique(minute).tolist():
            mine = late_us[minute == number]
            p50, p999 = np.percentile(mine, [50, 99.9])
            told.append(
                {"minute": number, "packets": len(mine), "p50_us": p50, "p999_us": float(p999)}
            )
        self.complaints += later_and_later([row["p999_us"] for row in told[1:-1]])
        return told

    def crossed(self) -> int:
        accepted = wire.read(self.folder / "timed.accepted", wire.ACCEPTED)
        return int((accepted["sequence"] >= 2**32).any() and (accepted["sequence"] < 2**32).any())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    parser.add_argument("--seconds", type=float, default=seconds)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31)
    parser.add_argument("--policy", choices=("fifo", "other"), default="fifo")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", file=sys.stderr, flush=True)
    folder = Path(tempfile.mkdtemp(prefix="soak"))
    stage = Stage(folder, actors.load)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    soak = Soak(stage, folder, random.Random(arguments.seed), arguments.policy)
    try:
        soak.set_up()
        soak.run(arguments.seconds)
        soak.tear_down()
        result = {
            "seconds": arguments.seconds,
            "seed": arguments.seed,
            "channels": len(soak.table),
            "workers_killed": soak.restarts,
            "clients": soak.clients,
            "channels_opened_and_closed": stage.board.attempted(soak.lasting[1].life),
            "calls_that_gave_up": sum(stage.board.get(soak.lasting[n].life, 0) for n in (0, 1)),
            "crossed_2_32": soak.crossed(),
            "flatness": soak.flatness(),
            "lateness": soak.lateness(),
        }
    except Exception:
        print(stage.log.read_text()[-4000:] if stage.log.exists() else "", file=sys.stderr)
        raise
    finally:
        stage.close()
        for pid in workers_of(soak.runtime):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for name in segments(soak.namespace):
            Path("/dev/shm", name).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    show(result, as_json=arguments.json)
    for complaint in soak.complaints:
        print(f"FAILED {complaint}", file=sys.stderr)
    return 1 if soak.complaints else 0


def show(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for key in (
        "seconds",
        "channels",
        "workers_killed",
        "clients",
        "channels_opened_and_closed",
        "calls_that_gave_up",
        "crossed_2_32",
    ):
        print(f"{key.replace('_', ' '):28} {result[key]:>12g}")
    for name, row in result["flatness"].items():
        print(
            f"{name.replace('_', ' '):28} {row['first']:>12.0f} to {row['last']:.0f}"
            f" ({row['growth_percent']:+.2f} %)"
        )
    for row in result["lateness"]:
        print(
            f"lateness, minute {row['minute']:<11} {row['packets']:>12} packets, "
            f"p50 {row['p50_us']:.1f} us, p99.9 {row['p999_us']:.0f} us"
        )


if __name__ == "__main__":
    sys.exit(main())
