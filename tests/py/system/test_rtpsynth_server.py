"""rtpsynth.RtpServer with thousands of channels, and when processes die."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
import time

import needs
import psutil
import pytest
from kit.wire import udp

import shmring
from rtpsynth.RtpServer import RtpQueueFullError, RtpServer
from rtworkers.launch import raise_file_limit
from shmring._endpoint import Endpoint

HOME = "127.0.0.1"
MANY = 2048
RTP_BYTES = 172


@pytest.fixture
def server(shmring_namespace):
    server = RtpServer()
    yield server
    server.shutdown()


@pytest.fixture
def worker(server):
    """Its process id, now."""
    return lambda: shmring.default_pool().workers()[0].pid


@pytest.fixture
def peer():
    with udp() as sock:
        yield sock


def ignore(*_):
    pass


def send(channel, data):
    while True:
        try:
            return channel.send_pkt(data)
        except RtpQueueFullError:
            time.sleep(0.0005)


# --- thousands of channels


@pytest.fixture
def many(server):
    raise_file_limit()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < MANY + 256:
        needs.skip("files")
    counts = [0] * MANY

    def counting(number):
        def count(data, address, rtime_ns):
            counts[number] += len(data) == RTP_BYTES

        return count

    channels = [server.create_channel(counting(number), HOME) for number in range(MANY)]
    return channels, counts


def test_every_one_of_thousands_sends_and_receives(many, eventually):
    channels, counts = many
    for i, channel in enumerate(channels):
        channel.set_target(*channels[i - 1].local_addr)
    for _ in range(5):
        for channel in channels:
            send(channel, bytes(RTP_BYTES))
    eventually(lambda: sum(counts) == 5 * MANY)
    assert counts == [5] * MANY


@pytest.mark.usefixtures("many")
def test_one_segment_however_many_channels():
    assert len(shmring.default_pool().channels()) == 1


@pytest.mark.check
@pytest.mark.usefixtures("many")
def test_thousands_of_idle_channels_cost_next_to_nothing(worker):
    processes = [psutil.Process(), psutil.Process(worker())]
    time.sleep(0.3)

    def used():
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    before = used()
    time.sleep(1.0)
    assert used() - before < 0.2  # a look at each of them would be more


@pytest.mark.check
def test_thousands_come_and_go(server, peer):
    seen = []
    for round_ in range(3):
        channels = [server.create_channel(lambda *a: seen.append(a), HOME) for _ in range(500)]
        for channel in channels[::50]:
            peer.sendto(b"%d" % round_, channel.local_addr)
        for channel in channels:
            channel.close()
    assert server.create_channel(ignore, HOME).local_addr[0] == HOME


@pytest.mark.usefixtures("shmring_namespace")
def test_a_place_for_each_and_no_more(monkeypatch):
    monkeypatch.setattr("rtpsynth._mux.PLACES", 300)
    server = RtpServer()
    channels = [server.create_channel(ignore, HOME) for _ in range(300)]
    with pytest.raises(OSError, match="Too many open files"):
        server.create_channel(ignore, HOME)
    for channel in channels[:10]:
        channel.close()
    for _ in range(10):
        server.create_channel(ignore, HOME)
    with pytest.raises(OSError, match="Too many open files"):
        server.create_channel(ignore, HOME)
    server.shutdown()


def test_a_worker_without_descriptors_says_so(server, worker):
    process = psutil.Process(worker())
    limit = process.num_fds() + 20
    process.rlimit(psutil.RLIMIT_NOFILE, (limit, limit))
    channels = []
    with pytest.raises(OSError, match="Too many open files") as caught:  # noqa: PT012
        while len(channels) < 50:
            channels.append(server.create_channel(ignore, HOME))
    assert caught.value.errno == 24
    RtpServer()  # sockets leave descriptors to others
    for channel in channels[:5]:
        channel.close()
    server.create_channel(ignore, HOME)


# --- the worker dies


def replaced(dead):
    """Whether another process serves now."""
    (info,) = shmring.default_pool().workers()
    return info.pid not in (0, dead) and info.state == "running"


def test_channels_go_on_with_the_next_worker(server, worker, peer, eventually):
    seen = []

    def note(data, address, rtime_ns):
        if address == peer.getsockname():  # who else sends to a port of ours means another process
            seen.append(data)

    channels = [server.create_channel(note, HOME) for _ in range(100)]
    addresses = [channel.local_addr for channel in channels]
    for channel in channels:
        channel.set_target(*peer.getsockname())
    for _ in range(2):
        dead = worker()
        os.kill(dead, signal.SIGKILL)
        eventually(lambda dead=dead: replaced(dead))
        # A request waits for the worker that has taken over.
        channels.append(server.create_channel(note, HOME))
        channels[-1].set_target(*peer.getsockname())
        for channel in channels:
            send(channel, b"out")
            assert peer.recvfrom(100) == (b"out", channel.local_addr)
            peer.sendto(b"in", channel.local_addr)
        eventually(lambda: len(seen) == len(channels))
        seen.clear()
    assert [channel.local_addr for channel in channels[:100]] == addresses
    for channel in channels:
        channel.close()


def test_what_is_queued_outlives_a_worker(server, worker, peer, eventually):
    channel = server.create_channel(ignore, HOME, 0, 64)
    channel.set_target(*peer.getsockname())
    (name,) = shmring.default_pool().channels()
    with shmring.Channel(Endpoint(name)) as control:
        control.hold()
        for number in range(64):
            channel.send_pkt(b"%d" % number)
        with pytest.raises(RtpQueueFullError):
            channel.send_pkt(b"one more")
        dead = worker()
        os.kill(dead, signal.SIGKILL)
        eventually(lambda: replaced(dead))
        with pytest.raises(RtpQueueFullError):  # still exactly 64
            channel.send_pkt(b"one more")
        control.release()
    assert [peer.recvfrom(100)[0] for _ in range(64)] == [b"%d" % n for n in range(64)]


def test_sending_never_waits_for_a_worker(server, worker, peer):
    channel = server.create_channel(ignore, HOME, 0, 32)
    channel.set_target(*peer.getsockname())
    os.kill(worker(), signal.SIGSTOP)
    try:
        for _ in range(32):
            channel.send_pkt(b"x")
        with pytest.raises(RtpQueueFullError):
            channel.send_pkt(b"x")
    finally:
        os.kill(worker(), signal.SIGCONT)
    for _ in range(32):
        peer.recvfrom(100)


@pytest.mark.check
def test_workers_die_under_load(server, worker, eventually):
    seen = []
    channels = [server.create_channel(lambda *a: seen.append(a), HOME) for _ in range(50)]
    for channel in channels:
        channel.set_target(*channel.local_addr)
    for _ in range(3):
        dead = worker()
        give_up = time.monotonic() + 20
        killed = False
        while not replaced(dead) or not killed:
            for channel in channels:
                try:
                    channel.send_pkt(b"x")
                except RtpQueueFullError:
                    time.sleep(0.0001)
            if not killed and len(seen) > 1000:
                os.kill(dead, signal.SIGKILL)
                killed = True
            assert time.monotonic() < give_up
        seen.clear()
    # Each queue is empty and counts right: exactly 32 fit again.
    (name,) = shmring.default_pool().channels()
    with shmring.Channel(Endpoint(name)) as control:
        eventually(lambda: control.tx_waiting == 0)
        control.hold()
        for channel in channels:
            for _ in range(32):
                channel.send_pkt(b"x")
            with pytest.raises(RtpQueueFullError):
                channel.send_pkt(b"x")
        control.release()


def test_a_pool_that_is_closed_under_a_server(server, peer):
    channel = server.create_channel(ignore, HOME, 0, 4)
    channel.set_target(*peer.getsockname())
    shmring.close_default_pool()
    for act in (
        lambda: [channel.send_pkt(b"x") for _ in range(5)],
        lambda: channel.set_target(*peer.getsockname()),
        lambda: server.create_channel(ignore, HOME),
    ):
        with pytest.raises(RuntimeError, match=r"^RtpServer is shutting down$"):
            act()
    channel.close()
    server.shutdown()
    other = RtpServer()
    other.create_channel(ignore, HOME).set_target(*peer.getsockname())
    other.shutdown()


def test_a_worker_that_is_given_up(server, worker, eventually):
    channel = server.create_channel(ignore, HOME)
    channel.set_target(*channel.local_addr)

    def given_up():
        pid = worker()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return shmring.default_pool().workers()[0].state == "given up"

    eventually(given_up)
    for act in (
        lambda: server.create_channel(ignore, HOME),
        lambda: channel.set_target(HOME, 9),
        lambda: [channel.send_pkt(b"x") for _ in range(33)],
    ):
        with pytest.raises(RuntimeError, match=r"^the worker process .* has failed for good$"):
            act()
    channel.close()


# --- the Python process dies

VICTIM = """
import time
from rtpsynth.RtpServer import RtpServer
server = RtpServer()
channels = [server.create_channel(lambda *a: None, "127.0.0.1") for _ in range(100)]
for channel in channels:
    channel.set_target(*channel.local_addr)
