"""Attaching, closing, forking, pickling, threads, signals, and a worker that is replaced."""

import contextlib
import errno
import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

import psutil
import pytest
from kit.waiting import until

import shmring
from rtworkers import paths
from shmring._attachment import served_epoch
from shmring._ring import lib

ECHO = """
import sys, shmring
ch = shmring.attach(sys.argv[1])
print("ready", flush=True)
packet = ch.recv(timeout=20)
ch.send(packet.data[::-1], to=packet.source)
ch.flush(timeout=10)
"""


def test_the_opener_is_attached_before_its_first_send(loop):
    ch = loop()
    before = set(os.listdir("/proc/self/fd"))
    ch.send(b"x", to=ch.home)
    assert set(os.listdir("/proc/self/fd")) <= before


def test_the_opener_takes_no_sender_slot_of_a_channel_that_has_few(loop):
    ch = loop(producers=1)
    with shmring.attach(ch.name) as sender:
        sender.send(b"x", to=ch.home)
        assert ch.recv(timeout=20).data == b"x"
        assert ch.stats().producers == 1


def test_another_process_attaches_by_name(loop):
    ch = loop()
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", ECHO, ch.name], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    ch.send(b"abc", to=ch.home)
    assert [ch.recv(timeout=20).data for _ in range(2)] == [b"abc", b"cba"]
    assert child.wait(20) == 0
    child.stdout.close()


def test_attaching_waits_while_too_many_descriptors_are_under_way(loop, shmring_pool):
    """The kernel counts those of all processes of a user against the limit of the worker."""
    ch = loop()
    worker = psutil.Process(shmring_pool.workers()[0].pid)
    few = worker.num_fds() + 8
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    limits = worker.rlimit(psutil.RLIMIT_NOFILE)
    socket.send_fds(ours, [b"x"], [2] * (few + 8))
    worker.rlimit(psutil.RLIMIT_NOFILE, (few, limits[1]))
    arrival = threading.Timer(0.3, theirs.close)
    try:
        arrival.start()
        with shmring.attach(ch.name) as other:
            other.send(b"x", to=ch.home)
            assert theirs.fileno() == -1
    finally:
        arrival.join()
        worker.rlimit(psutil.RLIMIT_NOFILE, limits)
        ours.close()
    assert ch.recv(timeout=20).data == b"x"


def test_a_name_that_is_not_there(shmring_namespace):
    with pytest.raises(shmring.ChannelNotFound, match=r'"nobody".*open it first'):
        shmring.attach("nobody")
    with pytest.raises(FileNotFoundError):
        shmring.attach("nobody", readonly=True)


def test_arguments_of_attach_are_checked(loop):
    ch = loop()
    with pytest.raises(TypeError, match="readonly must be True or False"):
        shmring.attach(ch.name, readonly="r")
    with pytest.raises(shmring.errors.BadConfig, match="reading"):
        shmring.attach(ch.name, reading="both")


def test_a_closed_end_raises_everywhere(loop):
    ch = loop()
    with ch:
        ch.send(b"x", to=ch.home)
    ch.close()
    assert ch.closed
    assert ch.state == "closed"
    assert "closed" in repr(ch)
    for use in (
        lambda: ch.send(b"x", to=("127.0.0.1", 9)),
        lambda: ch.send_many([b"x"]),
        lambda: ch.replace(0, b"x"),
        lambda: ch.recv(timeout=0),
        ch.try_recv,
        lambda: ch.recv_into(bytearray(1)),
        ch.recv_many,
        ch.stats,
        ch.hold,
        ch.fileno,
        ch.now_ns,
        lambda: list(ch.reports(timeout=0)),
        lambda: ch.tx_waiting,
        lambda: ch.rx_waiting,
        lambda: ch.cancel(0),
        lambda: ch.flush(timeout=1),
    ):
        with pytest.raises(shmring.ChannelClosed, match="is closed"):
            use()


