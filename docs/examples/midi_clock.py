"""MIDI clock over UDP: 24 pulses a quarter note at 120 beats a minute, queued a bar ahead.

The tempo does not waver while Python is busy. The receiver measures it.
"""

import shmring

PULSES = 24
CLOCK, START = b"\xf8", b"\xfa"


def queue_bar(out: shmring.Channel, at_ns: int, beats_per_minute: float) -> int:
    """Queue one bar of 4 quarters from `at_ns` on. Return when the next bar begins."""
    pulse_ns = 60e9 / beats_per_minute / PULSES
    for pulse in range(4 * PULSES):
        out.send(CLOCK, at=at_ns + round(pulse * pulse_ns))
    return at_ns + round(4 * PULSES * pulse_ns)


def main(bars: int = 1, beats_per_minute: float = 480.0) -> None:
    with shmring.Pool() as pool:
        synth = pool.open("synth", local=("127.0.0.1", 0))
        out = pool.open("midi", remote=synth.local)
        out.send(START)
        begin = out.now_ns() + 20_000_000
        for _ in range(bars):
            begin = queue_bar(out, begin, beats_per_minute)
        assert synth.recv(timeout=5.0).data == START
        times_ns = [synth.recv(timeout=5.0).timestamp_ns for _ in range(bars * 4 * PULSES)]
        quarters = [60e9 / (b - a) for a, b in zip(times_ns, times_ns[PULSES:], strict=False)]
        print(f"{min(quarters):.2f} to {max(quarters):.2f} beats a minute")


if __name__ == "__main__":
    main()
