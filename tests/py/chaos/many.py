"""How long until a dead worker's channels are served again: first, median and last of many.

.venv/bin/python tests/py/chaos/many.py --channels 2000 --deaths 5
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import warnings

import shmring
from rtworkers.launch import raise_file_limit

STEADY_S = 1.1  # what dies sooner counts as a crash, and its pool pauses


def back_after_ms(pool: shmring.Pool, channels: list[shmring.Channel]) -> list[float]:
    """When each channel was served again, sorted.

    They come back in the order in which they were opened, so only the next one is looked at. To
    look at all of them would keep the pool's thread in this process from its work.
    """
    before = [channel.stats().epoch for channel in channels]
    (worker,) = pool.workers()
    began = time.monotonic()
    os.kill(worker.pid, signal.SIGKILL)
    took: list[float] = []
    while len(took) < len(channels):
        time.sleep(0.001)
        now = (time.monotonic() - began) * 1e3
        while len(took) < len(channels) and channels[len(took)].stats().epoch > before[len(took)]:
            took.append(now)
    return took


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--channels", type=int, default=2000)
    parser.add_argument("--deaths", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    raise_file_limit()
    with shmring.Pool(policy="fifo") as pool:
        channels = [
            pool.open(f"c{n}", shmring.Udp(tx=shmring.Queue(16, 64)), local=("127.0.0.1", 0))
            for n in range(arguments.channels)
        ]
        for death in range(arguments.deaths):
            time.sleep(STEADY_S)
            took = back_after_ms(pool, channels)
            row = {"first_ms": took[0], "median_ms": took[len(took) // 2], "last_ms": took[-1]}
            print(json.dumps({"death": death, "channels": len(channels)} | row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
