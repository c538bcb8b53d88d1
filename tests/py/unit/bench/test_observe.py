"""What `shmring bench observe` makes of the packets of a schedule that several systems shared."""

import os
import threading
import time

import pytest

from shmring_bench.observe import CHANNEL_NAME, HOLE_NS, _cut, _Output

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


@pytest.mark.parametrize("pieces", [[b"\x1b[1mc0417\x1b[0m"], [b"in\x1b[2Jc0", b"417  1.2 us"]])
def test_the_first_channel_shown_counts_whichever_it_is(pieces):
    """The worst are shown first, so none is certain to be."""
    read_fd, write_fd = os.pipe()
    output = _Output(read_fd, CHANNEL_NAME)
    reader = threading.Thread(target=output.read)
    reader.start()
    os.write(write_fd, b"NAME  RATE  c00\n")
    for piece in pieces:
        time.sleep(0.05)  # it is read by itself
        assert output.seen_at is None
        os.write(write_fd, piece)
    os.close(write_fd)
    reader.join()
    os.close(read_fd)
    assert output.seen_at is not None
