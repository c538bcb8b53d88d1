"""Market data to four processes: one socket, one ring, and each process reads every packet.

A strategy that is slow or crashes costs the others nothing. `lost` counts what it missed.
"""

import multiprocessing as mp
import struct
from multiprocessing.synchronize import Barrier

import shmring

TICK = struct.Struct("<Qd")  # number, price
TICKS = 5000


def strategy(name: str, ready: Barrier) -> None:
    with shmring.attach("feed") as feed:
        ready.wait(60)
        best, taken = 0.0, 0
        while taken + feed.lost < TICKS:
            for packet in feed.recv_many(timeout=10.0):
                _, price = TICK.unpack(packet.data)
                best, taken = max(best, price), taken + 1
        print(f"{name}: {taken} ticks, {feed.lost} lost, best price {best:.2f}\n", end="")


if __name__ == "__main__":
    mp.set_start_method("spawn")
    ready, names = mp.Barrier(5), ("arbitrage", "hedge", "quotes", "risk")
    with shmring.Pool() as pool:
        feed = pool.open("feed", shmring.Udp(rx=2 * TICKS), local=("127.0.0.1", 0))
        exchange = pool.open("exchange", shmring.Udp(tx=TICKS), remote=feed.local)
        readers = [mp.Process(target=strategy, args=(name, ready)) for name in names]
        for reader in readers:
            reader.start()
        ready.wait(60)
        ticks = [TICK.pack(i, 100 + i % 97 / 100) for i in range(TICKS)]
        exchange.send_many(ticks, at=exchange.now_ns() + 10_000_000, interval_ns=20_000)
        for reader in readers:
            reader.join()