def test_dropping_the_object_leaves_the_channel_open(loop):
    ch = loop()
    ch.send(b"x", to=ch.home)
    del ch
    gc.collect()
    assert shmring.attach("loop").state == "open"


def test_slots_of_a_closed_end_are_free_again(loop, settle):
    ch = loop(producers=2, readers=2)
    for _ in range(6):
        with shmring.attach(ch.name) as other:
            for _ in range(200):
                try:
                    other.send(b"x", to=ch.home)
                    break
                except shmring.errors.NoSpace:
                    time.sleep(0.01)  # the worker has not seen the hang-up yet
            other.recv(timeout=20)
    settle(ch)
    assert ch.stats().tx_sent == 6


def test_no_more_senders_than_slots(loop):
    ch = loop(producers=1)
    ch.send(b"x", to=ch.home)
    other = shmring.attach(ch.name)
    with pytest.raises(shmring.errors.NoSpace, match="producer slot"):
        other.send(b"x", to=ch.home)
    assert ch.recv(timeout=20)


def test_ctrl_c_ends_a_wait(loop):
    ch = loop()

    def interrupt():
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  wherever it comes
        helper.start()
        ch.recv(timeout=30)
    helper.join()


def test_ctrl_c_ends_a_wait_for_room(loop):
    ch = loop(held=True, tx=1)
    ch.send(b"x", to=ch.home)
    helper = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  wherever it comes
        helper.start()
        ch.send(b"x", to=ch.home, timeout=None)
    helper.join()


def test_signals_reach_a_call_that_waits_for_its_worker(loop, shmring_pool):
    ch = loop()
    worker = shmring_pool.workers()[0].pid
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    continues = threading.Timer(0.5, os.kill, (worker, signal.SIGCONT))
    interrupts = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    try:
        os.kill(worker, signal.SIGSTOP)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  wherever it comes
            interrupts.start()
            ch.reset_stats()
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        continues.start()
        ch.reset_stats()
        assert rung
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.kill(worker, signal.SIGCONT)
        interrupts.join()
        continues.cancel()
        signal.signal(signal.SIGALRM, before)


AT_ONCE = {
    "recv": lambda ch: ch.recv(timeout=0),
    "recv_into": lambda ch: ch.recv_into(bytearray(64), timeout=0),
    "recv_many": lambda ch: ch.recv_many(timeout=0),
    "loan_many": lambda ch: ch.loan_many(timeout=0),
}


@pytest.mark.parametrize("receive", AT_ONCE.values(), ids=AT_ONCE)
def test_a_call_that_does_not_wait_does_not_wait_for_a_worker(loop, shmring_pool, receive):
    """Neither for a stopped one to attach this end, nor for a dead one's successor."""
    ch = loop()
    worker = shmring_pool.workers()[0].pid
    os.kill(worker, signal.SIGSTOP)
    try:
        other = shmring.attach(ch.name)
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(shmring.ReceiveTimeout):
                receive(other)
            assert time.monotonic() - began < 2, "a stopped worker answers after 5 s at the soonest"
        assert other.try_recv() is None
    finally:
        os.kill(worker, signal.SIGCONT)
    other.fileno()  # attaches, however long it takes
    ch.send(b"late", to=ch.local)
    assert bytes(other.recv(timeout=20).data) == b"late"
    other.close()


@contextlib.contextmanager
def closing_soon(ch):
    """A signal handler closes `ch` in 50 ms."""
    before = signal.signal(signal.SIGALRM, lambda *_: ch.close())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


