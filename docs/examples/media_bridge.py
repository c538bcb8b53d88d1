"""A bridge between two RTP streams: µ-law with 20 ms packets in, A-law with 10 ms packets out.

A lost packet becomes 20 ms of silence, so the outgoing stream has no gap.
"""

import shmring

PCMU = shmring.Rtp(codec="pcmu", ptime_ns=20_000_000)
PCMA = shmring.Rtp(codec="pcma", ptime_ns=10_000_000)
BAD = shmring.Impairment(loss=0.1, jitter_ns=3_000_000, delay_ns=3_000_000, seed=7)


def bridge(inward: shmring.rtp.Channel, outward: shmring.rtp.Channel, packets: int) -> int:
    """Forward until `packets` frames' time has passed. Return how many were lost on the way in."""
    passed = lost = 0
    while passed < packets:
        item = inward.recv(timeout=5.0)
        frames = item.frames if isinstance(item, shmring.rtp.Erasure) else 1
        lost += frames if isinstance(item, shmring.rtp.Erasure) else 0
        passed += frames
        outward.send_block(inward.pcm(item))
    return lost


def main(packets: int = 40) -> None:
    with shmring.Pool() as pool:
        inward = pool.open("inward", PCMU, local=("127.0.0.1", 0))
        listener = pool.open("listener", PCMA, local=("127.0.0.1", 0))
        caller = pool.open("caller", PCMU, remote=inward.local, impair=BAD)
        outward = pool.open("outward", PCMA, remote=listener.local)
        caller.send_block(bytes(320 * (packets + 5)))  # silence, 16 bits a sample
        print(bridge(inward, outward, packets), "of", packets, "packets lost before the bridge")
        print(len(listener.pcm(listener.recv(timeout=5.0))), "samples in an outgoing packet")


if __name__ == "__main__":
    main()
