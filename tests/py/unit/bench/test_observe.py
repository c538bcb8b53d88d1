"""What `shmring bench observe` makes of the packets of a schedule that several systems shared."""

from shmring_bench.observe import HOLE_NS, _cut

EACH = 100
LATE = HOLE_NS + 1


def test_each_system_gets_its_packets_and_the_holes_that_began_in_its_time():
    samples = [-5] * (3 * EACH)
    samples[0] = LATE  # in the part that is not measured
    samples[90:110] = [LATE] * 20  # goes on in the time of the next system
    samples[250] = 900_000  # late, but no hole
    turns = _cut(samples, EACH, [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)])
    assert [turn.holes for turn in turns] == [2, 0, 0]
    assert [turn.in_holes for turn in turns] == [10, 0, 0]
    assert [len(turn.errors_ns) for turn in turns] == [80, 80, 80]
    assert turns[0].outside_ns == [5] * 70
    assert turns[2].errors_ns[-1] == turns[2].outside_ns[-1] == 900_000
    assert (turns[1].behind_percent, turns[1].stolen_percent) == (3.0, 4.0)


def test_packets_that_never_came_are_missing_at_the_end():
    turns = _cut([5] * 150, EACH, [(0.0, 0.0), (0.0, 0.0)])
    assert [len(turn.errors_ns) for turn in turns] == [80, 30]
