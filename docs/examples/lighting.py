"""A lighting desk: 44 frames a second of 512 dimmers, kept by the worker while Python fades.

If the program hangs for 200 ms or dies, the worker sends the fail-safe scene: work light.
"""

import time

import shmring

FRAME = shmring.Cyclic(
    period_ns=1_000_000_000 // 44,
    payload=bytes(512),
    on_stale=bytes([64]) * 512,
    stale_after_ns=200_000_000,
)


def main(seconds: float = 0.5) -> None:
    with shmring.Pool() as pool:
        dimmers = pool.open("dimmers", local=("127.0.0.1", 0))
        desk = pool.open("desk", FRAME, remote=dimmers.local)
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            desk.update(bytes([int(255 * passed / seconds)]) * 512)  # fade in
            time.sleep(0.005)
        time.sleep(0.4)  # the program hangs
        levels = [frame.data[0] for frame in iter(dimmers.try_recv, None)]
        print(len(levels), "frames, from", levels[0], "to", max(levels), "and then", levels[-1])
        print(desk.stats().lateness)


if __name__ == "__main__":
    main()
