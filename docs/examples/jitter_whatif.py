"""What if the jitter buffer were larger? One capture, replayed into several buffers at once.

Prints loss against delay, and draws jitter.svg (pip install shmring[plot]).
"""

import time

from matplotlib.figure import Figure

import shmring

DELAYS_MS, PACKETS = (1, 10, 20, 40, 80), 50
PATH = shmring.Impairment(delay_ns=40_000_000, jitter_ns=35_000_000, seed=5)

with shmring.Pool() as pool:
    wire = pool.open("wire", local=("127.0.0.1", 0))  # plain: it captures what arrives, and when
    source = pool.open("source", shmring.Rtp(), remote=wire.local, impair=PATH)
    source.send_many([bytes(160)] * PACKETS)
    capture = [wire.recv(timeout=5.0) for _ in range(PACKETS)]

    ears, end_ns = [], 0
    for ms in DELAYS_MS:
        ns = ms * 1_000_000
        engine = shmring.Rtp(
            playout=shmring.rtp.Playout(min_delay_ns=ns, max_delay_ns=ns, first_delay_ns=ns),
        )
        ears.append(pool.open(f"ear-{ms}", engine, local=("127.0.0.1", 0)))
        again = pool.open(f"again-{ms}", remote=ears[-1].local)
        shift_ns = again.now_ns() + 100_000_000 - capture[0].timestamp_ns
        for packet in capture:
            again.send(packet.data, at=packet.timestamp_ns + shift_ns)
        end_ns = capture[-1].timestamp_ns + shift_ns
    time.sleep((end_ns - wire.now_ns()) / 1e9 + 0.3)
    losses = [1 - ear.stats().engine.delivered / PACKETS for ear in ears]

for ms, loss in zip(DELAYS_MS, losses, strict=True):
    print(f"{ms:3} ms {loss:6.1%} {'#' * round(100 * loss)}")
figure = Figure()
figure.add_subplot(xlabel="delay, ms", ylabel="loss").plot(DELAYS_MS, losses, "o-")
figure.savefig("jitter.svg")
