"""What the tests of rtpsynth.RtpServer share."""

import contextlib
import queue
import sys
import time

import needs
import pytest
from kit.wire import udp

import shmring
from rtpsynth.RtpServer import RtpServer
from shmring._endpoint import Endpoint

TIMEOUT_S = 20.0


class Inbox:
    """A callback that keeps what it is called with."""

    def __init__(self):
        self.calls = queue.Queue()

    def __call__(self, *args):
        self.calls.put(args)

    def get(self):
        return self.calls.get(timeout=TIMEOUT_S)

    def nothing(self, seconds=0.05):
        with pytest.raises(queue.Empty):
            self.calls.get(timeout=seconds)


@pytest.fixture(autouse=True)
def room():
    """Each server takes 17 MB, and tests run side by side: not all at once fit into 64 MB."""
    needs.await_shm_mb(2 * 17)


@pytest.fixture
def server():
    server = RtpServer()
    yield server
    server.shutdown()


@pytest.fixture
def peer():
    with udp() as sock:
        yield sock


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def unraisable(monkeypatch):
    """What the unraisable hook is called with."""
    seen = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda u: seen.append((u.exc_type, str(u.exc_value), u.object))
    )
    return seen


@pytest.fixture
def newest():
    """Returns the name of the channel of the server that was made last."""
    return _newest


def _newest():
    return max(shmring.default_pool().channels(), key=lambda name: int(name.rpartition("-")[2]))


@pytest.fixture
def held():
    """The worker leaves everything of the newest server where it is, as if it were slow."""

    @contextlib.contextmanager
    def hold():
        with shmring.Channel(Endpoint(_newest())) as channel:
            channel.hold()
            yield
            channel.release()

    return hold


@pytest.fixture
def wait_sent():
    """Waits until the worker has dealt with everything of the newest server."""

    def wait():
        give_up = time.monotonic() + TIMEOUT_S
        with shmring.attach(_newest(), readonly=True) as tap:
            while tap.tx_waiting:
                assert time.monotonic() < give_up, "it did not happen"
                time.sleep(0.002)

    return wait