import shmring
print(shmring.default_pool().workers()[0].pid, channels[0].local_addr[1], flush=True)
while True:
    for channel in channels:
        try:
            channel.send_pkt(b"x" * 100)
        except Exception:
            time.sleep(0.0001)
"""


def has_ended(pid: int) -> bool:
    """Also before process 1 of a container, which is its parent then, has noticed."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_nothing_is_left_of_a_killed_process(python, leftovers, eventually):
    victim = python(VICTIM)
    worker, port = map(int, victim.line().split())
    victim.kill()
    eventually(lambda: has_ended(worker))
    eventually(lambda: not [name for name in leftovers() if "rtpsynth" in name or ":w:" in name])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOME, port))


# --- under load


@pytest.mark.check
def test_no_packet_is_lost_on_the_way_through(server, eventually):
    """At a rate that leaves the machine some air, and with a reader that stalls."""
    seen = [0] * 200
    stalls = iter([0.2, 0.1] + [0.0] * 10**6)

    def counting(number):
        def count(data, address, rtime_ns):
            if address == channels[number].local_addr:  # not a stranger's
                seen[number] += 1
            if number == 0 and seen[0] % 50 == 0:
                time.sleep(next(stalls))

        return count

    channels = [server.create_channel(counting(number), HOME) for number in range(200)]
    for channel in channels:
        channel.set_target(*channel.local_addr)
    for _ in range(150):
        for channel in channels:
            send(channel, bytes(RTP_BYTES))
        time.sleep(0.001)
    eventually(lambda: sum(seen) == 150 * 200)
    assert seen == [150] * 200


def test_a_flooded_channel_holds_up_no_other(server, peer, eventually):
    seen = {"flood": 0, "quiet": 0}

    def counting(name):
        def count(*_):
            seen[name] += 1

        return count

    flood = server.create_channel(counting("flood"), HOME, 0, 1024)
    flood.set_target(*flood.local_addr)
    quiet = server.create_channel(counting("quiet"), HOME)
    for number in range(20):
        for _ in range(500):
            try:
                flood.send_pkt(bytes(100))
            except RtpQueueFullError:
                break
        peer.sendto(b"quiet", quiet.local_addr)
        eventually(lambda number=number: seen["quiet"] > number)
    assert seen["flood"] > 0


def test_a_busy_interpreter_does_not_starve_callbacks(server, peer, eventually):
    """The dispatching thread gets its turn between two of a thread that never rests."""
    stop = threading.Event()
    spinner = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])
    seen = []
    channel = server.create_channel(lambda *a: seen.append(a), HOME)
    spinner.start()
    try:
        for _ in range(100):
            peer.sendto(b"x", channel.local_addr)
        eventually(lambda: len(seen) == 100)
    finally:
        stop.set()
        spinner.join()
