"""rtpsynth.RtpServer: what lives as long as what."""

import gc
import sys
import threading
import weakref

import pytest
from kit.calls import ignore
from kit.waiting import until

import shmring
from rtpsynth.RtpServer import RtpServer

pytestmark = pytest.mark.usefixtures("own_workers")

TIMEOUT_S = 20.0
HOME = "127.0.0.1"


# --- lifetimes


class Callback:
    """One that can be referred to weakly."""

    def __init__(self, inbox=None):
        self.inbox = inbox

    def __call__(self, *args):
        if self.inbox is not None:
            self.inbox(*args)


def test_a_channel_that_nobody_refers_to_goes_on(server, peer, inbox):
    callback = Callback(inbox)
    seen = weakref.ref(callback)
    channel = server.create_channel(callback, HOME)
    address = channel.local_addr
    del callback, channel
    gc.collect()
    peer.sendto(b"x", address)
    assert inbox.get()[0] == b"x"
    assert seen() is not None
    server.shutdown()
    assert seen() is None


def test_a_server_that_nobody_refers_to_goes_on_while_a_channel_is_open(peer, inbox, newest):
    server = RtpServer()
    channel = server.create_channel(inbox, HOME)
    name = newest()
    del server
    gc.collect()
    peer.sendto(b"x", channel.local_addr)
    inbox.get()
    channel.close()
    assert name in shmring.default_pool().channels()  # the channel object refers to its server
    del channel
    until(lambda: name not in shmring.default_pool().channels())


def test_a_server_without_channels_dies_with_its_last_reference(newest):
    server = RtpServer()
    name = newest()
    del server
    until(lambda: name not in shmring.default_pool().channels())
    until(lambda: name not in {thread.name for thread in threading.enumerate()})


def test_a_closed_channel_lets_its_callback_go(server):
    callback = Callback()
    seen = weakref.ref(callback)
    channel = server.create_channel(callback, HOME)
    del callback
    assert seen() is not None
    channel.close()
    del channel
    assert seen() is None


def test_a_callback_that_closes_itself_is_let_go(server, peer):
    gone = threading.Event()

    class Once:
        def __call__(self, *_):
            channels.pop().close()

        def __del__(self):
            gone.set()

    channels = [server.create_channel(Once(), HOME)]
    peer.sendto(b"x", channels[0].local_addr)
    assert gone.wait(TIMEOUT_S)


def test_shutdown_lets_callbacks_go(peer):
    server = RtpServer()
    callbacks = [Callback() for _ in range(10)]
    seen = [weakref.ref(callback) for callback in callbacks]
    channels = [server.create_channel(callback, HOME) for callback in callbacks]
    del callbacks, channels[5:]
    server.shutdown()
    assert [ref() for ref in seen] == [None] * 10


def test_a_failed_creation_keeps_nothing(server):
    callback = Callback()
    seen = weakref.ref(callback)
    for wrong in ({"bind_host": "203.0.113.9"}, {"queue_size": 2**40}, {"bind_port": -1}):
        with pytest.raises((OSError, MemoryError, ValueError)):
            server.create_channel(callback, **({"bind_host": HOME} | wrong))
    del callback
    assert seen() is None


def test_arguments_are_not_kept(server, peer):
    channel = server.create_channel(ignore, HOME)
    channel.set_target(*peer.getsockname())
    data = bytes(1000)
    before = sys.getrefcount(data)
    for _ in range(10):
        channel.send_pkt(data)
    assert sys.getrefcount(data) == before


def test_a_callback_that_dies_may_use_its_channel(server, peer):
    told = []

    class Dying:
        def __call__(self, *_):
            pass

        def __del__(self):
            try:
                channels[0].send_pkt(b"x")
            except RuntimeError as error:
                told.append(str(error))

    channels = [server.create_channel(Dying(), HOME)]
    channels[0].set_target(*peer.getsockname())
    channels[0].close()
    assert told == ["channel is closed"]
