"""MIDI clock over UDP: 24 pulses a quarter note, queued a bar ahead, in step with a grid of ticks.

The tempo does not waver while Python is busy, and every program with the grid "song" has the beat.
"""

import shmring

PULSES = 24
BEATS_PER_MINUTE = 480.0
PULSE_NS = round(60e9 / BEATS_PER_MINUTE / PULSES)
BAR_NS = 4 * PULSES * PULSE_NS
CLOCK = b"\xf8"


def main(bars: int = 2) -> None:
    with (
        shmring.Pool() as pool,
        shmring.ticks(BAR_NS, name="song", pool=pool) as ticks,
    ):
        synth = pool.open("synth", local=("127.0.0.1", 0))
        out = pool.open("midi", remote=synth.local)
        for _, tick in zip(range(bars), ticks, strict=False):
            for pulse in range(4 * PULSES):
                out.send(CLOCK, at=tick.due_ns + BAR_NS // 2 + pulse * PULSE_NS)
            print(f"bar {tick.number}: woken {tick.late_ns / 1000:.0f} us after its instant")
        times_ns = [synth.recv(timeout=5.0).timestamp_ns for _ in range(bars * 4 * PULSES)]
        quarters = [60e9 / (b - a) for a, b in zip(times_ns, times_ns[PULSES:], strict=False)]
        print(f"{min(quarters):.2f} to {max(quarters):.2f} beats a minute")


if __name__ == "__main__":
    main()
