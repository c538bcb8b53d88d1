"""Who dies, and what goes on the wire then."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from typing import Any

import pytest

import shmring

MS = 1_000_000

WRITER = """
import sys, shmring
link = shmring.attach("plc")
for line in sys.stdin:
    link.update(line.strip().encode())
    print("put", flush=True)
"""
CYCLIC = """
import time, shmring
link = shmring.attach("plc")
link.update(b"live")
print("put", flush=True)
while True:
    link.update(b"live")
    time.sleep(0.001)
"""


def stale_event(channel: Any) -> Any:
    """The news that the values to be sent are stale."""
    while True:
        item = channel.recv(timeout=20)
        if getattr(item, "kind", None) is shmring.netflux.EventKind.STALE:
            return item


def follows(partner: Any, on_stale: str, here: Any, eventually: Any) -> None:
    """What the partner gets from now on is what was declared."""
    if on_stale == "stop":
        partner.empty()
        time.sleep(0.05)
        assert partner.empty() == []
        assert here.link().sent_stale == here.link().sent_failsafe == 0
        return
    wanted = {"continue": b"live", "failsafe": b"safe"}[on_stale]
    partner.recv_until(wanted)
    partner.empty()
    assert {partner.recv().values for _ in range(20)} == {wanted}
    counted, other = "sent_stale", "sent_failsafe"
    if on_stale == "failsafe":  # not one datagram behind the deadline had the old values
        counted, other = other, counted
    eventually(lambda: getattr(here.link(), counted) >= 20)
    assert getattr(here.link(), other) == 0


@pytest.mark.parametrize("stale_ns", [0, 300 * MS], ids=["death", "age"])
@pytest.mark.parametrize("on_stale", ["continue", "failsafe", "stop"])
def test_a_writer_that_is_killed(
    link: Any, partner: Any, python: Any, on_stale: str, stale_ns: int, eventually: Any
) -> None:
    here = link(on_stale=on_stale, stale_ns=stale_ns, failsafe=b"safe", readers=4)
    assert here.try_recv() is None  # reads from now on
    writer = python(WRITER if stale_ns == 0 else CYCLIC)
    if stale_ns == 0:
        writer.tell("live")
    assert writer.line() == "put"
    partner.recv_until(b"live")
    writer.kill()
    event = stale_event(here)
    if stale_ns:
        last = here.sent_values()
        assert last.values == b"live"
        # on a busy machine the writer itself may have been too old at times; then this is the first
        assert event.timestamp_ns <= last.timestamp_ns + stale_ns
    eventually(lambda: not here.link().fresh)
    follows(partner, on_stale, here, eventually)
    here.update(b"more")
    partner.recv_until(b"more")


OPENER = """
import time, shmring
link = shmring.open("own", remote=("127.0.0.1", {port}), engine=shmring.Netflux(
    send=4, cycle_ns={cycle_ns}, values=b"live",
    on_stale={on_stale!r}, stale_ns={stale_ns}, failsafe=b"safe",
))
print("open", flush=True)
time.sleep(60)
"""


@pytest.mark.check
@pytest.mark.parametrize("stale_ns", [0, 3_600_000 * MS], ids=["death", "age"])
@pytest.mark.parametrize("on_stale", ["continue", "failsafe", "stop"])
def test_who_has_a_pool_of_its_own_is_killed(
    partner: Any, python: Any, shmring_namespace: str, on_stale: str, stale_ns: int
) -> None:
    """The worker ends as well; fail-safe values are its last words, whatever cycle and age are."""
    options = {"port": partner.address[1], "on_stale": on_stale, "stale_ns": stale_ns}
    opener = python(OPENER.format(cycle_ns=600_000 * MS, **options))
    assert opener.line() == "open"
    first = partner.recv()
    assert first.values == b"live"
    opener.kill()
    if on_stale == "failsafe":
        last = partner.recv()
        assert (last.values, last.number) == (b"safe", first.number + 1)
    time.sleep(0.1)
    assert partner.empty() == []


@pytest.mark.check
def test_stale_is_stale_at_the_set_age_and_not_a_cycle_later(
    link: Any, partner: Any, eventually: Any
) -> None:
    here = link(on_stale="failsafe", stale_ns=100 * MS, failsafe=b"safe", values=b"once")
    event = stale_event(here)
    assert event.timestamp_ns == here.sent_values().timestamp_ns + 100 * MS
    partner.recv_until(b"safe")
    eventually(lambda: here.link().sent_failsafe > 0)
    assert here.link().sent_stale == 0


@pytest.mark.check
def test_a_writer_that_leaves_in_order_is_gone_as_well(
    link: Any, partner: Any, shmring_namespace: str, eventually: Any
) -> None:
    here = link(on_stale="failsafe", failsafe=b"safe")
    with shmring.attach("plc", namespace=shmring_namespace) as there:
        assert isinstance(there, shmring.netflux.Channel)
        there.update(b"live")
        partner.recv_until(b"live")
        assert here.link().fresh
    partner.recv_until(b"safe")
    assert not here.link().fresh


@pytest.mark.check
def test_the_death_of_one_who_wrote_before_changes_nothing(
    link: Any, partner: Any, python: Any, eventually: Any
) -> None:
    here = link(on_stale="stop")
    writer = python(WRITER)
    writer.tell("dead")
    assert writer.line() == "put"
    here.update(b"live")
    partner.recv_until(b"live")
    writer.kill()
    eventually(lambda: here.stats().producers == 1)
    partner.empty()
    assert {partner.recv().values for _ in range(20)} == {b"live"}
    assert here.link().fresh


@pytest.mark.check
def test_a_writer_that_was_replaced_by_another_at_once(
    link: Any, partner: Any, python: Any, eventually: Any
) -> None:
    """Places are few: the next one gets that of the dead."""
    here = link(on_stale="failsafe", failsafe=b"safe", producers=1)
    for letter in "abc":
        writer = python(WRITER)
        writer.tell(letter * 4)
        assert writer.line() == "put"
        partner.recv_until(letter.encode() * 4)
        assert here.link().fresh
        writer.kill()
        partner.recv_until(b"safe")
        eventually(lambda: here.stats().producers == 0)


# --- the worker -----------------------------------------------------------------------------------


def ahead(numbers: list[int]) -> list[int]:
    return [(b - a) % 256 for a, b in itertools.pairwise(numbers)]


def kill_worker(pool: shmring.Pool, channel: Any, eventually: Any) -> None:
    epoch = channel.stats().epoch
    (worker,) = pool.workers()
    os.kill(worker.pid, signal.SIGKILL)
    eventually(lambda: channel.stats().epoch > epoch and channel.state == "open")


def test_the_cycle_goes_on_when_its_worker_is_killed(
    link: Any, partner: Any, shmring_pool: shmring.Pool, eventually: Any
) -> None:
    here = link(values=b"0000", cycle_ns=MS)
    partner.send(1, b"back")
    eventually(here.snapshot)
    got = [partner.recv().number for _ in range(20)]
    stop = threading.Event()

    def control() -> None:
        """A loop that does not know of workers."""
        n = 0
        while not stop.is_set():
            n += 1
            here.update(b"%04d" % (n % 10000))
            assert here.snapshot().values == b"back"
            time.sleep(0.001)

    loop = threading.Thread(target=control)
    loop.start()
    for _ in range(3):
        kill_worker(shmring_pool, here, eventually)
        got += [partner.recv().number for _ in range(30)]
        assert here.snapshot().values == b"back"
    stop.set()
    loop.join(20)
    here.update(b"last")
    got += [item.number for item in partner.recv_until(b"last")]
    assert got[0] == 1
    assert all(1 <= step <= 2 for step in ahead(got)), got  # none twice, at most one lost a death
    assert here.stats().epoch == 4
    partner.send(2, b"next")
    eventually(lambda: here.snapshot().values == b"next")
    assert here.snapshot().published == 2


@pytest.mark.check
def test_what_was_set_outlives_the_worker(
    link: Any, partner: Any, shmring_pool: shmring.Pool, python: Any, eventually: Any
) -> None:
    here = link(failsafe=b"one.")
    here.set_failsafe(b"safe")
    here.configure(cycle_ns=3 * MS, on_stale="failsafe", watchdog_ns=70 * MS)
    here.set_feedback(99)
    settings = here.settings
    writer = python(WRITER)
    writer.tell("live")
    assert writer.line() == "put"
    partner.recv_until(b"live")
    kill_worker(shmring_pool, here, eventually)
    partner.empty()
    got = partner.recv()
    assert (got.values, got.feedback) == (b"live", 99)
    assert here.settings == settings
    time.sleep(0.3)  # the writer lives, and need not say so to the new worker
    assert here.link().fresh
    writer.kill()
    partner.recv_until(b"safe")


@pytest.mark.check
def test_a_worker_that_is_stopped_is_not_waited_for_and_not_forgotten(
    link: Any, partner: Any, shmring_pool: shmring.Pool, eventually: Any, shmring_namespace: str
) -> None:
    here = link(values=b"live")
    partner.send(1, b"back")
    eventually(here.snapshot)
    tap = shmring.attach("plc", namespace=shmring_namespace, readonly=True)
    assert isinstance(tap, shmring.netflux.Channel)
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        here.update(b"more")
        assert here.snapshot().values == b"back"

        def refused() -> str:
            try:
                here.update(b"last")
            except shmring.errors.WorkerFailed as failed:
                return str(failed)
            return ""

        assert "no heartbeat of its worker for 3" in eventually(refused)
        for end in (here, tap):
            with pytest.raises(shmring.errors.WorkerFailed, match="nothing is watched"):
                end.snapshot()
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    eventually(lambda: not refused())
    partner.recv_until(b"last")
    assert here.snapshot().values == b"back"


@pytest.mark.check
def test_a_writer_that_died_together_with_the_worker(
    link: Any, partner: Any, shmring_pool: shmring.Pool, python: Any, eventually: Any
) -> None:
    here = link(on_stale="failsafe", failsafe=b"safe")
    writer = python(WRITER)
    writer.tell("live")
    assert writer.line() == "put"
    partner.recv_until(b"live")
    (worker,) = shmring_pool.workers()
    os.kill(worker.pid, signal.SIGKILL)
    writer.kill()
    partner.recv_until(b"safe")
    eventually(lambda: not here.link().fresh)
    here.update(b"more")
    partner.recv_until(b"more")
