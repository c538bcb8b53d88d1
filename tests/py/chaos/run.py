"""Kill anything, any time: `make chaos`.

Processes of every kind are killed and stopped at times drawn from a seed, while an independent
receiver writes down what really arrives; at the end of each chapter a ledger must balance.

    CHAOS_KILLS=10000 CHAOS_SEED=7 make chaos
    .venv/bin/python tests/py/chaos/run.py --kills 500 --engines udp --seed 7
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import actors
import flow
import private
import world
from stage import Stage

WORLDS: dict[str, type[world.World]] = {
    "udp": flow.FlowWorld,
    "rtp": flow.RtpWorld,
    "netflux": flow.NetfluxWorld,
    "cyclic": flow.CyclicWorld,
    "mux": private.MuxWorld,
    "udt": private.UdtWorld,
    "owners": private.OwnersWorld,
}
CHAPTER_KILLS = 100
# Each engine's share of the kills: fewer if its victims take long to come back.
SHARES = {"udp": 60, "rtp": 12, "netflux": 12, "cyclic": 4, "mux": 2, "udt": 4, "owners": 10}


def percentile(values: list[int], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6 if ordered else 0.0


def summary(here: world.World) -> str:
    back = here.sums.recoveries_ns
    shares = ", ".join(f"{share:g}: {percentile(back, share):.1f}" for share in (0.5, 0.99, 1))
    return (
        f"{len(back)} workers back after ms ({shares}); longest wait of others "
        f"{percentile(here.sums.delays_ns, 1):.1f} ms; {dict(here.sums.counts)}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=int(os.environ.get("CHAOS_KILLS", "500")))
    parser.add_argument(
        "--seed", type=int, default=int(os.environ.get("CHAOS_SEED", time.time_ns() % 2**31))
    )
    parser.add_argument("--engines", default=",".join(WORLDS))
    parser.add_argument(
        "--chapter", type=int, default=CHAPTER_KILLS, help="kills between two ledgers"
    )
    parser.add_argument("--policy", choices=("fifo", "other"), default="fifo")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the files of a failed run")
    parser.add_argument("--go-on", action="store_true", help="do not end at the first complaint")
    arguments = parser.parse_args()
    engines = arguments.engines.split(",")
    print(f"seed {arguments.seed}", flush=True)
    rng = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="chaos"))
    stage = Stage(folder, actors.load)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    worlds = {
        name: WORLDS[name](
            stage,
            random.Random(rng.random()),
            folder / name,
            f"chaos-{os.getpid()}-{name}",
            arguments.policy,
        )
        for name in engines
    }
    failed, bad = False, 0
    try:
        while not failed:
            left = arguments.kills - sum(w.kills for w in worlds.values())
            if left <= 0:
                break
            name = min(worlds, key=lambda each: worlds[each].kills / SHARES[each])
            here = worlds[name]
            began = time.monotonic()
            here.chapter(min(left, arguments.chapter, here.most_kills))
            seconds = time.monotonic() - began
            print(f"{name}: {here.kills} kills, {seconds:.1f} s; {summary(here)}", flush=True)
            for complaint in here.complaints:
                print(f"FAILED {complaint}", flush=True)
            failed = bool(here.complaints) and not arguments.go_on
            bad += bool(here.complaints)
            failed = failed or bad >= 20
            here.complaints.clear()
    finally:
        for each in worlds.values():
            each.break_off()
        stage.close()
        if failed:
            print(f"seed {arguments.seed}; files in {folder}", flush=True)
            print(stage.log.read_text()[-4000:] if stage.log.exists() else "", file=sys.stderr)
        if not ((failed or bad) and arguments.keep):
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps({name: {"kills": w.kills, **w.sums.counts} for name, w in worlds.items()}))
    return 1 if failed or bad else 0


if __name__ == "__main__":
    sys.exit(main())
