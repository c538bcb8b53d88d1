"""How commands learn that they shall end: `shmring_cli.ending`. Also `Pool.request_stop`."""

from __future__ import annotations

import signal
import sys

import pytest
from kit.commands import run

from shmring_cli.ending import Told

PATIENCE_S = 120.0

# A child sends the signals while the parent wakes from waits of a tenth of a millisecond. With a
# handler that sets the event, as `shmring impair` had it, the parent hangs in one of three runs.
AIMED = """
import os, random, signal, sys, time
parent = os.getpid()
child = os.fork()
if child == 0:
    draw = random.Random(1)
    for _ in range(10_000):
        os.kill(parent, signal.SIGTERM)
        until = time.perf_counter_ns() + draw.randrange(150_000)
        while time.perf_counter_ns() < until:
            pass
    os._exit(0)
{rest}
"""

WAITS = """
from shmring_cli.ending import Told
heard = turns = 0
with Told("test", lasts=True) as told:
    told.hurries = False
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        turns += 1
        heard += told.wait(0.0001)
        told._told.clear()
    os.kill(parent, signal.SIGTERM)
    assert told.wait()
print(turns > 100, heard > 10)
for _ in range(100):  # and at the end of the process
    os.kill(parent, signal.SIGTERM)
"""


POOL = """
import shmring
pool = shmring.Pool(policy="other")
for number in (signal.SIGTERM, signal.SIGCHLD):
    signal.signal(number, lambda *_: pool.request_stop())
while os.waitpid(child, os.WNOHANG) == (0, 0):
    pool.serve_forever()
    while not pool._stopped.empty():
        pool._stopped.get()
pool.close()
print("True True")
"""


@pytest.mark.parametrize("rest", [WAITS, POOL], ids=["Told", "Pool.request_stop"])
@pytest.mark.usefixtures("shmring_namespace")
def test_ten_thousand_signals_at_the_end_of_a_wait(rest: str) -> None:
    # The child starts before the handlers are there, so the parent is told to ignore signals.
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    command = [sys.executable, "-c", script + AIMED.format(rest=rest)]
    done = run(command, code=None, timeout=PATIENCE_S)
    assert (done.stdout, done.stderr, done.returncode) == ("True True\n", "", 0)


@pytest.mark.usefixtures("shmring_namespace")
def test_a_pool_ends_by_a_signal_that_another_thread_took() -> None:
    script = """
import signal, threading, time
import shmring
pool = shmring.Pool(policy="other")
signal.signal(signal.SIGTERM, lambda *_: pool.request_stop())

def take_it():
    time.sleep(0.2)  # the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=take_it).start()
pool.serve_forever()
pool.close()
print("ended")
"""
    done = run([sys.executable, "-c", script], code=None)
    assert (done.stdout, done.stderr, done.returncode) == ("ended\n", "", 0)


def test_a_command_that_ends_by_itself_is_interrupted_once() -> None:
    script = """
import os, signal
from shmring_cli.ending import Told
try:
    with Told("test", interrupts=True, lasts=True):
        while True:
            signal.raise_signal(signal.SIGTERM)
except KeyboardInterrupt:
    for number in (signal.SIGINT, signal.SIGTERM) * 100:
        signal.raise_signal(number)
    print("once")
"""
    done = run([sys.executable, "-c", script], code=None)
    assert (done.stdout, done.stderr, done.returncode) == ("once\n", "", 0)


def test_a_late_second_signal_ends_the_process_at_once() -> None:
    script = """
import signal, time
from shmring_cli import ending
ending.HURRY_S = 0.05
with ending.Told("shmring test", lasts=True) as told:
    signal.raise_signal(signal.SIGINT)
    told.wait()
    time.sleep(0.1)
    signal.raise_signal(signal.SIGINT)
    time.sleep(60)
"""
    done = run([sys.executable, "-c", script], code=None)
    assert (done.stderr, done.returncode) == ("shmring test: ended at once\n", 2)


def test_what_was_before_is_there_again() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)]
    with Told("test") as told:
        told.keep(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        assert not told.wait(0.05)
        heard: list[int] = []
        told.on(signal.SIGUSR1, lambda: heard.append(1))
        assert not told
        signal.raise_signal(signal.SIGINT)
        assert told.wait(PATIENCE_S)
        assert told.number == signal.SIGINT
        assert heard == [1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)] == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("early", [True, False])
def test_what_is_called_then(early: bool) -> None:
    calls: list[str] = []
    with Told("test") as told:
        if early:
            told.set()
        with told.then(lambda: calls.append("one")):
            told.set()
            assert calls == ["one"]
        with told.then(lambda: calls.append("two")):
            assert calls == ["one", "two"]