USES = {
    "hold": shmring.Channel.hold,
    "send": lambda ch: ch.send(b"x", to=("127.0.0.1", 9)),
    "recv": lambda ch: ch.recv(timeout=20),
    "fileno": shmring.Channel.fileno,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_signal_handler_may_close_what_waits_for_an_answer(loop, shmring_pool, use):
    ch = loop()
    worker = shmring_pool.workers()[0].pid
    before = set(os.listdir("/proc/self/fd"))
    os.kill(worker, signal.SIGSTOP)
    try:
        other = shmring.attach(ch.name)
        with closing_soon(other), pytest.raises(shmring.ChannelClosed, match="close"):
            use(other)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert set(os.listdir("/proc/self/fd")) <= before
    ch.hold()


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_signal_handler_may_close_what_waits_for_a_worker(loop, use):
    ch = loop()
    socket = paths.worker_socket(paths.pool_directory(ch.namespace, ch.stats().pool), 0)
    away = socket.with_name("away")
    before = set(os.listdir("/proc/self/fd"))
    socket.rename(away)
    try:
        other = shmring.attach(ch.name)
        with closing_soon(other), pytest.raises(shmring.ChannelClosed, match="close"):
            use(other)
    finally:
        away.rename(socket)
    assert set(os.listdir("/proc/self/fd")) <= before


def test_c_looks_for_workers_where_python_does(loop, monkeypatch):
    """C does not trust the environment where the interpreter has file capabilities."""
    ch = loop()
    other = shmring.attach(ch.name)
    monkeypatch.setenv("SHMRING_RUNTIME_DIR", "/nowhere")
    other.hold()


def test_a_forked_child_is_a_party_of_its_own(loop):
    ch = loop()
    ch.send(b"first", to=ch.home)
    ch.fileno()
    assert ch.recv(timeout=20).data == b"first"
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            data = ch.recv(timeout=20).data
            ch.send(b"child", to=ch.home)
            ch.flush(timeout=20)
            os.write(write_end, b"%b %d" % (data, ch.stats().producers))
            os._exit(0)
        except BaseException:
            os._exit(1)
    ch.send(b"go", to=ch.home)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(read_end, 100) == b"go 2"
    assert [ch.recv(timeout=20).data for _ in range(2)] == [b"go", b"child"]
    os.close(read_end)
    os.close(write_end)


PICKLED = """
import pickle, sys
ch = pickle.load(sys.stdin.buffer)
print("ready", flush=True)
print(ch.recv(timeout=20).data.decode(), flush=True)
"""


def test_a_new_process_gets_a_channel_by_pickle(loop):
    ch = loop()
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", PICKLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child, child.stdin, child.stdout:
        pickle.dump(ch, child.stdin)
        child.stdin.flush()
        assert child.stdout.readline() == b"ready\n"
        ch.send(b"hello", to=ch.home)
        assert child.stdout.readline() == b"hello\n"
    assert child.returncode == 0


def test_a_forked_child_closes_nothing_of_its_parent(loop):
    ch = loop()
    ch.fileno()
    ch.send(b"x", to=ch.home)
    pid = os.fork()
    if pid == 0:
        try:
            ch.close()
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    ch.send(b"y", to=ch.home)
    assert [ch.recv(timeout=20).data for _ in range(2)] == [b"x", b"y"]
    assert ch.state == "open"


def kill_worker(pool, channel):
    """Kill the worker and wait until another has taken the channel over."""
    epoch = channel.stats().epoch
    os.kill(pool.workers()[0].pid, signal.SIGKILL)
    until(lambda: channel.stats().epoch != epoch)


def test_a_replaced_worker_goes_unnoticed(loop, shmring_pool):
    ch = loop()
    other = shmring.attach(ch.name)
    ch.send(b"one", to=ch.home)
    assert other.recv(timeout=20).data == b"one"
    later = time.monotonic_ns() + 3600 * 10**9
    kept = ch.send(b"kept", at=later, to=ch.home)
    kill_worker(shmring_pool, ch)
    ch.send(b"two", to=ch.home)
    assert other.recv(timeout=20).data == b"two"
    assert ch.cancel(kept)
    assert [p.data for p in (ch.recv(timeout=20), ch.recv(timeout=20))] == [b"one", b"two"]
    now = ch.stats()
    assert (now.producers, len(now.readers)) == (1, 2)
    ch.hold()
    ch.release()
    other.send(b"three", to=ch.home)
    assert other.recv(timeout=20).data == b"three"
    assert ch.local == ch.home


def test_a_command_may_be_the_first_to_meet_a_new_worker(loop, shmring_pool):
    ch = loop()
    ch.send(b"one", to=ch.home)
    assert ch.recv(timeout=20)
    kill_worker(shmring_pool, ch)
    ch.reset_stats()
    ch.send(b"two", to=ch.home)
    assert ch.recv(timeout=20).data == b"two"
    assert ch.stats().producers == 1


def test_a_reader_that_sleeps_meets_the_new_worker(loop, shmring_pool):
    ch = loop()
    other = shmring.attach(ch.name)
    got = []
    reader = threading.Thread(target=lambda: got.append(other.recv(timeout=20).data))
    reader.start()
    time.sleep(0.05)
    kill_worker(shmring_pool, ch)
    ch.send(b"x", to=ch.home)
    reader.join(20)
    assert got == [b"x"]


def look(ch):
    seen = ch.stats()
    facts = seen.pool, seen.direction, seen.epoch
    return ch.local, ch.remote, ch.engine.clock, ch.max_payload, ch.state, *facts


@pytest.mark.parametrize(
    "use",
    [
        look,
        repr,
        shmring.Channel.now_ns,
        shmring.Channel.stats,
        lambda ch: ch.send(b"x", to=("127.0.0.1", 9), timeout=1),
        lambda ch: ch.send(b"x", to=("127.0.0.1", 9 + ch.now_ns() % 1000), timeout=1),
    ],
)
def test_what_it_is_may_be_asked_while_another_thread_closes_it(loop, use):
    """Whatever is read of the segment keeps it mapped."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    odd = []

    def ask(ch):
        try:
            while not ch.closed:
                use(ch)
        except shmring.ChannelClosed:
            pass
        except BaseException as wrong:
            odd.append(wrong)

    try:
        for i in range(15):
            ch = loop(f"asked{i}")
            threads = [threading.Thread(target=ask, args=(ch,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(0.002)
            ch.close(linger=0)
            for thread in threads:
                thread.join(20)
            assert not any(thread.is_alive() for thread in threads)
    finally:
        sys.setswitchinterval(interval)
    assert not odd


def test_a_failed_channel_without_an_errno_that_exists(loop):
    segment = loop("spoilt")._endpoint.mapped()
    segment.status.state = lib.SHM_STATE_FAILED
    segment.status.error = 2**32 - 1
    with pytest.raises(shmring.errors.ShmringOSError, match='"spoilt" failed') as caught:
        served_epoch(segment)
    assert caught.value.errno == errno.EIO
    segment.status.state = lib.SHM_STATE_OPEN


def test_the_with_block_that_opened_a_channel_ends_it(loop):
    with loop() as ch:
        with shmring.attach(ch.name) as other:
            assert other.state == "open"
        assert ch.state == "open"
    with pytest.raises(shmring.ChannelNotFound):
        shmring.attach(ch.name)


def test_what_a_detached_opener_queued_is_still_sent(shmring_pool):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with shmring_pool.open("loop", shmring.Local()) as ch:
            other = shmring.attach("loop")
            ch.send(b"later", at=ch.now_ns() + 200_000_000)
            ch.detach()
        assert other.recv(timeout=20).data == b"later"
        other.close()
        shmring_pool.end("loop")
    ch = shmring_pool.open("loop", shmring.Local())
    ch.send(b"never", at=ch.now_ns() + 10**11)
    with pytest.warns(shmring.errors.UnsentWarning, match="1 packets"):
        ch.close(linger=0.01)


def test_an_opener_ends_no_other_channel_of_the_same_name(loop, shmring_pool):
    with loop() as ch:
        shmring_pool.end(ch.name)
        assert ch.state == "closed"
        successor = shmring_pool.open(ch.name, shmring.Local())
    assert successor.state == "open"
    successor.close()
