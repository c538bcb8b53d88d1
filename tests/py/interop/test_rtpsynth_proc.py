"""RtpProc against the original: the same results of callbacks have the same consequences."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.check

SCHEDULES = """
import time
from rtpsynth.RtpProc import RtpProc

def wait(condition):
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)

def outcome(function, *args):
    try:
        value = function(*args)
    except Exception as error:
        cause = error.__cause__
        return type(error).__name__, str(error), type(cause).__name__, str(cause)
    return type(value).__name__

def run(proc, steps):
    seen, left = [], list(steps)

    def call(now, deadline):
        assert now >= deadline
        seen.append((now, deadline))
        step = left.pop(0) if left else None
        if isinstance(step, type):
            raise step("broken")
        return now + step[0] if isinstance(step, tuple) else step

    asked = outcome(proc.create_channel, call)
    channel = proc.create_channel(lambda *args: call(*args)) if left else None
    wait(lambda: not left)
    time.sleep(0.005)
    first = seen[0][0]
    deadlines = [(deadline - first) if deadline > 10**6 else deadline for _, deadline in seen]
    if channel is None:
        return asked, len(seen)
    return asked, len(seen), deadlines[1:2], channel.closed, outcome(channel.close), \
        channel.closed, outcome(channel.close)

result = []
proc = RtpProc()
for steps in given:
    result.append(run(proc, steps))
result.append(proc is RtpProc())
kept = proc.create_channel(lambda now, deadline: 1.5)
result.append((kept.id, outcome(proc.shutdown), outcome(proc.create_channel, print)))
result.append((kept.closed, outcome(kept.close), kept.closed, outcome(kept.close)))
del kept, proc
fresh = RtpProc()
result.append(fresh.create_channel(lambda now, deadline: None).id)
fresh.shutdown()
"""


def test_schedules_are_the_same(peer_rtpsynth):
    cases = [
        [],
        [None],
        [None, None],
        [None, 5, 5, None],
        [None, (0,), None],
        [None, -1],
        [None, 2**64],
        [None, 1.5],
        [None, "x"],
        [None, True, True],
        [None, ZeroDivisionError],
        [None, 0, ZeroDivisionError],
    ]
    ours, theirs = peer_rtpsynth.both(SCHEDULES, cases)
    for case, mine, original in zip(
        [*cases, "one", "dead", "kept", "fresh"], ours, theirs, strict=True
    ):
        assert mine == original, case


TOGETHER = """
import threading
from rtpsynth.RtpProc import RtpProc
from rtpsynth.RtpServer import RtpServer

def storm(make):
    faults, start = [], threading.Barrier(8)
    def work():
        start.wait()
        for _ in range(25):
            try:
                make().close()
            except RuntimeError as error:
                faults.append(str(error))
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(set(faults))

proc, server = RtpProc(), RtpServer()
result = [
    storm(lambda: proc.create_channel(lambda now, deadline: None)),
    storm(lambda: server.create_channel(lambda *packet: None, "127.0.0.1")),
]
proc.shutdown()
server.shutdown()
"""


@pytest.mark.usefixtures("shmring_namespace")
def test_several_threads_may_give_commands_at_once(peer_rtpsynth_133):
    """1.3.2 cannot do it; this is all that 1.3.3 does otherwise."""
    ours, theirs = peer_rtpsynth_133.both(TOGETHER)
    assert ours == theirs == [[], []]
