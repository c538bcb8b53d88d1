"""rtpsynth.RtpServer, called from many threads and from signal handlers."""

import signal
import threading

import pytest
from kit.calls import ignore

from rtpsynth.RtpServer import RtpServer

pytestmark = pytest.mark.usefixtures("own_workers")

TIMEOUT_S = 20.0
HOME = "127.0.0.1"
SHUT_DOWN = "RtpServer is shutting down"


# --- from many threads


def in_threads(count, work):
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []


def test_four_threads_create_and_close(server):
    def work(_):
        for _ in range(50):
            channel = server.create_channel(ignore, HOME)
            channel.set_target(HOME, 9)
            channel.send_pkt(b"x")
            channel.close()

    in_threads(4, work)


def test_four_threads_create_eight_hundred(server, peer, inbox):
    channels = []
    in_threads(4, lambda _: channels.extend(server.create_channel(inbox, HOME) for _ in range(200)))
    assert len({channel.local_addr for channel in channels}) == 800
    for channel in channels:
        peer.sendto(b"x", channel.local_addr)
    for _ in range(800):
        inbox.get()


def test_one_of_many_closers_wins(server):
    for _ in range(20):
        channel = server.create_channel(ignore, HOME)
        won, lost = [], []

        def close(_, channel=channel, won=won, lost=lost):
            try:
                channel.close()
                won.append(1)
            except RuntimeError as error:
                lost.append(str(error))

        in_threads(4, close)
        assert (won, lost) == ([1], ["channel is already closed"] * 3)


def test_shutdown_amid_everything(peer):
    for _ in range(10):
        server = RtpServer()
        told = set()

        def work(number, server=server, told=told):
            try:
                while True:
                    channel = server.create_channel(ignore, HOME)
                    channel.set_target(*channel.local_addr)
                    channel.send_pkt(b"x")
                    if number % 2:
                        channel.close()
            except RuntimeError as error:
                told.add(str(error))

        ender = threading.Timer(0.02, server.shutdown)
        ender.start()
        in_threads(4, work)
        ender.join()
        assert told <= {SHUT_DOWN, "channel is closed", "Server has been shutdown"}


def test_other_threads_run_while_one_waits_for_a_callback(server, peer):
    began, go_on = threading.Event(), threading.Event()
    channel = server.create_channel(lambda *_: (began.set(), go_on.wait(TIMEOUT_S)), HOME)
    peer.sendto(b"x", channel.local_addr)
    assert began.wait(TIMEOUT_S)
    closer = threading.Thread(target=channel.close)
    closer.start()
    other = server.create_channel(ignore, HOME)
    other.close()
    go_on.set()
    closer.join(TIMEOUT_S)
    assert not closer.is_alive()


# --- from signal handlers


@pytest.fixture
def alarms():
    """Have a function called between the instructions of the main thread, all the time."""

    def start(handler):
        def once_more(*args):
            handler(*args)
            signal.setitimer(signal.ITIMER_REAL, 0.0007)

        signal.signal(signal.SIGALRM, once_more)
        signal.setitimer(signal.ITIMER_REAL, 0.001)

    former = signal.getsignal(signal.SIGALRM)
    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


def test_a_signal_handler_uses_the_server_amid_its_use(server, peer, alarms):
    handled = []

    def handler(*_):
        channel = server.create_channel(ignore, HOME)
        channel.set_target(*peer.getsockname())
        channel.send_pkt(b"x")
        channel.close()
        handled.append(channel)

    alarms(handler)
    while len(handled) < 200:
        channel = server.create_channel(ignore, HOME)
        channel.set_target(HOME, 9)
        channel.close()


def test_a_signal_handler_shuts_the_server_down(alarms):
    for _ in range(20):
        server = RtpServer()
        alarms(lambda *_, server=server: server.shutdown())
        with pytest.raises(RuntimeError, match=SHUT_DOWN):  # noqa: PT012
            while True:
                channel = server.create_channel(ignore, HOME)
                channel.set_target(HOME, 9)
        signal.setitimer(signal.ITIMER_REAL, 0)
        server.shutdown()


def test_an_interrupt_gets_out_of_waiting(server, peer, alarms):
    began, go_on = threading.Event(), threading.Event()
    channel = server.create_channel(lambda *_: (began.set(), go_on.wait(TIMEOUT_S)), HOME)
    peer.sendto(b"x", channel.local_addr)
    assert began.wait(TIMEOUT_S)

    def interrupt(*_):
        if channel.closed:
            raise KeyboardInterrupt

    alarms(interrupt)
    with pytest.raises(KeyboardInterrupt):
        channel.close()
    go_on.set()
    assert channel.closed
